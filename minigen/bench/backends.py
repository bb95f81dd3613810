"""Time NumPy beside kernels for each generator that ships: what `auto` decides by.

Each side is the command `sample` in a process of its own, and kernels twice: with an
empty folder for compiled kernels, and once more with what the first process has left
there. What drawing itself takes is timed in another process, where all is loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from minigen import choosing
from minigen.catalogue import TOKENIZERS
from minigen.choosing import Times
from minigen.families import PRESETS, family_of
from minigen.words import say_json

BATCH = 8
"""Images that are drawn together, as by default; a single one is timed, too."""

MODELS = tuple(n for n in TOKENIZERS if not getattr(PRESETS[n], "control", 0))
"""Generators that ship; with control one draws as fast as without, so that is left."""

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
    """Seconds of a command that draws a batch and an image, of an image alone, and of a
    batch."""

    command: float
    one: float
    batch: float

    @property
    def start(self) -> float:
        """Seconds of the command that are not spent on drawing."""
        return self.command - self.one - self.batch


def measure(
    models: Iterable[str] = MODELS,
    runs: int = 5,
    say: Callable[[str], None] = lambda text: None,
) -> list[Crossing]:
    """Measure each generator, in medians of `runs` calls. say hears of progress."""
    found = []
    for model in models:
        with TemporaryDirectory() as cache:
            say(f"{model}: compiling")
            compiling = time_command(model, "numba", cache)
            sides = []
            for backend in ("numpy", "numba"):
                say(f"{model} on {backend}")
                command = time_command(model, backend, cache)
                sides.append(Side(command, **time_calls(model, backend, runs, cache)))
        found.append(crossing(model, *sides, compiling))
    return found


def time_command(model: str, backend: str, cache: str) -> float:
    """Return the seconds of `minigen sample`; cache: its folder for kernels."""
    out = str(Path(cache) / "drawn.png")
    draw = ("sample", model, "--class", "0", "--count", BATCH + 1, "--batch", BATCH)
    command = ["-m", "minigen", *map(str, draw), "--backend", backend, "--out", out]
    start = time.perf_counter()
    _run(command, cache)
    return time.perf_counter() - start


def time_calls(model: str, backend: str, runs: int, cache: str) -> dict[str, float]:
    """Return what an image alone and a batch take, once all is loaded."""
    return json.loads(_run(["-m", __name__, model, backend, str(runs)], cache))


def _run(command, cache):
    given = {**os.environ, "MINIGEN_CACHE": cache}
    done = subprocess.run(
        [sys.executable, *command], stdout=subprocess.PIPE, env=given, check=True
    )
    return done.stdout


def crossing(model: str, numpy: Side, numba: Side, compiling: float) -> Crossing:
    """Return what follows from these times; compiling: of the first command."""
    configs, counts = choosing.drawn_by_default(model, PRESETS[model])
    work = [choosing.work(*configs, n, counts, BATCH) for n in (1, BATCH)]
    price = max(compiling - numba.command + numba.start - numpy.start, LEAST)
    load = max(numba.start - numpy.start, LEAST)
    # as `source` prints them, so that the choice is that which they lead to
    pairs = [
        tuple(float(f"{rate:.2g}") for rate in rates(side, work))
        for side in (numpy, numba)
    ]
    times = Times(*pairs, *(float(f"{start:.2g}") for start in (price, load)))
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
    """Draw an image and a batch, and say on stdout what either takes."""
    from minigen.pipeline import load

    pipe = load(model, backend=backend)
    labels = {"one": range(1), "batch": range(BATCH)}
    seconds = {name: [] for name in labels}
    for run in range(-1, runs):
        for name, some in labels.items():
            start = time.perf_counter()
            pipe.sample(some, batch=BATCH)
            # the first run loads
            if run >= 0:
                seconds[name].append(time.perf_counter() - start)
    say_json({name: median(times) for name, times in seconds.items()})


if __name__ == "__main__":
    draw(sys.argv[1], sys.argv[2], int(sys.argv[3]))
