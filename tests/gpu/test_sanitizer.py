"""NVIDIA's own checker watches every kernel: stray accesses, races in shared memory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.device import MARKS, gpu

pytestmark = MARKS

PLACES = ("/usr/local/cuda/bin", "/opt/cuda/bin")


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_every_kernel_is_clean(tool):
    gpu()
    path = os.pathsep.join([os.environ.get("PATH", ""), *PLACES])
    sanitizer = shutil.which("compute-sanitizer", path=path)
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not installed: nothing was looked at")
    root = Path(__file__).parents[2]
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9",
               sys.executable, "-m", "tests.gpu.exercise"]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=500
    )
    said = done.stdout + done.stderr
    if "Device not supported" in said:
        pytest.skip("compute-sanitizer does not support this machine's GPU driver")
    assert done.returncode == 0 and "all is launched" in said, said[-6000:]
