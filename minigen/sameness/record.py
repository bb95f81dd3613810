"""The tokens of a picture as text, for its recipe."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np

from minigen.errors import InputError


def pack(canvas: np.ndarray) -> str:
    """Return canvases as text: int64 (b y x) of tokens, or float32 (b y x f).

    >>> unpack(pack(np.array([[[3, -1]]])), (1, 1, 2), vocabulary=4).tolist()
    [[[3, -1]]]
    """
    kind = "<i4" if canvas.dtype.kind == "i" else "<f4"
    packed = zlib.compress(np.ascontiguousarray(canvas, kind).tobytes(), 9)
    return base64.b64encode(packed).decode("ascii")


def unpack(text: str, shape: tuple[int, ...], vocabulary: int | None) -> np.ndarray:
    """Return the canvases that `pack` made into `text`; vocabulary: None for vectors.

    Raises InputError if the text holds no such tokens, whatever length it claims.
    """
    size = 4 * int(np.prod(shape))
    try:
        inflate = zlib.decompressobj()
        content = inflate.decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, ValueError, zlib.error):
        content = b""
    if len(content) != size or not inflate.eof:
        raise InputError(
            "the tokens that the recipe records (its field 'drawn') cannot be read, or "
            f"are not those of {shape[0]} images of {shape[1]} x {shape[2]} tokens"
        )
    if vocabulary is None:
        canvas = np.frombuffer(content, "<f4").astype(np.float32).reshape(shape)
        if np.isinf(canvas).any():
            raise InputError(
                "the recipe records (in 'drawn') tokens that are infinite; those of "
                "this model are finite"
            )
        return canvas
    canvas = np.frombuffer(content, "<i4").astype(np.int64).reshape(shape)
    if canvas.size and not -1 <= canvas.min() <= canvas.max() < vocabulary:
        raise InputError(
            f"the recipe records (in 'drawn') tokens {canvas.min()} .. {canvas.max()}; "
            f"those of this model are 0 .. {vocabulary - 1}"
        )
    return canvas
