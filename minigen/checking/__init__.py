"""Check an op, or another version of it, against its reference.

A test of yours would say:

    report = minigen.check("rms_norm", my_function)
    assert report.ok, str(report)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minigen.errors import BackendError
from minigen.extras import REQUIRED, install, packages

if TYPE_CHECKING:
    from minigen.checking.report import Report


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
    tell: Callable[[str], object] = lambda doing: None,
) -> Report:
    """Check an op against its reference on drawn cases; return a Report.

    op: a function of the op table such as "conv3x3", or a folder of them; None: all.
    kernel: what to check instead of ours: a CUDA kernel, an njit function, a NumPy
    function, or "FILE.py:NAME". backend: numpy, numba, interpreter, ptx or cuda; None:
    all that are here and fit. instead_of: which of our kernels a CUDA kernel replaces,
    by default the one of its name, or the only one. block: threads a block, None: ours.
    weights: their dtype, "float32", "float16" or "bfloat16"; None: all of them.
    examples: cases to try; seed: which ones. tell: is called with what is done now.

    report.ok is True if nothing is wrong; report.findings lists what is; print the
    report to read it. Raises InputError for what cannot be checked, BackendError if a
    backend, or a package that checks need, is missing.
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
    return referee.run(
        op, kernel, backend, instead_of, block, weights, examples, seed, tell
    )
