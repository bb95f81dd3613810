"""Compare one thread with all threads, on a quiet machine and on a busy one.

A small and a large task are timed: digits of a model that ships, and a token of a
full-size model. Beside them no, one or two busy processes run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from minigen.errors import BackendError
from minigen.families import PRESETS
from minigen.threads import count

DIGITS, TOKEN, POSITION, TOKENS = ("arpg-mnist", 64), "aim-b", 64, 16
"""The model and the number of digits; the model of a token, the token's position in its
image, and how often it is drawn in a call: once alone is over too soon."""

BUSY = (0, 1, 2)
"""The numbers of busy processes."""

WARM = 3
"""Calls before timing starts: kernels measure whether one thread is faster."""

COUNT = """if True:
    import os, sys
    while os.getppid() == int(sys.argv[1]):
        for _ in range(1_000_000):
            pass"""
"""The program of a busy process: it ends when the one that started it has ended."""


@dataclass(frozen=True)
class Timing:
    """Seconds of what was timed in every call, by threads and busy processes beside."""

    what: str
    threads: int
    busy: int
    seconds: list[float]

    @property
    def median(self) -> float:
        return median(self.seconds)


def measure(
    runs: int = 5, say: Callable[[str], None] = lambda text: None
) -> list[Timing]:
    """Time `runs` calls of either kind for each number of threads, in turns.

    Raises BackendError without Numba. say hears of progress.
    """
    try:
        from minigen.target import numba
    except ImportError as error:
        raise BackendError(f"without Numba there are no threads: {error}") from None

    most = count()
    counts = (1, most) if most > 1 else (1,)
    jobs = []
    for name, new in ((DIGITS[0], new_digits), (TOKEN, new_token)):
        say(f"{name}: loading and compiling")
        jobs.append(new())
    found = []
    try:
        for busy in BUSY:
            say(f"{busy} busy processes beside")
            with beside(busy):
                for what, call, times in jobs:
                    timings = [Timing(what, count, busy, []) for count in counts]
                    _time(timings, call, times, runs, numba)
                    found += timings
    finally:
        numba.set_num_threads(most)
    return found


def _time(timings, call, times, runs, numba):
    for turn in range(-WARM, runs):
        # who goes first changes, so that neither has the quieter machine
        for timing in timings if turn % 2 else reversed(timings):
            numba.set_num_threads(timing.threads)
            start = time.perf_counter()
            call()
            if turn >= 0:
                timing.seconds.append((time.perf_counter() - start) / times)


def new_digits() -> tuple[str, Callable[[], object], int]:
    """Return what is timed, a function that draws it, and how often it does."""
    from minigen.pipeline import load

    name, count = DIGITS
    pipe = load(name, backend="numba")
    labels = [i % 10 for i in range(count)]
    return f"{count} digits of {name}", lambda: pipe.sample(labels), 1


def new_token() -> tuple[str, Callable[[], object], int]:
    """Return the same for a token, by stand-in weights."""
    from minigen import backends
    from minigen.bench import growth, weights

    config, ops = PRESETS[TOKEN], backends.table("numba")
    arrays = weights.model(config, "float32", ops).weights
    state = growth.state_at(ops, arrays, config, POSITION)
    step = growth.new_step(ops, arrays, config, POSITION, state)
    return f"a token of {TOKEN}", lambda: [step() for _ in range(TOKENS)], TOKENS


@contextmanager
def beside(count: int) -> Iterator[None]:
    """Run `count` busy processes while the block runs."""
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", COUNT, str(os.getpid())])
            stack.callback(process.wait)
            stack.callback(process.kill)
        if count:
            # Python takes a moment to start
            time.sleep(0.5)
        yield


def rows(found: list[Timing]) -> list[tuple[str, ...]]:
    """Return a table of medians: a header, and a row for each kind and thread count."""
    beside = ("nothing beside", "1 busy process", "2 busy processes")
    table = [("", "threads", *beside)]
    for what in dict.fromkeys(timing.what for timing in found):
        for threads in sorted({timing.threads for timing in found}):
            times = [t for t in found if (t.what, t.threads) == (what, threads)]
            cells = [f"{1000 * timing.median:.3g} ms" for timing in times]
            table.append((what, str(threads), *cells))
    return table


def is_quiet() -> bool:
    """Return whether the machine was nearly idle in the last minute."""
    return not hasattr(os, "getloadavg") or os.getloadavg()[0] < 0.5
