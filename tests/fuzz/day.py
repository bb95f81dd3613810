"""A day of one user, in one process: its memory, threads and open files stay flat.

python -m tests.fuzz day --count 2000

In each round every shipped generator draws images into folders, with one thread and
with two; drawn tasks of all kinds are replayed; a folder is evaluated; a lesson runs.
What the process holds is counted after each round. The first two rounds fill what is
kept on purpose (kernels, weights, plans); from then on nothing may grow.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import io
import os
import random
import runpy
import shutil
import tempfile
from dataclasses import astuple, dataclass
from itertools import cycle
from pathlib import Path
from unittest import mock

from minigen.cpu import buffers
from minigen.words import table
from tests.fuzz import replays, running

MODELS = dict.fromkeys(replays.MODELS)
"""The shipped generators, each once."""

THREADS = (1, 2)
"""Each draws the same images with so many threads."""

TASKS = 4
"""Pictures of a round that are drawn again the same."""

FILLED = 2
"""Rounds after which all that is kept has been filled."""

GROWN = 16e6
"""Bytes that a process may grow by in half a day, which what malloc keeps moves by."""

LESSONS = Path(__file__).parents[2] / "lessons"


@dataclass(frozen=True)
class Held:
    """What this process holds: bytes in memory, threads, open files, files it wrote."""

    memory: int
    threads: int
    open: int
    files: int


def main(arguments) -> int:
    """Live the day, print what was held after each round, and return a status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz day")
    parser.add_argument("--count", type=int, default=2000, help="images in all")
    parser.add_argument("--rounds", type=int, default=10, help="at least 6")
    parser.add_argument("--backend", default="numba")
    given = parser.parse_args(arguments)
    if given.rounds < 6:
        parser.error(f"--rounds {given.rounds} leave too few to compare; say 6 or more")
    rounds = live(given.count, given.rounds, given.backend)
    print(table([
        ("round", "MB", "threads", "open files", "files"),
        *((f"{i}", f"{held.memory / 1e6:.1f}", *map(str, astuple(held)[1:]))
          for i, held in enumerate(rounds, 1)),
    ], right=range(5)))  # fmt: skip
    found = grown(rounds)
    print(found or f"nothing grew after round {FILLED}")
    return int(bool(found))


def live(count: int, rounds: int, backend: str) -> list[Held]:
    """Return what was held after each round of a day in which `count` images are drawn.

    Raises RuntimeError where a command fails.
    """
    each = max(1, round(count / (rounds * len(MODELS) * len(THREADS) * 10)))
    lessons, held = cycle(sorted(LESSONS.glob("[0-9]*.py"))), []
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            command(replays.DIGIT)
            for number in range(rounds):
                work(number, each, backend)
                teach(next(lessons))
                held.append(look())
        finally:
            os.chdir(before)
    return held


def work(number: int, each: int, backend: str):
    """Draw `each` image of every class by every model, and do what one does then."""
    for model in MODELS:
        for threads in THREADS:
            line = f"sample {model} --class 0-9 --count {each} --seed {number}"
            line += f" --threads {threads}" * (backend == "numba")
            command(f"{line} --backend {backend} --out drawn/")
            command("evaluate drawn --npz drawn.npz")
            shutil.rmtree("drawn")
    chance = random.Random(number)
    for _ in range(TASKS):
        line = replays.draw(chance, backend)
        if found := replays.wrong(line, batch=chance.randint(1, 4)):
            raise RuntimeError(f"{line}\n{found[0]}")


def command(line: str):
    """Run a command line in this process; raise RuntimeError where it fails."""
    done = running.invoke(line.split())
    if done.exit_code:
        raise RuntimeError(f"minigen {line}\n{done.output} {done.exception!r}")


def teach(lesson: Path):
    """Run a lesson in this process, without what it prints and draws."""
    with (
        tempfile.TemporaryDirectory() as pictures,
        mock.patch.dict(os.environ, MINIGEN_PICTURES=pictures),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        runpy.run_path(str(lesson), run_name="__main__")


def look() -> Held:
    """Return what this process holds now, without what it keeps for the next arrays."""
    buffers._POOL.clear()
    gc.collect()
    with contextlib.suppress(AttributeError):
        # of glibc: memory that is free goes back to the system
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Held(
        memory=pages * os.sysconf("SC_PAGE_SIZE"),
        threads=len(os.listdir("/proc/self/task")),
        open=len(os.listdir("/proc/self/fd")),
        files=sum(path.is_file() for path in Path().rglob("*")),
    )


def grown(rounds: list[Held]) -> str:
    """Return what grew after round FILLED, in words.

    Of memory the least of the later half is compared with the least of the half before:
    lessons and models that take more for a while come and go, what leaks stays.
    """
    later, found = rounds[FILLED:], []
    for name in ("threads", "open", "files"):
        by = max(getattr(held, name) for held in later) - getattr(
            rounds[FILLED - 1], name
        )
        found += [f"{name} grew by {by}"] if by > 0 else []
    half = len(later) // 2
    first, last = (min(h.memory for h in some) for some in (later[:half], later[half:]))
    if last - first > GROWN:
        found.append(f"memory grew by {(last - first) / 1e6:.1f} MB")
    return "; ".join(found)
