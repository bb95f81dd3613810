"""The step player in a page: HTML that opens from a file and asks for nothing.

Its data come from `minigen.show.frames`; its script and its style lie beside this file.
Without JavaScript a storyboard of three to five frames tells the story.
"""

from __future__ import annotations

import base64
import io
import json
from html import escape
from pathlib import Path

import numpy as np

from minigen.checks import choice

KINDS = ("decoding", "attention", "state", "mixture", "threads")
STORY = 5
"""The most frames of a storyboard."""

RAMP = ((38, 16, 80), (49, 104, 142), (53, 183, 121), (253, 231, 37))
"""Dark blue, blue, green, yellow: bright means more, in print too."""

LOSSY = 96
"""Images with a longer side are kept as JPEG."""

MOST_CELLS = 256
"""Cells of a storyboard's board; one of more is drawn as a picture."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title}</title>
<style>
:root{{color-scheme:light dark}}
body{{font:16px/1.5 system-ui,sans-serif;max-width:68rem;margin:auto;padding:0 1rem}}
body{{color:#222;background:#fff;overflow-wrap:anywhere}}
@media (prefers-color-scheme:dark){{body{{color:#eee;background:#161616}}}}
kbd{{border:1px solid;border-radius:.2rem;padding:0 .3em}}
{style}</style></head>
<body data-alone><h1>{title}</h1>
{player}
<p><kbd>←</kbd> <kbd>→</kbd> step, <kbd>space</kbd> plays, <kbd>home</kbd> and
<kbd>end</kbd>. On a board the arrow keys choose a cell, and <kbd>,</kbd>
<kbd>.</kbd> step.</p>
<script>
{script}</script></body></html>
"""


def script() -> str:
    """Return the player's JavaScript, which stands once on a page, at its end.

    >>> "customElements.define" in script()
    True
    """
    return _beside("player.js")


def style() -> str:
    """Return the player's CSS.

    >>> "step-player" in style()
    True
    """
    return _beside("player.css")


def page(kind: str, data: dict, name: str) -> str:
    """Return a whole page with one player: its title, itself, and what keys do.

    kind, data, name: as for `embed`. Raises InputError.

    >>> panel = {"title": "cells", "rows": 1, "columns": 2, "values": [0, 1000]}
    >>> runs = [{"name": "a run", "frames": [{"say": "two cells", "panels": [panel]}]}]
    >>> data = {"title": "Two cells", "note": "", "lanes": 1, "runs": runs}
    >>> "<title>Two cells</title>" in page("mixture", data, "cells")
    True
    """
    parts = {"style": style(), "script": script(), "player": embed(kind, data, name)}
    return PAGE.format(title=escape(data["title"]), **parts)


def embed(kind: str, data: dict, name: str) -> str:
    """Return the HTML of a player: its note, its storyboard, and its data.

    The page needs `style` and, behind all players, `script`. kind: a name in KINDS;
    data: from `minigen.show.frames`; name: of the element, for links such as
    `#player=name&step=7`. Raises InputError.

    >>> panel = {"title": "cells", "rows": 1, "columns": 2, "values": [0, 1000]}
    >>> runs = [{"name": "a run", "frames": [{"say": "two cells", "panels": [panel]}]}]
    >>> data = {"title": "Two cells", "note": "", "lanes": 1, "runs": runs}
    >>> embed("mixture", data, "cells")[:39]
    '<step-player kind="mixture" id="cells">'
    """
    choice("kind", kind, KINDS)
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    # inside a script only this could end it
    text = text.replace("<", "\\u003c")
    note = f"<p>{escape(data['note'])}</p>" if data["note"] else ""
    return (
        f'<step-player kind="{kind}" id="{escape(name)}">{note}{story(data)}'
        f'<script type="application/json">{text}</script></step-player>'
    )


def story(data: dict) -> str:
    """Return a few frames of each lane as pictures with captions.

    >>> panel = {"title": "cells", "rows": 1, "columns": 2, "values": [0, 1000]}
    >>> frames = 9 * [{"say": "two cells", "panels": [panel]}]
    >>> runs = [{"name": "a run", "frames": frames}]
    >>> story({"lanes": 1, "runs": runs}).count("<figure")  # STORY of nine frames
    5
    """
    lanes = []
    for run in data["runs"][: data["lanes"]]:
        n = len(run["frames"])
        chosen = np.unique(np.linspace(0, n - 1, min(n, STORY)).round().astype(int))
        frames = "".join(_frame(data, run["frames"][i], i, n) for i in chosen)
        name = escape(run["name"])
        lanes.append(f'<p class="name">{name}</p><div class="frames">{frames}</div>')
    legend = ""
    if "most" in data:
        legend = (
            "<p>Orange: drawn in this step. Colours of unknown cells: bits of doubt, "
            f"from dark, 0, to bright, {data['most']}.</p>"
        )
    return f'<div class="story">{"".join(lanes)}{legend}</div>'


def _frame(data, frame, i, n):
    if "panels" in frame:
        panels, says = frame["panels"], frame["say"]
    else:
        panels, says = [_canvas(data, frame)], _summary(frame)
    shown = "".join(curve(p) if "parts" in p else grid(p) for p in panels)
    caption = f"step {i + 1} of {n}: {says}"
    kind = "curve" if all("parts" in p for p in panels) else "grid"
    caption = f"<figcaption>{escape(caption)}</figcaption>"
    return f'<figure class="{kind}">{shown}{caption}</figure>'


def _canvas(data, frame):
    rows, columns = data["grid"]
    values = [None] * (rows * columns)
    for position, bits in zip(
        frame.get("open", ()), frame.get("bits", ()), strict=True
    ):
        if position not in frame["new"]:
            values[position] = round(10 * bits / data["most"])
    shown = {
        "rows": rows,
        "columns": columns,
        "image": frame["image"],
        "title": "canvas",
    }
    return {**shown, "values": values, "new": frame["new"]}


def _summary(frame):
    bits = frame.get("bits")
    doubt = (
        f", {np.mean(bits) / 100:.1f} bits of doubt a cell before it" if bits else ""
    )
    return f"{len(frame['new'])} new{doubt}"


def grid(panel: dict) -> str:
    """Return a panel of cells as SVG; `grid` of player.js draws the same.

    >>> panel = {"title": "cells", "rows": 1, "columns": 2, "values": [0, 1000]}
    >>> 'fill="rgb(253,231,37)"' in grid(panel)  # of the second: bright
    True
    """
    rows, columns = panel["rows"], panel["columns"]
    drawn = [f'<rect width="{columns}" height="{rows}" class="paper"/>']
    if panel.get("image"):
        drawn.append(_image(panel["image"], panel))
    values, whole = panel.get("values", ()), 1000
    if isinstance(values, str):
        values, whole = base64.b64decode(values), 255
    if len(values) > MOST_CELLS:
        shares = np.array([*values], np.float64).reshape(rows, columns) / whole
        drawn, values = [_image(uri(mix(shares)), panel)], ()
    for p, value in enumerate(values):
        if value is not None:
            fill = "rgb({},{},{})".format(*mix(value / whole))
            drawn.append(_box(p, columns, 0, f'class="heat" fill="{fill}"'))
    for mark in ("new", "odd", "wait"):
        drawn += [
            _box(p, columns, 0.05, f'class="{mark}"') for p in panel.get(mark, ())
        ]
    for p, text in enumerate(panel.get("text", ())):
        if text != "":
            at = f'x="{p % columns + 0.5:g}" y="{p // columns + 0.65:g}"'
            look = "" if panel.get("values") else ' class="plain"'
            drawn.append(f"<text {at}{look}>{escape(str(text))}</text>")
    return _svg(panel, f"0 0 {columns} {rows}", drawn)


def curve(panel: dict) -> str:
    """Return a panel with densities as SVG; `density` of player.js draws the same.

    >>> panel = {"title": "density", "parts": [[0, 1000, 0]]}
    >>> 'points="0.0,60.0 80.0,2.0 160.0,60.0' in curve(panel)  # up to the middle
    True
    """
    n, low, drawn = len(panel["parts"][0]), 0, []
    x = 160 * np.arange(n) / (n - 1)
    for k, part in enumerate(panel["parts"]):
        high = low + np.array(part)
        y = 60 - 0.058 * np.concatenate([high, np.broadcast_to(low, n)[::-1]])
        pairs = zip(np.concatenate([x, x[::-1]]), y, strict=True)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in pairs)
        drawn.append(f'<polygon class="part{k % 4}" points="{points}"/>')
        low = high
    if "at" in panel:
        first, last = panel["x"]
        at = f"{160 * (panel['at'] - first) / (last - first):.2f}"
        drawn.append(f'<line class="at" x1="{at}" x2="{at}" y1="0" y2="60"/>')
    return _svg(panel, "0 0 160 60", drawn, ' preserveAspectRatio="none"')


def mix(share) -> np.ndarray:
    """Return the colour (.. 3), uint8, at shares (..) of 0 .. 1 of the ramp.

    >>> mix([0, 1]).tolist()
    [[38, 16, 80], [253, 231, 37]]
    """
    marks = np.linspace(0, 1, len(RAMP))
    colours = [np.interp(share, marks, colour) for colour in np.transpose(RAMP)]
    return np.stack(colours, -1).round().astype(np.uint8)


def uri(image: np.ndarray) -> str:
    """Return an image, uint8 (y x 3), as a data URI: PNG, or JPEG where it is large.

    >>> uri(np.zeros((8, 8, 3), np.uint8))[:22]
    'data:image/png;base64,'
    """
    from PIL import Image

    kind = "jpeg" if max(image.shape) > LOSSY else "png"
    grey = (image == image[..., :1]).all()
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if grey else image).save(buffer, kind)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _box(p, columns, inset, more):
    x, y, side = p % columns + inset, p // columns + inset, 1 - 2 * inset
    return f'<rect x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}" {more}/>'


def _image(source, panel):
    size = f'width="{panel["columns"]}" height="{panel["rows"]}"'
    return f'<image href="{source}" {size} preserveAspectRatio="none"/>'


def _svg(panel, box, drawn, more=""):
    label = escape(panel["title"], quote=True)
    return (
        f'<svg viewBox="{box}"{more} role="img" aria-label="{label}">'
        f"{''.join(drawn)}</svg>"
    )


def _beside(name):
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
