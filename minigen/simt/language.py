"""The `cuda` that a kernel sees while it is interpreted.

Every name means what the CUDA C++ Programming Guide says it means; where the guide says
"undefined", the kernel has a fault.
"""

from __future__ import annotations

import operator
from sys import _getframe
from types import SimpleNamespace

import numpy as np

from minigen.simt import libdevice, memory, pattern
from minigen.simt.memory import Cells, Watched
from minigen.simt.places import HERE as _HERE
from minigen.simt.places import assigned_name, describe, outside

SHARED_LIMIT = 48 * 1024
ALL = 0xFFFFFFFF
WARP = 32


def as_dtype(kind):
    """Return the NumPy dtype of a dtype, a NumPy scalar type, or a Numba type."""
    if type(kind).__module__.startswith("numba"):
        name = str(kind)
        return np.dtype("bool" if name.startswith("bool") else name)
    return np.dtype(kind)


class Language:
    """The attributes of `cuda`. One object serves every launch, one at a time."""

    warpsize = WARP

    def __init__(self):
        self.machine = None
        self.shared = SimpleNamespace(array=self._shared_array)
        self.local = SimpleNamespace(array=self._local_array)
        self.const = SimpleNamespace(array_like=self._constant)
        self.atomic = SimpleNamespace(
            **{name: self._atomic(f) for name, f in _ATOMICS.items()},
            cas=self._cas,
            compare_and_swap=self._compare_and_swap,
        )
        self.cg = SimpleNamespace(this_grid=self._this_grid)
        self.libdevice = libdevice.table

    def __getattr__(self, name):
        kind = getattr(np, name, None)
        if isinstance(kind, type) and issubclass(kind, np.generic):
            return kind
        self.machine.fault(
            "unsupported",
            f"the interpreter has no cuda.{name}; use what `dir(minigen.simt.cuda)` "
            "lists",
        )

    # where am I

    threadIdx = property(lambda self: self.machine.current.index)
    blockIdx = property(lambda self: self.machine.current.block.index)
    blockDim = property(lambda self: self.machine.block)
    gridDim = property(lambda self: self.machine.grid)
    laneid = property(lambda self: self.machine.current.lane)
    types = property(lambda self: self)

    def grid(self, axes):
        """Return the thread's place in the whole grid: a number, or a tuple of them."""
        machine = self.machine
        thread, size = machine.current, machine.block
        place = (
            thread.block.index.x * size.x + thread.index.x,
            thread.block.index.y * size.y + thread.index.y,
            thread.block.index.z * size.z + thread.index.z,
        )
        return place[0] if axes == 1 else place[:axes]

    def gridsize(self, axes):
        """Return how many threads the grid has, along each axis."""
        grid, block = self.machine.grid, self.machine.block
        size = grid.x * block.x, grid.y * block.y, grid.z * block.z
        return size[0] if axes == 1 else size[:axes]

    # memory

    def _shared_array(self, shape, dtype, alignment=None):
        machine = self.machine
        block = machine.current.block
        shape = (shape,) if not isinstance(shape, tuple) else shape
        dtype = as_dtype(dtype)
        if shape == (0,):
            return self._dynamic_array(block, dtype)
        # one allocation for each place in the source, as a compiler would do it; the
        # same line of a helper is another place for each line that calls it
        key = _chain(_getframe(1))
        array = block.arrays.get(key)
        if array is None:
            array = block.arrays[key] = self._allocate(shape, dtype, "shared")
            block.sizes.append((key, int(np.prod(shape)) * dtype.itemsize))
            block.bytes += block.sizes[-1][1]
            self._limit(block)
        return array

    def _dynamic_array(self, block, dtype):
        # all of them begin at the same address
        machine = self.machine
        array = block.arrays.get(dtype)
        if array is None:
            if not block.arrays.get("dynamic"):
                block.arrays["dynamic"] = np.zeros(machine.dynamic, np.uint8)
                block.bytes += machine.dynamic
                self._limit(block)
            flat = block.arrays["dynamic"]
            flat = flat[: flat.size // dtype.itemsize * dtype.itemsize].view(dtype)
            array = pattern.poison(flat)
            if machine.watch:
                cells = Cells(
                    machine, flat, _name("shared"), bytearray(b"\1") * flat.size
                )
                array = memory.window(cells, flat.shape)
            block.arrays[dtype] = array
        return array

    def _local_array(self, shape, dtype, alignment=None):
        shape = (shape,) if not isinstance(shape, tuple) else shape
        return self._allocate(shape, as_dtype(dtype), "local")

    def _allocate(self, shape, dtype, space):
        array = pattern.fresh(shape, dtype)
        if not self.machine.watch:
            return array
        fresh = bytearray(b"\1") * array.size
        cells = Cells(
            self.machine, array.reshape(-1), _name(space), fresh, space == "local"
        )
        return memory.window(cells, array.shape)

    def _constant(self, array):
        if not self.machine.watch:
            return array
        flat = np.ascontiguousarray(array).reshape(-1)
        cells = Cells(self.machine, flat, _name("constant"), None, True, True)
        return memory.window(cells, array.shape)

    def _limit(self, block):
        machine = self.machine
        machine.shared_bytes = max(machine.shared_bytes, block.bytes)
        if block.bytes > SHARED_LIMIT:
            sizes = [f"  {size} at {_tip(key)}" for key, size in block.sizes]
            machine.fault(
                "shared memory",
                f"a block asks for {block.bytes} bytes of shared memory; it may have "
                f"{SHARED_LIMIT}. Use smaller tiles:\n" + "\n".join(sizes),
            )

    # barriers

    def _place(self):
        if not self.machine.watch:
            return None
        frame = outside(_getframe(2))
        return frame.f_code, frame.f_lasti

    def syncthreads(self):
        """Wait until all threads of the block are here."""
        self.machine.meet_block(self._place(), "syncthreads")

    def syncthreads_count(self, predicate):
        """As syncthreads; return for how many threads the predicate is true."""
        place = self._place()
        values = self.machine.meet_block(place, "syncthreads_count", predicate)
        return sum(1 for value in values if value)

    def syncthreads_and(self, predicate):
        """As syncthreads; return 1 if the predicate is true for all threads, else 0."""
        place = self._place()
        return int(all(self.machine.meet_block(place, "syncthreads_and", predicate)))

    def syncthreads_or(self, predicate):
        """As syncthreads; return 1 if the predicate is true for any thread, else 0."""
        place = self._place()
        return int(any(self.machine.meet_block(place, "syncthreads_or", predicate)))

    def _this_grid(self):
        return SimpleNamespace(sync=lambda: self.machine.meet_grid(self._place()))

    # fences order one thread's own accesses; here they are in order anyway

    def threadfence(self):
        """Do nothing: a thread's own accesses are in order here."""

    threadfence_block = threadfence_system = threadfence

    def nanosleep(self, nanoseconds):
        """Do nothing."""

    # warps

    def syncwarp(self, mask=ALL):
        """Wait until the lanes that the mask names are here."""
        self.machine.meet_warp(mask, self._place(), "syncwarp")

    def shfl_sync(self, mask, value, lane):
        """Return the value that a lane brought."""
        values = self.machine.meet_warp(mask, self._place(), "shfl_sync", value)
        return self._from(values, lane % WARP, mask)

    def shfl_xor_sync(self, mask, value, flip):
        """Return the value of the lane whose number differs in the bits of `flip`."""
        values = self.machine.meet_warp(mask, self._place(), "shfl_xor_sync", value)
        return self._from(values, self.laneid ^ int(flip), mask)

    def shfl_up_sync(self, mask, value, delta):
        """Return the value of the lane `delta` below; the lowest keep their own."""
        values = self.machine.meet_warp(mask, self._place(), "shfl_up_sync", value)
        lane = self.laneid - int(delta)
        return value if lane < 0 else self._from(values, lane, mask)

    def shfl_down_sync(self, mask, value, delta):
        """Return the value of the lane `delta` above; the highest keep their own."""
        values = self.machine.meet_warp(mask, self._place(), "shfl_down_sync", value)
        lane = self.laneid + int(delta)
        return value if lane >= WARP else self._from(values, lane, mask)

    def _from(self, values, lane, mask):
        if lane not in values:
            thread = self.machine.current
            why = "it does not name" if not int(mask) >> lane & 1 else "does not exist"
            self.machine.fault(
                "mask",
                f"{thread}, lane {thread.lane}, reads from lane {lane}, which "
                + (
                    f"mask 0x{int(mask):08x} does not name"
                    if why != "does not exist"
                    else "the block does not have"
                ),
            )
        return values[lane]

    def ballot_sync(self, mask, predicate):
        """Return a number whose bit i says whether the predicate is true in lane i."""
        values = self.machine.meet_warp(mask, self._place(), "ballot_sync", predicate)
        return sum(1 << lane for lane, value in values.items() if value)

    def all_sync(self, mask, predicate):
        """Return whether the predicate is true in all named lanes."""
        values = self.machine.meet_warp(mask, self._place(), "all_sync", predicate)
        return all(values.values())

    def any_sync(self, mask, predicate):
        """Return whether the predicate is true in any named lane."""
        values = self.machine.meet_warp(mask, self._place(), "any_sync", predicate)
        return any(values.values())

    def eq_sync(self, mask, predicate):
        """Return whether the predicate is the same in all named lanes."""
        values = self.machine.meet_warp(mask, self._place(), "eq_sync", predicate)
        return len({bool(value) for value in values.values()}) == 1

    def match_any_sync(self, mask, value):
        """Return the lanes that brought the same value as this one, as a mask."""
        values = self.machine.meet_warp(mask, self._place(), "match_any_sync", value)
        return sum(1 << lane for lane, other in values.items() if other == value)

    def match_all_sync(self, mask, value):
        """Return (mask, True) if all named lanes brought the same value, or (0, False)."""
        values = self.machine.meet_warp(mask, self._place(), "match_all_sync", value)
        same = all(other == value for other in values.values())
        return (int(mask) & ALL, True) if same else (0, False)

    def activemask(self):
        """Return the lanes that have not exited, as a mask."""
        threads = self.machine.current.warp.threads
        return sum(1 << t.lane for t in threads if not t.done)

    def lanemask_lt(self):
        """Return the lanes below this one, as a mask."""
        return (1 << self.laneid) - 1

    def exchange(self, what, value):
        """Return {lane: value} of the whole warp; for twins of collective intrinsics."""
        return self.machine.meet_warp(ALL, self._place(), what, value)

    # atomics

    def _atomic(self, function):
        def atomic(array, index, value):
            return _change(array, index, lambda old: function(old, value), _getframe(1))

        return atomic

    def _cas(self, array, index, old, value):
        return _change(
            array, index, lambda now: value if now == old else None, _getframe(1)
        )

    def _compare_and_swap(self, array, old, value):
        return _change(
            array, 0, lambda now: value if now == old else None, _getframe(1)
        )

    # cache hints: a load is a load

    def _load(self, array, index):
        return _read(array, index, _getframe(1))

    ldca = ldcg = ldcs = ldlu = ldcv = _load

    def _keep(self, array, index, value):
        if isinstance(array, Watched):
            array.store(index, value, _getframe(1))
        else:
            array[index] = value

    stcg = stcs = stwb = stwt = _keep

    # arithmetic

    popc = staticmethod(libdevice.popc)
    brev = staticmethod(libdevice.brev)
    clz = staticmethod(libdevice.clz)
    ffs = staticmethod(libdevice.ffs)
    fma = staticmethod(libdevice.fma)
    cbrt = staticmethod(np.cbrt)

    @staticmethod
    def selp(condition, yes, no):
        """Return `yes` or `no`."""
        return yes if condition else no


def _read(array, index, frame):
    return array.read(index, frame) if isinstance(array, Watched) else array[index]


def _change(array, index, function, frame):
    if isinstance(array, Watched):
        return array.change(index, function, frame)
    old = array[index]
    value = function(old)
    if value is not None:
        array[index] = value
    return old


def _increment(old, limit):
    return old + 1 if old < limit else 0


def _decrement(old, limit):
    return limit if old == 0 or old > limit else old - 1


_ATOMICS = {
    "add": operator.add,
    "sub": operator.sub,
    "and_": operator.and_,
    "or_": operator.or_,
    "xor": operator.xor,
    "inc": _increment,
    "dec": _decrement,
    "exch": lambda old, value: value,
    "max": lambda old, value: value if value > old or old != old else old,
    "min": lambda old, value: value if value < old or old != old else old,
    "nanmax": lambda old, value: value if value > old or old != old else old,
    "nanmin": lambda old, value: value if value < old or old != old else old,
}


def _chain(frame):
    """Return the places of the calls that lead to a frame, innermost first."""
    chain = []
    frame = outside(frame)
    while not frame.f_code.co_filename.startswith(_HERE):
        chain.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
        if frame is None:
            break
    return tuple(chain)


def _tip(key):
    return describe(*key[0]) if isinstance(key, tuple) else "the launch"


def _name(space):
    frame = outside(_getframe(1))
    return f"{space} {assigned_name(frame)}"


cuda = Language()
