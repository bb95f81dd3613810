"""Time NumPy beside kernels for each generator that ships: what `auto` decides by.

Each side runs in a process of its own, and kernels twice: with an empty folder for
compiled kernels, and once more with what the first process has left there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from tempfile import TemporaryDirectory

from minigen import choosing
from minigen.catalogue import TOKENIZERS
from minigen.choosing import Times
from minigen.families import PRESETS, family_of
from minigen.words import say_json

BATCH = 8
"""Images that are drawn together, as by default; a single one is timed, too."""

LEAST = 1e-9
"""Seconds that anything takes."""


@dataclass(frozen=True)
class Crossing:
    """What a generator's images take, and from how many on kernels are faster.

    numpy, numba: seconds of an image in a batch; kept, compiled: the number of images
    from which on a process with kernels is done first, if kernels are kept from an
    earlier one and if they are not; auto: up to how many are drawn in NumPy by these
    times (`minigen.choosing`).
    """

    model: str
    times: Times
    numpy: float
    numba: float
    kept: int
    compiled: int
    auto: int


@dataclass(frozen=True)
class Side:
    """Seconds of a process until it has drawn a batch and an image, less those that
    drawing them takes; of an image alone; and of a batch."""

    start: float
    one: float
    batch: float


def measure(
    models: Iterable[str] = tuple(TOKENIZERS),
    runs: int = 5,
    say: Callable[[str], None] = lambda text: None,
) -> list[Crossing]:
    """Measure each generator, in medians of `runs` calls. say hears of progress."""
    found = []
    for model in models:
        with TemporaryDirectory() as cache:
            sides = []
            for backend in ("numpy", "numba", "numba"):
                known = " with kept kernels" if len(sides) == 2 else ""
                say(f"{model} on {backend}{known}")
                sides.append(time_side(model, backend, runs, cache))
        found.append(crossing(model, *sides))
    return found


def time_side(model: str, backend: str, runs: int, cache: str) -> Side:
    """Run a process; cache: the folder in which it keeps what it compiles."""
    command = [sys.executable, "-m", __name__, model, backend, str(runs)]
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "MINIGEN_CACHE": cache},
    ) as process:
        process.stdout.readline()
        first = time.perf_counter() - start
        times = json.loads(process.stdout.readline())
    return Side(first - times["one"] - times["batch"], **times)


def crossing(model: str, numpy: Side, compiling: Side, numba: Side) -> Crossing:
    """Return what follows from what three processes took."""
    configs, counts = choosing.drawn_by_default(model, PRESETS[model])
    work = [choosing.work(*configs, n, counts, BATCH) for n in (1, BATCH)]
    price = max(compiling.start - numpy.start, LEAST)
    load = max(numba.start - numpy.start, LEAST)
    times = Times(rates(numpy, work), rates(numba, work), price, load)
    gain = (numpy.batch - numba.batch) / BATCH

    def images(seconds):
        return round(seconds / gain) + 1 if gain > 0 else 0

    return Crossing(
        model, times, numpy.batch / BATCH, numba.batch / BATCH, images(load),
        images(price), choosing.most(*configs, counts, BATCH, times),
    )  # fmt: skip


def rates(side: Side, work: list[tuple[float, int]]) -> tuple[float, float]:
    """Return the seconds of 10**9 operations and of a step.

    work: operations and steps, of an image alone and of a batch.
    """
    (few, steps), (many, _) = work
    operation = max((side.batch - side.one) / (many - few), LEAST * LEAST)
    step = (side.one - operation * few) / steps
    if step < 0:
        # a batch takes longer than its images one by one
        operation, step = side.batch / many, 0.0
    return operation * 1e9, step


def rows(found: list[Crossing]) -> list[tuple[str, ...]]:
    """Return a table: a header, and a row for each generator."""
    head = "", "NumPy", "kernels", "to load", "to compile", "kept", "compiled", "auto"
    table = [head]
    for one in found:
        images = (f"{1000 * seconds:.3g} ms" for seconds in (one.numpy, one.numba))
        starts = (f"{s:.2g} s" for s in (one.times.load, one.times.compile))
        ends = str(one.kept), str(one.compiled), str(one.auto)
        table.append((f"`{one.model}`", *images, *starts, *ends))
    return table


def source(found: list[Crossing]) -> list[str]:
    """Return the lines of `minigen.choosing.TIMES`."""
    lines = []
    for one in found:
        t = one.times
        pairs = (f"({a:.2g}, {b:.2g})" for a, b in (t.numpy, t.numba))
        starts = f"{t.compile:.2g}, {t.load:.2g}"
        name = family_of(PRESETS[one.model]).name
        lines.append(f'    "{name}": Times({", ".join(pairs)}, {starts}),')
    return lines


def draw(model: str, backend: str, runs: int) -> None:
    """Draw a batch and an image and say so on stdout; then what either takes."""
    from minigen.pipeline import load

    pipe = load(model, backend=backend)
    labels = {"batch": range(BATCH), "one": range(1)}
    for some in labels.values():
        pipe.sample(some, batch=BATCH)
    say_json({"ready": True}, indent=None)
    seconds = {name: [] for name in labels}
    for _ in range(runs):
        for name, some in labels.items():
            start = time.perf_counter()
            pipe.sample(some, batch=BATCH)
            seconds[name].append(time.perf_counter() - start)
    middle = {name: median(times) for name, times in seconds.items()}
    say_json(middle, indent=None)


if __name__ == "__main__":
    draw(sys.argv[1], sys.argv[2], int(sys.argv[3]))
