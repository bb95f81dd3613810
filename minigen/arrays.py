"""Devices: memory for the arrays that GPU kernels work on, and launches of kernels.

A device gives memory, moves arrays between it and the host, and launches kernels. There
are three, with the same methods: `Gpu` is a real one; `Interpreter` keeps NumPy arrays
and runs each kernel's Python source, thread by thread, on the CPU; `Ptx` keeps NumPy
arrays too, and runs what the compiler made of each kernel. So everything that is
written for a GPU can be run and tested without one.

An array of a device has shape, dtype, ndim, size, reshape, and slices [i:j] along its
first axis. Other attributes may not be used.

`flag` of a device is the array (1) int64 in which its kernels note what went wrong.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from minigen import ptx, simt, target
from minigen.arena import Arena
from minigen.errors import BackendError
from minigen.extras import install

CHUNK = 1 << 28
"""Bytes that a GPU's arena asks for at a time."""

SMALL_CHUNK = 1 << 20
"""Bytes that the arena of a device without a GPU asks for at a time."""

GRID = (2**31 - 1, 65535, 65535)
"""The most blocks that a grid may have along each of its axes."""

BLOCK = (1024, 1024, 64)
"""The most threads that a block may have along each of its axes, and 1024 in all."""


def put(device, values):
    """Return a copy of a host array on the device."""
    _refuse_recorded(device.recording, "put")
    values = _storable(values)
    array = device.empty(values.shape, values.dtype)
    device.write(array, values)
    return array


def launch(device, kernel, grid, block, *arguments):
    """Run a kernel on `grid` blocks of `block` threads, or record that.

    Nothing is launched where there are no blocks. Raises BackendError for a grid or a
    block that no GPU takes.
    """
    grid, block = dimensions(grid, block)
    if 0 not in grid:
        device.start(kernel, grid, block, arguments)


def _host_empty(device, shape, dtype=np.float32):
    """Return a new array, full of poison that a kernel must overwrite."""
    array = np.asarray(_take(device._arena, shape, dtype, "__array_interface__"))
    simt.poison(array)
    return array


def _host_write(device, array, values):
    """Overwrite an array of the device with values from the host."""
    _refuse_recorded(device.recording, "write")
    array[...] = _fitting(array, values)


def _host_get(device, array):
    """Return a copy of an array of the device on the host."""
    _refuse_recorded(device.recording, "get")
    return np.array(array)


def _host_start(device, kernel, grid, block, arguments):
    """Run a kernel, or record that."""
    if device.recording is not None:
        device.recording.append((kernel, grid, block, *arguments))
        return
    device.launches += 1
    device.run(kernel, grid, block, *arguments)


def _host_sync(device):
    """Return when all that was launched has run: here, at once."""


@contextmanager
def _host_record(device):
    """Record the block's launches instead of running them; yield a Recording."""
    _refuse_recorded(device.recording, "record")
    arena, device._arena = device._arena, Arena(_host_memory, SMALL_CHUNK)
    device.recording = launches = []
    recording = Recording(launches, device._arena)
    try:
        yield recording
    finally:
        device._arena, device.recording = arena, None

    def replay():
        for launch in launches:
            device.launch(*launch)

    recording.start = replay


@dataclass
class Interpreter:
    """A device whose arrays are NumPy's and whose kernels are interpreted.

    seed: of the schedule of threads; watch: look for races, indices out of range and
    reads of memory that was never written (slower); launches: how many kernels were
    launched so far; tensor_cores: whether kernels that need them may be chosen.
    """

    seed: int | None = None
    watch: bool = False
    launches: int = 0
    tensor_cores: bool = True

    def __post_init__(self):
        self._arena = Arena(_host_memory, SMALL_CHUNK)
        self.recording = None
        self.flag = self.put(np.zeros(1, np.int64))

    put, launch, start = put, launch, _host_start
    empty, write, get = _host_empty, _host_write, _host_get
    sync, record = _host_sync, _host_record

    def run(self, kernel, grid, block, *arguments, **how):
        """Run a kernel, and return what `simt.launch` says of it; how: for that."""
        how = {"seed": self.seed, "watch": self.watch} | how
        return simt.launch(kernel, grid, block, *arguments, **how)


@dataclass
class Ptx:
    """A device whose arrays are NumPy's, and that runs what kernels are compiled to.

    watch: look for races and for reads of memory that was never written (slower);
    launches, tensor_cores: as for `Interpreter`. Raises BackendError where there is no
    compiler for CUDA kernels.
    """

    watch: bool = False
    launches: int = 0
    tensor_cores: bool = True

    def __post_init__(self):
        if not target.has_compiler():
            raise BackendError(
                "backend ptx runs what NVIDIA's compiler makes of kernels, which is "
                f"not here; run `{install('cuda13')}` (no GPU is needed), or choose "
                "backend interpreter"
            )
        self._arena = Arena(_host_memory, SMALL_CHUNK)
        self.recording = None
        self.flag = self.put(np.zeros(1, np.int64))

    put, launch, start = put, launch, _host_start
    empty, write, get = _host_empty, _host_write, _host_get
    sync, record = _host_sync, _host_record

    def run(self, kernel, grid, block, *arguments, **how):
        """Compile a kernel, if need be, and run it; how: for `ptx.launch`."""
        ptx.launch(kernel, grid, block, *arguments, **{"watch": self.watch} | how)


class Gpu:
    """The current GPU: its arrays are Numba's device arrays, all work is on one stream.

    Raises BackendError where there is no GPU, or no numba-cuda.
    """

    def __init__(self):
        if not target.has_gpu():
            raise BackendError(_missing())
        # Numba warns of every grid smaller than the GPU, and a lesson's always is
        target.numba.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
        self._device = target.core.Device()
        self._device.set_current()
        self._stream = self._device.create_stream()
        self._arena = Arena(_device_memory, CHUNK)
        self.recording = None
        self.launches = 0
        self.flag = self.put(np.zeros(1, np.int64))

    @property
    def stream(self) -> int:
        """The handle of the stream on which all work is done, for other libraries."""
        return int(self._stream.handle)

    @property
    def name(self) -> str:
        """The name of the GPU."""
        return self._device.name

    @property
    def tensor_cores(self) -> bool:
        """Whether its tensor cores take bfloat16: from compute capability 8.0 on."""
        return tuple(self._device.compute_capability) >= (8, 0)

    def empty(self, shape, dtype=np.float32):
        """Return a new array with undefined contents."""
        memory = _take(self._arena, shape, dtype, "__cuda_array_interface__")
        return target.cuda.as_cuda_array(memory, sync=False)

    put, launch = put, launch

    def write(self, array, values):
        """Overwrite an array of the device with values from the host."""
        _refuse_recorded(self.recording, "write")
        array.copy_to_device(_fitting(array, values), stream=self._stream)
        # the host's array may be changed as soon as this returns
        self._stream.sync()

    def get(self, array):
        """Return a copy of an array of the device on the host."""
        _refuse_recorded(self.recording, "get")
        if isinstance(array, np.generic):
            # a number, such as a loss, is on the host already
            return np.array(array)
        values = array.copy_to_host(stream=self._stream)
        self._stream.sync()
        return values

    def start(self, kernel, grid, block, arguments):
        """Run a kernel on the stream, or record that."""
        if self.recording is None:
            self.launches += 1
        else:
            self.recording.append([_outsider(a, self._arena) for a in arguments])
        # while a graph is captured, what is launched on the stream goes into the graph
        kernel[grid, block, self._stream](*arguments)

    def sync(self):
        """Return when all that was launched has run."""
        self._stream.sync()

    @contextmanager
    def record(self):
        """Capture the block's launches as a CUDA graph; yield a Recording.

        Each kernel must have run before with arguments of the same types: nothing can
        be compiled or loaded while a graph is captured.
        """
        _refuse_recorded(self.recording, "record")
        arena, self._arena = self._arena, Arena(_device_memory, CHUNK)
        self.recording = launches = []
        recording = Recording(launches, self._arena)
        builder = self._stream.create_graph_builder()
        try:
            # relaxed: the arena may ask for memory meanwhile
            builder.begin_building(mode="relaxed")
            yield recording
            nodes = _captured(self._stream)
            builder.end_building()
        except BaseException:
            # the stream must take launches again, whatever became of the graph
            with suppress(Exception):
                builder.close()
            raise
        finally:
            self._arena, self.recording = arena, None
        # a capture that went to another stream or device gives an empty graph
        if nodes < len(launches):
            raise BackendError(
                f"{len(launches)} launches were recorded, but the CUDA graph has "
                f"{nodes} nodes; please report this with the output of `minigen doctor`"
            )
        graph = builder.complete()

        def replay():
            self.launches += len(launches)
            graph.launch(self._stream)

        recording.start = replay


@dataclass(eq=False)
class Recording:
    """Launches that were recorded and can be run again, on the same addresses.

    Arrays that were allocated meanwhile lie in an arena of their own, and live as long
    as the recording. So do the other arrays that the launches read or write.
    """

    launches: list
    arena: Arena
    start: Callable[[], None] | None = None

    def __len__(self):
        return len(self.launches)

    def replay(self):
        """Run all launches once more; results lie where they lay before."""
        if self.start is None:
            raise BackendError("a recording can be replayed once it is complete")
        self.start()


def _take(arena, shape, dtype, protocol):
    # what tells NumPy or Numba where a new array lies; the array keeps it, it the block
    shape = (int(shape),) if isinstance(shape, int | np.integer) else tuple(shape)
    dtype = np.dtype(dtype)
    block = arena.take(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    described = {
        "shape": shape,
        "typestr": dtype.str,
        "data": (block.address, False),
        "strides": None,
        "version": 3,
    }
    return SimpleNamespace(**{protocol: described}, block=block)


@functools.lru_cache(maxsize=4096)
def dimensions(grid, block) -> tuple:
    """Return grid and block as three ints each, or raise BackendError.

    A GPU's limits hold where there is none too. Plain ints: cuda.core takes no others.

    >>> dimensions(np.int64(5), (32, 2))
    ((5, 1, 1), (32, 2, 1))
    """
    grid, block = _three(grid), _three(block)
    if len(grid) > 3 or _outside(grid, 0, GRID):
        raise BackendError(f"a grid of {grid} blocks; a GPU takes at most {GRID}")
    if len(block) > 3 or _outside(block, 1, BLOCK) or math.prod(block) > BLOCK[0]:
        raise BackendError(
            f"a block of {block} threads; a GPU takes at least 1 and at most {BLOCK}, "
            f"{BLOCK[0]} together"
        )
    return grid, block


def _three(sizes):
    sizes = sizes if isinstance(sizes, tuple) else (sizes,)
    return tuple(int(n) for n in (*sizes, 1, 1)[: max(3, len(sizes))])


def _outside(sizes, least, most):
    return any(not least <= n <= top for n, top in zip(sizes, most, strict=True))


def _missing():
    # what would have to be installed for a GPU to be used here
    if not target.has_compiler():
        return (
            "the backend cuda needs numba-cuda and NVIDIA's compiler libraries; run "
            f"`{install('cuda13')}` (for a driver older than 580 "
            f"`{install('cuda12')}`), or choose backend numba"
        )
    return (
        "no usable NVIDIA GPU was found: `nvidia-smi` must show one, and a driver of "
        f"version 580 or later; for a driver from 525 on run `{install('cuda12')}`. "
        "Or choose backend numba; `minigen doctor` says what is here"
    )


def _outsider(argument, arena):
    # an array that a recording uses but does not own must live as long as it does
    memory = getattr(argument, "gpu_data", None)
    block = getattr(getattr(memory, "owner", None), "block", None)
    return None if block is None or block.arena is arena else argument


def _captured(stream):
    # the nodes of the graph that is being captured on a stream
    driver = target.cuda.cudadrv.driver.driver
    graph = driver.cuStreamGetCaptureInfo(stream.handle)[2]
    return driver.cuGraphGetNodes(graph, 0)[1]


def _host_memory(size):
    memory = np.empty(size, np.uint8)
    return memory.ctypes.data, memory


def _device_memory(size):
    try:
        memory = target.cuda.device_array(size, np.uint8)
    except Exception as error:
        if "OUT_OF_MEMORY" not in str(error):
            raise
        raise BackendError(
            f"the GPU has no {size / 1e9:.2f} GB of memory left; draw fewer images "
            "together (--batch), or end what else runs on it"
        ) from None
    return memory.device_ctypes_pointer.value, memory


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
