"""The hash of a model: what its weights are, not how a file holds them.

It is the SHA-256 of lines of text: the configuration as JSON with sorted keys; then for
each weight, sorted by our names, "name dtype shape digest", where the digest is the
SHA-256 of its values in C order. A field that configurations did not have in 0.1.0 is
left out where it says what was so then: so files and recipes of that version hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigen.checkpoints.values import pieces, weight_dtype
from minigen.errors import ConfigError
from minigen.families import Config, to_dict

LATER = {
    "aim": (
        *("tied", "layer_norm", "rank", "bias", "conv_bias", "normalise"),
        *("norm_first", "scanned", "skips", "step_min", "step_max"),
    ),
    "arinar": ("norm_eps",),
    "mar": ("norm_eps",),
}
"""Fields that came after 0.1.0, by family."""

WHOLE = "expand", "ratio"
"""Fields that may be fractions since then."""


def hash_weights(
    config: Config,
    weights: Mapping[str, NDArray[Any]],
    after: Callable[[], None] = lambda: None,
) -> str:
    """Return the hash, in hex, of a model with weights {our dotted name: array}.

    It does not depend on the format of a file or on the order of the weights in it.
    after: called when a weight has been read.

    >>> from minigen.catalogue import WEIGHTS
    >>> from minigen.checkpoints import load_model
    >>> from minigen.checkpoints.names import flatten
    >>> model = load_model(WEIGHTS / "vq-mnist.safetensors")
    >>> hash_weights(model.config, flatten(model.weights)) == model.hash
    True
    """
    digests = {}
    for name, array in weights.items():
        dtype = weight_dtype(name, array.dtype)
        digests[name] = digest(dtype, array.shape, pieces(name, array, dtype))
        after()
    return join_digests(config, digests)


def digest(dtype: np.dtype, shape: tuple, parts: Iterable[np.ndarray]) -> str:
    """Return the line of a weight, but for its name, from the bytes of its values."""
    result = hashlib.sha256()
    for part in parts:
        result.update(part)
    return f"{dtype} {list(shape)} {result.hexdigest()}"


def join_digests(config, digests: Mapping[str, str]) -> str:
    """Return the hash of a model from the lines of its weights."""
    lines = [json.dumps(_said(config), sort_keys=True)]
    lines += [f"{name} {digests[name]}" for name in sorted(digests)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _said(config):
    """Return the fields that tell a configuration from others, as 0.1.0 wrote them."""
    values = to_dict(config)
    later = LATER.get(values["family"], ())
    told = {f.name: getattr(config, f.name) for f in fields(config)}
    try:
        before = type(config)(**{n: v for n, v in told.items() if n not in later})
    except ConfigError:
        # it needs what came later
        return values
    for name in later:
        if told[name] == getattr(before, name):
            del values[name]
    for name in WHOLE:
        if name in values and values[name] == int(values[name]):
            values[name] = int(values[name])
    return values
