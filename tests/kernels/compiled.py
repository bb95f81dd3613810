"""Kernels compiled and assembled without a GPU, each at most once for all tests."""

from __future__ import annotations

import functools
import importlib
from contextlib import nullcontext
from unittest import mock

import pytest

from minigen import extras, target
from tests.kernels import collect

OLD, TENSOR, NEW = (7, 5), (8, 0), (9, 0)
"""Compute capabilities: of T4 and RTX 20, of A100, of H100 and H200."""


def variants(name):
    """Return every (types, cc) that a kernel is compiled for.

    Tensor cores for bfloat16 came with 8.0: a kernel that needs them has a name that
    ends in `_tensor`.
    """
    capabilities = (TENSOR, NEW) if name.endswith("_tensor") else (OLD, TENSOR, NEW)
    return [(types, cc) for types in collect.signatures()[name] for cc in capabilities]


@functools.cache
def ptx(name, types, cc) -> str:
    """Return the PTX of a kernel. Fails a test where there is no compiler."""
    if not target.has_compiler():
        pytest.fail(
            "CUDA kernels cannot be compiled here, so this test knows nothing of them; "
            f"install the compiler (it needs no GPU): {extras.install('cuda13')}"
        )
    with _translated_once(name, types):
        return target.compile_ptx(collect.kernel(name), types, cc)


@functools.cache
def resources(name, types, cc) -> target.Resources:
    """Return what a linked kernel takes."""
    return target.link(ptx(name, types, cc), cc)


def _translated_once(name, types):
    # most of the time goes into what comes before PTX and does not depend on cc; where
    # another numba-cuda has no such function to keep the result of, it takes that time
    compiler = importlib.import_module("numba.cuda.compiler")
    translate = getattr(compiler, TRANSLATE, None)
    if translate is None:
        return nullcontext()

    def kept(*arguments, **options):
        if (name, types) not in _translated:
            # they are large, and asked for one after the other
            _translated.clear()
            _translated[name, types] = translate(*arguments, **options)
        return _translated[name, types]

    return mock.patch.object(compiler, TRANSLATE, kept)


TRANSLATE = "_compile_pyfunc_with_fixup"
_translated = {}
