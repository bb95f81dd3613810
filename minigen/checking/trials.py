"""Try drawn cases on one function, or on its kernels."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import replace
from functools import partial

import numpy as np
from hypothesis import strategies as st

from minigen import backends, target
from minigen.arrays import Gpu, Interpreter, Ptx
from minigen.checking import compiled, functions, kernels
from minigen.checking.report import Finding, Row
from minigen.checking.search import smallest
from minigen.checking.spec import is_floating
from minigen.checking.strategies import FULL, SEVERAL, SMALL, cases
from minigen.checking.verdict import described

FEW = 2
"""Cases of each route of a specification, and of each way to call a function."""


def check_function(
    spec, backend, subject, dtypes, examples, seed
) -> tuple[list[Row], list[Finding]]:
    """Try a function of the table of a backend, or `subject`; return its row, faults.

    dtypes: of weights.
    """
    if subject is None:
        # the function itself: what is tried is no call that its signature refuses
        function = inspect.unwrap(getattr(backends.table(backend), spec.name))
        name = ""
    else:
        function, name = subject.function, subject.name
    # numba knows no numbers of two bytes; our own table wraps its kernels
    narrow = subject is not None and subject.kind == "njit"
    dtypes = dtypes[:1] if narrow else dtypes
    sizes = replace(FULL, dtypes=st.sampled_from(dtypes))
    ways = ("plain", *functions.LAYOUTS)
    if backend == "numba":
        ways += functions.EXACT
    measured = Measured()

    def attempt(drawn):
        case, way = drawn
        finding, worst = functions.try_function(spec, function, case, way)
        measured.note(finding, worst)
        return finding and replace(finding, case=described(case))

    strategy = st.tuples(cases(spec, sizes), st.sampled_from(ways))
    finding = smallest(strategy, attempt, examples, seed)
    # what was drawn may have been too small, or too often of the same way
    several = cases(spec, replace(SEVERAL, dtypes=sizes.dtypes))
    for way in ways[1:]:
        if finding is None:
            strategy = st.tuples(several, st.just(way))
            finding = smallest(strategy, attempt, min(FEW, examples), seed)
    row = Row(spec.name, backend, name, measured.cases, measured.worst, finding is None)
    return [row], _signed([finding], spec, backend, name)


def check_kernels(
    spec, backend, stand_in, dtypes, examples, seed
) -> tuple[list[Row], list[Finding]]:
    """Try the kernels of a function, one of them replaced if asked for; likewise."""
    device = {"cuda": Gpu, "interpreter": Interpreter, "ptx": Ptx}[backend]()
    given = stand_in.subject.name if stand_in else ""
    measured = {}

    def attempt(drawn):
        case, schedule = drawn
        finding, worst, launches = kernels.try_kernels(
            spec, device, case, schedule, stand_in
        )
        done = {launch.name: launch for launch in launches}
        for name in {*done, *([finding.kernel] if finding else [])}:
            of_kernel = measured.setdefault(name, Measured())
            of_kernel.note(finding, worst)
            if name in done:
                of_kernel.look(done[name])
        if finding is None:
            return None
        order = "threads in order" if schedule is None else f"schedule {schedule}"
        text = described(case) + (f"; {order}" if backend == "interpreter" else "")
        again = partial(kernels.try_kernels, spec, device, stand_in=stand_in)
        message = finding.message + _about_weights(again, case, schedule)
        return replace(finding, message=message, case=text)

    schedules = st.none()
    if backend == "interpreter":
        schedules |= st.integers(0, 2**16)
    sizes = FULL if backend == "cuda" else SMALL
    sizes = replace(sizes, dtypes=st.sampled_from(dtypes))

    def look_for(route, examples):
        strategy = st.tuples(cases(spec, sizes, route), schedules)
        return smallest(strategy, attempt, examples, seed)

    findings = [look_for({}, examples)]
    for route in spec.routes:
        if route.get("dtypes", dtypes[0]) not in dtypes:
            continue
        if findings == [None]:
            met = not given or given in measured
            findings = [look_for(route, min(FEW, examples))]
            # the first sizes that lead to the kernel in question are looked at closely
            if findings == [None] and not met and given in measured:
                findings = [look_for(route, examples)]
    if given and given not in measured and findings == [None]:
        said = (
            f"{given} was never launched in {examples} cases: for these shapes "
            f"{spec.name} takes other kernels"
        )
        findings = [Finding("never launched", said, kernel=given)]
    ours = [given] if given else [*measured] or [""]
    rows = []
    for name in ours:
        of_kernel = measured.get(name, Measured())
        row, wrong = of_kernel.row(spec, backend, name)
        findings += wrong
        blamed = any(f and f.kernel in ("", name) for f in findings)
        rows.append(replace(row, ok=not blamed))
    return rows, _signed(findings, spec, backend, given)


@dataclasses.dataclass
class Measured:
    """Notes while cases are tried: how many, the largest error, counts of a launch."""

    cases: int = 0
    worst: float = 0.0
    shared: int | None = None
    first: kernels.Launch | None = None
    types: tuple = ()
    traffic: str = ""

    def note(self, finding, worst):
        """Count a case, and its error if nothing was wrong."""
        self.cases += 1
        if finding is None:
            self.worst = max(self.worst, worst)

    def look(self, launch):
        """Keep what a launch counted."""
        if self.first is None:
            self.types = target.argument_types(launch.arguments)
            # what it counted and was given is large, and not needed any more
            self.first = replace(launch, arguments=(), report=None)
        if launch.report is not None:
            self.shared = max(self.shared or 0, launch.report.shared_bytes)
            self.traffic = kernels.traffic(launch)

    def row(self, spec, backend, name) -> tuple[Row, list[Finding]]:
        """Return the row of a kernel, and what the compiler finds wrong with it."""
        row = Row(
            spec.name, backend, name, self.cases, self.worst, True, self.traffic,
            self.shared,
        )  # fmt: skip
        if self.first is None or backend == "cuda" or not target.has_compiler():
            return row, []
        resources, findings = compiled.look(self.first.kernel, self.types)
        if resources is not None:
            row = replace(row, registers=resources.registers, spills=resources.spills,
                          stack=resources.stack)  # fmt: skip
        return row, [replace(finding, kernel=name) for finding in findings]


def _about_weights(again, case, schedule):
    # a case with weights of two bytes: is it they that are not understood
    short = [n for n, v in case.items() if is_floating(v) and v.dtype.itemsize == 2]
    if not short:
        return ""
    full = {n: v.astype(np.float32) if n in short else v for n, v in case.items()}
    if again(full, schedule)[0] is not None:
        return ""
    return (
        f"\nwith {' and '.join(short)} in float32 it is right: are weights of two "
        "bytes read through minigen.ops.intrinsics.widen? (--weights float32 leaves "
        "them out)"
    )


def _signed(findings, spec, backend, kernel):
    return [
        replace(f, function=spec.name, backend=backend, kernel=f.kernel or kernel)
        for f in findings
        if f is not None
    ]
