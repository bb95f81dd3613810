"""PNG files with a recipe inside, images in other formats, and animated GIFs."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minigen import strict_json
from minigen.errors import InputError
from minigen.images import decode, open_picture
from minigen.writing import write_file

CHUNK = "minigen"
"""The keyword of the PNG text chunk that holds the recipe as JSON."""

FORMATS = {
    "png": {},
    "webp": {"lossless": True},
    "jpg": {"quality": 95, "subsampling": 0},
    "npz": {},
}
"""What one image of a folder may be written as, and how Pillow is to do so. A PNG holds
its recipe, an NPZ the arrays image (y x 3), tokens and label. Only JPEG loses bits."""

LONGEST = 2**24
"""The most characters of a recipe: enough for the labels of two million images."""


def write_png(path: str | Path, image: np.ndarray, recipe: dict) -> Path:
    """Write `image`, uint8 (y, x, 3), with `recipe` in its `minigen` text chunk."""
    return write_file(path, encode("png", image, recipe))


def encode(kind: str, image: np.ndarray, recipe: dict, tokens=None) -> bytes:
    """Return the file of an image, uint8 (y, x, 3): the same bytes for the same call.

    kind: of FORMATS; recipe: what a PNG holds in its `minigen` text chunk; tokens: of
    the image, which an NPZ holds.
    """
    from PIL import Image, PngImagePlugin

    buffer, how = io.BytesIO(), dict(FORMATS[kind])
    if kind == "npz":
        (label,) = recipe["labels"]
        np.savez(buffer, image=image, tokens=tokens, label=np.int64(label))
        return buffer.getvalue()
    if kind == "png":
        how["pnginfo"] = PngImagePlugin.PngInfo()
        how["pnginfo"].add_text(CHUNK, json.dumps(recipe))
    Image.fromarray(image).save(buffer, "jpeg" if kind == "jpg" else kind, **how)
    return buffer.getvalue()


OTHERWISE = "only a PNG that minigen wrote holds a recipe, no picture of another format"
"""What an error says of a picture of another format."""


def read_png(path: str | Path, ours=None) -> tuple[np.ndarray, dict]:
    """Return the pixels, uint8 (y, x, 3), and the recipe of a PNG of ours.

    ours: the size (y, x) that follows from its recipe; a picture of this size may have
    more than `images.MOST_PIXELS` pixels. Raises InputError.
    """
    with open_picture(path, ["PNG"], OTHERWISE) as (picture, key):
        image = decode(path, picture, key, ours)
        text = picture.text.get(CHUNK)
    return image, _recipe(path, text)


def read_header(path: str | Path) -> tuple[dict, tuple[int, int]]:
    """Return the recipe and the size (y, x) of a PNG of ours, decoding no pixels.

    They are decoded only if another program has moved the recipe behind them.
    """
    with open_picture(path, ["PNG"], OTHERWISE) as (picture, _):
        size, text = (picture.height, picture.width), picture.info.get(CHUNK)
    return (read_png(path)[1] if text is None else _recipe(path, text)), size


def _recipe(path, text):
    """Return the dictionary that a picture's text chunk holds as JSON.

    Raises InputError for anything that minigen does not write, such as a name that
    occurs twice, or NaN.
    """
    wrong = "there is none" if text is None else None
    try:
        if text is not None and len(text) > LONGEST:
            raise ValueError(f"it has more than {LONGEST} characters")
        recipe = None if text is None else parse(text)
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise InputError(
            f"{path} carries no recipe (a text chunk named {CHUNK!r}): {wrong}; only "
            "pictures written by minigen and not changed by another program since can "
            "be redrawn"
        )
    return recipe


def parse(text: str) -> dict:
    """Return the table that a text holds as JSON; raises ValueError.

    A name that occurs twice, NaN and an integer of very many digits are refused.
    """
    table = strict_json.parse(text)
    if not isinstance(table, dict):
        raise ValueError("it is no table of names and values")
    return table


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
