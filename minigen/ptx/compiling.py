"""From a CUDA kernel to its program, compiled once for each types of its arguments."""

from __future__ import annotations

import functools

from minigen import target
from minigen.ptx.translation import Program

CAPABILITY = (8, 0)
"""The compute capability kernels are compiled for: the oldest with bfloat16."""


def program(kernel, arguments) -> Program:
    """Return the program of a kernel for arguments of these types.

    arguments: arrays in C order, and NumPy scalars. Raises BackendError without the
    compiler, KernelError for PTX that cannot be run here, and what Numba raises for a
    kernel that does not compile.
    """
    return _program(kernel, target.argument_types(arguments))


@functools.lru_cache(maxsize=512)
def _program(kernel, types):
    return Program(target.compile_ptx(kernel, types, CAPABILITY, lines=True))
