"""PNG files with a recipe inside, and animated GIFs."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minigen.errors import InputError
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


def read_png(path: str | Path) -> tuple[np.ndarray, dict]:
    """Return the pixels, uint8 (y, x, 3), and the recipe of a PNG of ours."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            text = getattr(file, "text", {}).get(CHUNK)
            pixels = np.asarray(file.convert("RGB"))
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a PNG: {error}") from None
    try:
        recipe = json.loads(text or "")
    except ValueError:
        recipe = None
    if not isinstance(recipe, dict):
        raise InputError(
            f"{path} carries no recipe (a text chunk named {CHUNK!r}); only pictures "
            "written by minigen and not changed by another program since can be redrawn"
        )
    return pixels, recipe


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
