"""A recipe: everything that decides the pixels of a run, and the run itself."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import metadata

import numpy as np

from minigen import __version__
from minigen.errors import InputError
from minigen.show.grid import enlarge, grid


@dataclass(frozen=True)
class Recipe:
    """What was asked for and by what it was drawn; JSON in every PNG we write.

    Image i of the run is number `first + i`, of class `labels[i]`. Order, schedule,
    guidance, its schedule and temperature are the model's own where they are None;
    `step` is None for finished images, else the number of steps after which the canvas
    was shown.
    """

    model: str
    labels: tuple[int, ...]
    tokenizer: str | None = None
    model_hash: str = ""
    tokenizer_hash: str = ""
    seed: int = 0
    first: int = 0
    steps: int = 16
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
    columns: int | None = None
    scale: int = 1
    step: int | None = None
    versions: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def options(self) -> dict:
        """The keyword arguments of `Pipeline.steps` that this recipe stands for."""
        names = (
            "seed", "steps", "order", "schedule", "guidance", "guidance_schedule",
            "guided_steps", "temperature", "top_k", "top_p", "positions",
            "guided_draw",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


def to_json(recipe: Recipe) -> dict:
    """Return the recipe as a JSON-ready dictionary."""
    return asdict(recipe)


def from_json(values: dict) -> Recipe:
    """Rebuild a recipe from what stood in a PNG; raises InputError if it is not one."""
    known = {f.name for f in fields(Recipe)}
    unknown = sorted(set(values) - known)
    if unknown or not {"model", "labels"} <= set(values):
        raise InputError(
            f"the recipe in this picture is not one of minigen {__version__}: "
            + (f"it holds {', '.join(unknown)}" if unknown else "it names no model")
        )
    lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
    return Recipe(**{**values, **lists})


def signed(recipe: Recipe, pipe) -> Recipe:
    """Return the recipe with all that decides its pixels when it is drawn here."""
    left = ("order", "schedule", "guidance", "guidance_schedule", "temperature")
    given = {name: getattr(recipe, name) for name in left}
    return replace(
        recipe,
        **pipe.settle(**given),
        model_hash=pipe.hash,
        tokenizer_hash=pipe.tokenizer.hash,
        versions={**versions(), "backend": pipe.backend},
    )


def versions() -> dict:
    """Return the versions of what takes part in the arithmetic."""
    found = {"minigen": __version__, "python": platform.python_version()}
    for name in ("numpy", "numba"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def steps(pipe, recipe: Recipe, batch: int | None = None) -> Iterator:
    """Yield every step of every batch of the recipe's images."""
    batch = batch or len(recipe.labels)
    for start in range(0, len(recipe.labels), batch):
        labels = recipe.labels[start : start + batch]
        yield from pipe.steps(labels, first=recipe.first + start, **recipe.options)


def canvases(
    pipe, recipe: Recipe, batch: int | None = None, watch: Callable = lambda step: None
) -> list[np.ndarray]:
    """Return the canvas (b ..) after each step; `watch(step)` sees every step."""
    after = {}
    for step in steps(pipe, recipe, batch):
        after.setdefault(step.index, []).append(step.canvas)
        watch(step)
    return [np.concatenate(parts) for _, parts in sorted(after.items())]


def sheet(pipe, recipe: Recipe, canvas: np.ndarray) -> np.ndarray:
    """Show a canvas (b ..) as the recipe's PNG does: one sheet, uint8 (y, x, 3)."""
    return enlarge(grid(pipe.picture(canvas), recipe.columns), recipe.scale)
