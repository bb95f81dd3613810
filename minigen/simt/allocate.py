"""Arrays that a kernel makes: shared, local and constant."""

from __future__ import annotations

from sys import _getframe
from types import SimpleNamespace

import numpy as np

from minigen.errors import KernelError
from minigen.simt.cells import Cells
from minigen.simt.memory import window
from minigen.simt.pattern import as_dtype, fresh, poison
from minigen.simt.running import running
from minigen.simt.sites import assigned_name, calls, describe_calls, outside

SHARED_LIMIT = 48 * 1024


def shared_array(shape, dtype, alignment=None):
    """Return the block's array of this site in the source.

    A site is an instruction of a function as it was compiled: a loop has one array, and
    so has a helper that is called twice (but with inline="always", where Numba copies
    it). Without types the calls that led to it count too, so a helper has one a call.
    Shape 0 is the dynamic memory of the launch, the same for all who ask.
    """
    block = running.machine.current.block
    dtype = as_dtype(dtype)
    if shape == 0 or shape == (0,):
        return _dynamic_array(block, dtype)
    key = calls(_getframe(1))
    if running.machine.looped:
        key = key[:1]
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
    """Return the launch's dynamic memory; of every dtype it is the same bytes."""
    key = "dynamic", dtype
    array = block.arrays.get(key)
    if array is None:
        memory = block.arrays.get("dynamic")
        if memory is None:
            size = running.machine.dynamic
            memory = block.arrays["dynamic"] = fresh(size, dtype="u1")
            poison(memory[: size // dtype.itemsize * dtype.itemsize].view(dtype))
            _take(block, "dynamic", size)
        count = memory.size // dtype.itemsize
        array = memory[: count * dtype.itemsize].view(dtype)
        if running.machine.watch:
            array = window(_among(block, array), array.shape)
        block.arrays[key] = array
    return array


def _among(block, array):
    # cells that know of those of the other dtypes
    cells = _cells(array, "shared")
    others = [a.cells for k, a in block.arrays.items() if k[0] == "dynamic" and k[1:]]
    others = [other for other in others if other is not cells]
    for other in others:
        other.kin.append(cells)
        written = np.frombuffer(other.fresh, np.uint8) == 0
        cells.kin.append(other)
        for i in np.flatnonzero(written):
            for kin, j in other._overlapping(int(i)):
                kin.fresh[j] = 0
    return cells


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
