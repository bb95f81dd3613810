"""Open a weight file of any kind, and find the weights in it.

A training file holds several dicts: the weights, their running average, the optimizer's
state. The first of `PRECEDENCE` that holds arrays is read: averages before the weights
they average, since the published samples are drawn from averages; then the keys in the
order in which hp-l33/ARPG's sample_c2i_ddp.py looks for them. One that holds a tensor
of which no array can be made is passed over, if another can be read. `key` overrides
the order.
"""

from __future__ import annotations

import mmap
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigen import checks, strict_json
from minigen.checkpoints import safetensors_file, torch_file
from minigen.checkpoints.pickle_machine import Inert
from minigen.errors import CheckpointError

PRECEDENCE = ("model_ema", "ema", "model", "module", "state_dict")
"""Keys under which weights lie, the preferred first."""

IN_FOLDER = (
    *("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"),
    *("pytorch_model.bin.index.json", "checkpoint-last.pth", "consolidated.pth"),
    *("consolidated.safetensors", "diffusion_pytorch_model.safetensors"),
    "diffusion_pytorch_model.safetensors.index.json",
)
"""Names of the weight file in a folder that holds a model, or of the index of the files
that it is cut into, the preferred first."""

LARGEST_INDEX, MOST_SHARDS = 25_000_000, 1000
"""Bytes of an index, and files that it may name."""

KINDS = {
    b"\x1f\x8b": "compressed with gzip; unpack it first",
    b"GGUF": "a GGUF file, whose weights are quantized; take the model's original file",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, such as Keras writes; take one of PyTorch",
    b"\x93NUMPY": "one array of NumPy; take the file of torch.save or safetensors",
    b"PK\5\6": "an empty zip file; download it again",
    b"\x89PNG": "a picture; give the path of a weight file",
    b"\xff\xd8\xff": "a picture; give the path of a weight file",
    b"{": "a text in JSON, such as a model's configuration; give the path of a weight "
    "file, or of an index whose name ends with .index.json",
    **dict.fromkeys(
        (bytes((0x80, protocol)) for protocol in range(2, 6)),
        "a pickle that torch.save did not write; take the weights as safetensors",
    ),
    b"BZh": "compressed with bzip2; unpack it first",
    b"\xfd7zXZ": "compressed with xz; unpack it first",
    b"(\xb5/\xfd": "compressed with zstd; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself with "
    "`git lfs pull`",
    **dict.fromkeys(
        # the version of its format
        (bytes((8, version, 18)) for version in range(1, 20)),
        "an ONNX program; take the model's weights as PyTorch has them",
    ),
}
"""What a file is, by its first bytes."""

DISTRIBUTED = (
    "a folder of torch.distributed.checkpoint, which only torch reads; where it was "
    "trained, make one file of it: python -m "
    "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE.pt"
)

CONTAINERS = (dict, list, tuple)

DEEPEST = 32
"""Levels of dicts and lists that are searched for arrays; what is deeper is refused."""

MOST_ARRAYS, LONGEST_NAME, ALL_NAMES = 100_000, 1000, 10**7
"""Arrays read, characters in the name of one, and in the names of all."""

LEAST_BYTES, SPARE_ARRAYS = 32, 1000
"""Fewer bytes than an array takes of a file that names each once; and how many arrays a
short file may name."""

TIMES, SPARE = 8, 2**20
"""Bytes that all arrays may have, as multiples of the file's, for arrays may share
memory; and as many as these, however short the file."""

MOST_OBJECTS, MOST_KEYS = 20, 8
"""Kinds of Python objects beside the weights that are listed, and keys of weights that
are looked at."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An opened weight file.

    path: the file; container: "torch zip", "torch legacy" or "safetensors"; key: the
    dotted path of the dict that was read, "" for the whole file; keys: the other keys
    of `PRECEDENCE` that hold arrays; state: {name: read-only array, mapped from the
    file}; metadata: texts of a safetensors header; arguments: what the writer's
    command line said, where the file records it; data: the map of the file; is_folder:
    whether what was opened is the folder it lies in; objects: the names of classes of
    which objects lie in it, none of which was made; shards: the maps of the files that
    an index names, of which `data` is the map, by their names; beside: how many arrays
    were not read, by the key that they lie under; tree: all that the file holds.

    >>> from minigen.catalogue import WEIGHTS
    >>> opened = open_checkpoint(WEIGHTS / "vq-mnist.safetensors")
    >>> opened.container, opened.metadata["format"], opened.state["codebook"].shape
    ('safetensors', 'minigen', (64, 8))
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
    objects: tuple[str, ...] = ()
    shards: dict[str, Any] = field(default_factory=dict, repr=False)
    beside: dict[str, int] = field(default_factory=dict)
    tree: Any = field(default=None, repr=False)


def read_checkpoint(
    path: str | os.PathLike[str], key: str | None = None
) -> dict[str, NDArray[Any]]:
    """Return {name: array} of a weight file: torch zip, torch legacy or safetensors.

    The arrays are read-only views of the file, mapped and not copied, in the file's own
    dtypes (bfloat16 as ml_dtypes.bfloat16) and with torch's shapes and strides. key:
    the dict to read, such as "model" or "optimizer.state", or a prefix of names in one,
    such as "state_dict.model"; without it, the first of model_ema, ema, model, module,
    state_dict that holds arrays, else the whole file (`open_checkpoint` tells which).
    Arrays in dicts and lists below it have dotted names; Python objects are passed
    over. Do not change the file while they are in use. Raises CheckpointError on
    anything but a valid file of data; nothing is ever run.

    >>> from minigen.catalogue import WEIGHTS
    >>> arrays = read_checkpoint(WEIGHTS / "vq-mnist.safetensors")
    >>> arrays["codebook"].shape, arrays["codebook"].flags.writeable
    ((64, 8), False)
    """
    return open_checkpoint(path, key).state


def open_checkpoint(path: str | os.PathLike[str], key: str | None = None) -> Checkpoint:
    """Open a weight file as `read_checkpoint` does, and say what was found in it.

    path: the file, or a folder as Hugging Face's hub has them, with one of `IN_FOLDER`;
    of a model that is cut into several files, their index or the folder.

    >>> from minigen.catalogue import WEIGHTS
    >>> opened = open_checkpoint(WEIGHTS / "vq-mnist.safetensors")
    >>> opened.container, opened.key, opened.keys
    ('safetensors', '', ())
    """
    path = Path(checks.path("path", path, CheckpointError))
    key = checks.optional(partial(checks.text, least=0), "key", key)
    # of what is too long or forbidden os.path says no, and pathlib raises
    is_folder = os.path.isdir(path)
    if is_folder:
        inside = (path / name for name in IN_FOLDER)
        path = next((file for file in inside if os.path.isfile(file)), path)
    if path.name.endswith(".index.json"):
        return _open_shards(path, key, is_folder)
    with naming(path):
        if path.suffix == ".distcp" or path.name == ".metadata":
            raise CheckpointError(f"it is a part of {DISTRIBUTED}")
        data = map_file(path)
        container, value, metadata, offsets = _parse(data)
    told = metadata, _arguments(value), data, is_folder
    whole = Checkpoint(path, container, "", (), {}, *told, tree=(value, offsets))
    found = at_key(whole, key)
    if not found.state and found.objects and key is None:
        raise CheckpointError(
            f"{path}: it holds no arrays, but objects of {', '.join(found.objects)}, "
            "which are not made here; take their weights from where they were trained"
        )
    return found


def at_key(checkpoint: Checkpoint, key: str | None) -> Checkpoint:
    """Return an opened file with the arrays under a key, as `open_checkpoint` does."""
    value, offsets = checkpoint.tree
    with naming(checkpoint.path):
        chosen, keys, found, state = _read(checkpoint.data, value, key, offsets)
    objects, beside = _others(value, found, chosen)
    return replace(
        checkpoint, key=chosen, keys=keys, state=state, objects=objects, beside=beside
    )


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
            raise CheckpointError(_not_a_file(path))
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
    for data in (checkpoint.data, *checkpoint.shards.values()):
        if hasattr(data, "madvise"):
            data.madvise(mmap.MADV_DONTNEED)


def size_of(checkpoint: Checkpoint) -> int:
    """Return the bytes of a weight file, or of all files that it is cut into."""
    return sum(map(len, checkpoint.shards.values() or (checkpoint.data,)))


def _open_shards(path, key, is_folder):
    # an index names a file for each array; they lie beside it
    with naming(path):
        data = map_file(path)
        files = _files_of(data)
        order = [name for names in files.values() for name in sorted(names)]
        state, maps = {}, {}
        for name, expected in files.items():
            if not os.path.isfile(path.parent / name):
                raise CheckpointError(
                    f"its file {name!r} is missing; download all files of the folder"
                )
            shard = open_checkpoint(path.parent / name)
            if set(shard.state) != expected:
                raise CheckpointError(
                    f"the arrays of its file {name!r} are not those that it names; the "
                    "files are of different models or incomplete: download them again"
                )
            state |= shard.state
            maps[name] = shard.data
        state = {name: state[name] for name in order}
        if key and not (state := _find(state, key)):
            raise CheckpointError(f"it holds nothing under the key {key!r}")
    kind = f"{shard.container}, {len(files)} files"
    found = key or "", (), state, {}, {}, data
    return Checkpoint(path, kind, *found, is_folder, (), maps)


def _files_of(data):
    # {file name: names of its arrays} of an index
    try:
        if len(data) > LARGEST_INDEX:
            raise ValueError("too long")
        named = strict_json.parse(bytes(data).decode())["weight_map"]
        files = {}
        for array, name in named.items():
            files.setdefault(name, set()).add(array)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise CheckpointError(
            'it is no index: expected JSON with "weight_map", the file of each array'
        ) from None
    if not 0 < len(files) <= MOST_SHARDS:
        raise CheckpointError(f"it names {len(files)} files; expected 1 .. 1000")
    for name in files:
        plain = type(name) is str and name.isprintable() and name == Path(name).name
        if not plain or not name.endswith((".safetensors", ".bin", ".pt", ".pth")):
            raise CheckpointError(
                f"it names the file {str(name)[:80]!r}; expected weight files that lie "
                "beside it"
            )
    return files


def _not_a_file(path):
    if not path.is_dir():
        return "it is not a file; give the path of a weight file"
    if (path / ".metadata").is_file():
        return f"it is {DISTRIBUTED}"
    suffixes = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
    found = sorted(p.name for p in path.iterdir() if p.suffix in suffixes)[:3]
    return (
        f"it is a folder with none of {', '.join(IN_FOLDER[:6])} in it; give the path "
        "of a weight file" + f", such as {', '.join(found)} there" * bool(found)
    )


def _parse(data):
    start = bytes(data[:64])
    if start[:4] == b"PK\3\4":
        return "torch zip", *_torch(torch_file.read_zip, data)
    if start[:1] == b"\x80" and torch_file.LEGACY_MAGIC in start:
        return "torch legacy", *_torch(torch_file.read_legacy, data)
    if start[8:9] == b"{":
        state, metadata = safetensors_file.read(data)
        return "safetensors", state, metadata, {}
    kind = next((k for first, k in KINDS.items() if start.startswith(first)), None)
    if kind:
        hint = f"it is {kind}"
    elif start.lstrip()[:1] == b"<":
        hint = "it is a web page; download the file itself"
    elif data[257:262] == b"ustar":
        hint = (
            "it is a tar file, as torch before 0.1.10 wrote, or an archive; unpack it, "
            "or take the weights as safetensors"
        )
    elif start == bytes(64):
        hint = (
            "it begins with zeros alone: its download was broken off; download it again"
        )
    else:
        hint = "it begins as none of torch zip, torch legacy and safetensors files do"
    raise CheckpointError(hint)


def _torch(read, data):
    value, offsets = read(data)
    return value, {}, offsets


def _read(data, value, key, offsets):
    # returns the dotted key, the other keys with arrays, what lies under it, and
    # {name: array}
    keys = _keys_with_arrays(value)
    wanted = (keys or ("",)) if key is None else (key,)
    refused = None
    for chosen in wanted:
        found = _find(value, chosen) if chosen else value
        if not found and key is not None:
            # the key of a dict inside one that would be read
            inside = ((f"{k}.{key}", _find(value[k], key)) for k in keys if k in value)
            chosen, found = next((pair for pair in inside if pair[1]), (key, found))
        if (found is None and value is not None) or (chosen and not found):
            known = ", ".join(keys) or "none, it is one flat dict"
            raise CheckpointError(
                f"it holds nothing under the key {key!r}; keys that hold weights: "
                f"{known}"
            )
        try:
            state = _collect(data, found, offsets)
        except CheckpointError as error:
            refused = refused or error
        else:
            return chosen, tuple(k for k in keys if k != chosen), found, state
    raise refused


def _find(value, key):
    # the dict or list along a dotted path, whose end may be a name with dots; else, in
    # the dict where it ends, the items whose names begin so
    return _follow(value, key.split(".") if key else [])


def _follow(value, parts):
    if not parts:
        return value if type(value) in CONTAINERS else None
    whole = _child(value, ".".join(parts))
    if type(whole) in CONTAINERS:
        return whole
    inner = _child(value, parts[0])
    if (
        len(parts) > 1
        and type(inner) in CONTAINERS
        and (found := _follow(inner, parts[1:]))
    ):
        return found
    if type(value) is not dict:
        return None
    start = ".".join(parts) + "."
    names = [name for name in value if type(name) is str and name.startswith(start)]
    return {name[len(start) :]: value[name] for name in names}


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
    return tuple(keys[:MOST_KEYS])


def _is_array(value):
    kinds = (torch_file.Tensor, torch_file.NoArray, np.ndarray)
    return isinstance(value, kinds)


def _child(value, part):
    if type(value) is dict:
        return value.get(part, value.get(int(part)) if part.isdecimal() else None)
    if type(value) in (list, tuple) and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    return None


def _collect(data, value, offsets):
    # returns {name: array} of the leaves that are arrays
    state, names, size = {}, 0, 0
    for path, leaf in _leaves(value):
        if not _is_array(leaf):
            if type(leaf) in CONTAINERS and leaf:
                raise CheckpointError(
                    f"its dicts and lists are nested more than {DEEPEST} deep; give "
                    "the key of those that hold the weights"
                )
            continue
        parts = [str(part) for part in path]
        length = sum(len(part) + 1 for part in parts)
        if length > LONGEST_NAME:
            raise CheckpointError(f"it names an array with {length - 1} characters")
        name = ".".join(parts)
        if type(leaf) is torch_file.NoArray:
            raise CheckpointError(f"its tensor {name[:80]!r} is {leaf.words}")
        if type(leaf) is torch_file.Tensor:
            leaf = torch_file.to_array(data, leaf, offsets)
        if name in state:
            raise CheckpointError(f"two of its arrays are named {name[:80]!r}")
        names, size = names + length, size + leaf.nbytes
        most = min(MOST_ARRAYS, len(data) // LEAST_BYTES + SPARE_ARRAYS)
        if len(state) == most or names > ALL_NAMES:
            raise CheckpointError(
                f"it holds more than {most} arrays, or their names have more "
                f"than {ALL_NAMES} characters"
            )
        if size > TIMES * len(data) + SPARE:
            raise CheckpointError(
                f"its arrays take more than {TIMES} times the {len(data)} bytes of the "
                "file: they repeat the same bytes again and again, as no model does"
            )
        state[name] = leaf
    return state


def _leaves(value):
    # (path, array, object or what is too deep); each container once, for a pickle can
    # hold itself, or share one list a thousand times
    seen, path, waiting = set(), [], [iter([("", value)])]
    while waiting:
        for key, inner in waiting[-1]:
            kind, depth = type(inner), len(waiting) - 1
            if kind in CONTAINERS and depth < DEEPEST:
                if id(inner) in seen:
                    continue
                seen.add(id(inner))
                path.append(key)
                items = inner.items() if kind is dict else enumerate(inner)
                waiting.append(iter(items))
                break
            if kind is Inert or _is_array(inner) or (kind in CONTAINERS and inner):
                yield (*path, key)[1:], inner
        else:
            waiting.pop()
            del path[len(waiting) - 1 :]


def _others(value, found, key):
    # the names of Python objects in it, those that are keys or in deep places left out,
    # and how many arrays lie elsewhere than in what was found
    objects, beside = {}, {}
    inside = {id(leaf) for _, leaf in _leaves(found)} if key else ()
    for path, leaf in _leaves(value):
        if type(leaf) is Inert:
            objects[leaf.name] = None
        elif key and _is_array(leaf) and id(leaf) not in inside:
            name = first_part(path[0])
            if name == first_part(key):
                name = ".".join((name, *map(first_part, path[1:2])))
            beside[name] = beside.get(name, 0) + 1
    return tuple(objects)[:MOST_OBJECTS], dict(list(beside.items())[:MOST_OBJECTS])


def first_part(name) -> str:
    """Return what stands before the first dot of a name, shortened if it is long."""
    return str(name)[:LONGEST_NAME].partition(".")[0]


def _arguments(value):
    # argparse.Namespace or another object, or a plain dict, under "args"
    arguments = value.get("args") if type(value) is dict else None
    if type(arguments) is Inert:
        states = [*arguments.states, arguments.items]
        arguments = next((s for s in states if type(s) is dict and s), None)
    if type(arguments) is not dict:
        return {}
    plain = (str, int, float, bool, type(None))
    return {k: v for k, v in arguments.items() if type(k) is str and type(v) in plain}
