"""What pytest is told while it runs numba-cuda's tests: where they are, and on what.

MINIGEN_NUMBA_TESTS: the folder of `numba/cuda/tests`; MINIGEN_NUMBA_BACKEND: what
`simt.cuda` launches kernels on, or "simulator" for Numba's own.
"""

import os
import sys
from contextlib import ExitStack
from importlib.machinery import PathFinder

import pytest

_meanwhile = ExitStack()


class Finder:
    """Finds `numba.cuda.tests` and what is in it below the folder."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Return the spec of a module, or None if it is none of the tests."""
        if not f"{name}.".startswith("numba.cuda.tests."):
            return None
        folder = os.environ["MINIGEN_NUMBA_TESTS"]
        parts = ["..", *name.split(".")[2:-1]]
        return PathFinder.find_spec(name, [os.path.join(folder, *parts)])


def pytest_configure(config):
    """Let `numba.cuda` be a pretended GPU, and find its tests in the folder."""
    # before pytest imports a file of tests, whose folder it takes for numba.cuda's own
    import numba.cuda  # noqa: F401

    sys.meta_path.insert(0, Finder)
    backend = os.environ["MINIGEN_NUMBA_BACKEND"]
    if backend != "simulator":
        from minigen import simt

        # seconds a file: what is done is looked at by the tests themselves
        _meanwhile.enter_context(simt.cuda(backend=backend, watch=False))


def pytest_unconfigure(config):
    """Let it be Numba's again."""
    _meanwhile.close()


@pytest.fixture(scope="class")
def initialize_from_pytest_config(request):
    """What numba-cuda's own conftest.py gives its test cases."""
    request.cls._dump_failed_filechecks = False
