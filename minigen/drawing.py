"""Images with their tokens, and with the recipe that draws them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from minigen import checks, options, plans, recorded, tasks
from minigen.catalogue import TOKENIZERS, WEIGHTS
from minigen.errors import InputError
from minigen.families import module_of
from minigen.models.codes import check_control
from minigen.show import recipe as recipes
from minigen.show.files import write_png
from minigen.show.grid import enlarge, grid, sheet_size
from minigen.writing import check_writable

Progress = Callable[[int, int], object]
"""Called after each step with the steps done so far, and with those of all batches."""


class Settings(TypedDict, total=False):
    """How a run is drawn: keyword arguments of `Pipeline.sample`, all of which have a
    default."""

    seed: int
    steps: int | None
    order: str | Sequence[int] | None
    schedule: str | Sequence[int] | None
    plan: plans.Plan | None
    first: int
    batch: int
    guidance: float | None
    temperature: float | None
    guidance_schedule: str | None
    guided_steps: int | None
    top_k: int
    top_p: float
    positions: str
    guided_draw: str
    confidence_noise: float
    reading: str | None
    known_reading: str
    control: NDArray[Any] | None


@dataclass(frozen=True, eq=False)
class Drawing:
    """What `Pipeline.draw` and the tasks return; `Pipeline.save` writes it.

    images: uint8 (b y x c), c is RGB; tokens: int64 (b y x), or latents, float32 (b y x
    f); recipe: everything that decides the images.

    >>> from minigen import load
    >>> drawn = load("arpg-mnist", backend="numpy").draw([3, 7], steps=4, seed=5)
    >>> drawn.images.shape, drawn.tokens.shape, drawn.recipe.seed
    ((2, 32, 32, 3), (2, 8, 8), 5)
    """

    images: NDArray[np.uint8]
    tokens: NDArray[Any]
    recipe: recipes.Recipe


def recipe_of(pipe, labels, how, known=None, grid=None) -> recipes.Recipe:
    """Return the recipe of a run. how: `Settings`, but for the batch. May raise
    InputError, ShapeError."""
    unknown = sorted({*how} - {*Settings.__annotations__})
    if unknown:
        raise TypeError(f"draw() got an unexpected keyword argument {unknown[0]!r}")
    labels = checks.labels(labels, pipe.config.classes)
    own = how.pop("plan", None)
    order = (*map(how.get, ("order", "schedule", "steps")), how.get("seed", 0))
    plan, canvas = begin(pipe, order, own, known, grid, len(labels))
    control = how.pop("control", None)
    control = check_control(pipe.config, plan.grid, len(labels), control)
    if own is not None:
        how |= {"order": plan.per_image or plan.order, "schedule": plan.counts}
    recipe = recipes.Recipe(name_of(pipe.generator), labels, _tokenizer(pipe), **how)
    recipe = replace(recipe, grid=None if plan.grid == pipe.grid else plan.grid)
    if plan.known:
        recipe = recipes.with_known(recipe, canvas, plan)
    if control is not None:
        recipe = recipes.with_control(recipe, control)
    return recipes.signed(recipes.checked(recipe), pipe)


def begin(pipe, order, plan, known, grid, count) -> tuple:
    """Return the plan of a run, and its canvas of known tokens (b ..), None without.

    order: order, schedule, steps and seed, as for `Pipeline.plan`; plan, known, grid:
    as for `Pipeline.steps`; count: its images, b. Raises InputError, ShapeError.
    """
    if plan is not None:
        plan = plans.check_whole(plan)
        given = dict(zip(("order", "schedule", "steps"), order, strict=False))
        if grid is not None and plans.check_grid(grid) != plan.grid:
            given["grid"] = grid
        for name, value in given.items():
            if value is not None:
                raise InputError(
                    f"{name} {checks.shown(value)} is given beside a plan, which says "
                    "it already; leave one of them out"
                )
        if plan.per_image and plan.seed != order[-1]:
            raise InputError(
                f"the plan's orders follow from the seed {plan.seed}, and the tokens "
                f"from {checks.shown(order[-1])}; give both the same"
            )
        module_of(pipe.config).check_plan(pipe.config, plan)
        grid = plan.grid
    grid = pipe.grid if grid is None else plans.check_grid(grid)
    positions = ()
    if known is not None:
        known = tasks.check_canvas(pipe.kind, pipe.config, known, grid, count)
        positions = tasks.known_positions(pipe.kind, known)
    if plan is None:
        return pipe.plan(*order, grid=grid, known=positions), known
    tasks.check_known(positions, plan.known)
    return plan, known


def run(pipe, recipe, batch, progress=None) -> Drawing:
    """Draw a recipe. batch: images drawn together. Raises InputError at once."""
    batch, labels = options.check("batch", batch), recipe.labels
    known = recipes.known_of(pipe, recipe)
    plan = recipes.plan_of(pipe, recipe, known)
    control = recipes.control_of(pipe, recipe)
    recipes.check(pipe, plan, recipe)
    known = tasks.known_tokens(known, plan)
    how, total = pipe.options(**recipe.options), -(-len(labels) // batch)
    done = count(1)
    advance = progress and (lambda: progress(next(done), total * len(plan.groups)))
    draw = partial(
        recorded.draw, pipe, plan, seed=recipe.seed, options=how, advance=advance
    )
    images, tokens = [], []
    for part, canvas in batches(draw, labels, recipe.first, batch, known, control):
        images.append(part)
        canvas = np.array(pipe.ops.get(canvas))
        tokens.append(canvas.reshape(len(part), *plan.grid, *canvas.shape[2:]))
    images, tokens = np.concatenate(images), np.concatenate(tokens)
    return Drawing(recipes.pasted(recipe, images), tokens, recipe)


def batches(draw, labels, first, batch, known, control=None) -> Iterator:
    """Yield what draw(labels, first, known, control) returns of each part of a run.

    known: tokens (b k ..) of all images, or None; control (b y x): likewise.
    """
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        own = (None if each is None else each[part] for each in (known, control))
        given = dict(zip(("known", "control"), own, strict=True))
        yield draw(labels=labels[part], first=first + start, **given)


def save(drawing: Drawing, path, columns=None, scale=1) -> Path:
    """Write a drawing as one sheet with its recipe, a PNG. See `Pipeline.save`."""
    if not isinstance(drawing, Drawing):
        raise InputError(
            f"{type(drawing).__name__} is no drawing: images alone do not say how they "
            "were drawn; give what pipe.draw, or a task such as pipe.inpaint, returned"
        )
    check_writable(path, ".png")
    recipe = replace(drawing.recipe, columns=columns, scale=scale)
    recipe = recipes.recorded(recipes.checked(recipe), drawing.tokens)
    count, y, x, _ = drawing.images.shape
    rows, across = sheet_size(count, y, x, columns)
    checks.picture(rows * across * recipe.scale**2, "give a smaller scale")
    sheet = enlarge(grid(drawing.images, columns), recipe.scale)
    return write_png(path, sheet, recipes.to_json(recipe))


def name_of(model):
    """Return what `load` finds a model by: the name of one that ships, or its path."""
    ships = model.path.parent == WEIGHTS
    return model.path.stem if ships else str(model.path)


def _tokenizer(pipe):
    """Return the name or path of the tokenizer, None where `load` finds it itself."""
    name = name_of(pipe.tokenizer)
    usual = TOKENIZERS.get(name_of(pipe.generator)), name_of(pipe.generator)
    return None if name in usual else name
