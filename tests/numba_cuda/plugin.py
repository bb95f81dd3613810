"""What pytest is told while it runs numba-cuda's tests.

MINIGEN_NUMBA_TESTS is the folder of `numba/cuda/tests` in which they are found;
MINIGEN_NUMBA_SAID a file that gets a line for each test as soon as it is over: its name
and "" if it passed, "skipped", or its last word. Of MINIGEN_NUMBA_ONLY, if it is set, a
file with names, no others are run.
"""

import json
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

FOLDER = os.environ["MINIGEN_NUMBA_TESTS"]
_said = {}


class Finder:
    """Finds `numba.cuda.tests` and what is in it below the folder."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Return the spec of a module, or None if it is none of the tests."""
        if not f"{name}.".startswith("numba.cuda.tests."):
            return None
        parts = ["..", *name.split(".")[2:-1]]
        return PathFinder.find_spec(name, [os.path.join(FOLDER, *parts)])


def pytest_configure(config):
    """Find numba-cuda's tests in the folder."""
    # before pytest imports a file of tests, whose folder it takes for numba.cuda's own
    import numba.cuda  # noqa: F401

    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)


@pytest.fixture(scope="class")
def initialize_from_pytest_config(request):
    """What numba-cuda's own conftest.py gives its test cases."""
    request.cls._dump_failed_filechecks = False


def pytest_collection_modifyitems(config, items):
    """Leave out what is not asked for."""
    for item in items:
        file = Path(item.path).relative_to(FOLDER).as_posix()
        item.user_properties.append(
            ("name", f"{file}::{item.nodeid.split('::', 1)[1]}")
        )
    asked = os.environ.get("MINIGEN_NUMBA_ONLY")
    if asked:
        names = {*json.loads(Path(asked).read_text())}
        items[:] = [i for i in items if i.user_properties[-1][1] in names]


def pytest_runtest_logreport(report):
    """Write down what became of a test, once it is over."""
    words = _said.setdefault(report.nodeid, [])
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        words.append(getattr(crash, "message", None) or str(report.longrepr))
    elif report.skipped:
        words.append("skipped")
    if report.when == "teardown":
        failed = [word for word in words if word != "skipped"]
        word = (failed or words or [""])[0].strip() or (words and "it failed" or "")
        _write(dict(report.user_properties)["name"], word)


def pytest_collectreport(report):
    """Write down that a file cannot be imported."""
    if report.failed:
        _write("all", str(report.longrepr).strip().splitlines()[-1])


def _write(name, word):
    with open(os.environ["MINIGEN_NUMBA_SAID"], "a", encoding="utf-8") as file:
        file.write(json.dumps([name, word]) + "\n")
