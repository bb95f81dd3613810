"""An op table of a device, called with NumPy arrays."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np

from minigen import backends, flags
from minigen.calls import checked


def hosted(ops: SimpleNamespace) -> SimpleNamespace:
    """Return a table of a device whose functions take and return NumPy arrays.

    Every call moves its arrays there and back, and raises the error that its kernels
    flagged.
    """
    functions = {
        one: checked(signature, partial(_hosted, ops, one), "hosted")
        for one, signature, _, _ in backends._functions("reference")
    }
    host = vars(backends.table("numpy"))
    return SimpleNamespace(**(host | functions | {"device": ops.device}))


def _hosted(ops, name, *arguments):
    # an array that is written in place is written in the caller's too
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    moved = {id(a): ops.put(a) for a in arrays}
    noted = flags.Flags(ops, ops.put(np.zeros(1, np.int64)), (name,))
    with noted.at(0):
        result = getattr(ops, name)(*[moved.get(id(a), a) for a in arguments])
    noted.expect_clear()
    origin = {id(moved[id(array)]): array for array in arrays}

    def fetched(one):
        if id(one) in origin:
            array, values = origin[id(one)], ops.get(one)
            # what may not be written to was not; bits of a bfloat16 stay its bits
            if array.flags.writeable:
                array.view(values.dtype)[...] = values
            return array
        return ops.get(one) if hasattr(one, "shape") else one

    return tuple(map(fetched, result)) if type(result) is tuple else fetched(result)
