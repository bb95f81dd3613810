"""What mypy and pyright make of a program that uses minigen, right or wrong."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = ROOT / "tests" / "typing"


def lines_of_mypy(path, folder):
    """Return the lines in which `mypy --strict` finds an error."""
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    command += ["--cache-dir", str(folder), "--config-file", os.devnull, str(path)]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    said = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True
    )
    assert said.returncode in (0, 1), said.stderr
    return {int(n) for n in re.findall(rf"{path.name}:(\d+): error", said.stdout)}


def lines_of_pyright(path, folder):
    """Return the lines in which pyright, in its strict mode, finds an error."""
    (folder / path.name).write_text(path.read_text())
    project = {"include": [path.name], "extraPaths": [str(ROOT)]}
    project |= {"typeCheckingMode": "strict", "reportUnusedExpression": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(project))
    said = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "-p", str(folder)],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode in (0, 1), said.stderr
    found = json.loads(said.stdout)["generalDiagnostics"]
    return {
        each["range"]["start"]["line"] + 1
        for each in found
        if each["severity"] == "error"
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a checker keeps what it has learned of NumPy."""
    return tmp_path_factory.mktemp("checkers")


CHECKERS = {"mypy": lines_of_mypy, "pyright": lines_of_pyright}


@pytest.mark.parametrize(
    "checker", [pytest.param(name, marks=pytest.mark.needs(name)) for name in CHECKERS]
)
@pytest.mark.parametrize("program", ["right.py", "wrong.py"])
def test_a_checker_finds_the_errors_that_are_marked(checker, program, folder):
    path = PROGRAMS / program
    source = path.read_text().splitlines()
    marked = {n for n, line in enumerate(source, 1) if line.endswith("# error")}
    assert CHECKERS[checker](path, folder) == marked
