"""PNG files with a recipe inside, and animated GIFs."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minigen.errors import InputError
from minigen.images import decode, open_picture
from minigen.writing import write_file

CHUNK = "minigen"
"""The keyword of the PNG text chunk that holds the recipe as JSON."""


def write_png(path: str | Path, image: np.ndarray, recipe: dict) -> Path:
    """Write `image`, uint8 (y, x, 3), with `recipe` in its `minigen` text chunk."""
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text(CHUNK, json.dumps(recipe))
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png", pnginfo=info)
    return write_file(path, buffer.getvalue())


def read_png(path: str | Path, ours=None) -> tuple[np.ndarray, dict]:
    """Return the pixels, uint8 (y, x, 3), and the recipe of a PNG of ours.

    ours: the size (y, x) that its recipe makes; such a picture may be larger than a
    stranger's (`images.MOST_PIXELS`). Raises InputError.
    """
    with open_picture(path, ["PNG"]) as (picture, key):
        image = decode(path, picture, key, ours)
        text = picture.text.get(CHUNK)
    return image, _recipe(path, text)


def read_header(path: str | Path) -> tuple[dict, tuple[int, int]]:
    """Return the recipe and the size (y, x) of a PNG of ours, and decode no pixel.

    Only where another program has moved the recipe behind the pixels, they are.
    """
    with open_picture(path, ["PNG"]) as (picture, _):
        size, text = (picture.height, picture.width), picture.info.get(CHUNK)
    return (read_png(path)[1] if text is None else _recipe(path, text)), size


def _recipe(path, text):
    try:
        recipe = json.loads(text or "")
    except (ValueError, RecursionError):
        recipe = None
    if not isinstance(recipe, dict):
        raise InputError(
            f"{path} carries no recipe (a text chunk named {CHUNK!r}); only pictures "
            "written by minigen and not changed by another program since can be redrawn"
        )
    return recipe


def write_gif(path: str | Path, frames: Sequence[np.ndarray], seconds: float) -> Path:
    """Write `frames`, uint8 (y, x, 3) each, as a looping animation.

    The frames share `seconds`; the last stays for another second and a half.
    """
    from PIL import Image

    each = max(20, round(1000 * seconds / len(frames) / 10) * 10)
    times = [each] * (len(frames) - 1) + [each + 1500]
    # one palette for all, or the grey of unknown tokens would flicker
    sheet = np.concatenate(frames)
    palette = Image.fromarray(sheet).quantize(256, dither=Image.Dither.NONE)
    pictures = [
        Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE)
        for f in frames
    ]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, "gif", save_all=True, append_images=pictures[1:], duration=times, loop=0
    )
    return write_file(path, buffer.getvalue())
