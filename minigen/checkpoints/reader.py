"""Open a weight file of any kind, and find the weights in it.

A training file holds several dicts: the weights, their running average, the optimizer's
state. The first of `PRECEDENCE` that holds arrays is read: averages before the weights
they average, since the published samples are drawn from averages; then the keys in the
order in which hp-l33/ARPG's sample_c2i_ddp.py looks for them. `key` overrides the
order.
"""

from __future__ import annotations

import mmap
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigen import checks
from minigen.checkpoints import safetensors_file, torch_file
from minigen.checkpoints.pickle_machine import Inert
from minigen.errors import CheckpointError

PRECEDENCE = ("model_ema", "ema", "model", "module", "state_dict")
"""Keys under which weights lie, the preferred first."""

IN_FOLDER = ("model.safetensors", "pytorch_model.bin")
"""Names of the weight file in a folder that holds a model, the preferred first."""

CONTAINERS = (dict, list, tuple)

DEEPEST = 16
"""Levels of dicts and lists that are searched for arrays."""

MOST_ARRAYS, LONGEST_NAME = 100_000, 1000
"""Arrays read, and characters in the name of one."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An opened weight file.

    path: the file; container: "torch zip", "torch legacy" or "safetensors"; key: the
    dotted path of the dict that was read, "" for the whole file; keys: the other keys
    of `PRECEDENCE` that hold arrays; state: {name: read-only array, mapped from the
    file}; metadata: texts of a safetensors header; arguments: what the writer's
    command line said, where the file records it; data: the map of the file; is_folder:
    whether what was opened is the folder it lies in.
    """

    path: Path
    container: str
    key: str
    keys: tuple[str, ...]
    state: dict[str, NDArray[Any]] = field(repr=False)
    metadata: dict[str, str] = field(default_factory=dict, repr=False)
    arguments: dict[str, Any] = field(default_factory=dict, repr=False)
    data: Any = field(default=None, repr=False)
    is_folder: bool = False


def read_checkpoint(
    path: str | os.PathLike[str], key: str | None = None
) -> dict[str, NDArray[Any]]:
    """Return {name: array} of a weight file: torch zip, torch legacy or safetensors.

    The arrays are read-only views of the file, mapped and not copied, in the file's own
    dtypes (bfloat16 as ml_dtypes.bfloat16) and with torch's shapes and strides. key:
    the dict to read, such as "model" or "optimizer.state"; without it, the first of
    model_ema, ema, model, module, state_dict that holds arrays, else the whole file
    (`open_checkpoint` tells which). Arrays in dicts and lists below it have dotted
    names. Do not change the file while they are in use. Raises CheckpointError on
    anything but a valid file of data; nothing is ever run.
    """
    return open_checkpoint(path, key).state


def open_checkpoint(path: str | os.PathLike[str], key: str | None = None) -> Checkpoint:
    """Open a weight file as `read_checkpoint` does, and say what was found in it.

    path: the file, or a folder as Hugging Face's hub has them, with one of `IN_FOLDER`.
    """
    path = Path(checks.path("path", path, CheckpointError))
    key = checks.optional(partial(checks.text, least=0), "key", key)
    is_folder = path.is_dir()
    if is_folder:
        inside = (path / name for name in IN_FOLDER)
        path = next((file for file in inside if file.is_file()), path)
    with naming(path):
        data = map_file(path)
        container, value, metadata, offsets = _parse(data)
        chosen, keys, found = _choose(value, key)
        state = _collect(data, found, offsets)
    found = chosen, keys, state, metadata, _arguments(value), data
    return Checkpoint(path, container, *found, is_folder)


@contextmanager
def naming(path: Path):
    """Put the path before the message of every CheckpointError raised inside."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def map_file(path: Path):
    """Return a read-only map of a file. Raises CheckpointError where there is none."""
    try:
        # opening a pipe would wait for its other end
        if not stat.S_ISREG(path.stat().st_mode):
            raise CheckpointError("it is not a file; give the path of a weight file")
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CheckpointError(
            f"it cannot be read ({error.strerror or error}); give the path of a weight "
            "file"
        ) from None
    except ValueError:
        raise CheckpointError("it is empty, or its path is no path") from None


def release(checkpoint: Checkpoint):
    """Give the memory that the mapped file fills back to the system."""
    if hasattr(checkpoint.data, "madvise"):
        checkpoint.data.madvise(mmap.MADV_DONTNEED)


def _parse(data):
    start = bytes(data[:64])
    if start[:4] == b"PK\3\4":
        return "torch zip", *_torch(torch_file.read_zip, data)
    if start[:1] == b"\x80" and torch_file.LEGACY_MAGIC in start:
        return "torch legacy", *_torch(torch_file.read_legacy, data)
    if start[8:9] == b"{":
        state, metadata = safetensors_file.read(data)
        return "safetensors", state, metadata, {}
    if start.startswith(b"version https://git-lfs"):
        hint = "it is a pointer of Git LFS; fetch the file itself with `git lfs pull`"
    elif start.lstrip()[:1] == b"<":
        hint = "it is a web page; download the file itself"
    elif data[257:262] == b"ustar":
        hint = (
            "it is a tar file, as torch before 0.1.10 wrote; save it with a newer torch"
        )
    else:
        hint = "it begins as none of torch zip, torch legacy and safetensors files do"
    raise CheckpointError(hint)


def _torch(read, data):
    value, offsets = read(data)
    return value, {}, offsets


def _choose(value, key):
    # returns the dotted key, the other keys with arrays, and the value there
    keys = _keys_with_arrays(value)
    if key is None:
        key = keys[0] if keys else ""
    found = _find(value, key)
    if found is None or (key and not found):
        known = ", ".join(keys) or "none, it is one flat dict"
        raise CheckpointError(
            f"it holds nothing under the key {key!r}; keys that hold weights: {known}"
        )
    return key, tuple(k for k in keys if k != key), found


def _find(value, key):
    # the dict or list under a name, else along a dotted path, else by a prefix of names
    if key == "":
        return value
    if type(value) is dict and type(value.get(key)) in CONTAINERS:
        return value[key]
    found = value
    for part in key.split("."):
        found = _child(found, part)
    if type(found) in CONTAINERS:
        return found
    if type(value) is not dict:
        return None
    names = [name for name in value if type(name) is str and name.startswith(f"{key}.")]
    return {name[len(key) + 1 :]: value[name] for name in names}


def _keys_with_arrays(value, depth=3):
    if type(value) is not dict or depth == 0:
        return ()
    keys = []
    for key in PRECEDENCE:
        inner = value.get(key)
        if type(inner) is not dict:
            continue
        deeper = _keys_with_arrays(inner, depth - 1)
        keys += [f"{key}.{k}" for k in deeper]
        if not deeper and any(_is_array(leaf) for leaf in inner.values()):
            keys.append(key)
    return tuple(keys)


def _is_array(value):
    return isinstance(value, (torch_file.Tensor, np.ndarray))


def _child(value, part):
    if type(value) is dict:
        return value.get(part, value.get(int(part)) if part.isdecimal() else None)
    if type(value) in (list, tuple) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    return None


def _collect(data, value, offsets):
    # returns {name: array} of the leaves that are arrays
    state = {}
    for path, leaf in _leaves(value):
        if type(leaf) is torch_file.Tensor:
            leaf = torch_file.to_array(data, leaf, offsets)
        if not isinstance(leaf, np.ndarray):
            continue
        name = ".".join(str(part) for part in path)
        if len(name) > LONGEST_NAME:
            raise CheckpointError(f"it names an array with {len(name)} characters")
        if name in state:
            raise CheckpointError(f"two of its arrays are named {name[:80]!r}")
        if len(state) == MOST_ARRAYS:
            raise CheckpointError(f"it holds more than {MOST_ARRAYS} arrays")
        state[name] = leaf
    return state


def _leaves(value):
    # each container once: a pickle can hold itself, or share one list a thousand times
    seen, waiting = set(), [((), value)]
    while waiting:
        path, value = waiting.pop()
        if type(value) not in CONTAINERS or len(path) == DEEPEST:
            yield path, value
        elif id(value) not in seen:
            seen.add(id(value))
            items = value.items() if type(value) is dict else enumerate(value)
            waiting += reversed([((*path, key), inner) for key, inner in items])


def _arguments(value):
    # argparse.Namespace, or a plain dict, under "args"
    arguments = value.get("args") if type(value) is dict else None
    if type(arguments) is Inert and len(arguments.states) == 1:
        arguments = arguments.states[0]
    if type(arguments) is not dict:
        return {}
    plain = (str, int, float, bool, type(None))
    return {k: v for k, v in arguments.items() if type(k) is str and type(v) in plain}
