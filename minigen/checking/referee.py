"""Hold an op, or somebody's version of it, against its reference.

report = minigen.check("rms_norm", my_function)
assert report.ok, report
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from hypothesis import strategies as st

from minigen import backends, target
from minigen.arrays import Gpu, Interpreter
from minigen.checking import compiled, functions, kernels, loading
from minigen.checking.report import Finding, Report, Row
from minigen.checking.search import smallest
from minigen.checking.specs import SPECS, Spec
from minigen.checking.specs.spec import is_floating, reference
from minigen.checking.strategies import FULL, SMALL
from minigen.checking.verdict import described
from minigen.errors import InputError

EXAMPLES = {"numpy": 40, "numba": 40, "interpreter": 8, "cuda": 40}
"""How many cases of an op are tried if nothing is said."""

MORE = 20
"""How many, at least, of a function or kernel that is given."""

_DEVICES = ("interpreter", "cuda")
_ONLY_FLOAT32 = st.just(np.dtype(np.float32))


def run(
    op, kernel, backend, instead_of, block, examples, seed, tell: Callable[[str], None]
) -> Report:
    """Return the report of `minigen.check`, which says what the arguments mean."""
    specs = _specs(op)
    if examples is not None and examples < 1:
        raise InputError(f"examples is {examples}; at least one is needed")
    if kernel is None:
        if instead_of or block:
            raise InputError("--as and --block are about a kernel: give --kernel too")
        plans = _ours(specs, backend)
    else:
        plans = _given(specs, kernel, backend, instead_of, block)
    rows, findings, notes = [], [], []
    for spec, name, subject in plans:
        tell(f"{spec.name} on {name}")
        count = examples or max(EXAMPLES[name], MORE if kernel else 0)
        checked = _check_kernels if name in _DEVICES else _check_function
        measured, wrong = checked(spec, name, subject, count, seed)
        rows += measured
        findings += wrong
    used = {row.backend for row in rows}
    if "interpreter" in used and not target.has_compiler():
        notes.append(compiled.NOTE)
    return Report(tuple(rows), tuple(findings), tuple(notes))


def _specs(op) -> list[Spec]:
    if op is None:
        return list(SPECS.values())
    if op in SPECS:
        return [SPECS[op]]
    if op in backends.OPS:
        return [SPECS[name] for name in backends.OPS[op]]
    known = ", ".join(sorted({*SPECS, *backends.OPS}))
    raise InputError(f"op {op!r} is not known; choose from {known}")


def _ours(specs, backend) -> Iterator:
    if backend is not None:
        if backend not in EXAMPLES:
            known = ", ".join(EXAMPLES)
            raise InputError(f"backend {backend!r} is not known; choose from {known}")
        names = [backend]
    else:
        names = ["numpy", "numba", "interpreter"]
        names += ["cuda"] if target.has_gpu() else []
    for spec in specs:
        for name in names:
            yield spec, name, None


def _given(specs, kernel, backend, place, block) -> list:
    if isinstance(kernel, str):
        kernel = loading.load(kernel)
    wanted = backend in _DEVICES
    subject = loading.subject(kernel, as_kernel=wanted)
    fits = {
        "kernel": _DEVICES,
        "njit": ("numba",),
        "python": ("numpy", "numba"),
    }[subject.kind]
    if backend is not None and backend not in fits:
        raise InputError(
            f"{subject.name} is {_KINDS[subject.kind]}; it runs on "
            f"{' or '.join(fits)}, not on {backend}"
        )
    if len(specs) != 1:
        named = [s for s in specs if subject.name.lstrip("_").startswith(s.name)]
        if len(named) == 0 or len({s.op for s in specs}) > 1:
            names = ", ".join(spec.name for spec in specs)
            raise InputError(f"say which op {subject.name} is to be: one of {names}")
        specs = [max(named, key=lambda spec: len(spec.name))]
    spec = specs[0]
    if subject.kind == "kernel":
        stand_in = kernels.stand_in(spec, subject, place, block)
        names = [backend or "interpreter"]
        if backend is None and target.has_gpu() and hasattr(kernel, "py_func"):
            names.append("cuda")
        return [(spec, name, stand_in) for name in names]
    if place or block:
        raise InputError(f"--as and --block are for kernels; {subject.name} is none")
    _demand_arguments(spec, subject)
    return [(spec, backend or fits[0], subject)]


_KINDS = {
    "kernel": "a CUDA kernel",
    "njit": "an njit function",
    "python": "a Python function",
}


def _demand_arguments(spec, subject):
    wanted = [*inspect.signature(reference(spec)).parameters]
    try:
        signature = inspect.signature(subject.source)
    except ValueError:
        # something built in that does not say what it takes
        return
    try:
        signature.bind(*wanted)
    except TypeError:
        raise InputError(
            f"{subject.name}{signature} cannot be called like "
            f"{spec.name}({', '.join(wanted)})"
        ) from None


def _check_function(spec, backend, subject, examples, seed):
    if subject is None:
        function, name = getattr(backends.table(backend), spec.name), ""
    else:
        function, name = subject.function, subject.name
    # numba knows no numbers of two bytes; our own table wraps its kernels
    narrow = subject is not None and subject.kind == "njit"
    sizes = dataclasses.replace(FULL, dtypes=_ONLY_FLOAT32) if narrow else FULL
    ways = ("plain", *functions.LAYOUTS)
    if backend == "numba":
        ways += functions.EXACT
    measured = Measured()

    def attempt(drawn):
        case, way = drawn
        finding, worst = functions.try_function(spec, function, case, way)
        measured.note(finding, worst)
        return finding and replace(finding, case=described(case))

    strategy = st.tuples(spec.draw(sizes), st.sampled_from(ways))
    finding = smallest(strategy, attempt, examples, seed)
    row = Row(spec.name, backend, name, measured.cases, measured.worst, finding is None)
    return [row], _signed([finding], spec, backend, name)


def _check_kernels(spec, backend, stand_in, examples, seed):
    device = Gpu() if backend == "cuda" else Interpreter()
    place = stand_in.subject.name if stand_in else ""
    measured = {}

    def attempt(drawn):
        case, way, schedule = drawn
        finding, worst, launches = kernels.try_kernels(
            spec, device, case, schedule, stand_in, way
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

    ways = st.sampled_from(("plain", "plain", "plain", "other order"))
    schedules = st.none() | st.integers(0, 2**16)
    sizes = FULL if backend == "cuda" else SMALL
    strategy = st.tuples(spec.draw(sizes), ways, schedules)
    findings = [smallest(strategy, attempt, examples, seed)]
    if place and place not in measured and findings == [None]:
        said = (
            f"{place} was never launched in {examples} cases: for these shapes "
            f"{spec.name} takes other kernels"
        )
        findings = [Finding("never launched", said, kernel=place)]
    ours = [place] if place else [*measured] or [""]
    rows = []
    for name in ours:
        of_kernel = measured.get(name, Measured())
        row, wrong = of_kernel.row(spec, backend, name)
        findings += wrong
        blamed = any(f and f.kernel in ("", name) for f in findings)
        rows.append(replace(row, ok=not blamed))
    return rows, _signed(findings, spec, backend, place)


@dataclasses.dataclass
class Measured:
    """What is noted while cases are tried: how many, how far off, by which launch."""

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
        "bytes read through minigen.ops.intrinsics.widen?"
    )


def _signed(findings, spec, backend, kernel):
    return [
        replace(f, function=spec.name, backend=backend, kernel=f.kernel or kernel)
        for f in findings
        if f is not None
    ]
