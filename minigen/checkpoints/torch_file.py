"""Files of `torch.save`, read without torch: the zip format and the one before it.

A pickle describes the tensors; each has the key of a storage, an offset in it, sizes
and strides. The storages lie behind the pickle (legacy files) or as records beside it
(zip files), raw and little-endian. So an array is a view of the file, and tensors that
shared memory in torch share it here.

Source: pytorch torch/serialization.py (_load, _legacy_load), torch/_utils.py
(_rebuild_*).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import ml_dtypes
import numpy as np

from minigen.checkpoints import pickle_machine
from minigen.checkpoints.archive import LINE_ENDS, NPZ, find_records
from minigen.checkpoints.pickle_machine import Global, Inert
from minigen.checkpoints.safetensors_file import MOST_AXES
from minigen.errors import CheckpointError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
LEGACY_MAGIC = b"\x8a\x0a" + MAGIC.to_bytes(10, "little")
"""The instruction that a legacy file has among its first dozen bytes."""

DTYPES = {
    "float32": np.float32, "float64": np.float64, "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16, "bool": np.bool_, "uint8": np.uint8,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "complex64": np.complex64, "complex128": np.complex128,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2,
}  # fmt: skip
"""Element types by torch's names."""

STORAGES = {
    "torch.FloatStorage": "float32", "torch.DoubleStorage": "float64",
    "torch.HalfStorage": "float16", "torch.BFloat16Storage": "bfloat16",
    "torch.BoolStorage": "bool", "torch.ByteStorage": "uint8",
    "torch.CharStorage": "int8", "torch.ShortStorage": "int16",
    "torch.IntStorage": "int32", "torch.LongStorage": "int64",
    "torch.ComplexFloatStorage": "complex64",
    "torch.ComplexDoubleStorage": "complex128",
    "torch.UntypedStorage": "uint8", "torch.storage.UntypedStorage": "uint8",
    "torch.QInt8Storage": "int8", "torch.QUInt8Storage": "uint8",
    "torch.QInt32Storage": "int32", "torch.QUInt4x2Storage": "uint8",
    "torch.QUInt2x4Storage": "uint8",
}  # fmt: skip
"""Storage classes by the name a pickle gives, and the type of their elements."""

OTHER_ORDER = (
    "it was written by a machine of the other byte order, which no arrays are read of; "
    "take the weights as safetensors, which have one byte order everywhere"
)

SMALL = 2**20
"""Bytes that a tensor may take by repeating elements, however short the file."""


@dataclass(frozen=True, eq=False, slots=True)
class Storage:
    """Bytes of a file that tensors look into: those of `key`, from `first` on."""

    key: str
    dtype: np.dtype
    first: int
    bytes: int


@dataclass(frozen=True, eq=False, slots=True)
class Tensor:
    """A view of a storage: the byte it begins at, and sizes and strides in elements."""

    storage: Storage
    dtype: np.dtype
    first: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, eq=False, slots=True)
class NoArray:
    """A tensor of which no array can be made; words: why, and what to do about it."""

    words: str


KINDS = {
    "_rebuild_sparse_tensor": "sparse; call .to_dense() before it is saved",
    "_rebuild_sparse_csr_tensor": "sparse; call .to_dense() before it is saved",
    "_rebuild_nested_tensor": "nested; call .unbind() before it is saved",
    "_rebuild_qtensor": "quantized; call .dequantize() before it is saved",
    "_rebuild_meta_tensor_no_storage": "on the meta device, so it has no values",
    "_rebuild_wrapper_subclass": "a wrapper around others, which are not stored",
    "_rebuild_device_tensor_from_numpy": "on a device that torch stores otherwise; "
    "call .cpu() before it is saved",
    "_rebuild_device_tensor_from_cpu_tensor": "on a device that torch stores "
    "otherwise; call .cpu() before it is saved",
}
"""Tensors that are not read, by the function of torch._utils that makes them."""


def read_zip(data) -> tuple[object, dict[str, int]]:
    """Return the object in a zip file of `torch.save` and {storage key: first byte}.

    Tensors in the object are `Tensor`s. Raises CheckpointError.
    """
    records = find_records(data)
    pickles = [name for name in records if name.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        if records and all(name.endswith(".npy") for name in records):
            raise CheckpointError(NPZ)
        raise CheckpointError(
            "it is a zip file but not one of torch.save, which holds one "
            "FOLDER/data.pkl"
        )
    if any(name.split("/")[1:2] == ["code"] for name in records):
        raise CheckpointError(
            "it is a TorchScript program, which is not run; take the weights it was "
            "made of"
        )
    folder = pickles[0].partition("/")[0]
    begin, end = records.get(f"{folder}/byteorder", (0, 0))
    if data[begin : min(end, begin + 8)] not in (b"", b"little"):
        raise CheckpointError(OTHER_ORDER)
    offsets = {}

    def persistent(identity):
        storage = _storage(identity)
        if type(storage) is NoArray:
            # it may lie beside the weights
            return storage
        begin, end = records.get(f"{folder}/data/{storage.key}", (0, -1))
        if end - begin != storage.bytes:
            raise CheckpointError(
                f"its storage {storage.key[:60]!r} should hold {storage.bytes} bytes "
                f"but the record holds {max(0, end - begin)}; the file is damaged: "
                "download it again"
            )
        offsets[storage.key] = begin
        return storage

    begin, end = records[pickles[0]]
    value, stop = pickle_machine.run(data, begin, end, _calls(len(data)), persistent)
    if stop != end:
        raise CheckpointError("its pickle goes on behind its end; the file is damaged")
    return value, offsets


def read_legacy(data) -> tuple[object, dict[str, int]]:
    """Return the object in a legacy file and {storage key: first byte}.

    Five pickles follow each other: magic number, protocol, the writer's machine, the
    object, the order of the storages; then each storage, its length before it.
    """
    roots = {}

    def persistent(identity):
        # a module's class, with the source it had: neither is looked at
        if len(identity) == 4 and identity[0] == "module":
            return identity[1]
        if len(identity) != 6:
            raise ValueError("not the persistent id of a legacy storage")
        storage = _storage(identity[:5])
        if type(storage) is NoArray:
            # nothing says where the storage behind it begins
            raise CheckpointError(f"a tensor of it is {storage.words}")
        root = (storage.dtype, storage.bytes)
        if roots.setdefault(storage.key, root) != root:
            raise CheckpointError(
                f"it gives storage {storage.key[:60]!r} two sizes or types"
            )
        view = identity[5]
        if view is None:
            return storage
        _, first, count = view
        width = storage.dtype.itemsize
        if _whole(first) + _whole(count) > storage.bytes // width:
            raise CheckpointError(f"a view of storage {storage.key[:60]!r} leaves it")
        return Storage(storage.key, storage.dtype, first * width, count * width)

    run = partial(pickle_machine.run, data, stop=len(data))
    magic, at = run(start=0, calls={})
    protocol, at = run(start=at, calls={})
    machine, at = run(start=at, calls={})
    if magic != MAGIC or protocol != PROTOCOL or type(machine) is not dict:
        raise CheckpointError(f"it is a torch file of a protocol other than {PROTOCOL}")
    if machine.get("little_endian") is not True:
        raise CheckpointError(OTHER_ORDER)
    value, at = run(start=at, calls=_calls(len(data)), persistent=persistent)
    keys, at = run(start=at, calls={})
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise CheckpointError("its list of storages is no list of keys")
    if len(set(keys)) != len(keys) or set(keys) != set(roots):
        raise CheckpointError("its list of storages is not the one its tensors use")
    offsets = {}
    for key in keys:
        dtype, size = roots[key]
        count = int.from_bytes(data[at : at + 8], "little", signed=True)
        if count * dtype.itemsize != size or at + 8 + size > len(data):
            raise CheckpointError(
                f"its storage {key[:60]!r} should hold {size} bytes but {count} "
                f"elements are announced and {max(0, len(data) - at - 8)} bytes "
                "follow; the file is cut short or damaged: download it again"
            )
        offsets[key] = at + 8
        at += 8 + size
    if data[at : at + 3] not in LINE_ENDS:
        raise CheckpointError(
            f"{len(data) - at} bytes follow its last storage; the file is damaged"
        )
    return value, offsets


def to_array(data, tensor: Tensor, offsets: dict[str, int]) -> np.ndarray:
    """Return the read-only view of the file (bytes or mmap) that `tensor` describes."""
    if 0 in tensor.shape:
        return _freeze(np.empty(tensor.shape, tensor.dtype))
    first = offsets[tensor.storage.key] + tensor.first
    width = tensor.dtype.itemsize
    strides = (width * s for s in tensor.strides)
    return _freeze(np.ndarray(tensor.shape, tensor.dtype, data, first, tuple(strides)))


def _freeze(array):
    array.flags.writeable = False
    return array


def _storage(identity):
    # of ("storage", class, key, device, elements), or a NoArray
    if len(identity) != 5 or identity[0] != "storage":
        raise ValueError("not the persistent id of a storage")
    kind, key, device, count = identity[1:]
    if type(key) is not str or type(device) is not str:
        raise TypeError("not the persistent id of a storage")
    if type(kind) is not Global:
        raise TypeError("not the persistent id of a storage")
    if device == "meta":
        return NoArray(KINDS["_rebuild_meta_tensor_no_storage"])
    if kind.name not in STORAGES:
        return NoArray(f"in a {kind.name}, which is not read")
    dtype = np.dtype(DTYPES[STORAGES[kind.name]])
    return Storage(key, dtype, 0, _whole(count) * dtype.itemsize)


def _calls(size):
    most = max(size, SMALL)
    rebuilds = {
        "torch._utils._rebuild_tensor": partial(_rebuild, most),
        "torch._utils._rebuild_tensor_v2": partial(_rebuild, most),
        "torch._utils._rebuild_tensor_v3": partial(_rebuild_typed, most),
    }
    return {
        **rebuilds,
        **{f"torch._utils.{name}": partial(_no_array, words)
           for name, words in KINDS.items()},
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch._tensor._rebuild_from_type_v2": partial(_rebuild_subclass, rebuilds),
        "torch.Tensor": None,
        "torch.nn.parameter.Parameter": None,
        "collections.OrderedDict": _ordered,
        "collections.defaultdict": lambda factory=None: {},
        "builtins.getattr": _member,
        "__builtin__.getattr": _member,
        "copyreg._reconstructor": _made,
        "copy_reg._reconstructor": _made,
        "copyreg.__newobj__": _made,
        "copyreg.__newobj_ex__": _made,
        "copy_reg.__newobj__": _made,
        "torch.device": lambda kind, index=None: Inert("torch.device"),
        "torch.Size": _size,
        **dict.fromkeys(STORAGES),
        **{f"torch.{name}": None for name in DTYPES},
    }  # fmt: skip


def _ordered(pairs=()):
    # Python 2 calls it with a list of pairs
    if type(pairs) is dict:
        return {**pairs}
    result = {}
    for key, value in pairs:
        if type(key) is not str:
            raise TypeError("a name expected")
        result[key] = value
    return result


def _member(owner, name):
    # how pickles name a class inside another, or a method of an object
    if type(owner) is Global:
        return pickle_machine.name_global(owner.name, name)
    return Inert("builtins.getattr")


def _made(kind, *_):
    return Inert(kind.name if type(kind) is Global else "object")


def _no_array(words, *_):
    return NoArray(words)


def _rebuild(
    most, storage, first, shape, strides, grad=False, hooks=None, metadata=None
):
    return _make_tensor(most, storage, None, first, shape, strides, metadata)


def _rebuild_typed(
    most, storage, first, shape, strides, grad, hooks, dtype, metadata=None
):
    name = dtype.name.removeprefix("torch.") if type(dtype) is Global else ""
    if name not in DTYPES:
        return NoArray(
            f"of the element type {name or 'that has no name'}, which is not read; "
            "convert it to float32 or bfloat16 before it is saved"
        )
    dtype = np.dtype(DTYPES[name])
    return _make_tensor(most, storage, dtype, first, shape, strides, metadata)


def _rebuild_subclass(rebuilds, function, kind, arguments, state):
    # a tensor that was given attributes: they hold nothing of use
    if type(function) is not Global or type(arguments) is not tuple:
        raise TypeError("not the rebuilding of a tensor")
    if function.name not in rebuilds:
        words = KINDS.get(function.name.removeprefix("torch._utils."))
        return NoArray(words or f"made by {function.name}, which is not run")
    return rebuilds[function.name](*arguments)


def _make_tensor(most, storage, dtype, first, shape, strides, metadata):
    if type(storage) is NoArray:
        return storage
    if (type(storage), type(shape), type(strides)) != (Storage, tuple, tuple):
        raise TypeError("not the arguments of a tensor")
    if metadata:
        return NoArray(
            "a lazy conjugate or negative; call .resolve_conj() before it is saved"
        )
    if len(shape) != len(strides) or len(shape) > MOST_AXES:
        raise CheckpointError(
            f"a tensor has {len(shape)} sizes and {len(strides)} strides; the file is "
            "damaged"
        )
    count = math.prod(_whole(size) for size in shape)
    last = _whole(first)
    last += sum((n - 1) * _whole(s) for n, s in zip(shape, strides, strict=True))
    dtype = dtype or storage.dtype
    width = dtype.itemsize
    if count and (last + 1) * width > storage.bytes:
        raise CheckpointError(
            f"a tensor reaches to byte {(last + 1) * width} of a storage of "
            f"{storage.bytes}; the file is damaged"
        )
    # an expanded tensor repeats elements; an empty one may have large axes beside the 0
    repeats = count * width > storage.bytes
    if (repeats and count * width > most) or math.prod(
        n for n in shape if n
    ) * width >= 2**62:
        raise CheckpointError(
            f"a tensor claims {count} elements, more than the whole file has room for: "
            "it repeats those of its storage"
        )
    # the stride of an axis of one element is never used, and may be anything
    strides = tuple(s if n > 1 else 1 for n, s in zip(shape, strides, strict=True))
    return Tensor(storage, dtype, storage.first + first * width, shape, strides)


def _size(sizes):
    if type(sizes) is not tuple or len(sizes) > MOST_AXES:
        raise TypeError("not the sizes of a tensor")
    return sizes


def _parameter(tensor, grad, hooks, state=None):
    if type(tensor) not in (Tensor, NoArray):
        raise TypeError("a parameter is a tensor")
    return tensor


def _whole(value):
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError("a size, stride or offset out of range")
    return value
