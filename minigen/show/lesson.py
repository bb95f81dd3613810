"""What the lessons draw with: source, boards of pictures, bars, curves, colours."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from minigen.images import read_image
from minigen.show.grid import enlarge
from minigen.show.player import RAMP as COLOURS
from minigen.show.player import page
from minigen.words import say
from minigen.writing import make_folder, write_file

PAPER, INK, LINE = (255, 255, 255), (51, 51, 51), (200, 200, 200)
GAP = (232, 232, 232)  # stands for NaN
BLUE, ORANGE = (31, 119, 180), (255, 140, 0)
RAMP = np.array(COLOURS)
# for stacked areas: neighbours can be told apart, in print too
LAYERS = np.array([[49, 104, 142], [53, 183, 121], [38, 16, 80], [150, 160, 220]])
LETTER = 13  # height of a caption in pixels

listener: Callable[[str, dict], None] | None = None
"""Whoever makes a page of a lesson: told of what it shows, which is then not printed.

It is called with "source" and {text, path}, with "picture" and {path, name, size, alt},
with "measured" and {}, and with "player" and {kind, data, name}.
"""


def source(*functions: Callable) -> None:
    """Print the source of functions as it stands in the package.

    >>> source(_folder)
    # minigen/show/lesson.py
    def _folder():
        return make_folder(os.environ.get("MINIGEN_PICTURES") or beside("pictures"))
    <BLANKLINE>
    """
    for f in functions:
        f = inspect.unwrap(f)
        path = f"{f.__module__.replace('.', '/')}.py"
        text = inspect.getsource(f)
        if listener:
            listener("source", {"text": text, "path": path})
        else:
            say(f"# {path}", *text.split("\n"))


def measured(*lines: str) -> None:
    """Print lines that no other run prints, such as times; a page leaves them out.

    >>> measured("8 images took 0.1 s")
    8 images took 0.1 s
    """
    if listener:
        listener("measured", {})
    else:
        say(*lines)


def beside(name: str) -> Path:
    """Return the path of a file beside the running program (in a notebook: here).

    >>> beside("digits.png").name
    'digits.png'
    """
    program = getattr(sys.modules["__main__"], "__file__", None)
    return (Path(program).parent if program else Path()) / name


def digits(name: str = "digits.png", tile: int = 28, border: int = 2) -> np.ndarray:
    """Return the digits of a sheet beside the program, row by row: uint8 (b y x 3).

    The sheet is grey and made of square tiles; each gets a black border, as the small
    models saw it in training.

    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("L", (2 * 28, 28)).save(f"{folder}/sheet.png")
    ...     digits(f"{folder}/sheet.png").shape
    (2, 32, 32, 3)
    """
    sheet = read_image(beside(name))[..., 0]
    rows, columns = (size // tile for size in sheet.shape)
    tiles = sheet.reshape(rows, tile, columns, tile).swapaxes(1, 2)
    images = np.pad(tiles, ((0, 0), (0, 0), (border, border), (border, border)))
    return images.reshape(-1, *images.shape[2:], 1).repeat(3, axis=-1)


def save(name: str, picture):
    """Write a picture and return it, so that a notebook shows it.

    It goes to the folder that MINIGEN_PICTURES names, else to `pictures` beside the
    running program. picture: uint8 (y x 3), or what `board` returned.

    >>> from tempfile import TemporaryDirectory
    >>> from unittest.mock import patch
    >>> restoring = patch.dict(os.environ)
    >>> dot = np.zeros((2, 3, 3), np.uint8)
    >>> with TemporaryDirectory() as folder, restoring:
    ...     os.environ["MINIGEN_PICTURES"] = folder
    ...     save("dot.png", dot).size  # doctest: +ELLIPSIS
    picture: ...dot.png (3 x 2)
    (3, 2)
    """
    import io

    from PIL import Image

    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    path = write_file(_folder() / name, buffer.getvalue())
    if listener:
        alt = picture.info.get("captions") or f"picture {name}"
        told = {"path": path, "name": name, "size": picture.size, "alt": alt}
        listener("picture", told)
    else:
        say(f"picture: {path} ({picture.width} x {picture.height})")
    return picture


def player(kind: str, data: dict, name: str) -> None:
    """Write a page with a step player, NAME.html, to the folder of the pictures.

    kind: a name in `minigen.show.player.KINDS`; data: from `minigen.show.frames`.
    Raises InputError.

    >>> from tempfile import TemporaryDirectory
    >>> from unittest.mock import patch
    >>> restoring = patch.dict(os.environ)
    >>> panel = {"title": "cells", "rows": 1, "columns": 2, "values": [0, 1000]}
    >>> runs = [{"name": "a run", "frames": [{"say": "two cells", "panels": [panel]}]}]
    >>> data = {"title": "Two cells", "note": "", "lanes": 1, "runs": runs}
    >>> with TemporaryDirectory() as folder, restoring:
    ...     os.environ["MINIGEN_PICTURES"] = folder
    ...     player("mixture", data, "cells")  # doctest: +ELLIPSIS
    player: ...cells.html (open it in a browser)
    """
    text = page(kind, data, name)
    if listener:
        listener("player", {"kind": kind, "data": data, "name": name})
    else:
        path = write_file(_folder() / f"{name}.html", text.encode())
        say(f"player: {path} (open it in a browser)")


def _folder():
    return make_folder(os.environ.get("MINIGEN_PICTURES") or beside("pictures"))


def board(
    rows: Sequence[Sequence[np.ndarray]],
    across: Sequence[str] = (),
    down: Sequence[str] = (),
    gap: int = 8,
):
    """Lay pictures out in rows, with captions across the top and down the side.

    rows: uint8 pictures (y x 3). Returns a Pillow image.

    >>> board([[np.zeros((32, 32, 3), np.uint8)] * 3] * 2, gap=8).size
    (128, 88)
    """
    from PIL import Image, ImageDraw

    font = _font()
    columns = max(map(len, rows))
    widths = [max(r[i].shape[1] for r in rows if i < len(r)) for i in range(columns)]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    side = [font.getlength(line) for text in down for line in text.split("\n")]
    side = int(max(side, default=-gap)) + gap
    top = _height(across) + gap // 2 if across else 0
    size = (
        side + gap + sum(w + gap for w in widths),
        top + gap + sum(h + gap for h in heights),
    )
    picture = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(picture)
    y = top + gap
    for row, height in zip(rows, heights, strict=True):
        x = side + gap
        for tile, width in zip(row, widths, strict=False):
            picture.paste(Image.fromarray(tile), (x, y))
            x += width + gap
        y += height + gap
    x = side + gap
    for caption, width in zip(across, widths, strict=False):
        pen.text((x + width / 2, gap), caption, INK, font, anchor="ma", align="center")
        x += width + gap
    y = top + gap
    for caption, height in zip(down, heights, strict=False):
        pen.text((gap, y + height / 2), caption, INK, font, anchor="lm")
        y += height + gap
    # for those who cannot see it
    named = {"columns": across, "rows": down}
    words = [f"{side}: {', '.join(filter(None, n))}" for side, n in named.items() if n]
    picture.info["captions"] = "; ".join(words).replace("\n", " ")
    return picture


def colours(values: np.ndarray, scale: int = 1, low=None, high=None) -> np.ndarray:
    """Paint numbers (y x), dark for `low` to bright for `high`: uint8 (y x 3).

    Without them they are the smallest and the largest number; NaN is light grey.

    >>> colours([[0.0, 1.0, np.nan]]).tolist()  # dark, bright, grey
    [[[38, 16, 80], [253, 231, 37], [232, 232, 232]]]
    """
    values = np.asarray(values, np.float64)
    low = np.nanmin(values) if low is None else low
    high = np.nanmax(values) if high is None else high
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    known = ~np.isnan(share)
    marks = np.linspace(0, 1, len(RAMP))
    painted = np.stack([np.interp(share, marks, c) for c in RAMP.T], -1)
    painted = np.where(known[..., None], painted, GAP)
    return enlarge(painted.round().astype(np.uint8), scale)


def numbered(values: np.ndarray, scale: int, low=None, high=None) -> np.ndarray:
    """Paint numbers (y x) as `colours` does, and write each on its cell.

    >>> numbered(np.arange(6).reshape(2, 3), 20).shape
    (40, 60, 3)
    """
    values = np.asarray(values)
    picture, half = colours(values, scale, low, high), scale // 2
    bright = picture[half::scale, half::scale].mean(-1) > 128
    for shade, where in ((PAPER, ~bright), (INK, bright)):
        cells = [
            (x * scale + half, y * scale + half, y, x) for y, x in np.argwhere(where)
        ]
        words = [(left, top, f"{values[y, x]:g}") for left, top, y, x in cells]
        picture = written(picture, words, "mm", shade)
    return picture


def outline(
    picture: np.ndarray, positions, grid: tuple[int, int], colour=ORANGE, thick: int = 2
) -> np.ndarray:
    """Return a copy of a picture (y x 3) with the cells of `positions` framed.

    positions: raster positions of a (rows, columns) grid that covers the picture.

    >>> picture = outline(np.zeros((2, 6, 3), np.uint8), [1], (1, 2), 255, thick=1)
    >>> picture[..., 0].tolist()  # the right of two cells
    [[0, 0, 0, 255, 255, 255], [0, 0, 0, 255, 255, 255]]
    """
    picture = picture.copy()
    height, width = picture.shape[0] // grid[0], picture.shape[1] // grid[1]
    for position in np.ravel(positions):
        y, x = divmod(int(position), grid[1])
        cell = picture[y * height : (y + 1) * height, x * width : (x + 1) * width]
        cell[:thick] = cell[-thick:] = colour
        cell[:, :thick] = cell[:, -thick:] = colour
    return picture


def maps(values, positions, grid: tuple[int, int], scale: int = 16) -> list:
    """Paint rows of numbers (m n) on the cells of a grid, each position framed.

    grid: (rows, columns), n cells. Returns m pictures, uint8 (y x 3), a cell of which
    has scale x scale pixels.

    >>> pictures = maps(np.eye(2), positions=[0, 1], grid=(1, 2))
    >>> len(pictures), pictures[0].shape
    (2, (16, 32, 3))
    """
    painted = [colours(row.reshape(grid), scale) for row in values]
    pairs = zip(painted, positions, strict=True)
    return [outline(picture, position, grid) for picture, position in pairs]


def canvas(pipe, step, scale: int = 4) -> np.ndarray:
    """Show the first image after a step, its new tokens framed: uint8 (y x 3).

    >>> from minigen import load
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> step = next(pipe.steps([7], steps=4))
    >>> canvas(pipe, step, scale=2).shape
    (64, 64, 3)
    """
    picture = enlarge(pipe.picture(step.canvas[:1])[0], scale)
    positions = np.atleast_2d(step.positions)[0]
    return outline(picture, positions, step.canvas.shape[1:3])


def bars(values, width: int, height: int, colour=BLUE, high=None, numbers=()):
    """Draw numbers as bars, left to right; `high` fills the height: uint8 (y x 3).

    numbers: what is written over each bar, such as its number with a unit.

    >>> picture = bars([1, 2], width=2, height=5, colour=0)
    >>> (picture[..., 0] == 0).sum(0).tolist()  # pixels of each bar, above the line
    [2, 4]
    """
    values = np.asarray(values, np.float64)
    high = max(float(values.max()) if high is None else high, 1e-12)
    picture = np.full((height, width, 3), PAPER, np.uint8)
    picture[-1] = LINE
    ends = np.linspace(0, width, len(values) + 1).round().astype(int)
    room = LETTER + 4 if len(numbers) else 0
    tops = np.clip(values / high, 0, 1) * (height - 1 - room)
    tops = height - 1 - tops.round().astype(int)
    for top, start, end in zip(tops, ends, ends[1:], strict=False):
        # a hairline of paper between neighbours, where there is room for one
        picture[top : height - 1, start : end - (end - start > 3)] = colour
    middles = (ends[:-1] + ends[1:]) / 2
    return written(picture, zip(middles, tops - 3, numbers, strict=False), "ms")


def written(picture: np.ndarray, words, anchor: str = "lm", colour=INK) -> np.ndarray:
    """Return a copy of a picture (y x 3) with words on it, kept within its width.

    words: for each its x, its y in pixels, and the text; anchor: which point of a text
    stands there, as Pillow names it ("ms": the middle of its base line).

    >>> page = np.full((20, 40, 3), 255, np.uint8)
    >>> bool((written(page, [(2, 10, "7")]) < 255).any()), bool((page < 255).any())
    (True, False)
    """
    from PIL import Image, ImageDraw

    image, font = Image.fromarray(picture), _font()
    pen = ImageDraw.Draw(image)
    for x, y, text in words:
        left, _, right, _ = pen.textbbox((x, y), text, font=font, anchor=anchor)
        x += max(0, -left) - max(0, right - picture.shape[1])
        pen.text((x, y), text, tuple(map(int, colour)), font, anchor=anchor)
    return np.array(image)


def scale(low: float, high: float, unit: str = "", width: int = 96) -> np.ndarray:
    """Draw what the colours of `colours` stand for, from low to high: uint8 (y x 3).

    >>> picture = scale(0, 10, "bits")
    >>> picture.shape, picture[0, 0].tolist(), picture[0, -1].tolist()
    ((34, 96, 3), [38, 16, 80], [253, 231, 37])
    """
    band = np.full((2 * LETTER + 8, width, 3), PAPER, np.uint8)
    band[: LETTER - 1] = colours(np.linspace(0, 1, width)[None])
    y = LETTER + 2
    band = written(band, [(0, y, f"{low:g}")], "la")
    return written(band, [(width - 1, y, f"{high:g} {unit}".strip())], "ra")


def curves(
    lines,
    x,
    axes: tuple[str, str],
    ticks: tuple,
    logs: tuple[bool, bool] = (False, False),
    size: tuple[int, int] = (420, 220),
) -> np.ndarray:
    """Draw lines over one x axis, with axes and a legend: uint8 (y x 3).

    lines: rows of numbers by name, each as long as x. axes: what x and y are, with
    units. ticks: the numbers that stand at each axis; the first and the last end it.
    logs: whether an axis is logarithmic. size: pixels of width, height without words.

    >>> curves({"a": [1, 2]}, [0, 1], ("x", "y"), ([0, 1], [0, 2])).shape
    (296, 492, 3)
    """
    from PIL import Image, ImageDraw

    left, top, (width, height) = 56, 40, size
    picture = np.full((top + height + 36, left + width + 16, 3), PAPER, np.uint8)

    def place(values, axis):
        ends = np.array([ticks[axis][0], ticks[axis][-1], *values], np.float64)
        low, high, *values = np.log(ends) if logs[axis] else ends
        share = np.clip((np.array(values) - low) / (high - low), 0, 1)
        return left + share * width if axis == 0 else top + (1 - share) * height

    marks = list(zip(ticks[0], place(ticks[0], 0), strict=True))
    picture = written(
        picture, [(p, top + height + 3, f"{t:g}") for t, p in marks], "ma"
    )
    marks = list(zip(ticks[1], place(ticks[1], 1), strict=True))
    picture = written(picture, [(left - 6, p, f"{t:g}") for t, p in marks], "rm")
    picture = written(picture, [(left + width, top + height + 34, axes[0])], "rd")
    picture = written(picture, [(4, 2, axes[1])], "la")
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for p in place(ticks[1], 1):
        pen.line([(left, p), (left + width, p)], LINE)
    shades = [tuple(map(int, c)) for c in (BLUE, ORANGE, *LAYERS[1:])]
    named, start = [], left
    for shade, (name, values) in zip(shades, lines.items(), strict=False):
        points = zip(place(x, 0), place(values, 1), strict=True)
        pen.line(list(points), shade, 2, "curve")
        named.append((shade, start, name))
        start += int(_font().getlength(name)) + 16
    picture = np.array(image)
    for shade, start, name in named:
        picture = written(picture, [(start, top - 14, name)], "lm", shade)
    return picture


def areas(parts, height: int, high=None) -> np.ndarray:
    """Draw rows of numbers (k n) as areas on top of each other: uint8 (height n 3).

    The first row is the lowest; a column of pixels for each of the n numbers; `high`
    fills the height, by default the largest sum.

    >>> picture = areas([[1, 1], [1, 3]], height=5)
    >>> [int((picture == layer).all(-1).sum()) for layer in LAYERS[:2]]
    [2, 4]
    """
    tops = np.cumsum(np.asarray(parts, np.float64), axis=0)
    high = tops[-1].max() if high is None else high
    picture = bars(0 * tops[-1], tops.shape[1], height)
    for i in reversed(range(len(tops))):
        colour = LAYERS[i % len(LAYERS)]
        layer = bars(tops[i], tops.shape[1], height, colour, high)
        picture[:-1][(layer[:-1] == colour).all(-1)] = colour
    return picture


def curve(picture: np.ndarray, values, high, colour=ORANGE, thick: int = 2):
    """Return a copy of a picture (y x 3) with numbers drawn over it, left to right.

    values: spread evenly over the width; `high` is as tall as the picture.

    >>> picture = curve(np.zeros((4, 3, 3), np.uint8), [0, 0.5, 1], 1, 255, thick=1)
    >>> picture[..., 0].argmax(0).tolist()  # rows of the line, from the top
    [2, 1, 0]
    """
    picture, (height, width) = picture.copy(), picture.shape[:2]
    ends = np.linspace(0, width - 1, len(values))
    values = np.interp(np.arange(width), ends, np.asarray(values, np.float64))
    y = (height - 2) - (np.clip(values / high, 0, 1) * (height - 2)).round().astype(int)
    for x, (here, before) in enumerate(zip(y, [y[0], *y], strict=False)):
        top, bottom = min(here, before), max(here, before)
        picture[top : bottom + thick, x] = colour
    return picture


def mark(picture: np.ndarray, share: float, colour=ORANGE, thick: int = 2):
    """Return a copy of a picture (y x 3) with an upright line at a share of its width.

    >>> mark(np.zeros((1, 4, 3), np.uint8), 0.5, 255, thick=1)[0, :, 0].tolist()
    [0, 0, 255, 0]
    """
    picture, width = picture.copy(), picture.shape[1]
    x = int(np.clip(share * width, 0, width - 1))
    picture[:, max(x - thick // 2, 0) : x + (thick + 1) // 2] = colour
    return picture


def _font():
    from PIL import ImageFont

    return ImageFont.load_default(LETTER)


def _height(captions):
    lines = max((caption.count("\n") + 1 for caption in captions), default=0)
    return round(lines * LETTER * 1.2)
