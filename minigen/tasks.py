"""Known tokens: canvases of them, masks of pixels, and pictures on larger grids.

Inpainting, editing, outpainting and larger grids are one thing: some tokens are known,
and the order starts where they end. Here a picture and a mask of pixels become such
tokens, and pixels of the picture are pasted back where that is asked for.

Source: arXiv 2503.10568 names the tasks; the construction is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minigen import checks, plans
from minigen.errors import InputError, ShapeError
from minigen.images import check_images

KEPT = ("top", "bottom", "left", "right", "centre")
"""The parts of a picture that `keep` knows by name."""

FITS = ("crop", "pad", "stretch")
"""The ways of `fit`."""


@dataclass(frozen=True, eq=False)
class Task:
    """A picture on a grid of tokens, of which some are to be drawn.

    image: uint8 (y x 3), of whole tokens of factor x factor pixels; corner: row and
    column of the grid where it begins; redrawn: bool (rows columns), the tokens to be
    drawn; mask: bool (Y X), the pixels of the result that are not the picture's.

    >>> task = outpainting(np.zeros((2, 2, 3), np.uint8), 2, border=(0, 0, 0, 2))
    >>> task.grid, task.known  # the token on the right is not known
    ((1, 2), (0,))
    >>> task.canvas(np.array([[7]])).tolist()
    [[7, -1]]
    """

    image: np.ndarray
    factor: int
    corner: tuple[int, int]
    redrawn: np.ndarray
    mask: np.ndarray

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the result, in tokens."""
        return self.redrawn.shape

    @property
    def known(self) -> tuple[int, ...]:
        """The positions whose tokens are known, in raster order."""
        return tuple(np.flatnonzero(~self.redrawn).tolist())

    @property
    def paste(self) -> np.ndarray:
        """What is pasted: uint8 (Y X 4), of which the last is 255 for the picture's
        pixels, and 0, like the others, where the mask hides it."""
        solid = np.full((*self.image.shape[:2], 1), 255, np.uint8)
        corner = [n * self.factor for n in self.corner]
        placed = _place(np.concatenate([self.image, solid], -1), self.mask, corner, 0)
        placed[self.mask] = 0
        return placed

    def canvas(self, tokens: np.ndarray) -> np.ndarray:
        """Return the canvas (rows columns ..) of known tokens.

        tokens (y x ..): those of the picture. Unknown ones are -1, or NaN.
        """
        blank = -1 if tokens.dtype.kind == "i" else np.nan
        canvas = _place(tokens, self.redrawn, self.corner, blank)
        canvas[self.redrawn] = blank
        return canvas


def inpainting(image, mask, factor) -> Task:
    """Return the task of drawing the pixels of an image anew that a mask marks.

    image: uint8 (y x 3); mask: bool (y x); factor: pixels of a token's side. Whatever
    token a marked pixel touches is redrawn. Raises ShapeError, InputError.

    >>> image, mask = np.zeros((4, 8, 3), np.uint8), box((0, 3, 2, 5), (4, 8))
    >>> inpainting(image, mask, factor=2).redrawn.astype(int).tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    (image,) = check_images([image], factor)
    mask = check_mask(mask, image.shape[:2])
    y, x = (n // factor for n in mask.shape)
    redrawn = mask.reshape(y, factor, x, factor).any((1, 3))
    return Task(image, factor, (0, 0), redrawn, mask)


def outpainting(image, factor, border=None, grid=None) -> Task:
    """Return the task of drawing what lies around an image.

    border: pixels at each side, or (top, bottom, left, right), multiples of factor; or
    grid: rows and columns of the result in tokens, the image in their middle. Raises
    ShapeError, InputError.

    >>> task = outpainting(np.zeros((8, 8, 3), np.uint8), factor=4, grid=(2, 4))
    >>> task.redrawn.astype(int).tolist()  # 2 x 2 tokens are known
    [[1, 0, 0, 1], [1, 0, 0, 1]]
    """
    (image,) = check_images([image], factor)
    inner = [n // factor for n in image.shape[:2]]
    if (border is None) == (grid is None):
        raise InputError(
            "outpainting takes a border in pixels, or the grid of the result in "
            "tokens; give one of the two"
        )
    if grid is None:
        top, bottom, left, right = _check_border(border, factor)
        corner, grid = (top, left), (inner[0] + top + bottom, inner[1] + left + right)
    grid = plans.check_grid(grid)
    spare = [outer - n for outer, n in zip(grid, inner, strict=True)]
    if min(spare) < 0 or not any(spare):
        raise InputError(
            f"the grid {grid[0]} x {grid[1]} leaves nothing to draw around an image of "
            f"{inner[0]} x {inner[1]} tokens (of {factor} x {factor} pixels); give a "
            "larger one"
        )
    if border is None:
        corner = tuple(n // 2 for n in spare)
    hidden = _place(np.zeros(inner, bool), np.ones(grid, bool), corner, True)
    mask = hidden.repeat(factor, 0).repeat(factor, 1)
    return Task(image, factor, corner, hidden, mask)


def check_mask(mask, size) -> np.ndarray:
    """Return a mask, bool (y x), True where pixels are redrawn, or raise an error.

    size: (y, x) of its image. Raises ShapeError, and InputError if it marks nothing.

    >>> check_mask(np.array([[200, 0]]) > 127, size=(1, 2)).tolist()
    [[True, False]]
    """
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape != tuple(size):
        raise ShapeError(
            f"a mask of shape {mask.shape} and dtype {mask.dtype}; expected bool, "
            f"({size[0]}, {size[1]}) as its image, True for pixels to be redrawn: of "
            "numbers 0 .. 255 make mask > 127"
        )
    if not mask.any():
        raise InputError(
            "the mask hides nothing, so there is nothing to draw; mark a pixel at "
            "least, or take pipe.decode(pipe.encode(image[None])) for what the "
            "tokenizer makes of the image"
        )
    return mask


def box(corners, size) -> np.ndarray:
    """Return the mask of a box (y0, x0, y1, x1), in pixels of an image of size (y, x).

    The last row and column, y1 and x1, lie outside. Raises InputError.

    >>> box((0, 1, 1, 3), (2, 3)).astype(int).tolist()
    [[0, 1, 1], [0, 0, 0]]
    """
    corners = checks.integers("box: corner", corners, longest=4)
    y0, x0, y1, x1 = corners if len(corners) == 4 else (0, 0, 0, 0)
    if not (y0 < y1 <= size[0] and x0 < x1 <= size[1]):
        raise InputError(
            f"the box {checks.shown(corners)} marks nothing, or more than the image of "
            f"{size[0]} rows and {size[1]} columns; give y0, x0, y1, x1 with y0 < y1 "
            f"<= {size[0]} and x0 < x1 <= {size[1]}"
        )
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def keep(part, size) -> np.ndarray:
    """Return the mask of everything but a part of an image of size (y, x).

    part: a name in KEPT: half of the image, or the middle half of each side. Returns
    bool (y x). Raises InputError.

    >>> keep("left", (1, 4)).astype(int).tolist()
    [[0, 0, 1, 1]]
    """
    checks.choice("keep", part, KEPT)
    y, x = size
    rows = {"top": slice(y // 2), "bottom": slice(y - y // 2, y)}
    columns = {"left": slice(x // 2), "right": slice(x - x // 2, x)}
    if part == "centre":
        rows[part], columns[part] = (slice(n // 4, n - n // 4) for n in size)
    mask = np.ones(size, bool)
    mask[rows.get(part, slice(y)), columns.get(part, slice(x))] = False
    return mask


def fit(image, mask, size, how) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (y x 3), uint8, and its mask, bool (y x), at another size.

    how: "crop" covers the size and cuts what is over at both ends; "pad" shows the
    whole image, and marks what is left around it; "stretch" changes the proportions. A
    pixel is marked if any that it is made of was. size: (y, x). Raises InputError.

    >>> image, mask = np.zeros((2, 4, 3), np.uint8), np.zeros((2, 4), bool)
    >>> fit(image, mask, (2, 2), "crop")[0].shape
    (2, 2, 3)
    >>> fit(image, mask, (4, 4), "pad")[1].astype(int).tolist()
    [[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]
    """
    from PIL import Image

    checks.choice("fit", how, FITS)
    if image.shape[:2] == tuple(size):
        return image, mask
    scales = [new / old for new, old in zip(size, image.shape, strict=False)]
    if how != "stretch":
        scales = [max(scales) if how == "crop" else min(scales)] * 2
    y, x = (max(round(n * s), 1) for n, s in zip(image.shape, scales, strict=False))
    checks.picture(y * x, "crop it before")
    image = np.array(Image.fromarray(image).resize((x, y), Image.Resampling.BICUBIC))
    marked = Image.fromarray(np.float32(mask)).resize((x, y), Image.Resampling.BOX)
    # what is cut, and what is added, before the first row and column
    cut = [max(old - new, 0) // 2 for old, new in zip((y, x), size, strict=True)]
    free = [max(new - old, 0) // 2 for old, new in zip((y, x), size, strict=True)]
    part = tuple(slice(a, a + n) for a, n in zip(cut, size, strict=True))
    frame = np.ones(size, bool)
    image = _place(image[part], frame, free, 0)
    return image, _place((np.array(marked) > 0)[part], frame, free, True)


def paste(images, pasted) -> np.ndarray:
    """Return images, uint8 (b y x 3), with the pixels of a `Task.paste` on each.

    pasted: uint8 (y x 4); a pixel is pasted where the last of its numbers is not 0.

    >>> drawn = np.zeros((1, 1, 2, 3), np.uint8)
    >>> pasted = np.array([[[9, 9, 9, 255], [0, 0, 0, 0]]], np.uint8)
    >>> paste(drawn, pasted).tolist()
    [[[[9, 9, 9], [0, 0, 0]]]]
    """
    return np.where(pasted[..., 3:] > 0, pasted[..., :3], images)


def check_canvas(kind, config, known, grid, count) -> np.ndarray:
    """Return a canvas of known tokens for every image, (b y x) or (b y x f), or raise.

    kind: `models.codes` or `models.masked`; known: what `Step.canvas` holds, or one
    such canvas for all, (y x) or (y x f); count: the images of the run, b. Raises
    ShapeError, InputError.

    >>> from minigen.families import ArpgConfig
    >>> from minigen.models import codes
    >>> check_canvas(codes, ArpgConfig(), [[5, -1]], grid=(1, 2), count=2).tolist()
    [[[5, -1]], [[5, -1]]]
    """
    known = kind.check_canvas(config, known)
    marked = kind.is_known(known)
    if marked.shape not in (tuple(grid), (count, *grid)):
        raise ShapeError(
            f"known tokens of shape {known.shape}, and {count} images on a grid of "
            f"{grid[0]} x {grid[1]}; give them for all, or for each image, with "
            f"{kind.UNKNOWN} where a token is unknown, and for another grid say "
            "grid=(rows, columns)"
        )
    if marked.ndim == 2:
        known, marked = known[None].repeat(count, 0), marked[None]
    differ = np.argwhere(marked != marked[:1])
    if len(differ):
        image, y, x = differ[0].tolist()
        raise InputError(
            f"the token at row {y}, column {x} is known in one of the images 0 and "
            f"{image}, and unknown in the other; all images of a run know the same "
            "positions: draw those that do not in another run"
        )
    return known


def known_positions(kind, canvas) -> tuple[int, ...]:
    """Return the positions that a canvas from `check_canvas` knows, in raster order.

    >>> from minigen.models import codes
    >>> known_positions(codes, np.array([[[5, -1], [-1, 3]]]))
    (0, 3)
    """
    return tuple(np.flatnonzero(kind.is_known(canvas[0])).tolist())


def check_known(known, planned) -> None:
    """Raise InputError unless a plan knows the positions that tokens were given for.

    >>> check_known(known=(0, 3), planned=(0,))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigen.errors.InputError: position 3 is known in the known tokens, and not in a ...
    """
    differ = sorted({*known} ^ {*planned})
    if differ:
        here, there = "a plan", "the known tokens"
        if differ[0] in known:
            here, there = there, here
        raise InputError(
            f"position {differ[0]} is known in {here}, and not in {there}: give the "
            f"tokens of exactly the {len(planned)} positions that the plan knows, or "
            "make a plan for these, minigen.plan(grid, known=positions)"
        )


def known_tokens(canvas, plan) -> np.ndarray | None:
    """Return the tokens (b k ..) of a canvas at plan.known, in that order.

    None is a canvas without tokens.

    >>> plan = plans.plan((2, 2), known=[3, 0])
    >>> known_tokens(np.array([[[5, -1], [-1, 8]]]), plan).tolist()
    [[8, 5]]
    """
    if canvas is None:
        return None
    rows, columns = np.divmod(np.array(plan.known, np.int64), plan.grid[1])
    return canvas[:, rows, columns]


def _check_border(border, factor):
    if isinstance(border, int | np.integer):
        border = [border] * 4
    border = checks.integers("border", border, longest=4)
    if len(border) != 4 or any(n % factor for n in border) or not any(border):
        raise InputError(
            f"border {checks.shown(border)} is not the pixels at every side, or (top, "
            f"bottom, left, right), more than 0 somewhere, and multiples of {factor}, "
            f"the pixels of a token; give {factor}, for one token all around"
        )
    return [n // factor for n in border]


def _place(array, frame, corner, blank):
    """Return an array (y x ..) at a corner of one of the frame's size, else `blank`."""
    placed = np.full((*frame.shape, *array.shape[2:]), blank, array.dtype)
    (top, left), (y, x) = corner, array.shape[:2]
    placed[top : top + y, left : left + x] = array
    return placed
