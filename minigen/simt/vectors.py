"""CUDA's vector types: float32x4 and its like, up to four numbers with names."""

from __future__ import annotations

import numpy as np

_C = {
    "char": "int8", "short": "int16", "int": "int32", "long": "int64",
    "longlong": "int64", "uchar": "uint8", "ushort": "uint16", "uint": "uint32",
    "ulong": "uint64", "ulonglong": "uint64", "float": "float32", "double": "float64",
}  # fmt: skip


def _vector(base, count):
    axes = "xyzw"[:count]

    class Vector:
        """Numbers of one type, made of numbers and of other vectors."""

        __slots__ = tuple(axes)

        def __init__(self, *parts):
            values = []
            for part in parts:
                values += (
                    part
                    if isinstance(part, tuple)
                    else getattr(part, "numbers", [part])
                )
            if len(values) != count:
                name = type(self).__name__
                raise TypeError(
                    f"{name} takes {count} numbers, and was given {len(values)}"
                )
            for axis, value in zip(axes, values, strict=True):
                setattr(self, axis, base(value))

        @property
        def numbers(self):
            """The numbers as a list."""
            return [getattr(self, axis) for axis in axes]

        def __repr__(self):
            return f"{type(self).__name__}({', '.join(map(str, self.numbers))})"

    Vector.__name__ = f"{base.__name__}x{count}"
    return Vector


VECTORS = {}
"""All vector types by name, CUDA's own (float4) and Numba's (float32x4)."""

for _base in dict.fromkeys(_C.values()):
    for _count in (1, 2, 3, 4):
        VECTORS[f"{_base}x{_count}"] = _vector(getattr(np, _base), _count)
for _name, _base in _C.items():
    for _count in (1, 2, 3, 4):
        VECTORS[f"{_name}{_count}"] = VECTORS[f"{_base}x{_count}"]
