"""The body of `minigen.check`: which functions are checked on which backends."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from minigen import backends, target
from minigen.checking import anybody, compiled, kernels, loading
from minigen.checking.report import Report
from minigen.checking.spec import reference
from minigen.checking.specs import SPECS, Spec
from minigen.checking.strategies import WEIGHT_DTYPES
from minigen.checking.trials import check_function, check_kernels
from minigen.checks import choice, integer, near, optional, shown, text
from minigen.errors import InputError
from minigen.extras import install

EXAMPLES = {"numpy": 40, "numba": 40, "interpreter": 8, "ptx": 8, "cuda": 40}
"""The default number of cases of an op."""

MORE = 20
"""The least number of cases of a given function or kernel."""

_DEVICES = ("interpreter", "ptx", "cuda")

_FITS = {
    "kernel": _DEVICES,
    "njit": ("numba",),
    "python": ("numpy", "numba"),
}
"""The backends on which each kind of function runs."""

OWN = (
    "a kernel that is no op of ours is checked with a function of yours: minigen check "
    'FILE.py:KERNEL --against FILE.py:FUNCTION --signature "x (n d), w (d) -> y (n d)" '
    "--grid n --block 32"
)
"""What is said where a name is that of no op."""


def run(
    op, kernel, instead_of, block, backend, weights, examples, seed,
    tell: Callable[[str], None],
) -> Report:  # fmt: skip
    """Return the report of a check of ops; `minigen.check` says what is meant."""
    specs = _specs(op)
    dtypes = _dtypes(weights)
    for name, value, check in (
        ("examples", examples, partial(integer, least=1)),
        ("block", block, partial(integer, least=1, most=1024)),
        ("backend", backend, partial(choice, known=EXAMPLES)),
        ("as", instead_of, text),
    ):
        optional(check, name, value)
    seed = integer("seed", seed, most=2**64 - 1)
    if kernel is not None:
        plans, notes = _given(specs, kernel, backend, instead_of, block), []
    elif instead_of or block:
        raise InputError("--as and --block are about a kernel: give --kernel too")
    else:
        names, notes = _here(backend)
        plans = [(spec, name, None) for spec in specs for name in names]
    rows, findings = [], []
    for spec, name, subject in plans:
        tell(f"{spec.name} on {name}")
        count = examples or max(EXAMPLES[name], MORE if kernel else 0)
        trial = check_kernels if name in _DEVICES else check_function
        measured, wrong = trial(spec, name, subject, dtypes, count, seed)
        rows += measured
        # what the compiler finds wrong is the same on every backend
        known = {(f.kind, f.kernel, f.message) for f in findings}
        findings += [f for f in wrong if (f.kind, f.kernel, f.message) not in known]
    if any(row.backend == "interpreter" for row in rows) and not target.has_compiler():
        notes.append(compiled.note())
    return Report(tuple(rows), tuple(findings), tuple(notes))


def run_pair(
    kernel, reference, signature, grid, block, dynamic, choices, backend, weights,
    examples, seed, tell,
) -> Report:  # fmt: skip
    """Return the report of a check of anybody's kernel; likewise."""
    optional(partial(integer, least=1), "examples", examples)
    optional(partial(choice, known=EXAMPLES), "backend", backend)
    seed = integer("seed", seed, most=2**64 - 1)
    kernel, reference = (
        loading.load(one, what) if isinstance(one, str) else one
        for one, what in ((kernel, "a kernel"), (reference, "a reference"))
    )
    launched = grid is not None or block is not None or backend in _DEVICES
    subject = loading.subject(kernel, as_kernel=launched)
    choices = anybody.choices(**choices)
    found = anybody.pair(subject, reference, signature, grid, block, dynamic, choices)
    spec, dtypes = found.specification(), _dtypes(weights)
    fits = _FITS[subject.kind]
    _expect_fit(subject, backend)
    rows, findings = [], []
    for name in [backend] if backend else fits[:1] + _others(kernel, subject):
        tell(f"{spec.name} on {name}")
        count = examples or max(EXAMPLES[name], MORE)
        if name in _DEVICES:
            tried = check_kernels(spec, name, None, dtypes, count, seed)
        else:
            tried = check_function(spec, name, subject, dtypes, count, seed)
        rows += tried[0]
        known = {(f.kind, f.kernel, f.message) for f in findings}
        findings += [f for f in tried[1] if (f.kind, f.kernel, f.message) not in known]
    if not any(row.cases for row in rows):
        raise InputError(
            f"no case was found in which the rules of the signature `{signature}` "
            "hold; say which sizes there are, such as sizes={'n': (32, 64)} or "
            "--size n=32,64"
        )
    # a kernel of anybody's may compute in float64 and spill: that is slow, not wrong
    slow = [f for f in findings if f.kind in ("float64", "spills")]
    notes = [f"{one.kernel}: {one.message}" for one in slow]
    findings = [f for f in findings if f not in slow]
    if any(row.backend == "interpreter" for row in rows) and not target.has_compiler():
        notes.append(compiled.note())
    wrong = {(finding.backend, finding.kernel) for finding in findings}
    rows = [replace(row, ok=(row.backend, row.kernel) not in wrong) for row in rows]
    return Report(tuple(rows), tuple(findings), tuple(notes))


def _dtypes(weights) -> tuple:
    known = {dtype.name: dtype for dtype in WEIGHT_DTYPES}
    if weights is None:
        return WEIGHT_DTYPES
    return (known[choice("weights", weights, known)],)


def _specs(op) -> list[Spec]:
    if op is None:
        return list(SPECS.values())
    known = sorted({*SPECS, *backends.OPS})
    text("op", op)
    if op not in known:
        raise InputError(
            f"op {shown(op)} is not known; {near(op, known)}{OWN}; our ops stand in "
            "minigen/ops/README.md"
        )
    if op in SPECS:
        return [SPECS[op]]
    return [SPECS[name] for name in backends.OPS[op]]


def _here(backend) -> tuple[list[str], list[str]]:
    """Return the backends to check on, and notes about those that are missing."""
    if backend is not None:
        return [backend], []
    names, notes = ["numpy", "numba", "interpreter"], []
    if importlib.util.find_spec("greenlet") is None:
        names.remove("interpreter")
        notes.append(
            "CUDA kernels were not interpreted: that takes greenlet; run "
            f"`{install('check')}`"
        )
    names += ["ptx"] if target.has_compiler() else []
    return names + (["cuda"] if target.has_gpu() else []), notes


def _given(specs, kernel, backend, replaced, block) -> list:
    if isinstance(kernel, str):
        kernel = loading.load(kernel)
    wanted = backend in _DEVICES
    subject = loading.subject(kernel, as_kernel=wanted)
    _expect_fit(subject, backend)
    if len(specs) != 1:
        named = [s for s in specs if subject.name.lstrip("_").startswith(s.name)]
        if len(named) == 0 or len({s.op for s in specs}) > 1:
            raise InputError(
                f"say which op {subject.name} is to be: minigen check OP --kernel ...; "
                f"{near(subject.name, [s.name for s in specs])}{OWN}"
            )
        specs = [max(named, key=lambda spec: len(spec.name))]
    spec = specs[0]
    if subject.kind == "kernel":
        stand_in = kernels.stand_in(spec, subject, replaced, block)
        names = [backend] if backend else ["interpreter", *_others(kernel, subject)]
        return [(spec, name, stand_in) for name in names]
    if replaced or block:
        raise InputError(f"--as and --block are for kernels; {subject.name} is none")
    _demand_arguments(spec, subject)
    return [(spec, backend or _FITS[subject.kind][0], subject)]


def _expect_fit(subject, backend):
    fits = _FITS[subject.kind]
    if backend is not None and backend not in fits:
        ways = " or ".join(fits).replace(" or ", ", ", len(fits) - 2)
        raise InputError(
            f"{subject.name} is {_KINDS[subject.kind]}; it runs on {ways}, "
            f"not on {backend}"
        )


def _others(kernel, subject) -> tuple:
    # where a kernel runs besides the interpreter
    if subject.kind != "kernel":
        return ()
    on_gpu = hasattr(kernel, "py_func") and target.has_gpu()
    return ("ptx",) * target.has_compiler() + ("cuda",) * on_gpu


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
        hint = ""
        if [*signature.parameters][:1] == ["device"]:
            hint = f"; that is a launcher: give the kernel it launches (_{spec.name}?)"
        raise InputError(
            f"{subject.name}{signature} cannot be called like "
            f"{spec.name}({', '.join(wanted)}){hint}"
        ) from None
