"""Safetensors files: a header in JSON, then the tensors one behind the other.

Source: huggingface/safetensors README.md, "Format".
"""

from __future__ import annotations

import json
import math

import ml_dtypes
import numpy as np

from minigen import strict_json
from minigen.errors import CheckpointError

DTYPES = {
    "F32": np.float32, "F64": np.float64, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "I16": np.int16, "U16": np.uint16,
    "I32": np.int32, "U32": np.uint32, "I64": np.int64, "U64": np.uint64,
    "C64": np.complex64, "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}  # fmt: skip
"""Element types by the names of the format."""

NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}

LARGEST_HEADER = 25_000_000
"""Bytes; the headers of the largest models take a hundredth of it."""

MOST_AXES = 32
"""Axes that every NumPy can hold."""

ALIGNMENT = 64
"""Where data begins in the files we write, so that arrays can be used as mapped."""


def read(data) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return {name: read-only view} and the metadata of a file (bytes or mmap).

    The tensors must fill the file: no gap, no overlap, nothing behind. Raises
    CheckpointError.
    """
    size = int.from_bytes(data[:8], "little")
    if not 2 <= size <= min(LARGEST_HEADER, len(data) - 8):
        raise CheckpointError(
            f"its header claims {size} bytes of a file of {len(data)}; the file is cut "
            "short or damaged: download it again"
        )
    try:
        header = strict_json.parse(bytes(data[8 : 8 + size]).decode())
    except ValueError as error:
        raise CheckpointError(f"its header is no JSON ({str(error)[:80]})") from None
    if type(header) is not dict:
        raise CheckpointError("its header is no JSON object")
    metadata = header.pop("__metadata__", None)
    metadata = {} if metadata is None else metadata
    if type(metadata) is not dict or not all(type(v) is str for v in metadata.values()):
        raise CheckpointError("its metadata are not texts")
    entries = {name: _check(name, entry) for name, entry in header.items()}
    first = 8 + size
    end = 0
    for name, (_, _, begin, stop) in sorted(
        entries.items(), key=lambda item: item[1][2:]
    ):
        if begin != end:
            raise CheckpointError(
                f"its tensor {name[:80]!r} begins at byte {begin} of the data, not at "
                f"{end} where the one before ends; the file is damaged"
            )
        end = stop
    if first + end != len(data):
        raise CheckpointError(
            f"its tensors take {end} bytes but the file holds {len(data) - first}; it "
            "is cut short or damaged: download it again"
        )
    arrays = {}
    for name, (dtype, shape, begin, stop) in entries.items():
        if begin == stop:
            arrays[name] = np.empty(shape, dtype)
        else:
            arrays[name] = np.ndarray(shape, dtype, data, first + begin)
        arrays[name].flags.writeable = False
    return arrays, metadata


def make_header(
    entries: dict[str, tuple[np.dtype, tuple[int, ...]]], metadata: dict
) -> bytes:
    """Return the first bytes of a file of these tensors, which follow in this order.

    >>> header = make_header({"w": (np.dtype(np.float32), (2, 3))}, {"a": "b"})
    >>> len(header) % ALIGNMENT, header[8:26]
    (0, b'{"__metadata__":{"')
    """
    header, at = {"__metadata__": metadata}, 0
    for name, (dtype, shape) in entries.items():
        end = at + math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [at, end],
        }  # fmt: skip
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _check(name, entry):
    try:
        if set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ValueError
        shape, (begin, stop) = tuple(entry["shape"]), entry["data_offsets"]
        for value in (*shape, begin, stop):
            if type(value) is not int or not 0 <= value < 2**62:
                raise ValueError
        kind = entry["dtype"]
        if kind not in DTYPES:
            raise CheckpointError(
                f"its tensor {name[:80]!r} has the element type {str(kind)[:20]!r}; "
                f"known are {', '.join(DTYPES)}: take a file of one of these"
            )
    except (TypeError, ValueError):
        raise CheckpointError(
            f"the header of its tensor {name[:80]!r} is not a dtype, a shape and two "
            "offsets"
        ) from None
    dtype = np.dtype(DTYPES[kind])
    width = dtype.itemsize
    if (
        len(shape) > MOST_AXES
        or math.prod(shape) * width != stop - begin
        or math.prod(n for n in shape if n) * width >= 2**62
    ):
        raise CheckpointError(
            f"its tensor {name[:80]!r} of shape {shape[:8]} does not fill its "
            f"{stop - begin} bytes; the file is damaged"
        )
    return dtype, shape, begin, stop
