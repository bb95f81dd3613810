"""Exercises of the lessons: stubs run and are not started, solutions are right."""

import ast
import doctest
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minigen.words import printable

FOLDER = Path(__file__).parents[1] / "lessons"
sys.path.insert(0, str(FOLDER))

import check  # noqa: E402

LESSONS = sorted(path.stem for path in FOLDER.glob("[0-9]*.py"))
checked = pytest.mark.needs("hypothesis")
kernels = pytest.mark.needs("numba")
interpreted = pytest.mark.needs("greenlet")


def text(folder, name):
    return (FOLDER / folder / f"{name}.py").read_text(encoding="utf-8")


each_lesson = pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=kernels if "import cuda" in text("solutions", n) else ())
        for n in LESSONS
    ],
)


def test_every_lesson_has_a_stub_a_solution_and_a_check():
    for folder in ("exercises", "solutions", "checks"):
        found = {path.stem for path in FOLDER.glob(f"{folder}/[0-9]*.py")}
        assert found == {*LESSONS}, folder


@checked
@interpreted
@each_lesson
def test_a_stub_is_not_started_and_a_solution_is_right(name):
    found = check.exercises(name)
    for exercise in found:
        finding = check.verdict(exercise, FOLDER / "exercises" / f"{name}.py")
        assert finding and finding.kind == "not started", (exercise.name, finding)
        finding = check.verdict(exercise, FOLDER / "solutions" / f"{name}.py")
        assert finding is None, (exercise.name, finding)
    # each is asked for in the last cell of the lesson, by its name
    last = (FOLDER / f"{name}.py").read_text(encoding="utf-8").split("# %%")[-1]
    numbered = re.findall(r"^# \d\. ", last, re.M)
    assert len(found) == len(numbered), "as many as the lesson has"
    assert all(f"`{exercise.name}`" in last for exercise in found)


def spoiled(result):
    """Return a result that differs a little from a right one."""
    if isinstance(result, (tuple, list)):
        return (*result[:-1], spoiled(result[-1])) if len(result) else (0,)
    if isinstance(result, str):
        return f"{result}."
    result = np.asarray(result)
    return ~result if result.dtype == bool else result + 1


def spoiling(function):
    return lambda *arguments, **named: spoiled(function(*arguments, **named))


@checked
@interpreted
@each_lesson
def test_a_check_refuses_what_differs_from_the_solution(name, monkeypatch):
    path = FOLDER / "solutions" / f"{name}.py"
    solution = vars(check.load(path))
    found = check.exercises(name)
    # kernels are spoiled below
    kernels = {"reverse", "one_adder", "warp_max"}
    for exercise in (one for one in found if one.name not in kernels):
        fake = SimpleNamespace(**{exercise.name: spoiling(solution[exercise.name])})
        monkeypatch.setattr(check, "load", lambda path, fake=fake: fake)
        finding = check.verdict(exercise, path)
        assert finding and finding.kind == "wrong", (exercise.name, finding)


@each_lesson
def test_a_solution_adds_lines_to_its_stub(name):
    stub, solution = (text(f, name).splitlines() for f in ("exercises", "solutions"))
    rest = iter(solution)
    for line in stub:
        assert line in rest, f"not in the solution, or not in this order: {line}"
    assert len(solution) > len(stub)
    for node in ast.parse("\n".join(stub)).body:
        if isinstance(node, ast.FunctionDef):
            assert ast.get_docstring(node), node.name


def wrong(tmp_path, source, **exercise):
    """Return what is found wrong with source that defines `answer`."""
    sys.path.insert(0, str(FOLDER))
    from checks import Exercise

    path = tmp_path / "answers.py"
    path.write_text(source, encoding="utf-8")
    return check.verdict(Exercise("answer", **exercise), path)


def adding():
    from checks import rounding, shaped

    return {
        "arguments": shaped({"x": "n d"}),
        "expected": lambda x: x.sum(1),
        "tolerance": rounding(lambda x: abs(x).sum(1)),
    }


@checked
def test_a_wrong_answer_is_shown_with_the_smallest_case(tmp_path):
    finding = wrong(tmp_path, "def answer(x):\n    return x[:, :3].sum(1)", **adding())
    # three columns are right, so four are needed: of the sizes drawn, that is 16
    assert finding.kind == "wrong"
    assert finding.case.startswith("x = float32 (1, 16)")
    assert "it is off by" in finding.message and "expected: float32 (1,)" in str(
        finding
    )
    finding = wrong(tmp_path, "def answer(x):\n    return x.sum(0)", **adding())
    assert "the shape is (2,), not (1,)" in finding.message
    assert finding.case.startswith("x = float32 (1, 2)")
    assert not wrong(tmp_path, "def answer(x):\n    return x.sum(1)", **adding())


@checked
def test_rounding_is_forgiven_and_nothing_more(tmp_path):
    reversed_sum = "def answer(x):\n    return x[:, ::-1].cumsum(1)[:, -1]"
    assert not wrong(tmp_path, reversed_sum, **adding())
    assert wrong(
        tmp_path, reversed_sum.replace("[:, -1]", "[:, -1] * 1.00001"), **adding()
    )
    exact = {**adding(), "tolerance": 0}
    assert wrong(tmp_path, reversed_sum, **exact).kind == "wrong"


@checked
def test_an_exception_names_the_line_of_the_answer(tmp_path):
    source = "import numpy as np\ndef answer(x):\n    return np.reshape(x, '5')\n"
    finding = wrong(tmp_path, source, **adding())
    assert finding.kind == "exception"
    assert "at answers.py:3: return np.reshape(x, '5')" in finding.message
    finding = wrong(tmp_path, "def answer(x):\n    return (x\n", **adding())
    assert finding.kind == "cannot be imported" and "line 2" in finding.message
    assert wrong(tmp_path, "", **adding()).kind == "missing"


@checked
@pytest.mark.parametrize("handler", ["default_int_handler", "SIG_IGN"])
def test_an_answer_that_does_not_end_is_stopped(tmp_path, monkeypatch, handler):
    # what runs in the background ignores interrupts
    before = signal.signal(signal.SIGINT, getattr(signal, handler))
    try:
        stopped(tmp_path, monkeypatch)
        assert signal.getsignal(signal.SIGINT) is getattr(signal, handler)
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


def stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "SECONDS", 0.5)
    source = "def answer(x):\n    while len(x) > 1:\n        pass\n    return x.sum(1)"
    finding = wrong(tmp_path, source, **adding())
    assert finding.kind == "does not end"
    assert re.search(r"at answers.py:[23]: ", finding.message)
    assert re.match(r"x = float32 \([^1]", finding.case), "one row does end"


@checked
def test_a_law_is_asked_instead_of_a_result(tmp_path):
    def even(function, n):
        return None if function(n) % 2 == 0 else f"{function(n)} is odd"

    from hypothesis import strategies as st

    asked = {"arguments": {"n": st.integers(0, 99)}, "law": even}
    assert not wrong(tmp_path, "def answer(n):\n    return 2 * n", **asked)
    finding = wrong(tmp_path, "def answer(n):\n    return 2 * n + (n > 6)", **asked)
    assert (finding.message, finding.case) == ("15 is odd", "n = 7")
    assert wrong(tmp_path, "def answer(n): pass", **asked).kind == "not started"


@checked
def test_an_answer_may_write_into_what_it_is_given(tmp_path):
    source = "def answer(x):\n    x *= 2\n    return x.sum(1) / 2"
    assert not wrong(tmp_path, source, **adding())


@checked
@kernels
@interpreted
def test_a_kernel_with_a_race_is_wrong(tmp_path):
    solved = text("solutions", "20_first_kernel")
    exercises = {
        exercise.name: exercise for exercise in check.exercises("20_first_kernel")
    }
    for name in ("reverse", "one_adder"):
        assert solved.count("cuda.syncthreads()\n") == 3
        broken = tmp_path / "broken.py"
        broken.write_text(solved.replace("cuda.syncthreads()", "pass"), "utf-8")
        finding = check.verdict(exercises[name], broken)
        assert finding.kind == "wrong" and "race" in finding.message
    solved = text("solutions", "21_warps_and_tiles")
    (largest,) = [e for e in check.exercises("21_warps_and_tiles") if e.law]
    for old, new in (("(16, 8, 4, 2, 1)", "(16, 8, 4, 2)"), ("max(value", "min(value")):
        assert old in solved
        broken.write_text(solved.replace(old, new), "utf-8")
        finding = check.verdict(largest, broken)
        assert finding.kind == "wrong" and "y became" in finding.message


@pytest.mark.parametrize(
    "result, right, said",
    [
        (2, 2, None),
        (2, 3, "it differs"),
        ("ab", "ab", None),
        ("ab", "abc", "it differs"),
        ([np.nan, np.inf], np.array([np.nan, np.inf]), None),
        ([np.nan], np.array([1.0]), "at [0] it differs"),
        ([[1], [1, 2]], np.ones(2), "the result is no array"),
        (np.ones(2), (1, 2), "2 results were expected"),
        ((1, 2), (1, 3), "result 1: it differs"),
        ("one", 1, "it differs"),
    ],
)
def test_differences_are_said_in_words(result, right, said):
    found = check.difference(result, right)
    assert found == said or said and found.startswith(said)


def test_examples_in_the_docstrings_hold():
    assert doctest.testmod(check).failed == 0


def run(*arguments, **env):
    return subprocess.run(
        [sys.executable, FOLDER / "check.py", *arguments],
        env={**os.environ, "PYTHONPATH": str(FOLDER.parent), **env},
        capture_output=True,
        text=True,
    )


@checked
@kernels
@interpreted
def test_the_command_says_what_is_solved(tmp_path):
    before = sorted(FOLDER.parent.rglob(".hypothesis"))
    out = run("20", MINIGEN_CACHE=str(tmp_path))
    assert out.returncode == 1, out.stderr
    assert out.stdout.count("not started") == 3
    solved = run("20_first_kernel", "20", "--solution", MINIGEN_CACHE=str(tmp_path))
    assert solved.returncode == 0, solved.stdout
    assert solved.stdout.count(": solved, ") == 3, (
        "a lesson named twice is checked once"
    )
    assert sorted(FOLDER.parent.rglob(".hypothesis")) == before
    unknown = run("99")
    assert unknown.returncode == 2 and "no lesson 99 has exercises" in unknown.stderr
    assert all(printable(line) == line for line in solved.stdout.splitlines())


def test_without_hypothesis_the_command_names_what_brings_it(tmp_path):
    (tmp_path / "hypothesis.py").write_text(
        "raise ModuleNotFoundError('no', name='hypothesis')", encoding="utf-8"
    )
    out = run("20", PYTHONPATH=f"{tmp_path}{os.pathsep}{FOLDER.parent}")
    assert out.returncode == 2
    assert "hypothesis, which is not installed; pip install" in out.stdout
    assert "[check]" in out.stdout
