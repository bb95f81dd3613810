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
    block, frame = running.machine.current.block, _getframe(1)
    dtype = as_dtype(dtype)
    if shape == 0 or shape == (0,):
        return _dynamic_array(block, dtype, frame)
    key = calls(frame, 1 if running.machine.looped else None)
    array = block.arrays.get(key)
    if array is None:
        array = block.arrays[key] = _new(shape, dtype, "shared", frame)
        _take(block, key, array.nbytes)
    return array


def local_array(shape, dtype, alignment=None):
    """Return an array of the thread's own."""
    return _new(shape, as_dtype(dtype), "local", _getframe(1))


def constant_array(array):
    """Return a read-only array."""
    if not running.machine.watch:
        return array
    flat = np.ascontiguousarray(array).reshape(-1)
    cells = Cells(running.machine, flat, f"constant {_name(_getframe(1))}")
    cells.constant = True
    return window(cells, array.shape)


def _new(shape, dtype, space, frame):
    if isinstance(shape, list):
        why = f"shape {shape} of an array is a list; Numba takes a number or a tuple"
        raise TypeError(f"{why}: write {tuple(shape)}")
    templates, kind = running.machine.templates, (shape, dtype)
    template = templates.get(kind)
    if template is None:
        template = templates[kind] = fresh(shape, dtype)
    array = template.copy()
    if not running.machine.watch:
        return array
    return window(_cells(array.reshape(-1), space, frame), array.shape)


def _cells(flat, space, frame):
    name, own = f"{space} {_name(frame)}", space == "local"
    cells = Cells(running.machine, flat, name, own)
    cells.fresh = bytearray(b"\1") * flat.size
    return cells


def _dynamic_array(block, dtype, frame):
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
            array = window(_among(block, array, frame), array.shape)
        block.arrays[key] = array
    return array


def _among(block, array, frame):
    # cells that know of those of the other dtypes
    cells = _cells(array, "shared", frame)
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


def _name(frame):
    # each thread makes the arrays of each line: its text is read once a launch
    frame, names = outside(frame), running.machine.names
    line = id(frame.f_code), frame.f_lasti
    name = names.get(line)
    if name is None:
        name = names[line] = assigned_name(frame)
    return name


shared = SimpleNamespace(array=shared_array)
local = SimpleNamespace(array=local_array)
const = SimpleNamespace(array_like=constant_array)
