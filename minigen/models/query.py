"""What a step of a run asks: indices, made on the host before the run begins."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Query:
    """The question of one step, and where its draws take their random numbers from.

    asked: what `ask` and `feed` of the model take: rows (w m) of its table, or of a
    masked model a `mae.Query`; positions: of the raster, (m), or (b m) where every
    image may ask for others; images: the numbers of the images (b), or (b m) of each
    of the positions. All int64.
    """

    asked: object
    positions: object
    images: object
