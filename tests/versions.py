"""The quick tests with the lowest versions that are allowed, and with the newest.

python -m tests.versions                          both, each in a fresh environment
python -m tests.versions lowest --python python3.11
python -m tests.versions newest -- tests/ops -x   what comes after -- goes to pytest

The lowest versions have wheels for Python 3.10 to 3.12 only: the oldest of these that
is here is taken.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.pip_lines import ROOT, project

OLDEST = ("python3.10", "python3.11", "python3.12")
EXTRA = "test"


def lowest(requirement: str) -> str:
    """Return a requirement that only its lowest version meets.

    >>> lowest("numba-cuda[cu13]>=0.30; sys_platform != 'darwin'")
    "numba-cuda[cu13]~=0.30.0; sys_platform != 'darwin'"
    >>> lowest("numpy>=1.26"), lowest("rich>=13"), lowest("typer>=0.15.4")
    ('numpy~=1.26.0', 'rich~=13.0.0', 'typer~=0.15.4')
    >>> lowest("numpy<2.5")
    'numpy<2.5'
    """

    def series(bound):
        numbers = bound[1].split(".")
        return "~=" + ".".join(numbers + ["0"] * (3 - len(numbers)))

    return re.sub(r">=([\d.]+)", series, requirement)


def run(which: str, python: str, rest: list[str]) -> int:
    """Run the tests with the lowest or the newest versions; return pytest's status."""
    found = project()
    wanted = [*found["dependencies"], *found["optional-dependencies"][EXTRA]]
    if which == "lowest":
        wanted = [lowest(requirement) for requirement in wanted]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        ours = Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python"
        pip = [ours, "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-q", "--upgrade", *wanted], check=True)
        # neither may change what was chosen
        subprocess.run([*pip, "install", "-q", "--no-deps", ROOT], check=True)
        subprocess.run([*pip, "check"], check=True)
        subprocess.run([*pip, "list"], check=True)
        environment = {**os.environ, "MINIGEN_CACHE": str(Path(folder) / "kernels")}
        tests = [ours, "-m", "pytest", *(rest or ["-n", "auto"])]
        return subprocess.run(tests, cwd=ROOT, env=environment).returncode


def main() -> int:
    """Run what the command line says; return 0 if all tests passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.versions")
    parser.add_argument("which", nargs="?", choices=("lowest", "newest", "both"))
    parser.add_argument("--python", help="the interpreter, by default see above")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:split])
    oldest = next(filter(shutil.which, OLDEST), sys.executable)
    failed = 0
    for which in ("lowest", "newest"):
        if options.which in (which, "both", None):
            default = oldest if which == "lowest" else sys.executable
            python = options.python or default
            print(f"{which} versions on {python}", flush=True)
            failed |= run(which, python, sys.argv[split + 1 :])
    return failed


if __name__ == "__main__":
    sys.exit(main())
