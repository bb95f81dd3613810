"""What is not installed here: its tests are left out by name, and counted.

A test says `@pytest.mark.needs("torch")`, or its file imports what is missing. Where a
GPU is asked for nothing is left out: what is missing then is an error.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import shutil
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from minigen import extras
from minigen.errors import BackendError
from tests import parts, processors

ROOT = Path(__file__).parents[1]

PARTS = {
    "numba": ("Numba", None),
    "torch": ("PyTorch", "train"),
    "compiler": ("NVIDIA's compiler", "cuda13"),
    "hypothesis": ("Hypothesis", "check"),
    "greenlet": ("greenlet", "check"),
    "matplotlib": ("Matplotlib", "lessons"),
    "safetensors": ("safetensors", "test"),
    "hatchling": ("hatchling", "test"),
    "mypy": ("mypy", "types"),
    "pyright": ("pyright", "types"),
    "browser": ("Playwright with a chromium", "browser"),
    "mdit_py_plugins": ("mdit-py-plugins", "site"),
    "latex2mathml": ("latex2mathml", "site"),
    "jupytext": ("jupytext", "notebook"),
    "nbclient": ("nbclient", "notebook"),
    "ipykernel": ("ipykernel", "notebook"),
    "distributed": ("Dask", "cluster"),
}
"""What tests may need beyond minigen itself: its name, and the extra that brings it.

Numba comes with minigen itself; but what needs no kernel is tested without it too.
"""

QUICK = {"numba", "compiler", "hypothesis", "greenlet", "matplotlib", "safetensors",
         "hatchling"}  # fmt: skip
"""The parts that minigen and its extra `test` bring: tests that need any other are
marked `beyond`, and the second half of `.ci/run` runs them beside the slow ones."""

MODULES = {part: part for part in PARTS if part not in ("compiler", "browser")} | {
    "cuda": "compiler",
    "llvmlite": "numba",
    "playwright": "browser",
}
"""The modules that come with a part."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
"""What a browser may be called, where $MINIGEN_CHROMIUM names none."""

COMPILED = ("Counted", "Profile", "profile", "count", "Launched", "Device")
EXAMPLES = {
    **{f"minigen.profiling.{name}": ("compiler",) for name in COMPILED},
    "minigen.ptx.compiling.launch": ("compiler",),
    "minigen.ptx.compiling.program": ("compiler",),
    "minigen.ptx.counts.Counts": ("compiler",),
    "minigen.checking.check": ("hypothesis", "numba"),
    "minigen.simt.Report": ("greenlet", "compiler"),
    "minigen.simt.launch": ("greenlet", "compiler"),
    "minigen.simt.cuda": ("greenlet", "compiler"),
}
"""Examples in docstrings that need parts which the module they stand in does not."""

LEFT_OUT = pytest.StashKey[Counter]()
"""How many tests were left out, for each reason."""


def is_missing(part: str) -> bool:
    """Say whether a part is not installed."""
    if part == "compiler" and importlib.util.find_spec("numba"):
        return not importlib.import_module("minigen.target").has_compiler()
    if part == "browser":
        return not (importlib.util.find_spec("playwright") and browser())
    return importlib.util.find_spec(part) is None


def browser() -> str | None:
    """Return the program that shows pages in tests, None where there is none."""
    named = os.environ.get("MINIGEN_CHROMIUM")
    return next(filter(None, map(shutil.which, [named] if named else BROWSERS)), None)


def reason(part: str) -> str:
    """Return why tests that need a part are left out, and what brings it."""
    name, extra = PARTS[part]
    if part == "browser" and importlib.util.find_spec("playwright"):
        return (
            "no browser: install Debian's chromium, or name the program of "
            "yours in $MINIGEN_CHROMIUM"
        )
    command = extras.install(extra) if extra else extras.packages(part)
    return f"{name} is not installed; {command}"


def gpu_is_asked(config) -> bool:
    """Say whether the tests are run with -m gpu."""
    return "gpu" in config.getoption("markexpr", "")


class Unread(pytest.File):
    """A file that cannot be imported here: what it would test, by name."""

    def collect(self):
        """Yield an item for each test function, or each docstring with an example."""
        self.add_marker(pytest.mark.needs(self.part))
        for node in ast.walk(ast.parse(self.path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                example = ">>>" in (ast.get_docstring(node) or "")
                if example if self.examples else node.name.startswith("test_"):
                    yield Unrun.from_parent(self, name=node.name)


class Unrun(pytest.Item):
    """A test that is known by its name alone."""

    def runtest(self):
        """Fail: it was to be left out."""
        pytest.fail("this test cannot be imported here")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path):
    """Leave helpers of tests alone: without an example they have nothing to run."""
    found = yield
    if file_path.suffix != ".py" or not file_path.is_relative_to(ROOT / "tests"):
        return found
    example = ">>>" in file_path.read_text(encoding="utf-8")
    return [c for c in found if example or type(c) is pytest.Module]


@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report(collector):
    """Name the tests of a file that cannot be imported, of those that are asked for."""
    if not isinstance(collector, pytest.Module) or gpu_is_asked(collector.config):
        return None
    part = lacks(collector.path)
    if part is None:
        return None
    unread = Unread.from_parent(collector.parent, path=collector.path)
    unread.part, unread.examples = part, type(collector) is not pytest.Module
    return collector.ihook.pytest_make_collect_report(collector=unread)


def lacks(path: Path) -> str | None:
    """Return the part that a file cannot be imported without, if one is missing."""
    if all(importlib.util.find_spec(module) for module in MODULES):
        return None
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    try:
        importlib.import_module(name.removesuffix(".__init__"))
    except ModuleNotFoundError as error:
        return MODULES.get((error.name or "").split(".")[0])
    except (Exception, pytest.skip.Exception):
        # pytest says it better
        pass
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leave out what needs a part that is missing, what is slow, what asks a GPU."""
    left = config.stash.setdefault(LEFT_OUT, Counter())
    for item in items:
        for part in EXAMPLES.get(item.name, ()):
            item.add_marker(pytest.mark.needs(part))
        if {m.args[0] for m in item.iter_markers("needs")} - QUICK:
            item.add_marker("beyond")

    def leave_out(why, needless):
        if needless:
            left[why] += len(needless)
            config.hook.pytest_deselected(items=needless)
            gone = set(needless)
            items[:] = [item for item in items if item not in gone]

    def marked(name, *arguments):
        return [
            item
            for item in items
            if any(m.args == arguments for m in item.iter_markers(name))
        ]

    if not config.getoption("--slow"):
        leave_out("slow; --slow runs them", marked("slow"))
    if not gpu_is_asked(config):
        leave_out("a GPU is needed; -m gpu runs them", marked("gpu"))
        for name in processors.PROCESSORS:
            needless = marked("on", name)
            if needless and (lacking := processors.lacks(name)):
                leave_out(f"a processor with {lacking} is needed", needless)
        for part in PARTS:
            needless = marked("needs", part)
            if needless and is_missing(part):
                leave_out(reason(part), needless)
    # who names a test wants it, whatever the part
    if not any("::" in argument for argument in config.args):
        others = parts.others(marked("in_parts"))
        leave_out("in another part of four; MINIGEN_PART=all runs all", others)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    """Leave out a test whose fixtures take Numba, where there is none."""
    with leaving_out_numba():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    """Leave out a test that asks for Numba as it runs, where there is none."""
    with leaving_out_numba():
        return (yield)


@contextmanager
def leaving_out_numba():
    """Skip the test if what is inside fails because Numba is missing."""
    try:
        yield
    except (ModuleNotFoundError, BackendError) as error:
        module = (getattr(error, "name", None) or "").split(".")[0]
        said = re.search("numba,? (which )?is not installed", str(error), re.I)
        if not is_missing("numba") or not (MODULES.get(module) == "numba" or said):
            raise
        pytest.skip("needs Numba")


def pytest_sessionfinish(session):
    """Tell the process that started this one what was left out here."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(session.config.stash[LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take the counts of a worker: each of them left out the same."""
    left = getattr(node, "workeroutput", {}).get("left_out")
    if left and LEFT_OUT not in node.config.stash:
        node.config.stash[LEFT_OUT] = Counter(left)
        # so that the last line counts them
        known = [SimpleNamespace() for _ in range(sum(left.values()))]
        node.config.hook.pytest_deselected(items=known)


def pytest_terminal_summary(terminalreporter, config):
    """Say at the end how many tests were left out, and why."""
    for why, count in config.stash.get(LEFT_OUT, Counter()).items():
        tests = "test was" if count == 1 else "tests were"
        terminalreporter.write_line(f"{count} {tests} left out: {why}")
