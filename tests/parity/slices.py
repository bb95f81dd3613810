"""Cut our whole arrays the way a case says that its recorded slices were cut."""

from __future__ import annotations

import ast

import numpy as np

from tests.parity.case import Case


def cut(case: Case, name: str, whole) -> np.ndarray:
    """Return the part of `whole` that the recorded array `name` holds.

    A recorded array of another shape says how it was cut in its meaning, as an index in
    brackets: `[..., ::64]`, `embed[0, [0, 1, 100, 255], ::64]`.
    """
    if whole.shape == case.arrays[name].shape:
        return whole
    meaning = next(a["meaning"] for a in case.about["arrays"] if a["name"] == name)
    return whole[index_in(meaning)]


def index_in(text: str) -> tuple:
    """Return the first bracketed index of a text as a tuple NumPy can index with.

    >>> index_in("training logits [:, ::8, ::64]")
    (slice(None, None, None), slice(None, None, 8), slice(None, None, 64))
    >>> index_in("embed[0, [0,1,100,255], ::64] of the forward")
    (0, [0, 1, 100, 255], slice(None, None, 64))
    """
    start = text.find("[")
    for end in range(start + 1, len(text)):
        part = text[start : end + 1]
        if start >= 0 and part.count("[") == part.count("]"):
            node = ast.parse(f"x{part}", mode="eval").body.slice
            parts = node.elts if isinstance(node, ast.Tuple) else [node]
            return tuple(_index(p) for p in parts)
    raise AssertionError(
        f"no index in brackets in {text!r}: cannot tell how it was cut"
    )


def _index(node):
    if isinstance(node, ast.Slice):
        bounds = (node.lower, node.upper, node.step)
        return slice(*(None if b is None else ast.literal_eval(b) for b in bounds))
    return ast.literal_eval(node)
