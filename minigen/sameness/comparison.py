"""Compare two runs of one recipe: where they diverge, and whether that is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minigen.errors import InputError
from minigen.models import codes
from minigen.sameness.looking import allowance, look, plan_of
from minigen.sameness.record import canvas_of, pasted
from minigen.show.grid import enlarge, grid

LEVELS = 1
"""The largest difference of a pixel (0 .. 255) if all tokens are the same: rounding can
change it by one level."""


@dataclass(frozen=True, eq=False)
class Difference:
    """A token that differs in two runs, in the first step in which any does.

    image: its number; step: counted from 1; position: of the raster; then, now: the
    tokens; margin, allowed: of `near_ties.Tie`, the margin None where it is infinite.

    >>> tie = Difference(0, 3, 17, then=5, now=9, margin=1e-9, allowed=1e-6)
    >>> tie.near, Difference(0, 3, 17, then=5, now=9, margin=0.2, allowed=1e-6).near
    (True, False)
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
        """Whether rounding may have decided it: a near-tie."""
        return self.margin is not None and self.margin <= self.allowed


def compare(pipe, plan, then, now, pixels, again) -> dict:
    """Compare two pictures of one recipe; return whether they differ as far as allowed.

    then, now: the recipes of the old picture and of the one that `pipe` drew; pixels,
    again: these pictures, uint8 (y, x, 3), of one size. Returns a dictionary of

    - verdict: "identical", "promised" or "different";
    - pixels, different, largest: how many there are, how many differ, by how much;
    - near_ties: a list of `Difference`; images: how many images diverged there;
    - first: the first Difference that is no near-tie, or None; if the weights are not
      the same as then, the first of all.

    For an image that diverged, pixels are compared with those of the tokens that `then`
    records. Raises InputError as `tokens` does.

    >>> from minigen import load
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> drawn = pipe.draw([7], steps=4)
    >>> recipe, picture = drawn.recipe, drawn.images[0]
    >>> plan = pipe.plan(steps=4)
    >>> compare(pipe, plan, recipe, recipe, picture, picture)["verdict"]
    'identical'
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
        shown = pasted(now, pipe.picture(old[parted]))
        own = _sheet(pipe, now, parted, shown)
        where = _sheet(pipe, now, parted, 1)[..., 0] == 1
        apart = np.where(where, _apart(pixels, own), apart)
    within = same_weights and apart.max(initial=0) <= LEVELS
    return {**found, "verdict": "promised" if within else "different"}


def tokens(pipe, plan, recipe) -> np.ndarray | None:
    """Return the canvases (b ..) that a recipe records, None if it records none.

    Raises InputError unless they are tokens of such a model, and known exactly where
    the plan has drawn them after the recipe's `step` (or after the last step).

    >>> from minigen import load
    >>> from minigen.show.recipe import recorded
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> drawn = pipe.draw([7], steps=4)
    >>> recipe = recorded(drawn.recipe, drawn.tokens)
    >>> bool((tokens(pipe, pipe.plan(steps=4), recipe) == drawn.tokens).all())
    True
    """
    canvas = canvas_of(pipe, recipe, "drawn")
    if canvas is None:
        return None
    step = recipe.step or len(plan.groups)
    expected = np.zeros((len(canvas), math.prod(plan.grid)), bool)
    for i in range(len(canvas)):
        own = plan.of(recipe.first + i)
        expected[i, [*plan.known, *_steps(own, step)]] = True
    known, expected = pipe.kind.is_known(canvas), expected.reshape(-1, *plan.grid)
    wrong = known != expected
    if plan.per_image == "confidence":
        # the tokens decide where; how many there are is all that is known before
        wrong = known.sum((1, 2)) != expected.sum((1, 2))
    if wrong.any():
        raise InputError(
            "the recipe records (in 'drawn') tokens at other positions than those "
            f"drawn after step {step} of {len(plan.groups)}: another program has "
            "changed it; give the picture as it was written"
        )
    return canvas


def differences(pipe, plan, recipe, old, new) -> Iterator[Difference]:
    """Yield a `Difference` for each image of two canvases (b ..), at its first step.

    The earliest steps come first. pipe: draws the step again, to see its margins.

    >>> from minigen import load
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> plan, drawn = pipe.plan(steps=4), pipe.draw([7], steps=4)
    >>> other = drawn.tokens.copy()
    >>> other[0, 0, 1] ^= 1  # of the token at position 1 a bit is another one
    >>> for found in differences(pipe, plan, drawn.recipe, other, drawn.tokens):
    ...     print(found.image, found.position, found.near)
    0 1 False
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
    """Return (step, image, positions) of each image that diverges, steps in order."""
    n = math.prod(plan.grid)
    old, new = (a.reshape(len(new), n, -1) for a in (old, new))
    if pipe.kind is codes:
        apart = old[..., 0] != new[..., 0]
    else:
        allowed = allowance(pipe, recipe, len(plan.groups), new)
        same = np.isnan(old) & np.isnan(new) | (np.abs(old - new) <= allowed)
        apart = ~same.all(-1)
    found = []
    for i in np.nonzero(apart.any(1))[0].tolist():
        own, cells = plan_of(pipe, plan, recipe, i), np.nonzero(apart[i])[0]
        steps = _steps(own)
        # what was given stood there before the first step
        index = min(steps.get(p, 0) for p in cells)
        found.append((index, i, [int(p) for p in cells if steps.get(p, 0) == index]))
    return sorted(found)


def _steps(plan, end=None):
    """Return {position: its step}, of the steps before `end`."""
    groups = enumerate(plan.groups[:end])
    return {p: index for index, group in groups for p in group}


def _apart(one, other):
    """Return the largest difference of each pixel of two pictures (y x 3)."""
    return (np.maximum(one, other) - np.minimum(one, other)).max(-1)


def _sheet(pipe, recipe, parted, shown):
    """Return the sheet of the recipe with these images, and 0 for all others."""
    size = [n * pipe.tokenizer_config.factor for n in recipe.grid or pipe.grid]
    images = np.zeros((len(parted), *size, 3), np.uint8)
    images[parted] = shown
    return enlarge(grid(images, recipe.columns), recipe.scale)


def _shown(token):
    return token.tolist() if len(token) > 1 else token[0].item()
