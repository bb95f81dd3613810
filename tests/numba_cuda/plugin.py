"""What pytest is told while it runs numba-cuda's tests.

MINIGEN_NUMBA_TESTS is the folder of `numba/cuda/tests` in which they are found.
"""

import os
import sys
from importlib.machinery import PathFinder

import pytest


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
    """Find numba-cuda's tests in the folder."""
    # before pytest imports a file of tests, whose folder it takes for numba.cuda's own
    import numba.cuda  # noqa: F401

    sys.meta_path.insert(0, Finder)


@pytest.fixture(scope="class")
def initialize_from_pytest_config(request):
    """What numba-cuda's own conftest.py gives its test cases."""
    request.cls._dump_failed_filechecks = False
