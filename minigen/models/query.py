"""What a step of a run asks, and where its draws take their random numbers from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Query:
    """The question of one step: indices, all int64, made before the run begins.

    asked: for `ask` and `feed` of the model: rows (w m) of its position table, or a
    `mae.Query`; positions: in raster order, (m), or (b m) if each image may ask for
    others; images: the numbers of the images (b), or (b m) of each position.
    """

    asked: object
    positions: object
    images: object


@dataclass(frozen=True, eq=False)
class Draws:
    """The counters of the random numbers of b rows, each a position of an image.

    key (2) uint32: the words of the seed; images, positions (b) int64; step: its index.
    """

    key: object
    images: object
    positions: object
    step: int
