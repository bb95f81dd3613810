"""What `==` and `hash` mean for a frozen dataclass that holds arrays.

Those that `dataclass` makes fail there: arrays compared give an array, and have no
hash. These compare and hash what the fields hold, arrays by dtype, shape and every bit.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np


def same(one: object, other: object) -> Any:
    """Say whether two objects of a class hold the same: the `__eq__` of that class."""
    if type(one) is not type(other):
        return NotImplemented
    return _content(vars(one)) == _content(vars(other))


def digest(one: object) -> int:
    """Return a number that is equal for equal objects: the `__hash__` of a class."""
    return hash(_content(vars(one)))


def _content(value: Any) -> Hashable:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return tuple((name, _content(part)) for name, part in value.items())
    return value
