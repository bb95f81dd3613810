"""The tokens of a picture, and its pixels, as text for its recipe."""

from __future__ import annotations

import base64
import binascii
import math
import zlib

import numpy as np

from minigen import tasks
from minigen.errors import InputError

KINDS = {"i": "<i4", "f": "<f4", "u": "|u1"}
"""What numbers are stored as, by the kind of their dtype."""


def pack(array: np.ndarray) -> str:
    """Return an array as text: int64 tokens, float32 features, or uint8 pixels.

    >>> unpack(pack(np.array([[[3, -1]]])), (1, 1, 2), vocabulary=4).tolist()
    [[[3, -1]]]
    """
    content = np.ascontiguousarray(array, KINDS[array.dtype.kind]).tobytes()
    return base64.b64encode(zlib.compress(content, 9)).decode("ascii")


def unpack(
    text: str, shape: tuple[int, ...], vocabulary: int | None, name: str = "drawn"
) -> np.ndarray:
    """Return the canvases that `pack` made into `text`; vocabulary: None for vectors.

    name: of the recipe's field. Raises InputError if the text holds no such tokens,
    whatever length it claims.

    >>> text = pack(np.array([[[3, -1]]]))  # 1 x 2 tokens, one of them unknown
    >>> unpack(text, (1, 1, 2), vocabulary=4).tolist()
    [[[3, -1]]]
    """
    content = _inflate(text, 4 * math.prod(shape))
    if content is None:
        raise InputError(
            f"the tokens that the recipe records (its field {name!r}) cannot be read, "
            f"or are not those of {shape[0]} images of {shape[1]} x {shape[2]} tokens"
        )
    if vocabulary is None:
        canvas = np.frombuffer(content, "<f4").astype(np.float32).reshape(shape)
        unknown = np.isnan(canvas)
        if np.isinf(canvas).any() or (unknown != unknown[..., :1]).any():
            raise InputError(
                f"the recipe records (in {name!r}) tokens that are infinite, or known "
                "in some of their features only; those of this model are finite"
            )
        return canvas
    canvas = np.frombuffer(content, "<i4").astype(np.int64).reshape(shape)
    if canvas.size and not -1 <= canvas.min() <= canvas.max() < vocabulary:
        raise InputError(
            f"the recipe records (in {name!r}) tokens {canvas.min()} .. "
            f"{canvas.max()}; those of this model are 0 .. {vocabulary - 1}"
        )
    return canvas


def unpack_pixels(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pixels, uint8, that `pack` made into `text`, or raise InputError."""
    content = _inflate(text, math.prod(shape))
    if content is None:
        raise InputError(
            "the pixels that the recipe pastes (its field 'paste') cannot be read, or "
            f"are not those of a picture of {shape[1]} x {shape[0]}"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def canvas_of(pipe, recipe, name: str) -> np.ndarray | None:
    """Return canvases (b ..) in a recipe's field, drawn, known or control, or None.

    Raises InputError.
    """
    text, config = getattr(recipe, name), pipe.config
    if text is None:
        return None
    shape = len(recipe.labels), *(recipe.grid or pipe.grid)
    vocabulary = getattr(config, "control" if name == "control" else "vocabulary", None)
    if vocabulary is None:
        shape = *shape, config.features
    return unpack(text, shape, vocabulary, name)


def pasted(recipe, images: np.ndarray) -> np.ndarray:
    """Return images, uint8 (b y x 3), with the pixels that the recipe pastes on each.

    Raises InputError.
    """
    if recipe.paste is None:
        return images
    return tasks.paste(images, unpack_pixels(recipe.paste, (*images.shape[1:3], 4)))


def _inflate(text, size):
    """Return the bytes that a text holds, or None if they are not that many."""
    try:
        inflate = zlib.decompressobj()
        content = inflate.decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, ValueError, zlib.error):
        return None
    return content if len(content) == size and inflate.eof else None
