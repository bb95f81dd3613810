"""Stand-in weights: a checkpoint of full size that needs no download.

Each array is drawn from its upstream name and shape alone, so that two programs that
draw them hold the same model. Pictures made with them are noise; time and memory are
those of the real weights.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minigen import backends
from minigen.checkpoints import Model, names, safetensors_file
from minigen.checkpoints.values import DTYPES
from minigen.checks import choice
from minigen.families import family_of
from minigen.writing import check_writable, replace_file

LAYERS = ("decoder_embed.", "cond_embed.", "time_embed.")
"""Names of matrices that embed no table, but vectors: of MAR and ARINAR."""


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 stand-in of the parameter of that upstream name.

    Norm scales lie near one, biases near zero; vectors of a table have unit variance;
    a matrix or a convolution keeps the variance of what it is given.
    """
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    x = rng.standard_normal(shape, dtype=np.float32)
    if len(shape) == 1:
        x *= np.float32(0.1)
        return x + np.float32(name.endswith("weight"))
    if "embed" in name and not any(layer in name for layer in LAYERS):
        return x
    x *= np.float32(1 / math.sqrt(math.prod(shape[1:])))
    return x


def state(config, dtype: str = "float32") -> Iterator[tuple[str, np.ndarray]]:
    """Yield (upstream name, array) of every parameter of a model, one at a time."""
    kind = pick(dtype)
    for name, shape in names.manifest(config).items():
        yield name, draw(name, shape).astype(kind, copy=False)


def model(config, dtype: str = "float32", ops=None) -> Model:
    """Return a model of stand-in weights, as if loaded from a file.

    ops: the op table of a backend: on a host, each array is held as it holds arrays as
    soon as it is drawn, so that memory never has all of them twice.
    """
    kind, tree = pick(dtype), {}
    for ours, upstream, shape in family_of(config).rows(config):
        drawn = {upstream: draw(upstream, shape).astype(kind, copy=False)}
        (array,) = names.arrange([(ours, upstream, shape)], drawn).values()
        tree[ours] = np.ascontiguousarray(array)
        if ops is not None and ops.device is None:
            tree[ours] = backends.move(ops, tree[ours], ours)
    return Model(config, names.unflatten(tree), Path("stand-in"))


def head(config, dtype: str = "float32") -> dict:
    """Return the weights of a head alone: those it has in the whole model."""
    kind = pick(dtype)
    rows = [
        (ours.removeprefix("head."), upstream, shape)
        for ours, upstream, shape in family_of(config).rows(config)
        if ours.startswith("head.")
    ]
    drawn = {
        name: draw(name, shape).astype(kind, copy=False) for _, name, shape in rows
    }
    arrays = names.arrange(rows, drawn).items()
    return names.unflatten({name: np.ascontiguousarray(a) for name, a in arrays})


def pick(dtype: str) -> np.dtype:
    """Return the dtype of that name, or raise InputError."""
    return DTYPES[choice("dtype", dtype, DTYPES)]


def write(config, path: str | Path, dtype: str = "float32") -> int:
    """Write a model's stand-in weights, by their upstream names, to a safetensors file.

    Holds one array at a time. Returns the size of the file in bytes.
    """
    path = Path(path)
    check_writable(path, ".safetensors")
    shapes = names.manifest(config)
    entries = {name: (pick(dtype), shape) for name, shape in shapes.items()}
    with replace_file(path) as file:
        file.write(safetensors_file.make_header(entries, {"drawn": "stand-in"}))
        for _, array in state(config, dtype):
            file.write(np.ascontiguousarray(array).view(np.uint8))
    return path.stat().st_size
