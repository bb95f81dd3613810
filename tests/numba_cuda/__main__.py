"""Run numba-cuda's own tests on a backend, and on Numba's simulator of a GPU.

    git clone https://github.com/NVIDIA/numba-cuda   # of the version that is installed
    pip install filecheck cffi                       # which its tests import
    python -m tests.numba_cuda numba-cuda/numba_cuda/numba/cuda/tests --backend ptx

Prints, of the tests that the simulator passes, those that our backend does not, each
under its reason (reasons.py) and with its last word, and then how many it passes: of
all, and of those that need nothing that a machine without a GPU has not. Only tests
that the simulator passes are run on ours. A file of tests runs in a process of its own,
and may take five minutes of a processor: what is not done by then is not passed.
`--only test_atomics` runs files whose names hold that; what a backend did is kept in
`--keep DIR`, and what is there is not run again.

Ends with 1 if less than 95 % pass, or if a test that has no reason does not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

from tests.numba_cuda.reasons import ELSEWHERE, REASONS

REPOSITORY = Path(__file__).parents[2]
MINUTES = 5
PRETEND = """
from minigen import simt
# what a kernel does is looked at by the tests themselves
meanwhile = simt.cuda(backend={backend!r}, watch=False)
meanwhile.__enter__()
"""
"""What every Python that a test starts begins with, as its sitecustomize."""

SKIPPED = ("benchmarks", "nocuda")
"""Folders that launch no kernel."""


def run(folder, backend, jobs, workers):
    """Yield (file, {test: "" if it passed, "skipped", or its last word}).

    jobs: {file: the names of its tests to run, or None for all of them}.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if backend != "simulator":
            begin = Path(scratch) / "sitecustomize.py"
            begin.write_text(PRETEND.format(backend=backend))
        environment = os.environ | {
            "MINIGEN_NUMBA_TESTS": str(folder),
            "NUMBA_ENABLE_CUDASIM": str(int(backend == "simulator")),
            "PYTHONPATH": os.pathsep.join([scratch, str(REPOSITORY), *sys.path[1:]]),
            "PYTHONWARNINGS": "ignore",
            # others only cost time
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        command = [sys.executable, "-m", "tests.numba_cuda.forked"]
        command += [str(workers), str(60 * MINUTES), backend]
        with subprocess.Popen(
            command, env=environment, text=True, cwd=scratch,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            process.stdin.write(json.dumps(jobs))
            process.stdin.close()
            for line in process.stdout:
                yield json.loads(line)


def outcomes(folder, backend, files, workers, keep, passed=None) -> dict:
    """Return what the tests of some files do on a backend.

    passed: the names of the tests to run, or None for all of them.
    """
    kept = keep and keep / f"{backend}.json"
    done = json.loads(kept.read_text()) if kept and kept.exists() else {}
    jobs = dict.fromkeys(file for file in files if file not in done)
    if passed is not None:
        jobs = {f: [n for n in passed if n.startswith(f"{f}::")] for f in jobs}
        done |= {file: {} for file, asked in jobs.items() if not asked}
        jobs = {file: asked for file, asked in jobs.items() if asked}
    for file, words in run(folder, backend, jobs, workers):
        done[file] = words
        print(f"{backend}: {file}", file=sys.stderr)
        if kept:
            kept.write_text(json.dumps(done, indent=1))
    return {test: word for file in files for test, word in done[file].items()}


def reason_of(test, backend) -> str:
    """Return why a test cannot pass on a backend, "" if no reason is known."""
    for (backends, reason), patterns in REASONS.items():
        known = any(fnmatch(test, pattern) for pattern in patterns.split())
        if known and backend in backends:
            return reason
    return ""


def report(passed, ours, backend) -> int:
    """Print what a backend does not pass, and the shares; return the exit status."""
    both = {test for test in passed if ours.get(test) == ""}
    reasons = {}
    for test in sorted(passed - both):
        reasons.setdefault(reason_of(test, backend), []).append(test)
    for reason, tests in sorted(reasons.items()):
        print(f"\n{reason or 'For no reason that is known'} ({len(tests)}):")
        for test in tests:
            word = ours.get(test, "was not found").splitlines() or [""]
            print(f"  {test}: {word[0][:200]}")
    away = {test for test in passed if reason_of(test, backend) in ELSEWHERE} - both
    for whose, some in (("", passed), (" and that make sense here", passed - away)):
        share = len(both) / max(1, len(some))
        print(
            f"\n{len(both)} of {len(some)} tests that the simulator passes{whose} are "
            f"passed by {backend} ({share:.1%})"
        )
    return int(len(both) < 0.95 * len(passed) or "" in reasons)


def main():
    """Run the tests on both, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backend", default="interpreter")
    parser.add_argument("--only", default="")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    folder = given.folder.resolve()
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
    files = [
        file.relative_to(folder).as_posix()
        for file in sorted(folder.rglob("test_*.py"))
        if given.only in file.stem and file.parent.name not in SKIPPED
    ]
    how = files, given.workers, given.keep
    theirs = outcomes(folder, "simulator", *how)
    passed = {test for test, word in theirs.items() if not word}
    ours = outcomes(folder, given.backend, *how, sorted(passed))
    raise SystemExit(report(passed, ours, given.backend))


if __name__ == "__main__":
    main()
