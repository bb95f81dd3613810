"""What a step of a run asks, and where its draws take their random numbers from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Query:
    """The question of one step: indices, all int64, made before the run begins.

    asked: for `ask` and `feed` of the model: rows (w m) of its position table, or a
    `mae.Query`; positions: of the raster, (m), or (b m) if each image may ask for
    others; images: the numbers of the images, (b), or, if positions are (b m), for
    every one of them in one flat array.
    """

    asked: object
    positions: object
    images: object


@dataclass(frozen=True, eq=False)
class Draws:
    """The counters of random numbers: a draw is a function of seed, image, step, place.

    key (2) uint32: the words of the seed; images, positions int64: as in `Query`, or
    flat too if tokens are vectors; step: its index.
    """

    key: object
    images: object
    positions: object
    step: int


def positions_of(plan, images):
    """Return of each step the positions (b m) of images, given by their numbers."""
    plans = [plan.of(int(image)) for image in images]
    steps = zip(*(each.groups for each in plans), strict=True)
    return [np.array(groups, np.int64) for groups in steps]
