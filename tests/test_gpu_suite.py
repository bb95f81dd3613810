"""The tests that need a GPU: left out unless asked for, and failures without one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pytest_on(*arguments):
    """Run pytest where no GPU can be seen; return its exit status and what it said."""
    hidden = {"CUDA_VISIBLE_DEVICES": "-1", "NUMBA_DISABLE_CUDA": "0"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env=os.environ | hidden,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_they_are_deselected_unless_asked_for():
    status, said = pytest_on("tests/gpu", "--collect-only")
    # 5: nothing was left to run
    assert status == 5 and re.search(r"no tests collected \(\d+ deselected\)", said)


@pytest.mark.needs("compiler")
def test_asked_for_without_a_gpu_they_fail_and_say_what_mends_it():
    files = ["tests/gpu/test_arrays.py", "tests/gpu/test_graphs.py"]
    status, said = pytest_on("-m", "gpu", "--tb=line", *files)
    assert status == 1
    assert "BackendError" in said and "nvidia-smi" in said
    assert re.search(r"\d+ failed", said)
    assert not re.search(r"\d+ (passed|skipped)", said)


def test_golden_cases_are_replayed_on_cuda_alone_where_a_gpu_is_asked():
    status, said = pytest_on("-m", "gpu", "--collect-only", "tests/parity")
    assert status == 0
    cases = [line for line in said.splitlines() if "test_case[" in line]
    assert cases and all(line.endswith("-cuda]") for line in cases)


def test_no_result_is_claimed_that_was_not_recorded():
    folder = ROOT / "tests" / "gpu_results"
    said = (folder / "README.md").read_text()
    recorded = [path.name for path in folder.iterdir() if path.name != "README.md"]
    assert ("None has been recorded yet" in said) == (not recorded)
    for path in folder.glob("*.json"):
        about = json.loads(path.read_text())["about"]
        assert about["gpu"] and about["sources"]
    # its command is what the tests and the bench understand
    (command,) = re.findall(r"^NAME=.*$", said, re.MULTILINE)
    assert (
        "pytest tests -m gpu" in command
        and "python -m minigen bench gpu --json" in command
    )
