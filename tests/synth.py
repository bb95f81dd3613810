# ruff: noqa: E501
"""Deterministic stand-in weights, drawn from a parameter's name and shape alone.

Released checkpoints are gigabytes; a reference that only needs *some* fixed weights can instead
draw them by this rule, so that a full-size model's expected outputs fit in a few hundred kilobytes.

    state = {name: synth(name, shape) for name, shape in shapes.items()}

The same (name, shape, salt) gives the same float32 array on every machine.
"""

import zlib

import numpy as np


def synth(name: str, shape: tuple[int, ...], salt: str = "") -> np.ndarray:
    """Return the float32 stand-in for parameter `name` of `shape`."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32((salt + name).encode())))
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "A_log":  # A = -exp(A_log) in [-16, -1]
        return np.log(rng.uniform(1.0, 16.0, shape)).astype(np.float32)
    if leaf == "dt_bias" or name.endswith(
        "dt_proj.bias"
    ):  # softplus(dt_bias) in [1e-3, 1e-1]
        dt = np.exp(rng.uniform(np.log(1e-3), np.log(1e-1), shape))
        return (dt + np.log(-np.expm1(-dt))).astype(np.float32)
    x = rng.standard_normal(shape, dtype=np.float32)
    if leaf == "D":
        return (1.0 + 0.1 * x).astype(np.float32)
    if len(shape) <= 1:  # norm scales sit near one, biases near zero
        return ((1.0 + 0.1 * x) if leaf == "weight" else 0.1 * x).astype(np.float32)
    fan_in = int(np.prod(shape[1:]))
    if (
        "embed" in name
        or leaf in ("start_token", "mask_token", "fake_latent")
        or "emb." in name
    ):
        return x  # tables of vectors: unit variance
    # in float64, as NumPy 2 divides by such a number; NumPy 1 would in float32
    return (x.astype(np.float64) / np.sqrt(fan_in)).astype(np.float32)
