"""Arrays that a kernel makes: shared, local and constant."""

from __future__ import annotations

from sys import _getframe
from types import SimpleNamespace

import numpy as np

from minigen.errors import KernelError
from minigen.simt.cells import Cells
from minigen.simt.memory import window
from minigen.simt.pattern import fresh, poison
from minigen.simt.running import running
from minigen.simt.sites import assigned_name, calls, describe_calls, outside

SHARED_LIMIT = 48 * 1024


def as_dtype(kind):
    """Return the NumPy dtype of a dtype, a NumPy scalar type, or a Numba type."""
    if type(kind).__module__.startswith("numba"):
        name = str(kind)
        return np.dtype("bool" if name.startswith("bool") else name)
    return np.dtype(kind)


def shared_array(shape, dtype, alignment=None):
    """Return the block's array of this site in the source.

    A site is a line and the calls that led to it, so a helper called twice has two
    arrays, and a loop has one, as with a compiler that inlines helpers. Shape 0 is the
    dynamic memory of the launch, the same for all who ask.
    """
    block = running.machine.current.block
    dtype = as_dtype(dtype)
    if shape == 0 or shape == (0,):
        return _dynamic_array(block, dtype)
    key = calls(_getframe(1))
    array = block.arrays.get(key)
    if array is None:
        array = block.arrays[key] = _new(shape, dtype, "shared")
        _take(block, key, array.nbytes)
    return array


def local_array(shape, dtype, alignment=None):
    """Return an array of the thread's own."""
    return _new(shape, as_dtype(dtype), "local")


def constant_array(array):
    """Return a read-only array."""
    if not running.machine.watch:
        return array
    flat = np.ascontiguousarray(array).reshape(-1)
    cells = Cells(running.machine, flat, f"constant {_name()}")
    cells.constant = True
    return window(cells, array.shape)


def _new(shape, dtype, space):
    array = fresh(shape, dtype)
    if not running.machine.watch:
        return array
    return window(_cells(array.reshape(-1), space), array.shape)


def _cells(flat, space):
    cells = Cells(running.machine, flat, f"{space} {_name()}")
    cells.fresh = bytearray(b"\1") * flat.size
    cells.own = space == "local"
    return cells


def _dynamic_array(block, dtype):
    array = block.arrays.get(dtype)
    if array is None:
        size = running.machine.dynamic
        memory = block.arrays.get("dynamic")
        if memory is None:
            memory = block.arrays["dynamic"] = np.empty(size, np.uint8)
            _take(block, "dynamic", size)
        array = memory[: size // dtype.itemsize * dtype.itemsize].view(dtype)
        poison(array)
        if running.machine.watch:
            array = window(_cells(array, "shared"), array.shape)
        block.arrays[dtype] = array
    return array


def _take(block, key, size):
    machine = running.machine
    block.sizes.append((key, size))
    block.bytes += size
    machine.shared_bytes = max(machine.shared_bytes, block.bytes)
    if block.bytes > SHARED_LIMIT:
        sizes = [f"  {size} bytes at {_where(key)}" for key, size in block.sizes]
        raise KernelError(
            "shared memory",
            f"block {block.index} asks for {block.bytes} bytes of shared memory, and "
            f"may have {SHARED_LIMIT}; use smaller tiles\n" + "\n".join(sizes),
        )


def _where(key):
    return "the launch (dynamic)" if key == "dynamic" else describe_calls(key)


def _name():
    return assigned_name(outside(_getframe(1)))


shared = SimpleNamespace(array=shared_array)
local = SimpleNamespace(array=local_array)
const = SimpleNamespace(array_like=constant_array)
