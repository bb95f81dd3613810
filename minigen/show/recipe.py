"""A recipe: everything that decides the pixels of a run, and the run itself."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np

from minigen import __version__, checks, plans, tasks
from minigen.checkpoints.sources import Fields
from minigen.defaults import STEPS
from minigen.errors import InputError
from minigen.models.codes import check_control, check_takes
from minigen.options import CHECKS, Options
from minigen.sameness.record import canvas_of, pack, pasted
from minigen.show.grid import enlarge, lay, sheet_size


@dataclass(frozen=True)
class Recipe:
    """The settings of a run and the models it used; JSON in every PNG we write.

    Image i of the run is number `first + i`, of class `labels[i]`. Order, schedule,
    steps, guidance, its schedule, temperature and reading are the model's own where
    they are None; steps are None, too, where the schedule leaves no choice. `step` is
    None for finished images, else the number of steps after which the canvas was shown.
    `drawn` records the tokens of what is shown (`minigen.sameness.pack`), so that a
    replay can tell from which token on it differs; older pictures have none.

    grid: rows and columns of tokens, None for the model's own. known: the canvases of
    known tokens, packed too; read: their positions, in the order in which the model
    reads them, None for raster order. control: the condition tokens of all images, also
    packed. paste: packed pixels of `tasks.Task.paste`, which are shown in the place of
    those drawn. config: what was said of the generator that no shape shows, by the
    field, None where nothing was.
    """

    model: str
    labels: tuple[int, ...]
    tokenizer: str | None = None
    model_hash: str = ""
    tokenizer_hash: str = ""
    seed: int = 0
    first: int = 0
    steps: int | None = None
    order: str | tuple[int, ...] | None = None
    schedule: str | tuple[int, ...] | None = None
    guidance: float | None = None
    guidance_schedule: str | None = None
    guided_steps: int | None = None
    temperature: float | None = None
    top_k: int = 0
    top_p: float = 1.0
    positions: str = "released"
    guided_draw: str = "candidates"
    confidence_noise: float = 0.0
    reading: str | None = None
    known_reading: str = "causal"
    columns: int | None = None
    scale: int = 1
    step: int | None = None
    versions: dict[str, str] = field(default_factory=dict, hash=False)
    drawn: str | None = None
    grid: tuple[int, int] | None = None
    known: str | None = None
    read: tuple[int, ...] | None = None
    paste: str | None = None
    control: str | None = None
    config: dict[str, Any] | None = field(default=None, hash=False)

    @property
    def options(self) -> dict:
        """The keyword arguments of `Pipeline.options` that this recipe stands for."""
        return {f.name: getattr(self, f.name) for f in fields(Options)}


MOST_DRAWN, MOST_KNOWN, MOST_PASTE = 2**23, 2**21, 2**22
"""The most characters of records: of the tokens that are shown, half of what a recipe
may have; of known tokens; and of pixels that are pasted."""

TOGETHER = 64
"""Images that are made from tokens before they are laid on a sheet."""

LATER = ("grid", "known", "read", "paste", "control", "config")
"""Fields that are not written where they are None, as in a picture without a task."""


def _hash(name, value):
    if value == "" or (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)):
        return value
    raise InputError(f"{name} {checks.shown(value)} is not a hash of 64 digits")


def _versions(name, value):
    if not isinstance(value, dict) or len(value) > 100:
        raise InputError(f"{name} {checks.shown(value)} does not name versions")
    for each in (*value, *value.values()):
        if not checks.text(name, each, most=200, least=0).isprintable():
            raise InputError(f"{name} {checks.shown(each)} is not printable")
    return value


def _config(name, value):
    # each value is checked where the model is known
    if not isinstance(value, dict) or not set(value) <= set(Fields.__annotations__):
        raise InputError(f"{name} {checks.shown(value)} names no fields of a model")
    return value


def _optional(check):
    return partial(checks.optional, check)


SCHEMA = {
    **{f.name: CHECKS[f.name] for f in fields(Recipe) if f.name in CHECKS},
    "model": checks.text,
    "tokenizer": _optional(checks.text),
    "labels": partial(
        checks.integers, least=checks.NO_CLASS, longest=checks.MOST_PIXELS
    ),
    "model_hash": _hash,
    "tokenizer_hash": _hash,
    "guidance": _optional(CHECKS["guidance"]),
    "guidance_schedule": _optional(CHECKS["guidance_schedule"]),
    "temperature": _optional(CHECKS["temperature"]),
    "reading": _optional(CHECKS["reading"]),
    "columns": _optional(partial(checks.integer, least=1, most=checks.MOST_PIXELS)),
    "scale": partial(checks.integer, least=1, most=2**15),
    "step": _optional(partial(checks.integer, least=1, most=checks.MOST_STEPS)),
    "versions": _versions,
    "drawn": _optional(partial(checks.text, most=MOST_DRAWN)),
    "grid": _optional(lambda name, value: plans.check_grid(value)),
    "known": _optional(partial(checks.text, most=MOST_KNOWN)),
    "read": _optional(partial(checks.integers, longest=checks.MOST_STEPS)),
    "paste": _optional(partial(checks.text, most=MOST_PASTE)),
    "control": _optional(partial(checks.text, most=MOST_KNOWN)),
    "config": _optional(_config),
}
"""What each field of a recipe may be: functions of its name and its value."""


def checked(recipe: Recipe) -> Recipe:
    """Return the recipe, each field as `SCHEMA` takes it, or raise InputError."""
    values = {
        name: check(name, getattr(recipe, name)) for name, check in SCHEMA.items()
    }
    if not values["labels"]:
        raise InputError("labels name no image; give at least one class")
    checks.images(values["first"], len(values["labels"]))
    return Recipe(**values)


def to_json(recipe: Recipe) -> dict:
    """Return the recipe as a JSON-ready dictionary."""
    values = asdict(recipe)
    return {n: v for n, v in values.items() if not (n in LATER and v is None)}


def from_json(values: dict) -> Recipe:
    """Rebuild a recipe from what stood in a PNG; raises InputError if it is not one."""
    known = {f.name for f in fields(Recipe)}
    unknown = sorted(set(values) - known)
    if unknown or not {"model", "labels"} <= set(values):
        raise InputError(
            f"the recipe in this picture is not one of minigen {__version__}: "
            + (
                f"it holds {checks.shown(unknown[0])}"
                if unknown
                else "it names no model"
            )
        )
    # before there was a choice, the tokens of a step saw each other
    recipe = checked(Recipe(**{"reading": "block", **values}))
    # version 0.1 wrote 16 steps also where the schedule leaves no choice
    return replace(recipe, steps=_steps(recipe.schedule, recipe.steps))


def _steps(schedule, steps):
    return steps if schedule is None or schedule in plans.FREE else None


def signed(recipe: Recipe, pipe) -> Recipe:
    """Return the recipe with the settings, hashes and versions of a run on `pipe`."""
    left = (
        "order", "schedule", "guidance", "guidance_schedule", "temperature", "reading"
    )  # fmt: skip
    settled = pipe.settle(**{name: getattr(recipe, name) for name in left})
    return replace(
        recipe,
        **settled,
        steps=_steps(settled["schedule"], recipe.steps or STEPS),
        model_hash=pipe.hash,
        tokenizer_hash=pipe.tokenizer.hash,
        versions={**versions(), "backend": pipe.backend},
        config=pipe.generator.told or None,
    )


def versions() -> dict:
    """Return the versions of the programs that compute the pixels."""
    found = {"minigen": __version__, "python": platform.python_version()}
    for name in ("numpy", "numba"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def with_task(recipe: Recipe, pipe, task, paste: bool) -> Recipe:
    """Return the recipe with the tokens that a `tasks.Task` knows, for every image.

    The pipeline encodes them. paste: whether untouched pixels are shown as they are.
    Raises InputError if the recipe would be too long.
    """
    recipe = replace(recipe, grid=None if task.grid == pipe.grid else task.grid)
    if task.known:
        canvas = task.canvas(pipe.encode(task.image[None])[0])
        recipe = with_known(recipe, canvas[None].repeat(len(recipe.labels), 0))
    return with_paste(recipe, task) if paste else recipe


def with_paste(recipe: Recipe, task) -> Recipe:
    """Return the recipe with the pixels that a `tasks.Task` leaves untouched.

    Raises InputError if the recipe would be too long.
    """
    pixels = pack(task.paste)
    _check_length("pixels to be pasted", pixels, MOST_PASTE, "do not paste them")
    return replace(recipe, paste=pixels)


def with_known(recipe: Recipe, canvas: np.ndarray, plan=None) -> Recipe:
    """Return the recipe with known tokens, a canvas (b ..) of all its images.

    plan: whose order of reading them is kept.
    """
    packed = pack(canvas)
    _check_length("known tokens", packed, MOST_KNOWN, "draw fewer images at a time")
    read = None if plan is None or plan.known == (*sorted(plan.known),) else plan.known
    return replace(recipe, known=packed, read=read)


def with_control(recipe: Recipe, control: np.ndarray) -> Recipe:
    """Return the recipe with the condition tokens (b y x) of its images."""
    packed = pack(control)
    _check_length("condition tokens", packed, MOST_KNOWN, "draw fewer images at a time")
    return replace(recipe, control=packed)


def _check_length(what, text, most, remedy):
    if len(text) > most:
        raise InputError(
            f"the {what} take {len(text):,} characters of the picture's recipe, which "
            f"may have {most:,} of them; {remedy}"
        )


def plan_of(pipe, recipe: Recipe, canvas: np.ndarray | None) -> plans.Plan:
    """Return the plan of a recipe; canvas: from `known_of`. Raises InputError."""
    known = () if canvas is None else tasks.known_positions(pipe.kind, canvas)
    if recipe.read is not None:
        tasks.check_known(known, recipe.read)
        known = recipe.read
    order = recipe.order, recipe.schedule, recipe.steps, recipe.seed
    return pipe.plan(*order, grid=recipe.grid, known=known)


def known_of(pipe, recipe: Recipe) -> np.ndarray | None:
    """Return the canvases (b ..) of the tokens that a recipe knows, None without.

    Raises InputError.
    """
    canvas = canvas_of(pipe, recipe, "known")
    if canvas is not None:
        grid, count = recipe.grid or pipe.grid, len(recipe.labels)
        canvas = tasks.check_canvas(pipe.kind, pipe.config, canvas, grid, count)
    return canvas


def control_of(pipe, recipe: Recipe) -> np.ndarray | None:
    """Return the condition tokens (b y x) of a recipe, None if it has none.

    Raises InputError.
    """
    grid, count = recipe.grid or pipe.grid, len(recipe.labels)
    check_takes(pipe.config, recipe.control is not None)
    control = canvas_of(pipe, recipe, "control")
    return check_control(pipe.config, grid, count, control)


def steps(
    pipe, recipe: Recipe, batch: int | None = None, details: bool = False
) -> Iterator:
    """Yield every step of every batch of the recipe's images.

    details: as for `Pipeline.steps`.
    """
    canvas = known_of(pipe, recipe)
    plan = plan_of(pipe, recipe, canvas)
    control = control_of(pipe, recipe)
    batch = batch or len(recipe.labels)
    for start in range(0, len(recipe.labels), batch):
        part = slice(start, start + batch)
        known, asked = (
            None if each is None else each[part] for each in (canvas, control)
        )
        yield from pipe.steps(
            recipe.labels[part], recipe.seed, plan=plan, known=known, control=asked,
            first=recipe.first + start, details=details, **recipe.options,
        )  # fmt: skip


def canvases(
    pipe,
    recipe: Recipe,
    chosen: Sequence[int],
    batch: int | None = None,
    watch: Callable = lambda step: None,
) -> list[np.ndarray]:
    """Return the canvas (b ..) after each chosen step; `watch(step)` sees every one."""
    after = {index: [] for index in chosen}
    for step in steps(pipe, recipe, batch):
        if step.index in after:
            after[step.index].append(step.canvas)
        watch(step)
    return [np.concatenate(parts) for parts in after.values()]


def size(pipe, recipe: Recipe) -> tuple[int, int]:
    """Return rows and columns of the recipe's sheet, in pixels, before it is drawn."""
    y, x = (n * pipe.tokenizer_config.factor for n in recipe.grid or pipe.grid)
    rows, columns = sheet_size(len(recipe.labels), y, x, recipe.columns)
    return rows * recipe.scale, columns * recipe.scale


def check(pipe, plan, recipe: Recipe, frames: int = 1) -> None:
    """Raise InputError for a class or step that does not exist, or too large a picture.

    frames: sheets that are kept together.
    """
    checks.labels(recipe.labels, pipe.config.classes)
    if recipe.step is not None and recipe.step > len(plan.groups):
        raise InputError(
            f"step {recipe.step} is asked for, and there are {len(plan.groups)}"
        )
    rows, columns = size(pipe, recipe)
    checks.picture(
        rows * columns * frames, "take fewer images or steps, or a smaller scale"
    )


def check_size(pipe, recipe: Recipe, found: tuple[int, int]) -> None:
    """Raise InputError unless a picture of that size (y, x) is the recipe's sheet."""
    (rows, columns), (y, x) = size(pipe, recipe), found
    if (rows, columns) != (y, x):
        raise InputError(
            f"the picture is {x} x {y} pixels, and its recipe one of {columns} x "
            f"{rows}: another program has changed one of them; give the picture as it "
            "was written"
        )


def picture(pipe, recipe: Recipe, canvas: np.ndarray, step=None) -> tuple:
    """Return the sheet of a canvas (b ..), and the recipe that goes with it."""
    return sheet(pipe, recipe, canvas), recorded(replace(recipe, step=step), canvas)


def recorded(recipe: Recipe, canvas: np.ndarray) -> Recipe:
    """Return the recipe with a record of the canvas (b ..) that is shown."""
    drawn = pack(canvas)
    # a reader refuses what is longer
    return replace(recipe, drawn=drawn if len(drawn) <= MOST_DRAWN else None)


def sheet(pipe, recipe: Recipe, canvas: np.ndarray) -> np.ndarray:
    """Show a canvas (b ..) as the recipe's PNG does: one sheet, uint8 (y, x, 3)."""
    starts = range(0, len(canvas), TOGETHER)
    parts = (pipe.picture(canvas[at : at + TOGETHER]) for at in starts)
    images = (pasted(recipe, part) for part in parts)
    return enlarge(lay(images, len(canvas), recipe.columns), recipe.scale)
