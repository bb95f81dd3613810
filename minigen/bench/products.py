"""Products of linear layers: ours beside OpenBLAS, PyTorch and oneDNN.

Every shape of a weight that a model known by name multiplies by is timed with few rows
and many. As in a model, weights come from memory: a side holds several of each shape,
as its models hold them, and takes them in turn. Each side is a process of its own, and
they run in turns.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from statistics import median

from minigen.backends import is_product
from minigen.bench import ceilings, machine, process
from minigen.bench.ceilings import Ceilings
from minigen.bench.weights import pick
from minigen.checks import choice
from minigen.families import PRESETS, family_of
from minigen.words import gigabytes, table

ROWS = (2, 4, 6, 8, 14, 20, 28, 46, 56, 112, 512)

DTYPES = ("float32", "bfloat16")

OURS = "minigen"

SIDES = {
    OURS: ("minigen.bench.product_worker", DTYPES),
    "openblas": ("minigen.bench.product_worker", ("float32",)),
    "eager": ("minigen.training.bench_products", DTYPES),
    "onednn": ("minigen.training.bench_products", DTYPES),
}
"""The module of each side, and the dtypes of the weights it multiplies by."""

BEYOND = 128 << 20
"""Bytes of the weights that a side takes in turn, unless four caches are more."""

MOST = 64
"""The most of them: small weights are in the cache in a model, too."""


@dataclass(frozen=True)
class Cell:
    """A product: x (n d) by a weight (f d), of which a side holds so many copies."""

    rows: int
    f: int
    d: int
    dtype: str
    copies: int

    @property
    def bytes(self) -> int:
        return self.f * self.d * pick(self.dtype).itemsize

    @property
    def operations(self) -> int:
        return 2 * self.rows * self.f * self.d


@dataclass(frozen=True)
class Timing:
    """Seconds of a product in every run, by side; worst: how far off the worst side's
    result was, as a share of what rounding allows."""

    cell: Cell
    seconds: dict[str, list[float]]
    worst: float

    @property
    def medians(self) -> dict[str, float]:
        return {side: median(times) for side, times in self.seconds.items()}

    @property
    def peer(self) -> str:
        """The fastest of the other sides, "" where there is none."""
        others = {n: s for n, s in self.medians.items() if n != OURS}
        return min(others, key=others.get, default="")

    @property
    def ratio(self) -> float | None:
        """The time of the fastest other side divided by ours."""
        return self.medians[self.peer] / self.medians[OURS] if self.peer else None


@dataclass(frozen=True)
class Products:
    """What was measured, and the ceilings of the run, which its own cells raise.

    lacking: why a side has no product of a dtype on this machine, by "side, dtype".
    """

    models: list[str]
    timings: list[Timing]
    ceilings: Ceilings
    runs: int
    lacking: dict[str, str] = field(default_factory=dict)

    def of(self, dtype: str) -> list[Timing]:
        return [t for t in self.timings if t.cell.dtype == dtype]


def shapes(names: Sequence[str]) -> dict[tuple[int, int], list[str]]:
    """Return {(f, d): models} of all weights that models multiply by, largest first.

    >>> list(shapes(["mar-mnist"]))[:2]
    [(128, 512), (512, 128)]
    """
    found = {}
    for name in names:
        config = PRESETS[name]
        for ours, _, shape in family_of(config).rows(config):
            is_matrix = len(shape) == 2 or shape[2:] == (1, 1)
            if is_matrix and is_product(ours, 2):
                users = found.setdefault(shape[:2], [])
                users += [name] if name not in users else []
    largest = sorted(found, key=lambda shape: (-shape[0] * shape[1], shape))
    return {shape: found[shape] for shape in largest}


def sides_of(dtype: str) -> list[str]:
    """Return the sides that multiply by weights of this dtype here."""
    torch = importlib.util.find_spec("torch") is not None
    return [
        name
        for name, (module, dtypes) in SIDES.items()
        if dtype in dtypes and (torch or not module.startswith("minigen.training"))
    ]


def cells(names: Sequence[str], rows: Sequence[int], dtypes: Sequence[str]):
    """Return a `Cell` for each shape and number of rows."""
    least = max(BEYOND, 4 * machine.cache_bytes())
    found = []
    for dtype in dtypes:
        for f, d in shapes(names):
            one = Cell(1, f, d, dtype, 1)
            copies = max(2, min(MOST, -(-least // one.bytes)))
            found += [replace(one, rows=n, copies=copies) for n in rows]
    return found


def measure(
    names: Sequence[str],
    rows: Sequence[int] = ROWS,
    dtypes: Sequence[str] = DTYPES,
    runs: int = 5,
    threads: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> Products:
    """Time `runs` runs of every cell of models, on every side, in turns.

    say hears of progress. Raises InputError for names that are not known, MinigenError
    where a side's result is further off than rounding explains. A side that has no
    product of a dtype on this machine is left out of it.
    """
    for name in names:
        choice("--model", name, PRESETS)
    for dtype in dtypes:
        choice("--dtype", dtype, DTYPES)
    say("measuring the ceilings")
    top = ceilings.measure(threads)
    asked, found, lacking = cells(names, rows, dtypes), [], {}
    there = {dtype: sides_of(dtype) for dtype in dtypes}
    with ExitStack() as stack:
        sides = {}
        for name in dict.fromkeys(n for names in there.values() for n in names):
            side = process.start(SIDES[name][0], name, threads=threads)
            sides[name] = stack.enter_context(side)
        for i, cell in enumerate(asked):
            say(
                f"{i + 1} of {len(asked)}: {cell.dtype}, {cell.rows} rows, "
                f"{cell.f} x {cell.d}"
            )
            line, seconds, worst = json.dumps(asdict(cell)), {}, 0.0
            for run in range(runs):
                # who goes first changes, so that neither has the warmer machine
                for name in there[cell.dtype][:: -1 if run % 2 else 1]:
                    answer = process.ask(sides[name], line)
                    if "lacks" in answer:
                        lacking[f"{name}, {cell.dtype}"] = answer["lacks"]
                        there[cell.dtype].remove(name)
                        continue
                    seconds.setdefault(name, []).append(answer["seconds"])
                    worst = max(worst, answer["off"])
            found.append(Timing(cell, seconds, worst))
    return Products(list(names), found, raised(top, found), runs, lacking)


def raised(top: Ceilings, timings: Sequence[Timing]) -> Ceilings:
    """Return the ceilings, raised to the most that any side reached in a cell."""
    for timing in timings:
        cell = timing.cell
        for side, seconds in timing.medians.items():
            what = f"{side}, {cell.rows} rows of {cell.f} x {cell.d}, {cell.dtype}"
            own = Ceilings(0, 0, top.threads, what, what)
            if not is_cached(cell, top.cache):
                own = replace(own, bandwidth=cell.bytes / seconds)
            if cell.dtype == "float32":
                # bfloat16 may have instructions of its own
                own = replace(own, peak=cell.operations / seconds)
            top = ceilings.better(top, own)
    return top


def is_cached(cell: Cell, cache: int) -> bool:
    """Return whether all copies of a weight lie in the last-level cache."""
    return cell.bytes * cell.copies <= cache


def share(found: Products, timing: Timing) -> float | None:
    """Return our share of what the ceilings allow, None where that is not known."""
    cell, top, seconds = timing.cell, found.ceilings, timing.medians[OURS]
    # as `raised` counts them, so that who made a ceiling has all of it, exactly
    reached = cell.operations / seconds / top.peak
    if not is_cached(cell, top.cache):
        return max(reached, cell.bytes / seconds / top.bandwidth)
    # the speed of a cache is not measured
    return None if cell.rows < ROWS[-1] else reached


def summary(found: Products, dtype: str) -> dict | None:
    """Return the worst ratio of a dtype and its cell, and the median of all ratios."""
    judged = [t for t in found.of(dtype) if t.ratio is not None]
    if not judged:
        return None
    worst = min(judged, key=lambda t: t.ratio)
    return {
        "cells": len(judged),
        "median": median(t.ratio for t in judged),
        "worst": worst.ratio,
        "peer": worst.peer,
        **{name: getattr(worst.cell, name) for name in ("rows", "f", "d")},
    }


def to_json(found: Products) -> dict:
    """Return what was measured, ready for JSON."""
    return {
        "models": found.models,
        "runs": found.runs,
        "ceilings": asdict(found.ceilings),
        "own_bfloat16": has_bfloat16(),
        "lacking": found.lacking,
        "summary": {dtype: summary(found, dtype) for dtype in DTYPES},
        "cells": [
            {
                **asdict(t.cell), "seconds": t.medians, "ratio": t.ratio,
                "peer": t.peer, "share": share(found, t), "off": t.worst,
                "cached": is_cached(t.cell, found.ceilings.cache),
            }
            for t in found.timings
        ],
    }  # fmt: skip


def has_bfloat16() -> list[str]:
    """Return the instructions of this processor that multiply bfloat16 numbers."""
    return [name for name in machine.features() if name in machine.BFLOAT16]


def report(found: Products) -> str:
    """Return a table of all cells for each dtype, and what they come to."""
    users = shapes(found.models)
    top, parts = found.ceilings, []
    parts.append(f"{', '.join(found.models)}; {top.threads} threads, "
                 f"medians of {found.runs}")  # fmt: skip
    for dtype in dict.fromkeys(t.cell.dtype for t in found.timings):
        there = [*found.of(dtype)[0].seconds]
        names = [f"{name}, ms" for name in there]
        header = (f"{dtype}, outputs x inputs", "rows", *names, "GFLOP/s", "GB/s",
                  "share", "ratio", "to")  # fmt: skip
        lines = [header]
        for t in found.of(dtype):
            cell, ours = t.cell, t.medians[OURS]
            of = share(found, t)
            lines.append((
                f"{cell.f} x {cell.d} ({users[cell.f, cell.d][0]})", cell.rows,
                *(f"{1e3 * t.medians[name]:.3g}" for name in there),
                f"{cell.operations / ours / 1e9:.3g}",
                f"{cell.bytes / ours / 1e9:.3g}",
                "cached" if of is None else f"{of:.0%}",
                "-" if t.ratio is None else f"{t.ratio:.2f}", t.peer,
            ))  # fmt: skip
        parts.append(table(lines, right=range(1, len(header) - 1)))
        parts.append(_summary(found, dtype))
    parts += [f"{who}: left out, {why}" for who, why in found.lacking.items()]
    parts.append(
        f"ceilings: {top.bandwidth / 1e9:.1f} GB/s read ({top.reader}); "
        f"{top.peak / 1e9:.0f} GFLOP/s ({top.multiplier}); weights of up to "
        f"{gigabytes(top.cache)} lie in the cache"
    )
    return "\n\n".join(parts)


def _summary(found, dtype):
    got = summary(found, dtype)
    if got is None:
        return f"{dtype}: no other side is installed"
    line = (
        f"{dtype}: median {got['median']:.2f} times as fast as the best other side, "
        f"worst {got['worst']:.2f} ({got['rows']} rows of {got['f']} x {got['d']}, "
        f"{got['peer']}), {got['cells']} cells"
    )
    if dtype == "bfloat16":
        own = ", ".join(has_bfloat16())
        line += f"\ninstructions of the CPU's own for bfloat16: {own or 'none'}"
    return line
