"""Say what a weight file holds."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minigen.checkpoints import load, names
from minigen.checkpoints.archive import damaged_record
from minigen.checkpoints.hashing import hash_weights
from minigen.checkpoints.reader import Checkpoint, release, size_of
from minigen.checkpoints.sources import Fields, Source, telling
from minigen.checkpoints.values import PIECE, name_dtype, not_finite
from minigen.errors import CheckpointError
from minigen.families import family_of, to_dict

if TYPE_CHECKING:
    # Python 3.10 has none of its own
    from typing_extensions import Unpack


@dataclass(frozen=True)
class Description:
    """What `describe` found in a weight file.

    family: "" where it is not recognised; `reason` then says why. name: the preset or
    "custom"; dtype: that of all arrays, or "mixed"; key, other_keys, left_out, unseen,
    sources, unused: as in `ConversionReport`; names: the first names in the file.
    converted: whether we wrote it. hash: of the model where it is recognised, else of
    the file, as hash_of says. intact: whether the hash stored in a converted file is
    that of its weights; None where none is stored. families: of a file of several
    models, what it holds. objects: of which classes Python objects lie in the file;
    none was made.
    not_finite: which array is the first that holds NaN or infinity, how many, and where
    the first is; "" where none does, None where that was not asked.

    >>> from minigen.catalogue import WEIGHTS
    >>> found = describe(WEIGHTS / "vq-mnist.safetensors")
    >>> found.name, found.container, found.converted, found.config["codes"]
    ('vq-mnist', 'safetensors', True, 64)
    """

    path: Path
    container: str
    family: str
    name: str
    config: dict[str, Any] | None = field(hash=False)
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
    families: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict, hash=False)
    objects: tuple[str, ...] = ()
    not_finite: str | None = None
    sources: dict[str, Source] = field(default_factory=dict, hash=False)
    unused: tuple[str, ...] = ()


def describe(
    path: str | os.PathLike[str],
    key: str | None = None,
    check: bool = False,
    config: load.Saying = None,
    **options: Unpack[Fields],
) -> Description:
    """Describe a weight file of any kind; reads all of it, for the hash.

    check: look also whether all of its numbers are finite; config, options: as for
    `minigen.checkpoints.load_model`. Raises CheckpointError if it is no valid weight
    file, or none of what the caller says.

    >>> from minigen.catalogue import WEIGHTS
    >>> found = describe(WEIGHTS / "vq-mnist.safetensors", check=True)
    >>> found.family, found.intact, found.not_finite
    ('vq', True, '')
    """
    told = telling(config, options)
    checkpoint = load.open_model(path, key, told)
    check_records(checkpoint)
    arrays, found, config, reason = checkpoint.state, None, None, ""
    try:
        found = load.identify(checkpoint, told)
        config, arrays = found.config, found.weights
        found_hash = hash_weights(config, arrays, partial(release, checkpoint))
    except CheckpointError as error:
        if told.given:
            # what the caller says does not fit
            raise
        reason = str(error).removeprefix(f"{checkpoint.path}: ")
        config, found_hash = None, _hash_file(checkpoint)
    own = config and found.is_own
    stored = checkpoint.metadata.get("minigen.hash") if own else None
    return Description(
        path=checkpoint.path,
        container=checkpoint.container,
        family=family_of(config).name if config else "",
        name=load.preset_of(config) if config else "",
        config=to_dict(config) if config else None,
        reason=reason,
        parameters=sum(array.size for array in arrays.values()),
        tensors=len(arrays),
        dtype=name_dtype(array.dtype for array in arrays.values()),
        key=checkpoint.key,
        other_keys=checkpoint.keys,
        unseen=found.unseen if config else (),
        names=tuple(checkpoint.state)[:5],
        converted="minigen.config" in checkpoint.metadata,
        hash=found_hash,
        hash_of="model" if config else "file",
        intact=None if stored is None else stored == found_hash,
        bytes=size_of(checkpoint),
        left_out=load.left_out(checkpoint, config) if config else checkpoint.beside,
        objects=checkpoint.objects,
        families=tuple(names.parts(checkpoint.state)),
        not_finite=first_not_finite(checkpoint, arrays) if check else None,
        sources=found.sources if config else {},
        unused=found.unused if config else (),
    )


def check_records(checkpoint: Checkpoint):
    """Raise CheckpointError where a record of a zip file has not its check sum."""
    files = checkpoint.shards or {"": checkpoint.data}
    for name, data in files.items():
        if data[:2] == b"PK" and (found := damaged_record(data)):
            path = checkpoint.path.parent / name if name else checkpoint.path
            raise CheckpointError(
                f"{path}: its record {found!r} does not have the check sum that was "
                "stored with it; the file is damaged: download it again"
            )


def first_not_finite(checkpoint: Checkpoint, arrays) -> str:
    """Return what `not_finite` says of the first array that is not finite, or ""."""
    for name, array in arrays.items():
        if found := not_finite(name, array):
            return found
        release(checkpoint)
    return ""


def _hash_file(checkpoint: Checkpoint):
    result = hashlib.sha256()
    for data in map(memoryview, (checkpoint.data, *checkpoint.shards.values())):
        for first in range(0, len(data), PIECE):
            result.update(data[first : first + PIECE])
            release(checkpoint)
    return result.hexdigest()
