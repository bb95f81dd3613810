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
from typing import TYPE_CHECKING, Any

import minigen
from minigen.checkpoints import load, safetensors_file
from minigen.checkpoints.description import check_records, first_not_finite
from minigen.checkpoints.hashing import digest, join_digests
from minigen.checkpoints.reader import naming, release
from minigen.checkpoints.sources import Fields, Source, telling
from minigen.checkpoints.values import (
    DTYPES,
    name_dtype,
    pieces,
    weight_dtype,
)
from minigen.checks import choice, optional, path
from minigen.errors import CheckpointError, InputError
from minigen.families import FAMILIES, behaviour, family_of, to_dict
from minigen.writing import check_writable, replace_file

if TYPE_CHECKING:
    # Python 3.10 has none of its own
    from typing_extensions import Unpack

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
    alone needs); sources: where each field of the configuration came from that follows
    from no shape; unseen: those of them that were assumed, by a rule; unused: what was
    told of the model and is not used; hash: of the model (see
    `minigen.checkpoints.hash_weights`); bytes: the size of the destination.

    >>> from tempfile import TemporaryDirectory
    >>> from minigen.catalogue import WEIGHTS
    >>> ours = WEIGHTS / "vq-mnist.safetensors"
    >>> with TemporaryDirectory() as folder:
    ...     report = convert(ours, f"{folder}/copy.safetensors")
    >>> report.name, report.family, report.left_out
    ('vq-mnist', 'vq', {})
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
    sources: dict[str, Source] = field(default_factory=dict, hash=False)
    unused: tuple[str, ...] = ()


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    dtype: str | None = None,
    key: str | None = None,
    config: load.Saying = None,
    family: str | None = None,
    **options: Unpack[Fields],
) -> ConversionReport:
    """Write the weights of `source` to `destination` as a safetensors file of ours.

    source: a released file (.pt, .pth, .bin, .safetensors), or the folder it lies in;
    PyTorch is not needed, and nothing in the file is run. dtype: "float32", "bfloat16"
    or "float16" for all weights, rounded to nearest even; without it each keeps its own
    (float64 becomes float32). key: the dict to read, as for `minigen.read_checkpoint`.
    config, family, options: as for `minigen.checkpoints.load_model`, such as heads=4,
    or behaviour="v1" of an ARINAR model, where its file does not show it (see
    `minigen.families.behaviour`). A piece of one array is held in memory at a time.

    Raises CheckpointError where the names and shapes are not exactly those of a model,
    or a weight holds NaN or infinity, since nothing could be drawn with it; InputError
    for another dtype, where the destination cannot be written, and where the behaviour
    is neither shown nor given.

    >>> from tempfile import TemporaryDirectory
    >>> from minigen.catalogue import WEIGHTS
    >>> ours = WEIGHTS / "vq-mnist.safetensors"
    >>> with TemporaryDirectory() as folder:
    ...     convert(ours, f"{folder}/half.safetensors", dtype="float16").dtype
    'float16'
    """
    known = {"dtype": DTYPES, "family": FAMILIES, "behaviour": behaviour.BEHAVIOURS}
    given = {"dtype": dtype, "family": family, "behaviour": options.get("behaviour")}
    for name, value in given.items():
        optional(partial(choice, known=known[name]), name, value)
    told = telling(config, options)
    check_writable(path("destination", destination))
    checkpoint = load.open_model(source, key, told, family)
    check_records(checkpoint)
    found = load.identify(checkpoint, told, family)
    if "behaviour" in found.unseen:
        # nothing is assumed here: a wrong one loads, and gives wrong pictures
        raise InputError(
            f"nothing in {checkpoint.path} shows which version of ARINAR's code it is "
            f"for, and a wrong one gives wrong pictures; say behaviour "
            f"{behaviour.MEANING}"
        )
    weights, destination = found.weights, Path(destination)
    with naming(checkpoint.path):
        targets = {
            name: DTYPES[dtype] if dtype else kept
            for name, array in weights.items()
            for kept in (weight_dtype(name, array.dtype),)
        }
        if wrong := first_not_finite(checkpoint, weights):
            raise CheckpointError(
                f"its weight {wrong}; nothing can be drawn with such a model: take "
                "another copy of the file, or an earlier checkpoint of its training"
            )
        with replace_file(destination) as file:
            model_hash = _write(file, checkpoint, found, targets)
    return ConversionReport(
        source=checkpoint.path,
        destination=destination,
        family=family_of(found.config).name,
        name=load.preset_of(found.config),
        config=to_dict(found.config),
        parameters=sum(array.size for array in weights.values()),
        tensors=len(weights),
        dtype=name_dtype(targets.values()),
        left_out=load.left_out(checkpoint, found.config),
        key=checkpoint.key,
        other_keys=checkpoint.keys,
        unseen=found.unseen,
        hash=model_hash,
        bytes=destination.stat().st_size,
        sources=found.sources,
        unused=found.unused,
    )


def _write(file, checkpoint, found, targets):
    config, weights = found.config, found.weights

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
    if found.unseen:
        # so that whoever draws with it is told, too
        metadata["minigen.assumed"] = " ".join(found.unseen)
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
