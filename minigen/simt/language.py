"""The `cuda` that a kernel sees while it is interpreted.

Every name means what the CUDA C++ Programming Guide says. What is "undefined" there is
a fault of the kernel here.
"""

from __future__ import annotations

from sys import _getframe
from types import SimpleNamespace

import numpy as np

from minigen.simt import allocate, atomics, faults, libdevice, warps
from minigen.simt.half import halves
from minigen.simt.memory import load, store
from minigen.simt.running import running, site
from minigen.simt.threads import WARP
from minigen.simt.vectors import VECTORS

# Numba's short names of its types
_TYPES = {"b1": "bool_", "boolean": "bool_", "bool": "bool_", "f4": "float32"}
_TYPES |= {"f2": "float16", "f8": "float64", "c8": "complex64", "c16": "complex128"}
_TYPES |= {f"i{n}": f"int{8 * n}" for n in (1, 2, 4, 8)}
_TYPES |= {f"u{n}": f"uint{8 * n}" for n in (1, 2, 4, 8)}


class Language:
    """The attributes of `cuda`; what follows below adds the functions."""

    warpsize = WARP
    threadIdx = property(lambda self: running.machine.current.index)
    blockIdx = property(lambda self: running.machine.current.block.index)
    blockDim = property(lambda self: running.machine.block)
    gridDim = property(lambda self: running.machine.grid)
    laneid = property(lambda self: running.machine.current.lane)

    # cuda.types.float32 is cuda.float32 is NumPy's
    types = property(lambda self: self)

    def __getattr__(self, name):
        if name in VECTORS:
            return VECTORS[name]
        kind = getattr(np, _TYPES.get(name, name), None)
        if isinstance(kind, type) and issubclass(kind, np.generic):
            return kind
        known = ", ".join(sorted(n for n in dir(self) if not n.startswith("_")))
        message = f"the interpreter has no cuda.{name}; it has {known}"
        if running.machine is None:
            raise AttributeError(message)
        faults.stop("unsupported", message)


def grid(axes):
    """Return the thread's index in the whole grid: a number, or a tuple of them."""
    machine = running.machine
    size, thread = machine.block, machine.current
    block, index = thread.block.index, thread.index
    if axes == 1:
        return block.x * size.x + index.x
    site = (
        block.x * size.x + index.x,
        block.y * size.y + index.y,
        block.z * size.z + index.z,
    )
    return site[:axes]


def gridsize(axes):
    """Return how many threads the grid has along each axis."""
    grid, block = running.machine.grid, running.machine.block
    size = grid.x * block.x, grid.y * block.y, grid.z * block.z
    return size[0] if axes == 1 else size[:axes]


def syncthreads():
    """Wait until all threads of the block are here."""
    running.machine.meet_block(site(), "syncthreads")


def syncthreads_count(predicate):
    """As syncthreads; return for how many threads the predicate is true."""
    values = running.machine.meet_block(site(), "syncthreads_count", predicate)
    return sum(1 for value in values if value)


def syncthreads_and(predicate):
    """As syncthreads; return 1 if the predicate is true for all threads, else 0."""
    values = running.machine.meet_block(site(), "syncthreads_and", predicate)
    return int(all(values))


def syncthreads_or(predicate):
    """As syncthreads; return 1 if the predicate is true for any thread, else 0."""
    values = running.machine.meet_block(site(), "syncthreads_or", predicate)
    return int(any(values))


def this_grid():
    """Return the group of all threads, with its method `sync`."""

    def sync():
        running.machine.meet_grid(site())
        return 1

    return SimpleNamespace(sync=sync)


def threadfence():
    """Order what this thread did and saw before its next atomic."""
    if running.machine.watch:
        running.machine.fence()


def _load(array, index):
    return load(array, index, _getframe(1))


def _store(array, index, value):
    store(array, index, value, _getframe(1))


def selp(condition, yes, no):
    """Return `yes` or `no`."""
    return yes if condition else no


_FUNCTIONS = [grid, gridsize, syncthreads, syncthreads_count, syncthreads_and]
_FUNCTIONS += [syncthreads_or, threadfence, selp, *warps.FUNCTIONS]
_FUNCTIONS += [libdevice.popc, libdevice.brev, libdevice.clz, libdevice.ffs]
_FUNCTIONS += [libdevice.fma, libdevice.cbrt]

cuda = Language()
vars(cuda).update({function.__name__: function for function in _FUNCTIONS})
# cache hints make no difference here
vars(cuda).update(dict.fromkeys(("ldca", "ldcg", "ldcs", "ldlu", "ldcv"), _load))
vars(cuda).update(dict.fromkeys(("stcg", "stcs", "stwb", "stwt"), _store))
cuda.threadfence_block = cuda.threadfence_system = threadfence
cuda.nanosleep = lambda nanoseconds: None
cuda.shared, cuda.local, cuda.const = allocate.shared, allocate.local, allocate.const
cuda.atomic, cuda.libdevice = atomics.atomic, libdevice.table
cuda.fp16 = halves
cuda.cg = SimpleNamespace(this_grid=this_grid)
