"""Write files as `torch.save` does, without torch, and pickles it would never write.

`pickle_of` spells a value as pickle instructions. Arrays become calls of torch's
_rebuild_tensor_v2 on a storage; `Code` puts instructions of one's own anywhere.
"""

import json
import struct
import zipfile
from dataclasses import dataclass

import ml_dtypes
import numpy as np

CLASSES = {
    np.dtype(np.float32): "FloatStorage", np.dtype(np.float64): "DoubleStorage",
    np.dtype(np.float16): "HalfStorage", np.dtype(np.int64): "LongStorage",
    np.dtype(ml_dtypes.bfloat16): "BFloat16Storage",
    np.dtype(np.bool_): "BoolStorage", np.dtype(np.uint8): "ByteStorage",
}  # fmt: skip

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


@dataclass(frozen=True)
class Code:
    """Instructions that stand for a value in a pickle."""

    instructions: bytes


@dataclass(frozen=True)
class View:
    """A tensor by its parts: an array as storage, offset, sizes and strides."""

    storage: np.ndarray
    first: int
    shape: tuple
    strides: tuple


def name_of(module, name):
    """Instructions that push a global."""
    return f"c{module}\n{name}\n".encode()


def pickle_of(value, storages, legacy=False) -> bytes:
    """Instructions that push `value`; storages are added to {id: (key, array)}."""

    def spell(value):
        match value:
            case Code():
                return value.instructions
            case None:
                return b"N"
            case bool():
                return b"\x88" if value else b"\x89"
            case int():
                return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)
            case float():
                return b"G" + struct.pack(">d", value)
            case str():
                text = value.encode()
                return b"X" + struct.pack("<I", len(text)) + text
            case tuple():
                return b"(" + b"".join(map(spell, value)) + b"t"
            case list():
                return b"](" + b"".join(map(spell, value)) + b"e"
            case dict():
                items = (spell(k) + spell(v) for k, v in value.items())
                return b"}(" + b"".join(items) + b"u"
            case np.ndarray():
                strides = tuple(s // value.itemsize for s in value.strides)
                return spell(View(value, 0, value.shape, strides))
            case View():
                return spell_view(value)
        raise TypeError(type(value))

    def spell_view(view):
        array = view.storage
        key, _ = storages.setdefault(id(array), (str(len(storages)), array))
        kind = Code(name_of("torch", CLASSES[array.dtype]))
        identity = ("storage", kind, key, "cpu", array.size) + (None,) * legacy
        storage = Code(spell(identity) + b"Q")
        hooks = Code(name_of("collections", "OrderedDict") + b")R")
        arguments = (storage, view.first, view.shape, view.strides, False, hooks)
        return name_of("torch._utils", "_rebuild_tensor_v2") + spell(arguments) + b"R"

    return spell(value)


def write_zip(path, value, folder="archive", byteorder=b"little"):
    """Write `value` as torch.save does: stored records, data at multiples of 64."""
    storages = {}
    pickle = b"\x80\x02" + pickle_of(value, storages) + b"."
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        write_record(file, f"{folder}/data.pkl", pickle)
        write_record(file, f"{folder}/byteorder", byteorder)
        for key, array in storages.values():
            write_record(file, f"{folder}/data/{key}", array.reshape(-1).view(np.uint8))
        write_record(file, f"{folder}/version", b"3\n")


def write_record(file, name, content):
    """Add a record whose bytes begin at a multiple of 64, padded as torch does."""
    record = zipfile.ZipInfo(name)
    padding = -(file.fp.tell() + 30 + len(name) + 4) % 64
    record.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    file.writestr(record, memoryview(content))


def write_legacy(path, value):
    """Write `value` as torch.save did before its zip format."""
    storages = {}
    pickle = pickle_of(value, storages, legacy=True)
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    keys = [key for key, _ in storages.values()]
    with open(path, "wb") as file:
        file.write(MAGIC)
        parts = [pickle_of(value, {}) for value in (1001, machine, keys)]
        parts.insert(2, pickle)
        for part in parts:
            file.write(b"\x80\x02" + part + b".")
        for _, array in storages.values():
            file.write(struct.pack("<q", array.size) + array.tobytes())


def write_zip_pickle(path, instructions):
    """Write a zip file of torch's that holds only this pickle."""
    with zipfile.ZipFile(path, "w") as file:
        write_record(file, "archive/data.pkl", b"\x80\x02" + instructions + b".")


def write_legacy_pickle(path, instructions):
    """Write a legacy file of torch's that holds only this pickle."""
    machine = pickle_of({"little_endian": True}, {})
    parts = [pickle_of(1001, {}), machine, instructions, pickle_of([], {})]
    path.write_bytes(MAGIC + b"".join(b"\x80\x02" + part + b"." for part in parts))


def safetensors(header, size):
    """Bytes of a safetensors file: a header, as JSON or as bytes, and `size` zeros."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


def replace_bytes(path, old, new):
    """Replace bytes that a file must hold by others."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
