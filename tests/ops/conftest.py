"""What every test of an op runs under: poisoned outputs, a fixed number of threads."""

from __future__ import annotations

import contextlib
import importlib.util

import numpy as np
import pytest

from minigen.threads import all_of_them


def poisoned(shape, dtype=np.float32):
    """Stand in for `buffers.empty`: NaN, or a number that no result holds."""
    out = np.empty(shape, dtype)
    out.fill(np.nan if np.issubdtype(out.dtype, np.inexact) else 77)
    return out


@pytest.fixture(scope="session", autouse=True)
def poison():
    """Fill every new output with poison: an unwritten element fails its test."""
    if importlib.util.find_spec("numba") is None:
        # NumPy alone is tested
        yield
        return
    from minigen.cpu import buffers

    before, buffers.empty = buffers.empty, poisoned
    yield
    buffers.empty = before


@pytest.fixture(scope="session")
def threads():
    """Return a context manager that sets the number of threads: `with threads(1):`."""
    import numba

    @contextlib.contextmanager
    def using(count):
        before = numba.get_num_threads()
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
        with all_of_them():
            yield
        numba.set_num_threads(before)

    return using
