"""The op tables: for each backend one plain table from an op's name to its function.

A model takes such a table and calls nothing else, so the same forward pass runs on each
of them. Swap a row to run a model on your own kernel:

    ops = SimpleNamespace(**{**vars(table("numpy")), "rms_norm": mine})
"""

from __future__ import annotations

import importlib
import importlib.util
from types import SimpleNamespace

import numpy as np

from minigen.errors import BackendError

OPS = {
    "linear": ("linear", "linear_add"),
    "embed": ("embed",),
    "rms_norm": ("rms_norm",),
    "swiglu": ("swiglu",),
    "rope2d": ("rope2d",),
    "attention": ("attention", "attention_causal", "append"),
    "guide": ("guide",),
    "draw": ("probabilities", "draw"),
    "cross_entropy": ("cross_entropy",),
    "group_norm": ("group_norm", "group_norm_swish"),
    "conv2d": ("conv1x1", "conv1x1_add", "conv3x3", "conv3x3_add", "conv3x3_half"),
    "upsample": ("upsample",),
    "lookup": ("unit", "distances", "lookup"),
    "pixels": ("to_pixels", "from_pixels"),
}
"""Each op's folder and the functions it gives the table."""

BACKENDS = {"numpy": "reference", "numba": "cpu"}
"""Each backend and the file of an op's folder that it is made of."""


def table(name: str) -> SimpleNamespace:
    """Return the op table of a backend, every function of OPS by its own name.

    Raises BackendError if the backend is not known or not installed.
    """
    if name not in BACKENDS:
        raise BackendError(
            f"backend {name!r} is not known; choose from auto, {', '.join(BACKENDS)}"
        )
    if name == "numba" and not _has_numba():
        raise BackendError(
            "backend 'numba' was asked for, but Numba is not installed; "
            "run `pip install numba`, or choose backend numpy"
        )
    functions = {"empty": _empty, "full": np.full}
    for folder, names in OPS.items():
        module = importlib.import_module(f"minigen.ops.{folder}.{BACKENDS[name]}")
        functions.update({f: getattr(module, f) for f in names})
    rope = importlib.import_module("minigen.ops.rope2d.reference")
    functions["rope_table"] = rope.table
    return SimpleNamespace(**functions)


def pick(name: str = "auto") -> tuple[str, SimpleNamespace]:
    """Return a backend's name and table; auto takes the fastest that is installed."""
    if name == "auto":
        name = "numba" if _has_numba() else "numpy"
    return name, table(name)


def _has_numba():
    return importlib.util.find_spec("numba") is not None


def _empty(shape):
    return np.empty(shape, np.float32)
