"""Time every kernel on every side, in turns, and compare what comes of them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from minigen import target
from minigen.bench.process import ask, read, start
from minigen.bench.referee.kernels import CASES
from minigen.bench.referee.worker import SIDES
from minigen.errors import MinigenError

CLOSE = 1e-4
"""How far apart results may be, relative to the largest: sums are taken in other
orders, and the simulator knows no float32 of a number that is Python's."""


@dataclass(frozen=True)
class Timing:
    """Seconds of each launch of a kernel, by side; threads: of its grid.

    A side that does not know what the kernel does has none.
    """

    kernel: str
    threads: int
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def gain(self, slow, fast) -> float:
        """Return how many times as fast one side is as another; NaN if one has none."""
        if not (self.seconds[slow] and self.seconds[fast]):
            return math.nan
        return median(self.seconds[slow]) / median(self.seconds[fast])


def sides() -> tuple[str, ...]:
    """Return the sides that are here: PTX needs the compiler."""
    has = target.has_compiler()
    return tuple(side for side in SIDES if has or not side.startswith("ptx"))


def measure(names, runs: int, say: Callable[[str], None]) -> list[Timing]:
    """Launch each kernel `runs` times on each side, in turns; check the results.

    The first launch, which translates and compiles, is not counted.
    """
    here = sides()
    with ExitStack() as stack:
        workers = {}
        for side in here:
            before = os.environ.get("NUMBA_ENABLE_CUDASIM")
            os.environ["NUMBA_ENABLE_CUDASIM"] = str(int(side == "simulator"))
            try:
                worker = start("minigen.bench.referee.worker", side, threads=1)
                workers[side] = stack.enter_context(worker)
            finally:
                if before is None:
                    del os.environ["NUMBA_ENABLE_CUDASIM"]
                else:
                    os.environ["NUMBA_ENABLE_CUDASIM"] = before
            read(workers[side])
        found = []
        for name in names:
            case = CASES[name]
            threads = int(np.prod(case.grid) * np.prod(case.block))
            timing = Timing(name, threads, {side: [] for side in here})
            for turn in range(-1, runs):
                say(f"{name}, launch {turn + 2} of {runs + 1}")
                answers = {side: ask(workers[side], name) for side in here}
                _expect_same(name, answers)
                if turn >= 0:
                    for side, answer in answers.items():
                        if "refused" in answer:
                            continue
                        timing.seconds[side].append(answer["seconds"])
            found.append(timing)
    return found


def _expect_same(name, answers):
    first, *others = (side for side in answers if "refused" not in answers[side])
    for side in others:
        for one, other in zip(
            answers[first]["arrays"], answers[side]["arrays"], strict=True
        ):
            one, other = np.array(one), np.array(other)
            allowed = CLOSE * np.abs(one).max(initial=0)
            if not (np.abs(one - other) <= allowed).all():
                raise MinigenError(f"{name}: {side} does not give what {first} gives")


def rows(found: list[Timing]) -> list[tuple[str, ...]]:
    """Return a table of medians: a header, a row for each kernel, and the median."""
    here = [*found[0].seconds]
    gains = {
        f"{fast} to {slow}": (slow, fast)
        for slow, fast in (
            # the simulator looks at nothing either
            ("simulator", "interpreter, unwatched"),
            ("simulator", "ptx, unwatched"),
            ("interpreter, unwatched", "ptx, unwatched"),
            ("interpreter", "ptx"),
        )
        if fast in here
    }
    table = [("kernel", "threads", *here, *gains)]
    for one in found:
        times = [_milliseconds(one.seconds[side]) for side in here]
        times += [_times(one.gain(*pair)) for pair in gains.values()]
        table.append((f"`{one.kernel}`", str(one.threads), *times))
    middle = [
        [g for g in (one.gain(*pair) for one in found) if not math.isnan(g)]
        for pair in gains.values()
    ]
    middle = [_times(median(each)) if each else "-" for each in middle]
    table.append(("median", "", *("" for _ in here), *middle))
    return table


def _milliseconds(seconds):
    return f"{1000 * median(seconds):.3g} ms" if seconds else "-"


def _times(gain):
    return "-" if math.isnan(gain) else f"{gain:.1f}"
