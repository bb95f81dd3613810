"""From a weight file, converted or not, to a configuration and a tree of weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import ml_dtypes
import numpy as np

from minigen.checkpoints import names
from minigen.checkpoints.reader import Checkpoint, open_checkpoint, release
from minigen.config import FAMILIES, PRESETS, from_dict, to_dict
from minigen.errors import CheckpointError, ConfigError

WEIGHT_DTYPES = tuple(map(np.dtype, (np.float32, np.float16, ml_dtypes.bfloat16)))
"""Element types that the models compute with."""

CHUNK = 2**24
"""Bytes of an array that are converted or hashed at a time."""


@dataclass(frozen=True)
class Model:
    """A model ready to run: its configuration and its weights, mapped from the file.

    weights: nested dicts and lists of read-only, C-contiguous arrays in our layout;
    key: the dict of the file they were read from; unseen: fields of the configuration
    that no shape shows and that were assumed; metadata: texts of a safetensors header.
    """

    config: object
    weights: dict = field(repr=False)
    path: Path
    key: str = ""
    unseen: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def family(self) -> str:
        return family_of(self.config)

    @property
    def name(self) -> str:
        """The preset of this configuration, or "custom"."""
        return preset_of(self.config)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of configuration and weights: see `hash_weights`.

        A converted file carries it; else all weights are read when it is first asked
        for.
        """
        stored = self.metadata.get("minigen.hash")
        return stored or hash_weights(self.config, names.flatten(self.weights))


def load_model(path, key: str | None = None, config=None) -> Model:
    """Load a model from a converted file or from an original one.

    key: the dict to read, as for `read_checkpoint`; config: what the file holds, where
    names and shapes do not tell all (a number of heads that is no preset's). Weights
    stay mapped, so loading takes no time and no memory; those stored in another layout
    (the convolutions of an original file) or unaligned (legacy files) are copied.
    Raises CheckpointError.

    >>> load_model("arpg-l.safetensors").config.layers  # doctest: +SKIP
    24
    """
    checkpoint = open_checkpoint(path, key)
    config, unseen, ours = identify(checkpoint, config)
    weights = {}
    for name, array in ours.items():
        dtype = weight_dtype(checkpoint.path, name, array.dtype)
        weights[name] = np.require(array, dtype, ["C", "A"])
        weights[name].flags.writeable = False
        if not np.shares_memory(weights[name], array):
            release(checkpoint)
    return Model(
        config,
        names.unflatten(weights),
        checkpoint.path,
        checkpoint.key,
        unseen,
        checkpoint.metadata,
    )


def identify(checkpoint: Checkpoint, config=None):
    """Return (configuration, fields assumed, {our name: view in our layout}).

    A converted file says what it holds, and must hold it; an original is recognised, or
    held against `config`. Raises CheckpointError.
    """
    try:
        stored = checkpoint.metadata.get("minigen.config")
        if stored is None:
            unseen = ()
            if config is None:
                config, unseen = names.recognise_with_unseen(checkpoint.state)
            return config, unseen, names.to_ours(config, checkpoint.state)
        found = _parse_config(stored)
        if config not in (None, found):
            raise CheckpointError(f"it holds {found}, not {config}")
        names.check_ours(found, checkpoint.state)
        return found, (), checkpoint.state
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from None


def hash_weights(config, weights: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256, in hex, of a model: configuration, names, shapes, values.

    It does not depend on the file's format or on the order of the weights in it.
    """
    return join_digests(config, {name: digest(a) for name, a in weights.items()})


def digest(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's dtype, shape and values, as a line of text."""
    result = hashlib.sha256()
    for chunk in chunks(array):
        result.update(as_bytes(chunk))
    return describe_digest(array.dtype, array.shape, result)


def describe_digest(dtype, shape, result) -> str:
    """Return the line that stands for an array in the hash of its model."""
    return f"{dtype} {list(shape)} {result.hexdigest()}"


def join_digests(config, digests: Mapping[str, str]) -> str:
    """Return the hash of a model from the lines of its weights."""
    lines = [json.dumps(to_dict(config), sort_keys=True)]
    lines += [f"{name} {digests[name]}" for name in sorted(digests)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an array in contiguous pieces of about CHUNK bytes, row by row."""
    if array.ndim == 0:
        array = array.reshape(1)
    if array.size:
        rows = max(1, CHUNK // (array[:1].size * array.itemsize))
        for first in range(0, len(array), rows):
            yield np.ascontiguousarray(array[first : first + rows])


def as_bytes(array: np.ndarray) -> np.ndarray:
    """Return the bytes of a contiguous array, (n) uint8."""
    return array.reshape(-1).view(np.uint8)


def weight_dtype(path, name, dtype) -> np.dtype:
    """Return the dtype a weight is kept in: its own, float32 for float64."""
    if dtype == np.float64:
        return np.dtype(np.float32)
    if dtype not in WEIGHT_DTYPES:
        raise CheckpointError(
            f"{path}: its weight {name} is {dtype}; expected float32, float16 or "
            "bfloat16"
        )
    return dtype


def family_of(config) -> str:
    """Return the family's name, such as "arpg"."""
    return next(name for name, kind in FAMILIES.items() if type(config) is kind)


def preset_of(config) -> str:
    """Return the name of the preset that equals `config`, or "custom"."""
    return next((name for name, c in PRESETS.items() if c == config), "custom")


def _parse_config(text):
    try:
        return from_dict(json.loads(text))
    except (ConfigError, ValueError, TypeError, RecursionError, ArithmeticError) as e:
        raise CheckpointError(
            f"its configuration is none ({str(e)[:200]}); convert the original again"
        ) from None
