"""From a CUDA kernel to its program, compiled once for each types of its arguments."""

from __future__ import annotations

import functools
import linecache
import os
import re

from minigen import target
from minigen.errors import BackendError, KernelError
from minigen.ptx.machine import PATIENCE
from minigen.ptx.translation import Program

CAPABILITY = (8, 0)
"""The compute capability kernels are compiled for: the oldest with bfloat16."""


def launch(
    kernel, grid, block, *arguments, dynamic=0, watch=True, patience=None, counts=None
) -> None:
    """Compile a CUDA kernel and run it, or raise KernelError.

    kernel: a function, compiled for CUDA or not. grid, block: a number or a tuple of up
    to three. arguments: arrays, which are changed in place, numbers, and tuples of
    these. dynamic: bytes of dynamic shared memory. watch: look for races and for memory
    that nobody wrote (slower). patience: basic blocks after which the kernel is taken
    for one that never ends. counts: a `Counts` of `program(kernel, arguments)`.

    The kind of the error is "compile" where Numba refuses the kernel, and "unsupported"
    where its PTX has an instruction that is not known here. Raises BackendError without
    the compiler.

    >>> import numpy as np
    >>> from numba import cuda
    >>> def double(x, y):
    ...     i = cuda.grid(1)
    ...     if i < x.size:
    ...         y[i] = 2 * x[i]
    >>> x, y = np.arange(3, dtype=np.float32), np.zeros(3, np.float32)
    >>> launch(double, 2, 2, x, y)
    >>> y.tolist()
    [0.0, 2.0, 4.0]
    """
    program(kernel, arguments).launch(
        _three(grid), _three(block), arguments, counts, dynamic=dynamic, watch=watch,
        patience=patience or PATIENCE,
    )  # fmt: skip


def program(kernel, arguments) -> Program:
    """Return the program of a kernel for arguments of these types. Raises likewise.

    >>> import numpy as np
    >>> from minigen.ops.silu.cuda import _silu
    >>> made = program(_silu, (np.zeros(4, np.float32), np.zeros(4, np.float32)))
    >>> made.names
    ('x', 'y')
    """
    return _program(kernel, target.argument_types(arguments))


@functools.lru_cache(maxsize=512)
def _program(kernel, types):
    names = getattr(kernel, "py_func", kernel).__code__.co_varnames
    return Program(compile_kernel(kernel, types), names[: len(types)])


def compile_kernel(kernel, types) -> str:
    """Return the PTX of a kernel for `target.argument_types`, with lines of its source.

    Raises KernelError with the line at which it does not compile.
    """
    try:
        try:
            return target.compile_ptx(kernel, types, CAPABILITY, lines=True)
        except ZeroDivisionError:
            # Numba cannot describe a tuple of nothing to a debugger
            return target.compile_ptx(kernel, types, CAPABILITY)
    except BackendError:
        raise
    except Exception as error:
        raise KernelError("compile", _condensed(error)) from error


def source_line(file, number) -> str:
    """Return FILE:NUMBER and the text of that line."""
    text = linecache.getline(file, number).strip()
    return f"{os.path.basename(file)}:{number}: {text}"


def _three(sizes):
    sizes = sizes if isinstance(sizes, tuple | list) else (sizes,)
    return (*map(int, sizes), 1, 1)[:3]


def _condensed(error):
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Failed in", "During:"))]
    sites = re.findall(r'(?:File |file )"?([^"\s]+?)"?, line (\d+)', text)
    said = f"it does not compile: {' '.join(lines[:2])}"[:300]
    if not sites:
        return said
    file, number = sites[-1]
    return f"{said}\nat {source_line(file, int(number))}"
