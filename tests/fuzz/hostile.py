"""Files of nearly LARGEST bytes: each asks for as much as it can of one thing."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import numpy as np

from minigen.checkpoints.reader import PRECEDENCE
from tests.checkpoints.writing import View, name_of, pickle_of

SIZE = 95_000
"""Bytes of each, about."""

ONES = np.ones(16, np.float32)
PUT, GET = b"q\0", b"h\0"


def inputs() -> dict[tuple[str, str], bytes]:
    """Return {(part of tests/fuzz/inputs.py, what it asks for): content}."""
    found = {("pickle", name): b"\x80\2" + code + b"." for name, code in _pickles()}
    found["zip", "records"] = _records(800)
    names = (f"p{i}.q.r.s" for i in range(1300))
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    found["safetensors", "arrays"] = _safetensors({name: empty for name in names})
    axes = {**empty, "shape": [1] * 31 + [0]}
    found["safetensors", "axes"] = _safetensors({f"p{i}": axes for i in range(700)})
    found["header", "depth"] = b'{"a":' + b"[" * 900 + b"]" * 900 + b"}"
    found["header", "width"] = b'{"a":[' + b"{}," * (SIZE // 3) + b"{}]}"
    files = {str(i): f"{i % 999}.bin" for i in range(4000)}
    found["index", "files"] = json.dumps({"weight_map": files}).encode()
    return found


def _pickles():
    def many(start, each, end=b"e"):
        return start + each * ((SIZE - len(start)) // len(each)) + end

    yield "sets", many(b"](", b"\x8f")
    yield "frozen sets", many(b"](", b"(\x91")
    yield "dicts, deep", many(b"](" * 30, b"}", b"e" * 30)
    yield "nothings, deep", many(b"](" * 30, b"N", b"e" * 30)
    yield "the memo", many(b"N", b"\x94", b"")
    yield "marks", many(b"", b"(", b"")
    yield "text", b"X" + struct.pack("<I", SIZE) + "\U0001f600".encode() * (SIZE // 4)
    array = pickle_of(View(ONES, 0, (1,) * 32, (0,) * 32), {})
    yield "arrays", many(b"](" + array + PUT, GET)
    plain = b"(" + pickle_of("key", {}) * 8 + b"t" + PUT
    yield "keys", many(b"}" + plain + b"0(", GET + b"N", b"u")
    whole = b"\x8a\xff" + b"\x7f" * 255
    yield "long keys", many(b"}(" + whole * 8 + b"t" + PUT + b"0(", GET + b"N", b"u")
    dots = pickle_of("a." * 96, {}) + PUT
    yield "names", many(b"](" + dots + b"0", GET + GET + b"\x93")
    long = pickle_of("k" * 40_000, {})
    identity = (b"(" + pickle_of("storage", {}) + name_of("torch", "FloatStorage")
                + long + pickle_of("cpu", {}) + b"K\x10t" + PUT)  # fmt: skip
    yield "storages", many(identity + b"0](", GET + b"Q")
    floats = range(SIZE // 10)
    numbers = (struct.pack(">d", 2.0 ** (61 * (i % 16)) * (1 + i)) for i in floats)
    yield (
        "floats of one hash",
        b"}(" + b"".join(b"G" + n + b"N" for n in numbers) + b"u",
    )
    yield "keys of weights", _shared()


def _shared():
    # five keys, in five, in five: under each the same dict, with names of many places
    tensor = pickle_of(View(ONES, 0, (1,), (1,)), {})
    others = (pickle_of(f"p{i}.q.r.w", {}) + GET for i in range(2000))
    code = b"}(" + pickle_of("t", {}) + tensor + PUT + b"".join(others) + b"u"
    for level in b"\1\2\3":
        get = b"h" + bytes([level])
        items = b"".join(pickle_of(key, {}) + get for key in PRECEDENCE)
        code += b"q" + bytes([level]) + b"0}(" + items + b"u"
    return code


def _records(count):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("a/data.pkl", b"\x80\2}.")
        for i in range(count):
            file.writestr(f"a/{i}", b"")
    return content.getvalue()


def _safetensors(header):
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text
