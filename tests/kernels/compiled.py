"""Kernels compiled and assembled without a GPU, each at most once for all tests."""

from __future__ import annotations

import functools

import pytest

from minigen import target
from tests.kernels import collect

OLD, TENSOR, NEW = (7, 5), (8, 0), (9, 0)
"""Compute capabilities: of T4 and RTX 20, of A100, of H100 and H200."""


def variants(name):
    """Return the (types, cc) that a kernel is compiled for.

    All three compute capabilities for the first types it is launched with; what other
    dtypes of weights change is the same on each of them. Tensor cores for bfloat16 came
    with 8.0: a kernel that needs them has a name that ends in `_tensor`.
    """
    first, *others = collect.signatures()[name]
    oldest = [] if name.endswith("_tensor") else [(first, OLD)]
    return [
        *oldest,
        (first, TENSOR),
        (first, NEW),
        *((types, TENSOR) for types in others),
    ]


@functools.cache
def ptx(name, types, cc) -> str:
    """Return the PTX of a kernel. Fails a test where there is no compiler."""
    if not target.has_compiler():
        pytest.fail(
            "CUDA kernels cannot be compiled here, so this test knows nothing of them; "
            'install the compiler (it needs no GPU): pip install "minigen[test]"'
        )
    return target.compile_ptx(collect.kernel(name), types, cc)


@functools.cache
def resources(name, types, cc) -> target.Resources:
    """Return what a linked kernel takes."""
    return target.link(ptx(name, types, cc), cc)
