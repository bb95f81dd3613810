"""Check an op, or a kernel of yours, against its reference.

A test of yours would say:

    report = minigen.check("rms_norm", my_function)
    report = minigen.check(my_kernel, my_function, "x (n d), w (d) -> y (n d)",
                           grid="n", block=128)
    assert report.ok, str(report)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, overload

from minigen.errors import BackendError, InputError
from minigen.extras import REQUIRED, install, packages

if TYPE_CHECKING:
    from minigen.checking.report import Report

Size = int | str | tuple | Callable[..., Any]
"""A grid or a block: numbers, an expression of sizes, or a function of them."""


@overload
def check(
    op: str | None = None,
    kernel: Callable[..., Any] | str | None = None,
    *,
    backend: str | None = None,
    instead_of: str | None = None,
    block: int | None = None,
    weights: str | None = None,
    examples: int | None = None,
    seed: int = 0,
    tell: Callable[[str], object] = ...,
) -> Report: ...


@overload
def check(
    kernel: Callable[..., Any] | str,
    reference: Callable[..., Any] | str,
    signature: str,
    /,
    *,
    grid: Size | None = None,
    block: Size | None = None,
    dynamic: Size = 0,
    dtypes: Mapping[str, Any] | None = None,
    sizes: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
    tolerance: float | Callable[..., Any] | None = None,
    backend: str | None = None,
    weights: str | None = None,
    examples: int | None = None,
    seed: int = 0,
    tell: Callable[[str], object] = ...,
) -> Report: ...


def check(
    op: Callable[..., Any] | str | None = None,
    kernel: Callable[..., Any] | str | None = None,
    signature: str | None = None,
    *,
    backend: str | None = None,
    instead_of: str | None = None,
    grid: Size | None = None,
    block: Size | None = None,
    dynamic: Size = 0,
    dtypes: Mapping[str, Any] | None = None,
    sizes: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
    tolerance: float | Callable[..., Any] | None = None,
    weights: str | None = None,
    examples: int | None = None,
    seed: int = 0,
    tell: Callable[[str], object] = lambda doing: None,
) -> Report:
    """Check an op, or a kernel of yours, on drawn cases; return a Report.

    check(op, kernel): an op against its reference. op: a function of the op table such
    as "conv3x3", or a folder of them; None: all. kernel: what to check instead of ours:
    a CUDA kernel, an njit function, a NumPy function, or "FILE.py:NAME". instead_of:
    which of our kernels a CUDA kernel replaces, by default the one of its name, or the
    only one. block: threads a block, None: ours.

    check(kernel, reference, signature): any kernel against any NumPy function. The
    signature is such as "x (n d), w (d), eps -> y (n d)", in the grammar of
    minigen/ops/README.md: the reference takes what stands before the arrow and returns
    what stands after it; the kernel takes both, by these names or in this order. What a
    clause `where x is changed` names is written in place.

    - grid, block: how the kernel is launched: a number, a tuple of up to three, an
      expression of letters such as "(n + 31) // 32, d", or a function of them; a grid
      may name `block`, its threads, too. dynamic: bytes of dynamic shared memory, said
      likewise. Without them a function that is no kernel is called as the reference is.
    - dtypes: of arguments and results by name; float32 where nothing is said, and of an
      integer int64. sizes: {letter: sizes to draw from}. values: by name, of a number
      those to draw from, of an array its (least, most) or a function of a NumPy
      generator and a shape.
    - tolerance: the error that is allowed as a part of the magnitude, 4 eps by default,
      or a function of the case that returns the allowed error of each result. The
      magnitude is the largest of the result, the result for arguments without signs,
      and how far it moves when every input is moved by one eps.

    In both: backend: numpy, numba, interpreter, ptx or cuda; None: all that are here
    and fit. weights: their dtype, "float32", "float16" or "bfloat16"; None: all of
    them. examples: cases to draw, beside two of each layout and route; seed: which
    ones. tell: is called with what is done now.

    report.ok is True if nothing is wrong; report.findings lists what is; print the
    report to read it. Raises InputError for what cannot be checked, BackendError if a
    backend, or a package that checks need, is missing.

    >>> def double(x):
    ...     return 2 * x
    >>> check(lambda x: x + x, double, "x (n) -> y (n)", examples=5).ok
    True
    >>> report = check(lambda x: x + 1, double, "x (n) -> y (n)", examples=5)
    >>> [finding.kind for finding in report.findings]
    ['wrong value']
    """
    try:
        referee = importlib.import_module("minigen.checking.referee")
    except ModuleNotFoundError as error:
        if error.name not in ("hypothesis", "numba"):
            raise
        missing = error.name
        mend = packages(missing) if missing in REQUIRED else install("check")
        raise BackendError(
            f"checks take {missing}, which is not installed; run `{mend}`"
        ) from None
    how = backend, weights, examples, seed, tell
    choices = {
        "dtypes": dtypes, "sizes": sizes, "values": values, "tolerance": tolerance,
    }  # fmt: skip
    if signature is not None or (op is not None and not isinstance(op, str)):
        if signature is None or kernel is None or instead_of is not None:
            raise InputError(
                "a kernel of yours is checked by minigen.check(kernel, reference, "
                f"signature, grid=..., block=...); {_missing(kernel, signature)}"
            )
        return referee.run_pair(
            op, kernel, signature, grid, block, dynamic, choices, *how
        )
    for name, value in (choices | {"grid": grid, "dynamic": dynamic or None}).items():
        if value is not None:
            raise InputError(
                f"{name} is about a kernel of yours: give its reference and their "
                "signature too"
            )
    return referee.run(op, kernel, instead_of, block, *how)


def _missing(kernel, signature):
    if kernel is None:
        return "the reference is missing"
    if signature is None:
        return 'the signature is missing, such as "x (n d) -> y (n d)"'
    return "instead_of is for kernels of our ops"
