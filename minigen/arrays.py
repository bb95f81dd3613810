"""Where arrays live that kernels of a GPU work on, and how such a kernel is launched.

A device gives memory, moves arrays between it and the host, and launches kernels. There
are two, with the same methods: `Gpu` is a real one; `Interpreter` keeps NumPy arrays
and runs each kernel's Python source, thread by thread, on the CPU. So all that is
written for a GPU can be run, and doubted, without one.

An array of a device has shape, dtype, ndim, size, reshape, and [i:j] along its first
axis. Nothing else may be asked of it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from minigen import simt, target
from minigen.errors import BackendError

ALIGNMENT = 256
"""Bytes to whose multiples arrays are aligned, as by CUDA's own allocator."""

CHUNK = 1 << 28
"""Bytes that a GPU's arena asks for at a time."""

SMALL_CHUNK = 1 << 20
"""Bytes that the interpreter's arena asks for at a time."""


@dataclass(frozen=True)
class Block:
    """A piece of an arena. It goes back when the last array that looks at it does."""

    address: int
    size: int
    arena: Arena = field(repr=False)

    def __del__(self):
        self.arena.give_back(self)


class Arena:
    """Memory for arrays that come and go, asked for once and never moved.

    The same arrays taken and dropped in the same order lie at the same addresses, and
    memory stays where it is as long as the arena lives: a recorded run can rely on it.
    """

    def __init__(self, allocate, chunk):
        """allocate(size) returns (address, owner) of memory that lives with `owner`."""
        self._allocate = allocate
        self._chunk = chunk
        self._owners = []
        self._next = self._end = 0
        self._free = {}

    def take(self, size) -> Block:
        """Return a block of at least `size` bytes: the last given back of its kind."""
        size = round_up(size)
        free = self._free.get(size)
        if free:
            return Block(free.pop(), size, self)
        if self._next + size > self._end:
            room = max(size, self._chunk)
            address, owner = self._allocate(room + ALIGNMENT)
            self._owners.append(owner)
            self._next = -(-address // ALIGNMENT) * ALIGNMENT
            self._end = self._next + room
        self._next += size
        return Block(self._next - size, size, self)

    def give_back(self, block) -> None:
        """Let the next array of this size have the block."""
        self._free.setdefault(block.size, []).append(block.address)


def round_up(size):
    """Return the bytes set aside for `size`: at most an eighth more, or ALIGNMENT.

    Few sizes, so that one step's arrays fit where those of another step were.

    >>> round_up(1), round_up(257), round_up(5000), round_up(1_000_000)
    (256, 512, 5120, 1048576)
    """
    step = max(ALIGNMENT, 1 << max(size - 1, 0).bit_length() >> 4)
    return max(-(-size // step) * step, step)


@dataclass
class Interpreter:
    """A device whose arrays are NumPy's and whose kernels are interpreted.

    seed: of the schedule of threads; watch: look for races, stray indices and reads of
    what was never written (slower). launches counts kernels since the beginning.
    """

    seed: int | None = None
    watch: bool = False
    launches: int = 0

    def __post_init__(self):
        self._arena = Arena(_host_memory, SMALL_CHUNK)
        self._recording = None

    def empty(self, shape, dtype=np.float32):
        """Return a new array, full of poison that a kernel must overwrite."""
        shape, dtype = _shape(shape), np.dtype(dtype)
        block = self._arena.take(_size(shape, dtype))
        array = np.asarray(_Described(block, shape, dtype, "__array_interface__"))
        simt.poison(array)
        return array

    def put(self, values):
        """Return a copy of a host array on the device."""
        _refuse_recorded(self._recording, "put")
        values = _storable(values)
        array = self.empty(values.shape, values.dtype)
        array[...] = values
        return array

    def write(self, array, values):
        """Overwrite an array of the device with values from the host."""
        _refuse_recorded(self._recording, "write")
        array[...] = _fitting(array, values)

    def get(self, array):
        """Return a copy of an array of the device on the host."""
        _refuse_recorded(self._recording, "get")
        return np.array(array)

    def launch(self, kernel, grid, block, *arguments):
        """Run a kernel on `grid` blocks of `block` threads."""
        if self._recording is not None:
            self._recording.append((kernel, grid, block, arguments))
            return
        self.launches += 1
        simt.launch(kernel, grid, block, *arguments, seed=self.seed, watch=self.watch)

    @contextmanager
    def record(self):
        """Note the launches inside instead of running them; yield their Recording."""
        _refuse_recorded(self._recording, "record")
        arena, self._arena = self._arena, Arena(_host_memory, SMALL_CHUNK)
        self._recording = launches = []
        recording = Recording(launches, self._arena)

        def replay():
            for launch in launches:
                self.launch(*launch)

        recording.start = replay
        try:
            yield recording
        finally:
            self._arena, self._recording = arena, None


class Gpu:
    """The current GPU: its arrays are Numba's device arrays, all work is on one stream.

    Raises BackendError where there is no GPU, or no numba-cuda.
    """

    def __init__(self):
        if not target.has_gpu():
            raise BackendError(
                "no usable NVIDIA GPU was found; what is needed is a driver (580 or "
                'later) and `pip install "minigen[cuda13]"` (for drivers from 525 on '
                "[cuda12]); `minigen doctor` says what is missing. Or choose backend "
                "numba"
            )
        self._device = target.core.Device()
        self._device.set_current()
        self._stream = self._device.create_stream()
        self._arena = Arena(_device_memory, CHUNK)
        self._recording = self._builder = None
        self.launches = 0

    def empty(self, shape, dtype=np.float32):
        """Return a new array with undefined contents."""
        shape, dtype = _shape(shape), np.dtype(dtype)
        block = self._arena.take(_size(shape, dtype))
        described = _Described(block, shape, dtype, "__cuda_array_interface__")
        return target.cuda.as_cuda_array(described, sync=False)

    def put(self, values):
        """Return a copy of a host array on the device."""
        values = _storable(values)
        array = self.empty(values.shape, values.dtype)
        self.write(array, values)
        return array

    def write(self, array, values):
        """Overwrite an array of the device with values from the host."""
        _refuse_recorded(self._recording, "write")
        array.copy_to_device(_fitting(array, values), stream=self._stream)
        # the host's array may be changed as soon as this returns
        self._stream.sync()

    def get(self, array):
        """Return a copy of an array of the device on the host."""
        _refuse_recorded(self._recording, "get")
        values = array.copy_to_host(stream=self._stream)
        self._stream.sync()
        return values

    def launch(self, kernel, grid, block, *arguments):
        """Run a kernel on `grid` blocks of `block` threads, or record that."""
        if self._recording is not None:
            self._recording.append(None)
            kernel[grid, block, self._builder](*arguments)
            return
        self.launches += 1
        kernel[grid, block, self._stream](*arguments)

    @contextmanager
    def record(self):
        """Capture the launches inside as a CUDA graph; yield their Recording.

        Each kernel must have run before with arguments of the same types: nothing can
        be compiled or loaded while a graph is captured.
        """
        _refuse_recorded(self._recording, "record")
        arena, self._arena = self._arena, Arena(_device_memory, CHUNK)
        self._recording = launches = []
        recording = Recording(launches, self._arena)
        self._builder = self._device.create_graph_builder()
        self._builder.begin_building()
        try:
            yield recording
        finally:
            builder = self._builder
            self._arena, self._recording, self._builder = arena, None, None
            builder.end_building()
        graph = builder.complete()
        recording.start = lambda: graph.launch(self._stream)


class Recording:
    """Launches that were recorded and can be run again, on the same addresses.

    What they allocated lives in an arena of their own, as long as the recording does.
    """

    def __init__(self, launches, arena):
        self.start = None
        self._launches = launches
        self._arena = arena

    def __len__(self):
        return len(self._launches)

    def replay(self):
        """Run all launches once more; results lie where they lay before."""
        if self.start is None:
            raise BackendError("a recording can be replayed once it is complete")
        self.start()


@dataclass(frozen=True)
class _Described:
    # says to NumPy, or to Numba, where an array lies; they keep this, this the block
    block: Block
    shape: tuple
    dtype: np.dtype
    protocol: str

    def __getattr__(self, name):
        if name != self.__dict__["protocol"]:
            raise AttributeError(name)
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.block.address, False),
            "strides": None,
            "version": 3,
        }


def _host_memory(size):
    memory = np.empty(size, np.uint8)
    return memory.ctypes.data, memory


def _device_memory(size):
    memory = target.cuda.device_array(size, np.uint8)
    return memory.device_ctypes_pointer.value, memory


def _shape(shape):
    return (shape,) if isinstance(shape, int) else tuple(shape)


def _size(shape, dtype):
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


def _storable(values):
    # kernels know a bfloat16 as its bits
    values = np.ascontiguousarray(values)
    return values.view(np.uint16) if values.dtype.name == "bfloat16" else values


def _fitting(array, values):
    values = _storable(values)
    if values.shape != array.shape or values.dtype != array.dtype:
        raise BackendError(
            f"values {values.shape} of {values.dtype} were given for an array "
            f"{array.shape} of {array.dtype}; shape and dtype must be the same"
        )
    return values


def _refuse_recorded(recording, name):
    if recording is not None:
        raise BackendError(
            f"{name} was called while launches are recorded; arrays are moved before "
            "or after, never within"
        )
