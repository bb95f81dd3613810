"""Run numba-cuda's own tests on the interpreter, and on Numba's simulator of a GPU.

    git clone https://github.com/NVIDIA/numba-cuda   # of the version that is installed
    python -m tests.numba_cuda numba-cuda/numba_cuda/numba/cuda/tests

Prints how many of those that the simulator passes our backend passes too, and the
others with their last line. A file of tests runs in a process of its own, and may take
five minutes. `--only test_atomics` runs files whose names hold that; what a backend did
is kept in `--keep DIR`, and what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

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


def run(folder, file, backend) -> dict:
    """Return {test: "" if it passed, "skipped", or its last line} of a file."""
    with tempfile.TemporaryDirectory() as scratch:
        said = Path(scratch) / "said.xml"
        if backend != "simulator":
            begin = Path(scratch) / "sitecustomize.py"
            begin.write_text(PRETEND.format(backend=backend))
        environment = os.environ | {
            "MINIGEN_NUMBA_TESTS": str(folder),
            "NUMBA_ENABLE_CUDASIM": str(int(backend == "simulator")),
            "PYTHONPATH": os.pathsep.join([scratch, str(REPOSITORY), *sys.path[1:]]),
            "PYTHONWARNINGS": "ignore",
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["-p", "tests.numba_cuda.plugin", "--import-mode=importlib"]
        command += ["-c", os.devnull, "--rootdir", scratch, f"--junitxml={said}"]
        try:
            done = subprocess.run(
                [*command, str(file)], cwd=scratch, env=environment, text=True,
                capture_output=True, timeout=60 * MINUTES,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {f"{file.stem}: all": f"no end within {MINUTES} minutes"}
        if not said.exists():
            lines = (done.stdout + done.stderr).strip().splitlines() or ["no word"]
            return {f"{file.stem}: all": lines[-1]}
        cases = ElementTree.parse(said).iter("testcase")
        return dict(_outcome(file.stem, case) for case in cases)


def _outcome(file, case):
    name = f"{file}{case.get('classname')}.{case.get('name')}"
    for kind in ("failure", "error"):
        found = case.find(kind)
        if found is not None:
            text = (found.get("message") or found.text or kind).strip()
            return name, (text.splitlines() or [kind])[0][:300]
    return name, "" if case.find("skipped") is None else "skipped"


def outcomes(folder, backend, only, workers, keep) -> dict:
    """Return what all tests of a folder do on a backend."""
    kept = keep and keep / f"{backend}.json"
    done = json.loads(kept.read_text()) if kept and kept.exists() else {}
    files = [
        file
        for file in sorted(folder.rglob("test_*.py"))
        if only in file.stem and file.parent.name not in SKIPPED
    ]
    left = [file for file in files if file.stem not in done]
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda file: run(folder, file, backend), left)
        for file, outcome in zip(left, found, strict=True):
            done[file.stem] = outcome
            print(f"{backend}: {file.stem}", file=sys.stderr)
            if kept:
                kept.write_text(json.dumps(done, indent=1))
    return {test: said for file in files for test, said in done[file.stem].items()}


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
    how = given.only, given.workers, given.keep
    theirs = outcomes(folder, "simulator", *how)
    ours = outcomes(folder, given.backend, *how)
    passed = {test for test, said in theirs.items() if not said}
    both = {test for test in passed if ours.get(test) == ""}
    more = {test for test, said in ours.items() if not said} - passed
    for test in sorted(passed - both):
        print(f"{test}: {ours.get(test, 'was not found')}")
    print(
        f"\n{len(both)} of {len(passed)} tests that the simulator passes are passed by "
        f"{given.backend} ({len(both) / max(1, len(passed)):.1%}), and {len(more)} more"
    )
    raise SystemExit(len(both) < 0.95 * len(passed))


if __name__ == "__main__":
    main()
