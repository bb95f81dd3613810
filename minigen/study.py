"""What an order does: orders, schedules, numbers of steps and readings, each with each.

Every setting of them is measured by `minigen.evaluate`. Its result is kept in a file as
soon as it is there, a line of JSON each, so a study that was stopped goes on where it
was.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from minigen import __version__, packing, plans, rng
from minigen import sample as loop
from minigen.errors import InputError
from minigen.evaluate import BATCH, Judge, evaluate_generator
from minigen.families import module_of
from minigen.models import arpg
from minigen.orders import ORDERS, PER_IMAGE
from minigen.pipeline import Pipeline
from minigen.show import lesson
from minigen.words import markdown
from minigen.writing import write_file

STEPS = (4, 8, 16, 64)
"""Numbers of steps of a study of orders."""

SHIFT = (2, 2)
"""Rows and columns by which `shift` moves all positions."""

MOST_BYTES = 2**26
"""The largest file of results that is read."""

KEYS = ("order", "schedule", "steps", "reading")
"""What a setting says."""

PAPER = (
    (("random", "arccos", 4, "block"), "ARPG-L, random, 64 steps: FID 2.44"),
    (("raster", "one", 1, "block"), "ARPG-L, raster, 256 steps: FID 2.49"),
    (("random", "arccos", 4, "causal"), "ARPG-XXL, 256 steps, causal: FID 1.90"),
    (("random", "arccos", 4, "block"), "ARPG-XXL, 256 steps, block: FID 1.88"),
)
"""Order, schedule, tokens a step and reading here, and what the paper reports.

Source: arXiv 2503.10568 v3.
"""

DIFFERS = (
    "What differs: the paper's figures are FID of ImageNet, of models hundreds of "
    "times as large; distances here are those of a classifier of digits. In a token a "
    "step both readings are the same, so here they are compared in fewer steps."
)
"""What is not the same in the paper and here."""


def cells(
    pipe: Pipeline,
    orders: Sequence[str] = (*ORDERS, *PER_IMAGE),
    schedules: Sequence[str] = plans.FREE,
    steps: Sequence[int] = STEPS,
) -> list[dict[str, Any]]:
    """Return the settings to be measured: order, schedule, steps and reading of each.

    Only ARPG has two readings. With a step for each token the schedule is "one", both
    readings are the same, and each order is measured once. What the model cannot draw
    is left out; raises InputError if that is all.

    >>> from minigen import load
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> [cell["reading"] for cell in cells(pipe, ["raster"], ["linear"], steps=[4])]
    ['block', 'causal']
    >>> cells(pipe, ["raster"], ["linear"], steps=[64])  # a token a step
    [{'order': 'raster', 'schedule': 'one', 'steps': 64, 'reading': 'block'}]
    """
    tokens, found, refused = math.prod(pipe.grid), [], None
    readings = tuple(arpg.READINGS) if pipe.generator.family == "arpg" else ("block",)
    fewer = [count for count in steps if count < tokens]
    ways = list(product(schedules, fewer, readings))
    ways += [("one", tokens, "block")] * (len(fewer) < len(steps))
    for order, way in product(orders, ways):
        setting = dict(zip(KEYS, (order, *way), strict=True))
        try:
            pipe.plan(order, way[0], way[1])
        except InputError as error:
            refused = error
        else:
            found.append(setting)
    if refused and not found:
        raise refused
    return found


def measure(
    pipe: Pipeline,
    classifier: Judge,
    settings: Iterable[dict[str, Any]],
    count: int,
    path: Path,
    watch: Callable[[int], object] = lambda n: None,
    **how: Any,
) -> list[dict[str, Any]]:
    """Return a result for each of the settings: from the file at `path`, or measured.

    A result is what `evaluate_generator` returns of `count` images, with the setting
    and everything else that decides it. It is written to the file at once. how:
    keywords of `Pipeline.sample` that all settings share. watch(n): n more images are
    there, drawn or read.

    >>> from tempfile import TemporaryDirectory
    >>> from minigen import evaluate, load
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> judge, settings = evaluate.load_judge(backend="numpy"), cells(pipe)[:1]
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "results.jsonl")
    ...     rows = measure(pipe, judge, settings, count=2, path=file)
    ...     rows == measure(pipe, judge, settings, count=2, path=file)  # read again
    True
    """
    run = {
        "minigen": __version__, "model": pipe.hash, "tokenizer": pipe.tokenizer.hash,
        "backend": pipe.backend, "images": count, **how,
    }  # fmt: skip
    kept, rows = read(path), []
    for setting in settings:
        wanted = {**run, **setting}
        row = next((r for r in kept if wanted.items() <= r.items()), None)
        if row is None:
            found = evaluate_generator(
                pipe, classifier, count, 0, BATCH, watch, **setting, **how
            )
            row = {**found, **wanted}
            kept.append(row)
            lines = "".join(json.dumps(line) + "\n" for line in kept)
            write_file(path, lines.encode())
        else:
            watch(count)
        rows.append(row)
    return rows


def read(path: Path) -> list[dict[str, Any]]:
    """Return the results in a file of `measure`, none if there is no file.

    Raises InputError, naming the line, for what is no result.

    >>> read(Path("no-results-here.jsonl"))
    []
    """
    try:
        if not path.exists():
            return []
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path} is no file of results, or too large for one")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as results: {error}") from None
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            # everything that is printed of it
            {**row}["order"].encode(), f"{row['steps']:d}{row['seconds']:f}"
            wilson(row["agreement"], row["images"]), float(row["distance"])
            row["schedule"].encode(), row["reading"].encode()
        except (
            ValueError, TypeError, LookupError, AttributeError, RecursionError,
            InputError,
        ):  # fmt: skip
            raise InputError(
                f"line {number} of {path} is no result of a study; give --results "
                "another file"
            ) from None
        rows.append(row)
    return rows


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's interval of a share of n that was seen; z: 1.96 for 95 %.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical
    inference".

    >>> [round(end, 3) for end in wilson(1.0, 100)]
    [0.963, 1.0]
    """
    if not (n >= 1 and 0 <= share <= 1):
        raise InputError(f"{share} of {n} is no share of a number of images")
    middle = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    whole = 1 + z * z / n
    low, high = (middle - spread) / whole, (middle + spread) / whole
    # rounding must not carry an end past what was seen
    return max(min(low, share), 0.0), min(max(high, share), 1.0)


def shown(row: dict[str, Any]) -> str:
    """Return a result as a cell of a table: agreement, its interval, distance, time.

    >>> shown({"agreement": 0.5, "images": 100, "distance": 20.0, "seconds": 1.5})
    '50.0 % (40 to 60), 20, 1.5 s'
    """
    low, high = wilson(row["agreement"], row["images"])
    return (
        f"{100 * row['agreement']:.1f} % ({100 * low:.0f} to {100 * high:.0f}), "
        f"{row['distance']:.3g}, {row['seconds']:.1f} s"
    )


def table(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return results as a table: a row for each way of an order, columns of steps.

    A token a step is shown in the first row of an order.

    >>> row = {"order": "raster", "schedule": "linear", "reading": "block", "steps": 4}
    >>> row |= {"agreement": 0.5, "images": 100, "distance": 20.0, "seconds": 1.5}
    >>> for line in table([row]):
    ...     print(line)
    ['order', 'schedule', 'reading', '4 steps']
    ['raster', 'linear', 'block', '50.0 % (40 to 60), 20, 1.5 s']
    """
    steps = sorted({row["steps"] for row in rows})
    lines = [["order", "schedule", "reading", *(f"{n} steps" for n in steps)]]
    for order in dict.fromkeys(row["order"] for row in rows):
        own = [row for row in rows if row["order"] == order]
        ways = [*dict.fromkeys((row["schedule"], row["reading"]) for row in own)]
        # a row of its own only if there is no other
        ways = [way for way in ways if way[0] != "one"] or ways
        for way in ways:
            found = {
                row["steps"]: shown(row)
                for row in own
                if (row["schedule"], row["reading"]) == way
                or (row["schedule"] == "one" and way == ways[0])
            }
            lines.append([order, *way, *(found.get(n, "") for n in steps)])
    return lines


def best(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each number of steps the result of most agreement.

    Of several it is that of least distance.

    >>> rows = [{"steps": 4, "agreement": 0.5, "distance": d} for d in (20.0, 10.0)]
    >>> best(rows)
    [{'steps': 4, 'agreement': 0.5, 'distance': 10.0}]
    """
    found = {}
    for row in sorted(rows, key=lambda row: (-row["agreement"], row["distance"])):
        found.setdefault(row["steps"], row)
    return [found[steps] for steps in sorted(found)]


def digest(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return a table of the best result of each order, for each number of steps.

    >>> row = {"order": "raster", "schedule": "linear", "reading": "block", "steps": 4}
    >>> digest([row | {"agreement": 0.5, "distance": 20.0}])
    [['order', '4 steps'], ['raster', '50.0 %, 20 (linear, block)']]
    """
    steps = sorted({row["steps"] for row in rows})
    lines = [["order", *(f"{n} steps" for n in steps)]]
    for order in dict.fromkeys(row["order"] for row in rows):
        own = best([row for row in rows if row["order"] == order])
        cells = {
            row["steps"]: f"{100 * row['agreement']:.1f} %, {row['distance']:.3g} "
            f"({row['schedule']}, {row['reading']})"
            for row in own
        }
        lines.append([order, *(cells.get(n, "") for n in steps)])
    return lines


def sentences(
    rows: Sequence[dict[str, Any]],
    moved: dict[str, float],
    bits: dict[str, float | None],
) -> list[str]:
    """Return what stands below the table: paragraphs of Markdown.

    moved: from `shift`; bits: of each order, from `surprise`, or empty.

    >>> row = {"order": "raster", "schedule": "linear", "reading": "block", "steps": 4}
    >>> row |= {"agreement": 0.5, "images": 100, "distance": 20.0, "seconds": 1.5}
    >>> moved = {"largest": 10.0, "moved": 1e-5, "mixed": 3.0}
    >>> sentences([row | {"backend": "numpy"}], moved, {"raster": 2.5})[-1]
    'Bits a token of test digits, one by one: raster 2.500.'
    """
    said = [
        "A cell holds agreement with its interval of 95 %, distance, and seconds that "
        f"the {rows[0]['images']} images took on {rows[0]['backend']}.",
        "The best of each order, in agreement:",
        markdown(digest(rows)),
        *(
            f"Best at {row['steps']} steps: {row['order']}, {row['schedule']}, "
            f"{row['reading']}: {shown(row)}."
            for row in best(rows)
        ),
    ]
    if compared := _beside_the_paper(rows):
        said += [markdown(compared), DIFFERS]
    said.append(
        f"Of answers of up to {moved['largest']:.3g}, moving all positions by {SHIFT} "
        f"changes {moved['moved']:.1e} at most, and mixing those that are known "
        f"{moved['mixed']:.1e}."
    )
    if bits:
        each = (
            f"{order} {'-' if found is None else format(found, '.3f')}"
            for order, found in bits.items()
        )
        said.append(f"Bits a token of test digits, one by one: {', '.join(each)}.")
    return said


def _beside_the_paper(rows):
    """Return a table of the paper's ablations that need no training, or None."""
    most = max(row["steps"] for row in rows)
    found = {_way(row): row for row in rows}
    lines = [["here", "steps", "agreement, distance, time", "the paper"]]
    for (order, schedule, tokens, reading), theirs in PAPER:
        row = found.get((order, schedule, most // tokens, reading))
        if row is None:
            return None
        lines.append([f"{order}, {reading}", str(row["steps"]), shown(row), theirs])
    return lines


def draw(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Draw agreement as colours, from dark, 0, to yellow, 1: a row for each order.

    path: of the PNG that is written, and returned. Raises InputError if it cannot be.

    >>> from tempfile import TemporaryDirectory
    >>> from minigen.images import read_image
    >>> row = {"order": "raster", "schedule": "linear", "reading": "block", "steps": 4}
    >>> with TemporaryDirectory() as folder:
    ...     path = draw([row | {"agreement": 1.0}], Path(folder, "study.png"))
    ...     read_image(path)[-10, -10].tolist()  # yellow
    [253, 231, 37]
    """
    orders = dict.fromkeys(row["order"] for row in rows)
    ways = sorted({_way(row)[1:] for row in rows}, key=lambda way: (way[1], way))
    found = {_way(row): row["agreement"] for row in rows}
    tiles = [
        [
            lesson.colours([[found.get((order, *way), math.nan)]], 48, 0, 1)
            for way in ways
        ]
        for order in orders
    ]
    across = ["\n".join(map(str, way)) for way in ways]
    buffer = io.BytesIO()
    lesson.board(tiles, across, [*orders], gap=4).save(buffer, "png")
    return write_file(path, buffer.getvalue())


def _way(row):
    return tuple(row[key] for key in KEYS)


def shift(pipe: Pipeline, seed: int = 0) -> dict[str, float]:
    """Return how much logits change if all positions are moved by SHIFT, and if mixed.

    Half of a part of the grid is known, by the tokens that the model draws there, and
    the other half asked for. Returns largest: of the answers (logits, or the outer
    model's output); moved: the largest change when known and asked positions are both
    moved; mixed: when the known ones are moved among each other, which says that
    positions matter at all. Raises InputError for a model in raster order.

    >>> from minigen import load
    >>> found = shift(load("arpg-mnist", backend="numpy"))
    >>> found["moved"] < 1e-3 < found["mixed"]  # only differences of positions matter
    True
    """
    rows, columns = pipe.grid
    part = [
        y * columns + x
        for y in range(rows - SHIFT[0])
        for x in range(columns - SHIFT[1])
    ]
    part = np.array(part)[rng.permutation(seed, len(part))]
    known, asked = np.split(part, [len(part) // 2])
    *_, last = pipe.steps([0], seed, len(part) // 4, "random", "arccos")
    canvas = last.canvas.reshape(1, rows * columns, *last.canvas.shape[3:])
    tokens, by = canvas[:, known], SHIFT[0] * columns + SHIFT[1]
    here, moved, mixed = (
        _answer(pipe, tokens, *where)
        for where in (
            (known, asked), (known + by, asked + by), (known[::-1], asked),
        )
    )  # fmt: skip
    return {
        "largest": float(np.abs(here).max()),
        "moved": float(np.abs(moved - here).max()),
        "mixed": float(np.abs(mixed - here).max()),
    }


def _answer(pipe, tokens, known, asked):
    """Return what the model answers at `asked`, given tokens (1 k ..) at `known`."""
    ops, weights, config = pipe.ops, pipe.generator.weights, pipe.config
    plan = plans.Plan(pipe.grid, (tuple(asked.tolist()),), tuple(known.tolist()))
    how = pipe.options()
    given = loop.inputs(ops, config, plan, [0], options=how, known=tokens)
    given = packing.pack(given).put(ops)
    state = loop.prefill(ops, weights, config, how, given)
    where = given.queries[0].asked, given.table
    return ops.get(module_of(config).ask(ops, weights, config, state, *where))


def surprise(pipe: Pipeline, images: np.ndarray, labels: np.ndarray, order: str):
    """Return the bits a token of images, read one token after the other in an order.

    images: uint8 (b y x 3); labels (b): their classes. It is what a perfect model would
    make equal for all orders. None for confidence, which has no order before it draws.
    Raises InputError for models that are not ARPG.

    >>> from minigen import load
    >>> pipe, labels = load("arpg-mnist", backend="numpy"), np.array([3, 7])
    >>> digits = pipe.sample(labels, steps=8)
    >>> 0 < surprise(pipe, digits, labels, "raster") < 6  # blindly, of 64: 6
    True
    """
    if pipe.generator.family != "arpg":
        raise InputError(
            "--data is for ARPG, whose training form takes any order; "
            f"{pipe.generator.name} is another model: leave --data out"
        )
    plan = pipe.plan(order, "one")
    if plan.per_image == "confidence":
        return None
    ops, config, total = pipe.ops, pipe.config, 0.0
    table = arpg.rotary_table(ops, config, pipe.grid)
    table = ops.put(table)
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        tokens = pipe.encode(images[part]).reshape(-1, config.tokens)
        orders = [plan.of(start + i).order for i in range(len(tokens))]
        total += len(tokens) * float(
            arpg.loss(
                ops, pipe.generator.weights, config, tokens, labels[part],
                np.array(orders), table,
            )
        )  # fmt: skip
    return total / len(images) / math.log(2)
