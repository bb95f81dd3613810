"""The fast kernels of a CPU beside the plain ones: what each rung gains.

A function of `cpu.py` may take different ways for arguments of different sizes. Each
way is a rung above `cpu_plain.py`, and is timed with sizes of a full model.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from statistics import median

from minigen import backends
from minigen.bench.gpu.cases import Array, case
from minigen.bench.gpu.timing import rounds
from minigen.cpu.packed import pack_weight
from minigen.threads import all_of_them

LEAST = 0.05
"""The least seconds of a run."""


def _linear(b, n):
    x, w, y = Array((b, n, 1024)), Array((4096, 1024)), Array((b, n, 4096))
    return case(f"{b} x {n} rows, 1024 to 4096", "linear", y, x, w)


def _attention(b, m, n):
    q, k = Array((b, m, 16, 64)), Array((b, n, 16, 64))
    name = f"{b} x {m} queries of 16 heads, {n} keys"
    return case(name, "attention", q, q, k, k, n)


def _conv3x3(side, c):
    x, w, bias = Array((1, side, side, c)), Array((c, 3, 3, c)), Array((c,))
    return case(f"{side} x {side}, {c} to {c}", "conv3x3", x, x, w, bias)


RUNGS = {
    "panels, few rows": _linear(2, 1),
    "panels, a dozen rows": _linear(2, 6),
    "panels, many rows": _linear(1, 256),
    "one query, keys fetched ahead": _attention(2, 1, 256),
    "four scores at a time": _attention(2, 4, 256),
    "keys side by side": _attention(1, 256, 256),
    "patches times panels": _conv3x3(16, 256),
    "Winograd's products": _conv3x3(32, 256),
}
"""What a way of `cpu.py` is, and a call that takes it."""


@dataclass(frozen=True)
class Timing:
    """Seconds of each run of a call, by the plain kernel and by the fast one's way."""

    function: str
    given: str
    rung: str
    plain: list[float]
    fast: list[float]

    @property
    def gain(self) -> float:
        """The time of the plain kernel divided by that of the fast one."""
        return median(self.plain) / median(self.fast)


def functions(name: str) -> tuple[Callable, Callable]:
    """Return the plain function of this name and the fast one."""
    op = next(op for op, names in backends.OPS.items() if name in names)
    files = (f"minigen.ops.{op}.{file}" for file in ("cpu_plain", "cpu"))
    plain, fast = (getattr(importlib.import_module(file), name) for file in files)
    return plain, fast


def measure(
    runs: int = 5, say: Callable[[str], None] = lambda text: None
) -> list[Timing]:
    """Time both functions of each rung `runs` times, in turns.

    As in a model, arguments come from memory: calls take sets of arguments in turn,
    which together are larger than any cache.
    """
    found = []
    for rung, one in RUNGS.items():
        say(f"{one.function}, {one.name}")
        plain, fast = functions(one.function)
        timing = Timing(one.function, one.name, rung, [], [])
        sets = [one.make(seed) for seed in range(rounds(one.bytes))]
        turns = (
            (plain, cycle(sets), timing.plain),
            (fast, cycle(_packed(one.function, sets)), timing.fast),
        )
        with all_of_them():
            for run in range(-1, runs):
                for function, arguments, times in turns:
                    seconds = _seconds(function, arguments)
                    # the first run compiles
                    if run >= 0:
                        times.append(seconds)
        found.append(timing)
    return found


def _packed(function, sets):
    # weights as models hold them: packed once
    if function == "attention":
        return sets
    return [(x, pack_weight(w), *rest) for x, w, *rest in sets]


def _seconds(function, sets):
    # of a call; calls go on until all of them have taken long enough
    start, calls = time.perf_counter(), 0
    while True:
        function(*next(sets))
        calls += 1
        passed = time.perf_counter() - start
        if passed >= LEAST:
            return passed / calls


def rows(found: list[Timing]) -> list[tuple[str, ...]]:
    """Return a table of medians: a header, and a row for each rung."""
    table = [("function", "given", "rung", "plain", "fast", "times as fast")]
    for one in found:
        times = (f"{1000 * median(s):.3g} ms" for s in (one.plain, one.fast))
        name = f"`{one.function}`"
        table.append((name, one.given, one.rung, *times, f"{one.gain:.1f}"))
    return table
