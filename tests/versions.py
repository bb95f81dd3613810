"""The quick tests on every Python, with the lowest and the newest versions, in a table.

python -m tests.versions                       a row for each of ROWS, one after another
python -m tests.versions lowest                of one kind; newest, without-numba
python -m tests.versions newest --python python3.13
python -m tests.versions -- tests/ops -x       what comes after -- goes to pytest

Each row has an environment of its own. The lowest versions have wheels for Python 3.10
to 3.12 only. Of a Python that is not here, pip is asked which wheels it would install.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from minigen.words import table
from tests.pip_lines import ROOT, project

ROWS = (
    ("lowest", "python3.10"),
    ("newest", "python3.10"),
    ("newest", "python3.11"),
    ("newest", "python3.12"),
    ("newest", "python3.13"),
    ("newest", "python3.14"),
    ("without-numba", "python3.11"),
)
"""What is tried, on which Python."""

SHOWN = ("numpy", "numba", "numba-cuda")
EXTRA = "test"


def lowest(requirement: str) -> str:
    """Return a requirement that only its lowest version meets.

    >>> lowest("numba-cuda[cu13]>=0.30; sys_platform != 'darwin'")
    "numba-cuda[cu13]~=0.30.0; sys_platform != 'darwin'"
    >>> lowest("numpy>=1.26"), lowest("rich>=13"), lowest("Pillow>=10.1.1")
    ('numpy~=1.26.0', 'rich~=13.0.0', 'Pillow~=10.1.1')
    >>> lowest("numpy<2.5")
    'numpy<2.5'
    """

    def series(bound):
        numbers = bound[1].split(".")
        return "~=" + ".".join(numbers + ["0"] * (3 - len(numbers)))

    return re.sub(r">=([\d.]+)", series, requirement)


def wanted(which: str) -> list[str]:
    """Return what an environment of a kind holds beside minigen."""
    found = project()
    named = [*found["dependencies"], *found["optional-dependencies"][EXTRA]]
    if which == "without-numba":
        return [one for one in named if not one.startswith("numba")]
    return [lowest(one) for one in named] if which == "lowest" else named


def is_here(python: str) -> bool:
    """Say whether an interpreter can be run: pyenv has names for those that it lacks.

    >>> is_here(sys.executable), is_here("python0.0")
    (True, False)
    """
    asked = shutil.which(python) and subprocess.run([python, "-V"], capture_output=True)
    return bool(asked) and asked.returncode == 0


def run(which: str, python: str, rest: list[str]) -> tuple[int, list[str]]:
    """Run the tests in a new environment; return pytest's status, and a table's row."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        ours = Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python"
        pip = [ours, "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-q", "--upgrade", *wanted(which)], check=True)
        # neither may change what was chosen
        subprocess.run([*pip, "install", "-q", "--no-deps", ROOT], check=True)
        if which != "without-numba":
            subprocess.run([*pip, "check"], check=True)
        listed = subprocess.run(
            [*pip, "list", "--format=json"], check=True, capture_output=True, text=True
        ).stdout
        versions = {one["name"]: one["version"] for one in json.loads(listed)}
        environment = {**os.environ, "MINIGEN_CACHE": str(Path(folder) / "kernels")}
        tests = [ours, "-m", "pytest", *(rest or ["-n", "auto"])]
        start, said = time.monotonic(), ""
        process = subprocess.Popen(
            tests, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        for line in process.stdout:
            print(line, end="", flush=True)
            said = line.strip() or said
        minutes = (time.monotonic() - start) / 60
        shown = [versions.get(name, "none") for name in SHOWN]
        ended = re.sub(r" in \d.*", "", said)
        return process.wait(), [*shown, ended, f"{minutes:.0f} min"]


def resolve(which: str, python: str) -> tuple[int, list[str]]:
    """Ask pip which wheels a Python that is not here would get; return likewise."""
    version = python.removeprefix("python")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        ask = ["-q", "--dry-run", "--ignore-installed", "--only-binary=:all:"]
        ask += ["--target", folder, "--python-version", version, "--report", report]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
        done = subprocess.run([*pip, *ask, *wanted(which)])
        if done.returncode:
            return done.returncode, ["none"] * len(SHOWN) + ["no wheels", ""]
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    versions = {one["metadata"]["name"]: one["metadata"]["version"] for one in found}
    return 0, [*map(versions.get, SHOWN), "not here: its wheels were resolved", ""]


def main() -> int:
    """Run what the command line says; return 0 if all tests passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.versions")
    kinds = [*dict.fromkeys(which for which, _ in ROWS)]
    parser.add_argument("which", nargs="?", choices=kinds)
    parser.add_argument("--python", help="one interpreter, instead of those of ROWS")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:split])
    rows = [row for row in ROWS if options.which in (None, row[0])]
    if options.python:
        rows = [*dict.fromkeys((which, options.python) for which, _ in rows)]
    failed, shown = 0, [("what", "Python", *SHOWN, "quick tests", "took")]
    for which, python in rows:
        print(f"{which} versions on {python}", flush=True)
        if is_here(python):
            status, row = run(which, python, sys.argv[split + 1 :])
        else:
            status, row = resolve(which, python)
        failed |= status
        shown.append((which, python.removeprefix("python"), *row))
        print(table(shown), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
