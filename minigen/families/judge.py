"""The digits' classifier: its record, without the forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from minigen.families.checks import check_fields
from minigen.families.family import Family
from minigen.families.rows import conv, count, pair


@dataclass(frozen=True)
class JudgeConfig:
    """The classifier that evaluates the small models: widths at 32, 16, 8, 4 pixels.

    >>> JudgeConfig().side, JudgeConfig().features
    (32, 64)
    """

    widths: tuple[int, ...] = (32, 64, 96, 128)
    features: int = 64
    classes: int = 10

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def side(self) -> int:
        """Pixels of an image along each side: halved at every level, 2 are left."""
        return 2 ** (len(self.widths) + 1)


PRESETS = {"judge-mnist": JudgeConfig()}


def rows(c: JudgeConfig):
    """Source: minigen/training/judge.py."""
    widths, deepest = c.widths, 16 * c.widths[-1]
    yield from conv("conv_in", "conv_in", widths[0], 3, 3)
    for i, (width, wider) in enumerate(zip(widths, widths[1:], strict=False)):
        name = f"levels.{i}"
        yield from pair(f"{name}.norm1", f"{name}.norm1", (width,))
        yield from conv(f"{name}.conv", f"{name}.conv", width, width, 3)
        yield from pair(f"{name}.norm2", f"{name}.norm2", (width,))
        yield from conv(f"{name}.down", f"{name}.down", wider, width, 3)
    yield from pair("norm_out", "norm_out", (widths[-1],))
    yield from pair("features", "features", (c.features, deepest))
    yield from pair("head", "head", (c.classes, c.features))


def guess(shapes: Mapping, told: Mapping) -> tuple[dict, tuple[str, ...]]:
    """Return the fields, all of which shapes show."""
    levels = count(shapes, "levels.{}.down.weight")
    widths = [shapes[f"levels.{i}.conv.weight"][0] for i in range(levels)]
    classes, features = shapes["head.weight"]
    widths = (*widths, shapes["norm_out.weight"][0])
    return {"widths": widths, "features": features, "classes": classes}, ()


JUDGE = Family(
    name="judge", config=JudgeConfig, presets=PRESETS, rows=rows, guess=guess,
    model="minigen.models.judge", twin="minigen.training.judge:Judge",
)  # fmt: skip
