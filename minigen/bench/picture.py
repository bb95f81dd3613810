"""Panels of lines for `bench growth`, and bars for `bench headline`."""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

from minigen.bench.growth import Growth
from minigen.errors import InputError
from minigen.show.lesson import BLUE, INK, LINE, ORANGE, PAPER
from minigen.writing import write_file

WIDTH, HEIGHT = 460, 340  # of a panel, in pixels
LEFT, RIGHT, TOP, BOTTOM = 62, 40, 84, 48  # its margins
FINER = 3  # marks so many times larger and shrunk, which makes lines smooth
LETTER, TITLE = 13, 15
SIDE, BAR = 220, 26  # of bars: room for their names, and from one to the next
COLOURS = (BLUE, ORANGE)


@dataclass(frozen=True)
class Panel:
    """Lines [(name, [(x, y), ...]), ...] under a title, with the unit of y."""

    title: str
    unit: str
    lines: list


def panels(found: Growth) -> list[Panel]:
    """Return what is kept (MB) and the time of a token (ms), each by position."""
    kept, taken = [], []
    for curve in found.curves:
        points = curve.points
        name = f"{curve.model}: {curve.keeps}"
        kept.append((name, [(p.position, p.kept / 1e6) for p in points]))
        taken.append((curve.model, [(p.position, 1e3 * p.median) for p in points]))
    return [
        Panel("kept from token to token", "MB", kept),
        Panel(f"time of a token, {found.backend}", "ms", taken),
    ]


def write(path: str | Path, found: Growth) -> Path:
    """Draw the panels side by side and write them as a PNG."""
    buffer = io.BytesIO()
    draw(panels(found)).save(buffer, "png")
    return write_file(path, buffer.getvalue())


def draw(panels: list[Panel]):
    """Return the panels side by side, as a Pillow image."""
    from PIL import Image, ImageDraw

    size = WIDTH * len(panels), HEIGHT
    picture = Image.new("RGB", [FINER * n for n in size], PAPER)
    pen = ImageDraw.Draw(picture)
    for i, panel in enumerate(panels):
        _draw_panel(pen, panel, i * WIDTH)
    return picture.resize(size, Image.Resampling.LANCZOS)


def write_bars(path: str | Path, entries: list[dict]) -> Path:
    """Draw how many times as fast models are as their baselines; write it as a PNG.

    entries: from `minigen.bench.headline.to_json`. A thin line ends at the number that
    is reported, the larger one of a range. Raises InputError if there is no entry.
    """
    from PIL import Image, ImageDraw

    if not entries:
        raise InputError(
            "there are no headlines to draw; measure one with minigen bench headline "
            "PART --batch 1 --save"
        )
    rows = [
        (f"{side['label']}, batch {entry['batch']}", side["times_as_fast"], numbers)
        for entry in entries
        for side in entry["sides"][:-1]
        for numbers in ([float(n) for n in re.findall(r"[\d.]+", side["reported"])],)
    ]
    most = max(max([value, *numbers]) for _, value, numbers in rows)
    size, wide = (2 * WIDTH, BAR * len(rows) + 50), 2 * WIDTH - SIDE - 2 * RIGHT
    picture = Image.new("RGB", [FINER * n for n in size], PAPER)
    pen = ImageDraw.Draw(picture)
    _write(pen, (SIDE, 20), "times as fast as the baseline, and reported", TITLE, "lm")
    for i, (name, value, numbers) in enumerate(rows):
        left, middle = SIDE, 50 + BAR * i
        _write(pen, (left - 10, middle), name, LETTER, "rm")
        _line(pen, [(left, middle), (left + wide * value / most, middle)], BLUE, 9)
        if numbers:
            end = left + wide * max(numbers) / most
            _line(pen, [(left, middle + 7), (end, middle + 7)], ORANGE, 2)
        _write(pen, (left + wide * value / most + 6, middle), f"{value:.3g}", LETTER,
               "lm", BLUE)  # fmt: skip
    buffer = io.BytesIO()
    picture.resize(size, Image.Resampling.LANCZOS).save(buffer, "png")
    return write_file(path, buffer.getvalue())


def ticks(high: float, count: int = 5) -> list[float]:
    """Return round numbers from 0 up to `high`, at most `count` beside the 0.

    >>> ticks(604), ticks(4096), ticks(0.9)
    ([0, 200, 400, 600], [0, 1000, 2000, 3000, 4000], [0.0, 0.2, 0.4, 0.6, 0.8])
    """
    power = math.floor(math.log10(high / count))
    unit = 10**power
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit * count >= high)
    return [round(i * step, max(-power, 0)) for i in range(int(high / step) + 1)]


def _draw_panel(pen, panel, left):
    far = max(x for _, points in panel.lines for x, _ in points)
    top = max(y for _, points in panel.lines for _, y in points)
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(x, y):
        return left + LEFT + wide * x / far, TOP + high * (1 - y / top)

    _write(pen, (left + LEFT, 12), panel.title, TITLE, "la")
    for y in ticks(top):
        _line(pen, [at(0, y), at(far, y)], LINE, 1)
        _write(pen, _moved(at(0, y), -8, 0), f"{y:g}", LETTER, "rm")
    for x in ticks(far):
        _line(pen, [at(x, 0), _moved(at(x, 0), 0, 4)], INK, 1)
        _write(pen, _moved(at(x, 0), 0, 8), f"{x:g}", LETTER, "ma")
    _write(pen, _moved(at(0, top), -8, -16), panel.unit, LETTER, "rm")
    _write(pen, _moved(at(far / 2, 0), 0, 26), "position", LETTER, "ma")
    for i, (name, points) in enumerate(panel.lines):
        colour = COLOURS[i % len(COLOURS)]
        key = left + LEFT, TOP - 38 + 16 * i
        _line(pen, [key, _moved(key, 20, 0)], colour, 3)
        _write(pen, _moved(key, 28, 0), name, LETTER, "lm")
        marks = [at(*point) for point in points]
        _line(pen, marks, colour, 2)
        for x, y in marks:
            edges = x - 4, y - 4, x + 4, y + 4
            pen.ellipse([FINER * edge for edge in edges], fill=colour)
        value = f"{points[-1][1]:.3g}"
        _write(pen, _moved(marks[-1], 9, 0), value, LETTER, "lm", colour)


def _line(pen, marks, colour, thick):
    scaled = [(FINER * x, FINER * y) for x, y in marks]
    pen.line(scaled, colour, FINER * thick, joint="curve")


def _write(pen, point, text, size, anchor, colour=INK):
    from PIL import ImageFont

    font = ImageFont.load_default(FINER * size)
    pen.text([FINER * n for n in point], text, colour, font, anchor=anchor)


def _moved(point, x, y):
    return point[0] + x, point[1] + y
