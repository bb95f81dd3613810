"""What takes long in parts: a run of the tests takes one of four, by its commit.

Long searches are cut into parts, and so are tests that do the same for many kernels,
each a while (`@pytest.mark.in_parts`). So a run stays short, and another commit looks
elsewhere. Which part it is, pytest's first lines say, and its last how many tests are
in others; MINIGEN_PART=2 takes that one, MINIGEN_PART=all takes all. A test that is
named on the command line runs whatever its part is.
"""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

PARTS = 4


def share(count: int) -> tuple[int, int]:
    """Return the first case, and how many, that this run takes of `count` cases."""
    chosen = part()
    if chosen == "all":
        return 0, count
    first, end = (count * n // PARTS for n in (int(chosen), int(chosen) + 1))
    return first, end - first


def others(cases: list) -> list:
    """Return the cases that this run does not take: of every four all but one."""
    chosen = part()
    if chosen == "all":
        return []
    return [case for n, case in enumerate(cases) if n % PARTS != int(chosen)]


def part() -> str:
    """Return which part this run takes: a number, or all.

    Raises ValueError if MINIGEN_PART names another.
    """
    chosen = os.environ.get("MINIGEN_PART") or str(_commit() % PARTS)
    if chosen not in ("all", *map(str, range(PARTS))):
        raise ValueError(f"MINIGEN_PART={chosen}: wanted 0 to {PARTS - 1}, or all")
    return chosen


@functools.cache
def _commit() -> int:
    # where there is no commit, as in an sdist, everybody takes the same part
    command = ["git", "rev-parse", "HEAD"]
    try:
        told = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True
        )
    except OSError:
        return 0
    return int(told.stdout.strip() or "0", 16)
