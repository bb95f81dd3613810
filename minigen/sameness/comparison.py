"""Two runs of one recipe: where they part, and whether that is within the promise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minigen.errors import InputError
from minigen.models import codes
from minigen.sameness.looking import allowance, look
from minigen.sameness.record import unpack
from minigen.show.grid import enlarge, grid

LEVELS = 1
"""By how much a pixel may differ, of 255, where all tokens are the same: rounding
carries it over one border between two levels at most."""


@dataclass(frozen=True, eq=False)
class Difference:
    """A token that two runs drew otherwise, in the first step in which they do.

    image: its number; step: counted from 1; position: of the raster; then, now: the
    tokens; margin, allowed: of `near_ties.Tie`, the margin None where it is infinite.
    """

    image: int
    step: int
    position: int
    then: object
    now: object
    margin: float | None
    allowed: float

    @property
    def near(self) -> bool:
        return self.margin is not None and self.margin <= self.allowed


def compare(pipe, plan, then, now, pixels, again) -> dict:
    """Compare two pictures of a recipe, and say whether that is what is promised.

    then, now: the recipes of what was drawn and of what `pipe` drew of it; pixels,
    again: their pictures, uint8 (y, x, 3), of one size. Returns a dictionary of

    - verdict: "identical", "promised" or "different";
    - pixels, different, largest: how many there are, how many differ, by how much;
    - near_ties: a `Difference` each; images: how many of them parted there;
    - first: the first Difference that is no near-tie, or None; with other weights than
      then, the first of all.

    An image that parted is held to the tokens that `then` records: its pixels are those
    of their picture. Raises InputError as `tokens` does.
    """
    # in bytes: a picture may be all that memory has room for
    apart = _apart(pixels, again)
    found = {
        "verdict": "identical",
        "pixels": apart.size,
        "different": int((apart > 0).sum()),
        "largest": int(apart.max(initial=0)),
        "near_ties": [],
        "images": 0,
        "first": None,
    }
    if not apart.any():
        return found
    weights = then.model_hash, then.tokenizer_hash
    # of other weights, rounding explains nothing
    same_weights = weights == (now.model_hash, now.tokenizer_hash)
    parted = np.zeros(len(now.labels), bool)
    # without the tokens, it is for the pixels alone to say
    old, new = (tokens(pipe, plan, recipe) for recipe in (then, now))
    if old is not None and new is not None:
        for each in differences(pipe, plan, now, old, new):
            if not (each.near and same_weights):
                return {**found, "verdict": "different", "first": each}
            found["near_ties"].append(each)
            parted[each.image - now.first] = True
    found["images"] = int(parted.sum())
    if parted.any():
        # an image that parted is another one: that of its own tokens
        own = _sheet(pipe, now, parted, pipe.picture(old[parted]))
        where = _sheet(pipe, now, parted, 1)[..., 0] == 1
        apart = np.where(where, _apart(pixels, own), apart)
    within = same_weights and apart.max(initial=0) <= LEVELS
    return {**found, "verdict": "promised" if within else "different"}


def tokens(pipe, plan, recipe) -> np.ndarray | None:
    """Return the canvases (b ..) that a recipe records, None if it records none.

    Raises InputError unless they are tokens of such a model, known where the plan has
    drawn them after the recipe's `step`, or after its last one, and nowhere else.
    """
    if recipe.drawn is None:
        return None
    shape, config = (len(recipe.labels), *pipe.grid), pipe.config
    if pipe.kind is codes:
        canvas = unpack(recipe.drawn, shape, config.vocabulary)
        known = canvas[..., None] != codes.UNKNOWN
    else:
        canvas = unpack(recipe.drawn, (*shape, config.features), None)
        known = ~np.isnan(canvas)
    step = recipe.step or len(plan.groups)
    expected = np.zeros(math.prod(pipe.grid), bool)
    for group in plan.groups[:step]:
        expected[list(group)] = True
    if (known != expected.reshape(*pipe.grid, 1)).any():
        raise InputError(
            "the recipe records (in 'drawn') tokens at other positions than those "
            f"drawn after step {step} of {len(plan.groups)}: another program has "
            "changed it; give the picture as it was written"
        )
    return canvas


def differences(pipe, plan, recipe, old, new) -> Iterator[Difference]:
    """Yield what differs between canvases (b ..) in the first step where an image does.

    The earliest steps come first. pipe: draws again what is asked about.
    """
    n = math.prod(plan.grid)
    for index, i, positions in _partings(pipe, plan, recipe, old, new):
        seen = look(pipe, plan, recipe, i, index)
        for position in positions:
            then, now = (a[i].reshape(n, -1)[position] for a in (old, new))
            tie = seen.tie(position, then)
            yield Difference(
                recipe.first + i, index + 1, position, _shown(then), _shown(now),
                tie.margin if math.isfinite(tie.margin) else None, tie.allowed,
            )  # fmt: skip


def _partings(pipe, plan, recipe, old, new):
    """Return (step, image, positions) of each image that parts: the earliest first."""
    n = math.prod(plan.grid)
    steps = np.zeros(n, np.int64)
    for index, group in enumerate(plan.groups):
        steps[list(group)] = index
    old, new = (a.reshape(len(new), n, -1) for a in (old, new))
    if pipe.kind is codes:
        apart = old[..., 0] != new[..., 0]
    else:
        allowed = allowance(pipe, recipe, len(plan.groups), new)
        same = np.isnan(old) & np.isnan(new) | (np.abs(old - new) <= allowed)
        apart = ~same.all(-1)
    found = []
    for i in np.nonzero(apart.any(1))[0].tolist():
        index = int(steps[apart[i]].min())
        positions = np.nonzero(apart[i] & (steps == index))[0].tolist()
        found.append((index, i, positions))
    return sorted(found)


def _apart(one, other):
    """Return by how much two pictures (y x 3) differ, the largest of each pixel."""
    return (np.maximum(one, other) - np.minimum(one, other)).max(-1)


def _sheet(pipe, recipe, parted, shown):
    """Return the recipe's sheet with this in place of those images, and 0 of others."""
    size = [n * pipe.tokenizer_config.factor for n in pipe.grid]
    images = np.zeros((len(parted), *size, 3), np.uint8)
    images[parted] = shown
    return enlarge(grid(images, recipe.columns), recipe.scale)


def _shown(token):
    return token.tolist() if len(token) > 1 else token[0].item()
