"""A side of a measurement: a process of its own, which answers in lines of JSON.

So thread pools do not compete, and memory is counted for each. Whatever a side answers
is a JSON object in a line; {"error": message} says why it cannot go on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from minigen.errors import MinigenError


@contextmanager
def start(module: str, *arguments: str, threads: int) -> Iterator[subprocess.Popen]:
    """Run a module with so many threads of every library, until the block ends."""
    from minigen.target import ADDED

    names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    given = {f"{name}_NUM_THREADS": str(threads) for name in names}
    # each of OpenMP's threads on a core of its own: a system may wake the second one
    # beside the first, and leave it there
    given["OMP_PROC_BIND"] = os.environ.get("OMP_PROC_BIND", "true")
    # how threads wait is each side's own choice, unless the user made it
    kept = {name: value for name, value in os.environ.items() if name not in ADDED}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**kept, **given},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def read(process: subprocess.Popen) -> dict:
    """Return what the process answers next. Raises MinigenError if it has ended."""
    # a library may print something of its own
    for line in process.stdout:
        if line.startswith("{"):
            answer = json.loads(line)
            if "error" in answer:
                raise MinigenError(answer["error"])
            return answer
    raise MinigenError(
        f"the process that is measured stopped with status {process.wait()}; what it "
        "said stands above"
    )


def ask(process: subprocess.Popen, line: str) -> dict:
    """Give the process a line and return its answer. Then it is stopped until asked.

    For threads of a library go on spinning while they wait for work, some for a fifth
    of a second, and would take a core from the next side.
    """
    _signal(process, "SIGCONT")
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    found = read(process)
    _signal(process, "SIGSTOP")
    return found


def _signal(process, name):
    # Windows has no such signals
    if hasattr(signal, name):
        process.send_signal(getattr(signal, name))
