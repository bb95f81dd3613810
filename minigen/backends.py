"""The op tables: for each backend one plain table from an op's name to its function.

A model takes such a table and calls nothing else, so the same forward pass runs on each
of them. Swap a row to run a model on your own kernel:

    ops = SimpleNamespace(**{**vars(table("numpy")), "rms_norm": mine})

Its calls are checked, as those of the table's own functions are, where it is wrapped:
`checked(signatures.of(ops.rms_norm), mine)`.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from minigen import signatures
from minigen.calls import checked
from minigen.checks import choice
from minigen.errors import BackendError
from minigen.extras import packages

OPS = {
    "linear": ("linear",),
    "embed": ("embed",),
    "rms_norm": ("rms_norm",),
    "swiglu": ("swiglu",),
    "rope2d": ("rope2d",),
    "attention": ("attention", "attention_causal"),
    "guide": ("guide",),
    "draw": ("probabilities", "draw"),
    "uniforms": ("uniforms",),
    "canvas": ("full", "zeros", "twice", "place"),
    "cross_entropy": ("cross_entropy",),
    "group_norm": ("group_norm", "group_norm_swish"),
    "conv2d": ("conv3x3", "conv3x3_add", "conv3x3_half"),
    "upsample": ("upsample",),
    "lookup": ("unit", "distances", "lookup"),
    "pixels": ("to_pixels", "from_pixels"),
    "silu": ("silu", "gated_silu"),
    "columns": ("columns",),
    "modulate": ("modulate", "gate"),
    "add_rms_norm": ("add_rms_norm",),
    "gated_rms_norm": ("gate_rms_norm", "rms_norm_gate"),
    "causal_conv": ("causal_conv", "causal_conv_silu"),
    "step_size": ("step_size",),
    "selective_scan": ("selective_scan",),
    "ssd": ("ssd", "ssd_chunked"),
    "mamba2_step": ("mamba2_step",),
    "layer_norm": ("layer_norm", "standardise"),
    "gelu": ("gelu", "gelu_tanh"),
    "rows": ("gather", "scatter", "append", "concat", "repeat"),
    "noise": ("uniforms_at", "normals_at"),
    "normal": ("split_moments", "sample_normal", "normal_kl", "normal_nll"),
    "elementwise": ("add", "subtract", "multiply", "scale", "sqrt"),
    "reverse_step": ("reverse_step",),
    "rounded_pixels": ("to_rounded_pixels",),
    "finite": ("check_finite",),
    "mixture": (
        "mixture",
        "log_density",
        "log_likelihood",
        "draw_component",
        "draw_value",
        "candidate_probabilities",
    ),
    "guided_mixture": ("draw_guided",),
}
"""Each op's folder and the functions it gives the table."""

BACKENDS = {
    "numpy": "reference",
    "numba": "cpu",
    "cuda": "cuda",
    "interpreter": "cuda",
    "ptx": "cuda",
}
"""Each backend and the file of an op's folder that it is made of.

Without a GPU, interpreter runs the CUDA kernels' source, and ptx what the compiler
makes of it: thousands and hundreds of times slower.
"""

PRODUCTS = frozenset(
    ("w", "qkv", "to_q", "to_k", "to_v", "proj", "gate", "up", "down", "head", "words",
     "in_proj", "x_proj")
)  # fmt: skip
"""The last names of the weights that models multiply by: two axes are those of
`linear`, four those of a convolution."""


def table(name: str, device: Any = None) -> SimpleNamespace:
    """Return the op table of a backend: every function of OPS by its own name.

    Each call is checked against the op's signature before anything runs: see
    `minigen/calls.py`.

    Beside them stand empty, put and get (new arrays, and to and from the device they
    live on), pack_weight (put, for a weight of products), rope_table, which makes a
    host's array, and device: for cuda, interpreter and ptx, that of `minigen.arrays`,
    by default a new one; for the others None.
    Raises BackendError if the backend is not known or not installed.
    """
    choice("backend", name, ("auto", *BACKENDS), error=BackendError)
    if name != "numpy" and not has_numba():
        raise BackendError(
            f"backend {name!r} was asked for, but Numba is not installed; "
            f"run `{packages('numba')}`, or choose backend numpy"
        )
    if BACKENDS[name] == "cuda":
        return _device_table(device or _new_device(name))
    functions = {**_HOST, "device": None}
    if name == "numba":
        packed = importlib.import_module("minigen.cpu.packed")
        functions["pack_weight"] = packed.pack_weight
    file = BACKENDS[name]
    functions |= {
        one: checked(signature, function, file, empty=reference)
        for one, signature, function, reference in _functions(file)
    }
    return SimpleNamespace(**functions, rope_table=_rope_table())


def pick(name: str = "auto") -> tuple[str, SimpleNamespace]:
    """Return a backend's name and table; auto takes the fastest that is usable.

    Where it is known how much is to be drawn, `minigen.choosing` decides instead.
    """
    name = fastest() if name == "auto" else name
    return name, table(name)


def fastest() -> str:
    """Return the backend that is the fastest here, once its kernels are compiled."""
    if not has_numba():
        return "numpy"
    return "cuda" if _has_gpu() else "numba"


def move(ops: SimpleNamespace, weights: Any, name: str = "") -> Any:
    """Return a tree (dicts, lists) of arrays where, and as, the backend holds them.

    name: the dotted name of what is moved. A weight of products is laid out for them.
    """
    if isinstance(weights, dict):
        return {one: move(ops, part, f"{name}.{one}") for one, part in weights.items()}
    if isinstance(weights, list | tuple):
        return [move(ops, part, name) for part in weights]
    return (ops.pack_weight if is_product(name, weights.ndim) else ops.put)(weights)


def is_product(name: str, axes: int) -> bool:
    """Say whether models multiply by a weight of this dotted name and so many axes."""
    *path, last = name.split(".")
    # those of a causal convolution are no matrix of a product
    return last in PRODUCTS and axes in (2, 4) and path[-1:] != ["conv"]


def _device_table(device):
    functions = {
        one: checked(signature, partial(function, device), "cuda")
        for one, signature, function, _ in _functions("cuda")
    }
    return SimpleNamespace(
        **functions,
        empty=device.empty,
        put=device.put,
        pack_weight=device.put,
        get=device.get,
        rope_table=_rope_table(),
        device=device,
    )


def _new_device(name):
    arrays = importlib.import_module("minigen.arrays")
    kinds = {"cuda": "Gpu", "interpreter": "Interpreter", "ptx": "Ptx"}
    return getattr(arrays, kinds[name])()


def _functions(file):
    # (name, signature, function, reference) of all that OPS names
    for folder, names in OPS.items():
        references, functions = (
            importlib.import_module(f"minigen.ops.{folder}.{each}")
            for each in ("reference", file)
        )
        for one in names:
            reference = getattr(references, one)
            yield one, signatures.of(reference), getattr(functions, one), reference


def _rope_table():
    table = importlib.import_module("minigen.ops.rope2d.reference").table
    return checked(signatures.of(table), table, "reference")


def has_numba() -> bool:
    """Say whether Numba is installed."""
    return importlib.util.find_spec("numba") is not None


def _has_gpu():
    # without numba-cuda there is nothing to import, and no time to lose
    if importlib.util.find_spec("numba_cuda") is None:
        return False
    return importlib.import_module("minigen.target").has_gpu()


_HOST = dict.fromkeys(("put", "pack_weight", "get"), np.asarray)
_HOST["empty"] = partial(np.empty, dtype=np.float32)
