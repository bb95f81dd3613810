"""The GPU that these tests ask, and what is the same for all of them.

They run with `pytest -m gpu` alone. Without a GPU they then fail, with the BackendError
that a user would see: a test that has seen no GPU has nothing to say about one.
"""

from __future__ import annotations

import functools

import pytest

from minigen import arrays, backends

MARKS = [
    pytest.mark.gpu,
    # a NumPy array given to a kernel is moved there and back, unseen
    pytest.mark.filterwarnings("error::numba.cuda.core.errors.NumbaPerformanceWarning"),
]


@functools.cache
def gpu() -> arrays.Gpu:
    """Return the GPU, or raise BackendError."""
    return arrays.Gpu()


def table():
    """Return the op table of the GPU."""
    return backends.table("cuda", gpu())
