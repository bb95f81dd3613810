"""The question of a step: indices, made on the host before the run begins."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Query:
    """The question of one step, and the counters of its random numbers. All int64.

    asked: for `ask` and `feed` of the model: rows (w m) of its position table, or a
    `mae.Query`; positions: in raster order, (m), or (b m) if each image may ask for
    others; images: the numbers of the images (b), or (b m) of each position.
    """

    asked: object
    positions: object
    images: object
