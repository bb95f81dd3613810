"""A plan and a step as pictures, which a notebook shows by itself."""

from __future__ import annotations

import io

import numpy as np

from minigen.show.lesson import GAP, INK, LETTER, ORANGE, PAPER, RAMP

LINE = (200, 200, 200)
KNOWN = (214, 228, 243)  # a cell whose token is known


def of_plan(plan) -> bytes:
    """Return a plan as PNG: on each cell the step that decodes it, dark to bright.

    A known cell has a point. Where images differ in their positions, all have a `?`.
    """
    words = [line.split() for line in str(plan).split("\n")]
    last = max(len(plan.groups) - 1, 1)
    colours = [
        [_shade(int(word) / last) if word.isdecimal() else GAP for word in line]
        for line in words
    ]
    caption = f"{len(plan.order)} tokens, by the step that decodes each"
    return _png(words, colours, caption)


def of_step(step) -> bytes:
    """Return the first image of a step as PNG: known tokens, and new ones framed.

    A cell holds the number of its token's code; tokens that are vectors have none.
    """
    canvas = step.canvas[0]
    numbers = canvas.ndim == 2
    known = canvas >= 0 if numbers else ~np.isnan(canvas).any(-1)
    words = [
        [str(canvas[y, x]) if numbers and known[y, x] else "" for x in range(len(row))]
        for y, row in enumerate(known)
    ]
    colours = [[KNOWN if cell else GAP for cell in row] for row in known]
    new = np.atleast_2d(step.positions)[0].tolist()
    caption = f"step {step.index} of 0 to {step.steps - 1}: {len(new)} new"
    caption += f", {int(known.sum())} of {known.size} known"
    return _png(words, colours, caption, new)


def _png(words, colours, caption, framed=()):
    """Draw cells of a grid with a word on each: PNG. framed: raster positions."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(LETTER)
    longest = max(font.getlength(word) for line in words for word in line)
    side, top, columns = max(20, round(longest) + 8), LETTER + 10, len(words[0])
    width = max(columns * side, round(font.getlength(caption)) + 8) + 1
    picture = Image.new("RGB", (width, top + len(words) * side + 1), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((2, 2), caption, INK, font)
    for y, line in enumerate(words):
        for x, word in enumerate(line):
            left, high, colour = x * side, top + y * side, colours[y][x]
            pen.rectangle((left, high, left + side, high + side), colour, LINE)
            ink = INK if sum(colour) > 380 else PAPER
            place = (left + side / 2, high + side / 2)
            pen.text(place, word, ink, font, anchor="mm")
    for position in framed:
        y, x = divmod(position, columns)
        left, high = x * side, top + y * side
        pen.rectangle((left, high, left + side, high + side), None, ORANGE, 3)
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()


def _shade(share):
    marks = np.linspace(0, 1, len(RAMP))
    return tuple(round(float(np.interp(share, marks, c))) for c in RAMP.T)
