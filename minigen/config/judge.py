"""The configuration of the digits' classifier."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JudgeConfig:
    """The classifier that judges the small models: widths at 32, 16, 8, 4 pixels."""

    widths: tuple[int, ...] = (32, 64, 96, 128)
    features: int = 64
    classes: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))

    @property
    def side(self) -> int:
        """Pixels of an image along each side: halved at every level, 2 are left."""
        return 2 ** (len(self.widths) + 1)


PRESETS = {"judge-mnist": JudgeConfig()}
