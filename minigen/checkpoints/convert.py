"""Convert an original weight file to ours, and say what a weight file holds.

Ours is a safetensors file: our names and layout, data from a multiple of 64 bytes on,
and in the header's metadata the configuration as JSON and the hash of the model.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

import minigen
from minigen.checkpoints import load, safetensors_file
from minigen.checkpoints.reader import Checkpoint, open_checkpoint, release
from minigen.config import to_dict
from minigen.errors import CheckpointError, InputError

DTYPES = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
}
"""Element types that a file of ours can be written in."""

NO_HASH = "0" * 64


@dataclass(frozen=True)
class ConversionReport:
    """What `convert` did.

    name: the preset or "custom"; dtype: that of all weights, or "mixed"; key: the dict
    of the source that was read ("" for the whole file), other_keys: those that were
    not; unseen: fields of the configuration that no shape shows and that were assumed;
    hash: of the model (see `hash_weights`); bytes: the size of the destination.
    """

    source: Path
    destination: Path
    family: str
    name: str
    config: dict
    parameters: int
    tensors: int
    dtype: str
    key: str
    other_keys: tuple[str, ...]
    unseen: tuple[str, ...]
    hash: str
    bytes: int


@dataclass(frozen=True)
class Description:
    """What `describe` found in a weight file.

    family: "" where it is not recognised; `reason` then says why, and `names` are the
    first names. converted: whether we wrote the file. hash: of the model where it is
    recognised, else of the file, as hash_of says. intact: whether the hash stored in a
    converted file is that of its weights; None where there is none.
    """

    path: Path
    container: str
    family: str
    name: str
    config: dict | None
    reason: str
    parameters: int
    tensors: int
    dtype: str
    key: str
    other_keys: tuple[str, ...]
    unseen: tuple[str, ...]
    names: tuple[str, ...]
    converted: bool
    hash: str
    hash_of: str
    intact: bool | None
    bytes: int


def convert(source, destination, dtype=None, key=None, config=None) -> ConversionReport:
    """Write the weights of `source` to `destination` as a safetensors file of ours.

    dtype: "float32", "bfloat16" or "float16" for all weights, rounded to nearest even;
    without it each keeps its own (float64 becomes float32). key: the dict to read, as
    for `read_checkpoint`. config: what the file holds, where names and shapes do not
    tell all. One array is held in memory at a time. Raises CheckpointError where the
    names and shapes are not exactly those of a model, InputError for another dtype.
    """
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"the dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    checkpoint = open_checkpoint(source, key)
    config, unseen, weights = load.identify(checkpoint, config)
    weights, targets = _order(checkpoint, weights, dtype)
    destination = Path(destination)
    beside = destination.with_name(f".{destination.name}.{os.getpid()}.partial")
    try:
        with open(beside, "xb") as file:
            model_hash = _write(file, checkpoint, config, weights, targets)
        os.replace(beside, destination)
    except OSError as error:
        raise CheckpointError(
            f"{destination} cannot be written: {error.strerror or error}; give a path "
            "in a folder that exists and has room"
        ) from None
    finally:
        beside.unlink(missing_ok=True)
    return ConversionReport(
        checkpoint.path,
        destination,
        load.family_of(config),
        load.preset_of(config),
        to_dict(config),
        sum(array.size for array in weights.values()),
        len(weights),
        _name_dtype(targets.values()),
        checkpoint.key,
        checkpoint.keys,
        unseen,
        model_hash,
        destination.stat().st_size,
    )


def describe(path, key: str | None = None) -> Description:
    """Say what a weight file of any kind holds; reads all of it, for the hash.

    Raises CheckpointError where it is no honest weight file.
    """
    checkpoint = open_checkpoint(path, key)
    arrays, config, unseen, reason = checkpoint.state, None, (), ""
    try:
        config, unseen, arrays = load.identify(checkpoint)
        _order(checkpoint, arrays, None)
    except CheckpointError as error:
        reason = str(error).removeprefix(f"{checkpoint.path}: ")
        config = None
    stored = checkpoint.metadata.get("minigen.hash") if config else None
    if config:
        model_hash = _hash_model(checkpoint, config, arrays)
    else:
        model_hash = _hash_file(checkpoint)
    return Description(
        checkpoint.path,
        checkpoint.container,
        load.family_of(config) if config else "",
        load.preset_of(config) if config else "",
        to_dict(config) if config else None,
        reason,
        sum(array.size for array in arrays.values()),
        len(arrays),
        _name_dtype(array.dtype for array in arrays.values()),
        checkpoint.key,
        checkpoint.keys,
        unseen,
        tuple(checkpoint.state)[:5],
        "minigen.config" in checkpoint.metadata,
        model_hash,
        "model" if config else "file",
        None if stored is None else stored == model_hash,
        len(checkpoint.data),
    )


def cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return `array` in another float dtype, rounded to nearest even; NaN stays NaN.

    Raises CheckpointError where a finite value becomes infinite.

    >>> cast(np.float32([1.00390625, 1.01171875]), DTYPES["bfloat16"])  # both are ties
    array([1, 1.01562], dtype=bfloat16)
    """
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        result = array.astype(dtype)
    lost = np.isinf(result) & np.isfinite(array)
    if lost.any():
        raise CheckpointError(
            f"the value {array[lost][0]} is beyond {dtype}; convert to bfloat16 or "
            "float32"
        )
    return result


def _order(checkpoint, weights, dtype):
    # {name: array} and {name: dtype to write}: arrays that fill whole multiples of the
    # alignment first, so that they all begin at one
    targets = {}
    for name, array in weights.items():
        kept = load.weight_dtype(checkpoint.path, name, array.dtype)
        targets[name] = DTYPES[dtype] if dtype else kept
    order = sorted(
        weights,
        key=lambda name: bool(
            weights[name].size * targets[name].itemsize % safetensors_file.ALIGNMENT
        ),
    )
    return {name: weights[name] for name in order}, targets


def _write(file, checkpoint: Checkpoint, config, weights, targets):
    metadata = {
        "format": "minigen",
        "minigen.version": minigen.__version__,
        "minigen.config": json.dumps(to_dict(config)),
        "minigen.hash": NO_HASH,
    }
    entries = {name: (targets[name], array.shape) for name, array in weights.items()}
    header = safetensors_file.make_header(entries, metadata)
    file.write(header)
    digests = {}
    for name, array in weights.items():
        result = hashlib.sha256()
        for chunk in load.chunks(array):
            try:
                content = load.as_bytes(cast(chunk, targets[name]))
            except CheckpointError as error:
                raise CheckpointError(f"{checkpoint.path}: {name}: {error}") from None
            result.update(content)
            file.write(content)
            release(checkpoint)
        digests[name] = load.describe_digest(targets[name], array.shape, result)
    model_hash = load.join_digests(config, digests)
    # the hash is known only now, and its place in the header is as long as it is
    file.seek(header.index(NO_HASH.encode()))
    file.write(model_hash.encode())
    return model_hash


def _hash_model(checkpoint, config, arrays):
    digests = {}
    for name, array in arrays.items():
        digests[name] = load.digest(array)
        release(checkpoint)
    return load.join_digests(config, digests)


def _hash_file(checkpoint):
    result, data = hashlib.sha256(), memoryview(checkpoint.data)
    for first in range(0, len(data), load.CHUNK):
        result.update(data[first : first + load.CHUNK])
        release(checkpoint)
    return result.hexdigest()


def _name_dtype(dtypes):
    kinds = sorted({str(dtype) for dtype in dtypes})
    return kinds[0] if len(kinds) == 1 else "mixed" if kinds else "none"
