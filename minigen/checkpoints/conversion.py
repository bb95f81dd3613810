"""Convert an original weight file to ours.

Ours is a safetensors file: our names and layout, data from a multiple of 64 bytes on,
and in the header's metadata the configuration as JSON and the hash of the model.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import minigen
from minigen.checkpoints import load, safetensors_file
from minigen.checkpoints.behaviour import BEHAVIOURS, MEANING, settle
from minigen.checkpoints.description import check_records, first_not_finite
from minigen.checkpoints.hashing import digest, join_digests
from minigen.checkpoints.reader import naming, release
from minigen.checkpoints.values import (
    DTYPES,
    name_dtype,
    pieces,
    weight_dtype,
)
from minigen.checks import choice, optional, path
from minigen.errors import CheckpointError, InputError
from minigen.families import FAMILIES, ArinarConfig, Config, family_of, to_dict
from minigen.writing import check_writable, replace_file

NO_HASH = "0" * 64
"""The value in the header until the hash is known."""


@dataclass(frozen=True)
class ConversionReport:
    """The result of `convert`.

    source, destination: the files; family: a name of `minigen.families.FAMILIES`; name:
    that of the preset with this configuration, or "custom"; config: the configuration
    as JSON has it; parameters: how many numbers, tensors: how many arrays they are in;
    dtype: that of all weights, or "mixed"; key: the dict of the source that was read,
    "" for the whole file; other_keys: those that were not; left_out: how many arrays
    were not read, by where they lie or how they are named ("loss.*" is of what training
    alone needs); unseen: fields of the
    configuration that follow from no shape and were assumed; hash: of the model (see
    `minigen.checkpoints.hash_weights`); bytes: the size of the destination.
    """

    source: Path
    destination: Path
    family: str
    name: str
    config: dict[str, Any] = field(hash=False)
    parameters: int
    tensors: int
    dtype: str
    left_out: dict[str, int] = field(hash=False)
    key: str
    other_keys: tuple[str, ...]
    unseen: tuple[str, ...]
    hash: str
    bytes: int


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    dtype: str | None = None,
    key: str | None = None,
    config: Config | None = None,
    family: str | None = None,
    behaviour: str | None = None,
) -> ConversionReport:
    """Write the weights of `source` to `destination` as a safetensors file of ours.

    source: a released file (.pt, .pth, .bin, .safetensors), or the folder it lies in;
    PyTorch is not needed, and nothing in the file is run. dtype: "float32", "bfloat16"
    or "float16" for all weights, rounded to nearest even; without it each keeps its own
    (float64 becomes float32). key: the dict to read, as for `minigen.read_checkpoint`.
    config, family: as for `minigen.checkpoints.load_model`. behaviour: of an ARINAR
    model, where its file does not show it (see `minigen.checkpoints.behaviour`). A
    piece of one array is held in memory at a time.

    Raises CheckpointError where the names and shapes are not exactly those of a model,
    or a weight holds NaN or infinity, since nothing could be drawn with it; InputError
    for another dtype, where the destination cannot be written, and where the behaviour
    is neither shown nor given, or another one.
    """
    known = {"dtype": DTYPES, "family": FAMILIES, "behaviour": BEHAVIOURS}
    given = {"dtype": dtype, "family": family, "behaviour": behaviour}
    for name, value in given.items():
        optional(partial(choice, known=known[name]), name, value)
    check_writable(path("destination", destination))
    checkpoint = load.open_model(source, key, config, family)
    check_records(checkpoint)
    config, unseen, weights = load.identify(checkpoint, config, family)
    config, unseen = _with_behaviour(checkpoint, config, unseen, behaviour)
    destination = Path(destination)
    with naming(checkpoint.path):
        targets = {
            name: DTYPES[dtype] if dtype else kept
            for name, array in weights.items()
            for kept in (weight_dtype(name, array.dtype),)
        }
        if found := first_not_finite(checkpoint, weights):
            raise CheckpointError(
                f"its weight {found}; nothing can be drawn with such a model: take "
                "another copy of the file, or an earlier checkpoint of its training"
            )
        with replace_file(destination) as file:
            model_hash = _write(file, checkpoint, config, weights, targets)
    return ConversionReport(
        source=checkpoint.path,
        destination=destination,
        family=family_of(config).name,
        name=load.preset_of(config),
        config=to_dict(config),
        parameters=sum(array.size for array in weights.values()),
        tensors=len(weights),
        dtype=name_dtype(targets.values()),
        left_out=load.left_out(checkpoint, config),
        key=checkpoint.key,
        other_keys=checkpoint.keys,
        unseen=unseen,
        hash=model_hash,
        bytes=destination.stat().st_size,
    )


def _with_behaviour(checkpoint, config, unseen, behaviour):
    # nothing is assumed here: a wrong one loads, and gives wrong pictures
    if behaviour is None and "behaviour" not in unseen:
        return config, unseen
    if type(config) is not ArinarConfig:
        raise InputError(
            f"the behaviour {behaviour!r} is for ARINAR's files; {checkpoint.path} "
            f"holds a model of the family {family_of(config).name}"
        )
    if behaviour is None:
        raise InputError(
            f"nothing in {checkpoint.path} shows which version of ARINAR's code it is "
            f"for, and a wrong one gives wrong pictures; say behaviour {MEANING}"
        )
    if behaviour != config.behaviour and "behaviour" not in unseen:
        raise InputError(
            f"{checkpoint.path} holds a model of behaviour {config.behaviour}, not "
            f"{behaviour}"
        )
    return settle(config, unseen, behaviour)


def _write(file, checkpoint, config, weights, targets):
    # arrays that fill multiples of the alignment first, so that they begin at one
    def is_ragged(name):
        size = weights[name].size * targets[name].itemsize
        return size % safetensors_file.ALIGNMENT != 0

    def write_pieces(name):
        for piece in pieces(name, weights[name], targets[name]):
            file.write(piece)
            yield piece
            release(checkpoint)

    metadata = {
        "format": "minigen",
        "minigen.version": minigen.__version__,
        "minigen.config": json.dumps(to_dict(config)),
        "minigen.hash": NO_HASH,
    }
    order = sorted(weights, key=is_ragged)
    entries = {name: (targets[name], weights[name].shape) for name in order}
    header = safetensors_file.make_header(entries, metadata)
    file.write(header)
    model_hash = join_digests(
        config,
        {
            name: digest(dtype, shape, write_pieces(name))
            for name, (dtype, shape) in entries.items()
        },
    )
    # the hash is known only now, and its place in the header is as long as it is
    file.seek(header.index(NO_HASH.encode()))
    file.write(model_hash.encode())
    return model_hash
