"""What a program has of a GPU outside of its kernels: arrays, streams, events, devices.

The functions of `numba.cuda` of these names, for a GPU that is pretended: its memory is
the host's, and whatever is asked of it is done before the call returns.
"""

from __future__ import annotations

import time
from collections import namedtuple
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np

from minigen.simt.pattern import poison
from minigen.words import say

LIMITS = {
    "COMPUTE_CAPABILITY_MAJOR": 8,
    "COMPUTE_CAPABILITY_MINOR": 0,
    "CONCURRENT_KERNELS": 1,
    "COOPERATIVE_LAUNCH": 1,
    "MAX_BLOCK_DIM_X": 1024,
    "MAX_BLOCK_DIM_Y": 1024,
    "MAX_BLOCK_DIM_Z": 64,
    "MAX_GRID_DIM_X": 2**31 - 1,
    "MAX_GRID_DIM_Y": 65535,
    "MAX_GRID_DIM_Z": 65535,
    "MAX_SHARED_MEMORY_PER_BLOCK": 48 * 1024,
    "MAX_REGISTERS_PER_BLOCK": 65536,
    "MAX_THREADS_PER_BLOCK": 1024,
    "MAX_THREADS_PER_MULTI_PROCESSOR": 2048,
    "MULTI_PROCESSOR_COUNT": 1,
    "MULTIPROCESSOR_COUNT": 1,
    "UNIFIED_ADDRESSING": 1,
    "WARP_SIZE": 32,
}
"""What a program may ask of a device: the limits that the interpreter keeps."""

MEMORY = 1 << 30
"""Bytes of memory that the device says it has."""


MemoryInfo = namedtuple("MemoryInfo", ("free", "total"))


class DeviceArray:
    """An array of the device: it can be copied, sliced, viewed and given to a kernel.

    array: the NumPy array that holds it. As of a real one, nothing can be computed with
    it on the host, and one of its elements is a number.
    """

    __cuda_ndarray__ = True
    __array_priority__ = 100

    def __init__(self, array, stream=0):
        self.array, self.stream = array, stream

    def __getattr__(self, name):
        if name in ("shape", "dtype", "ndim", "size", "strides", "nbytes", "itemsize"):
            return getattr(self.array, name)
        if name == "flags":
            flags = self.array.flags
            return {
                "C_CONTIGUOUS": flags.c_contiguous,
                "F_CONTIGUOUS": flags.f_contiguous,
            }
        raise AttributeError(
            f"an array of the device has no attribute {name!r}; copy_to_host() returns "
            "a NumPy array"
        )

    @property
    def _numba_type_(self):
        from minigen.target import numba

        return numba.typeof(self.array)

    @property
    def __cuda_array_interface__(self):
        described = dict(self.array.__array_interface__)
        described["strides"] = (
            None if self.is_c_contiguous() else tuple(self.array.strides)
        )
        return described | {"version": 3, "stream": None}

    @property
    def T(self):
        """The array with its axes in reverse order."""
        return self.transpose()

    @property
    def alloc_size(self):
        """Bytes of its elements."""
        return self.array.nbytes

    @property
    def gpu_data(self):
        """Where it lies, and that its memory is alive."""
        address = self.array.__array_interface__["data"][0]
        pointer = SimpleNamespace(value=address)
        return SimpleNamespace(
            size=self.nbytes, device_pointer=address, device_ctypes_pointer=pointer
        )

    device_ctypes_pointer = property(lambda self: self.gpu_data.device_ctypes_pointer)
    __cuda_memory__ = True

    def __len__(self):
        return len(self.array)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("an array of the device has to be copied to the host")
        return np.array(self.array, dtype)

    def __repr__(self):
        return f"<{type(self).__name__} {self.shape} of {self.dtype}>"

    def __getitem__(self, index):
        return self._kept(self.array[index])

    getitem = __getitem__

    def __setitem__(self, index, value):
        self.array[index] = on_host(value)

    def setitem(self, index, value, stream=0):
        """Overwrite a part of it."""
        self[index] = value

    def copy_to_host(self, ary=None, stream=0):
        """Return a copy as a NumPy array: `ary`, if one is given."""
        if ary is None:
            return self.array.copy(order="K")
        if ary.dtype != self.dtype:
            raise TypeError(f"incompatible dtype: {self.dtype} vs. {ary.dtype}")
        if ary.shape != self.shape:
            raise ValueError(f"incompatible shape: {self.shape} vs. {ary.shape}")
        ary[...] = self.array
        return ary

    def copy_to_device(self, ary, stream=0):
        """Overwrite it with an array of its shape and dtype, of the host or not."""
        expect_contiguous(self.array)
        values = np.asarray(on_host(ary))
        if isinstance(ary, DeviceArray):
            expect_contiguous(values)
        if values.dtype != self.dtype:
            raise TypeError(f"incompatible dtype: {self.dtype} vs. {values.dtype}")
        if values.squeeze().shape != self.array.squeeze().shape:
            raise ValueError(f"incompatible shape: {self.shape} vs. {values.shape}")
        if isinstance(ary, DeviceArray) and values.strides != self.strides:
            raise ValueError(
                f"incompatible strides: {self.strides} vs. {values.strides}"
            )
        self.array[...] = values.reshape(self.shape)

    def reshape(self, *shape, order="C"):
        """Return the same elements in another shape."""
        shape = shape[0] if len(shape) == 1 else shape
        return self._kept(self.array.reshape(shape, order=order))

    def ravel(self, order="C", stream=0):
        """Return the same elements along one axis."""
        return self._kept(self.array.ravel(order))

    def view(self, dtype):
        """Return the same bytes as elements of another dtype."""
        return self._kept(self.array.view(dtype))

    def transpose(self, axes=None):
        """Return the same elements with their axes in another order."""
        return self._kept(self.array.transpose(axes))

    def squeeze(self, axis=None, stream=0):
        """Return the same elements without axes of size 1."""
        return self._kept(self.array.squeeze(axis))

    def split(self, section, stream=0):
        """Return parts of `section` elements each."""
        return [self[i : i + section] for i in range(0, self.size, section)]

    def bind(self, stream=0):
        """Return the same array for another stream."""
        return DeviceArray(self.array, stream)

    def is_c_contiguous(self):
        """Say whether it lies rows first, without gaps."""
        return self.array.flags.c_contiguous

    def is_f_contiguous(self):
        """Say whether it lies columns first, without gaps."""
        return self.array.flags.f_contiguous

    def _kept(self, part):
        return DeviceArray(part, self.stream) if isinstance(part, np.ndarray) else part


def on_host(value):
    """Return what a value of the device holds, without a copy; any other as it is."""
    if isinstance(value, DeviceArray):
        return value.array
    described = getattr(value, "__cuda_array_interface__", None)
    if described is not None and not isinstance(value, np.ndarray):
        owner = SimpleNamespace(__array_interface__=described, owner=value)
        return np.asarray(owner)
    return value


def expect_contiguous(array):
    """Raise ValueError, in Numba's words, for an array that has gaps."""
    if not array.flags.forc and 0 not in array.strides:
        raise ValueError(
            "Array contains non-contiguous buffer and cannot be transferred as a "
            "single memory region. Please ensure contiguous buffer with numpy "
            ".ascontiguousarray()"
        )


# functions of numba.cuda


def to_device(obj, stream=0, copy=True, to=None):
    """Return a copy of an array on the device; `to` is overwritten, if given."""
    if to is not None:
        to.copy_to_device(obj, stream)
        return to
    values = np.asarray(on_host(obj))
    expect_contiguous(values)
    if copy:
        values = values.copy("F" if values.flags.fnc else "C")
    return DeviceArray(values, stream)


def device_array(shape, dtype=np.float64, strides=None, order="C", stream=0):
    """Return a new array of the device, full of poison that a kernel must overwrite."""
    return DeviceArray(poison(host_array(shape, dtype, strides, order)), stream)


def device_array_like(ary, stream=0):
    """Return a new array of the device, of the shape, dtype and order of another."""
    ary = np.asarray(on_host(ary))
    like = np.empty_like(ary, order="K", subok=False)
    return DeviceArray(poison(like) if like.flags.forc else like, stream)


def host_array(
    shape, dtype=np.float64, strides=None, order="C", stream=0, portable=False,
    wc=False, attach_global=True,
):  # fmt: skip
    """Return a new array that host and device share: pinned, mapped or managed."""
    if isinstance(shape, (float, np.floating)):
        raise TypeError("shape must be an integer or tuple of integers")
    shape = tuple(np.atleast_1d(shape).tolist()) if np.ndim(shape) < 2 else shape
    if any(isinstance(size, float) for size in shape):
        raise TypeError("shape must be an integer or tuple of integers")
    return np.ndarray(shape, dtype, strides=strides, order=order)


def host_array_like(ary, stream=0, portable=False, wc=False):
    """Return a new array that host and device share, of the shape of another."""
    return np.empty_like(np.asarray(on_host(ary)), order="K", subok=False)


@contextmanager
def pinned(*arrays):
    """Keep arrays of the host where they are meanwhile, as they are anyway."""
    yield


@contextmanager
def mapped(*arrays, stream=0, portable=False, wc=False):
    """Yield what the device sees of arrays of the host: the same memory."""
    seen = [DeviceArray(array, stream) for array in arrays]
    yield seen[0] if len(seen) == 1 else seen


def as_cuda_array(obj, sync=True):
    """Return another library's array of the device, without a copy."""
    if not is_cuda_array(obj):
        raise TypeError("*obj* doesn't implement the cuda array interface.")
    return DeviceArray(on_host(obj))


def from_cuda_array_interface(desc, owner=None, sync=True):
    """Return the array that a `__cuda_array_interface__` describes."""
    return as_cuda_array(SimpleNamespace(__cuda_array_interface__=desc, owner=owner))


def is_cuda_array(obj):
    """Say whether something is an array of a device."""
    return hasattr(obj, "__cuda_array_interface__")


class Stream:
    """A queue of work, each done before the next is asked for."""

    handle = 0

    def __int__(self):
        return 0

    def __bool__(self):
        return True

    def synchronize(self):
        """Return when all is done: at once."""

    @contextmanager
    def auto_synchronize(self):
        """Synchronize at the end of a block."""
        yield self

    def add_callback(self, callback, arg=None):
        """Call callback(stream, status, arg)."""
        callback(self, 0, arg)

    async def async_done(self):
        """Return when all is done."""


def stream(*handle):
    """Return a stream."""
    return Stream()


class Event:
    """A moment in a stream."""

    def __init__(self, timing=True):
        self.moment = None

    def record(self, stream=0):
        """Set it to now."""
        self.moment = time.perf_counter()

    def query(self):
        """Say whether all before it is done: it is."""
        return True

    def wait(self, stream=0):
        """Let a stream wait for it."""

    def synchronize(self):
        """Return when all before it is done."""

    def elapsed_time(self, later):
        """Return the milliseconds until another event, of this machine's own time."""
        return 1e3 * (later.moment - self.moment)


class Device:
    """The one device: a context, its list and its memory at once."""

    id, name = 0, b"minigen's interpreter of CUDA kernels"
    uuid = "GPU-00000000-0000-0000-0000-000000000000"
    compute_capability = (8, 0)

    def __getattr__(self, name):
        if name.startswith("_") or name not in LIMITS:
            raise AttributeError(name)
        return LIMITS[name]

    device = property(lambda self: self)
    # what waits to be freed: nothing
    deallocations = property(lambda self: [])
    current = property(lambda self: self)
    lst = property(lambda self: [self])

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def __len__(self):
        return 1

    def __iter__(self):
        return iter([self])

    def __getitem__(self, number):
        if number not in (0, -1):
            raise IndexError(f"there is one device, 0; {number} was asked for")
        return self

    def __eq__(self, other):
        return other is self

    __hash__ = object.__hash__

    def get_memory_info(self):
        """Return the bytes that are free, and those that there are."""
        return MemoryInfo(MEMORY, MEMORY)

    def get_max_potential_block_size(self, *what, **options):
        """Return a grid and a block for a kernel of whatever registers."""
        return 1, 128

    def get_primary_context(self):
        """Return it itself."""
        return self

    def get_default_stream(self):
        """Return a stream."""
        return Stream()

    def create_stream(self):
        """Return a stream."""
        return Stream()

    def defer_cleanup(self):
        """As `numba.cuda.defer_cleanup`."""
        return defer_cleanup()

    def _nothing(self, *what):
        pass

    synchronize = reset = push = pop = close = prepare_for_use = _nothing


DEVICE = Device()


def the_device(*number):
    """Return the device; its number is 0."""
    return DEVICE[number[0] if number else 0]


def nothing(*what, **options):
    """Do nothing: all is done, and nothing is kept."""


def detect():
    """Print which devices there are; return that there is one."""
    say("Found 1 CUDA devices", f"id 0    {DEVICE.name.decode()}")
    return True


@contextmanager
def defer_cleanup():
    """Keep what is freed meanwhile, which happens anyway."""
    yield


def event_elapsed_time(start, end):
    """Return the milliseconds between two events."""
    return start.elapsed_time(end)


def is_auto_device(obj, stream=0, copy=True):
    """Return an array of the device, and whether it is a new one."""
    if isinstance(obj, DeviceArray):
        return obj, False
    return to_device(obj, stream, copy), True


FACE = {
    **dict.fromkeys(("pinned_array", "mapped_array", "managed_array"), host_array),
    **dict.fromkeys(("pinned_array_like", "mapped_array_like"), host_array_like),
    **dict.fromkeys(("stream", "default_stream", "legacy_default_stream"), stream),
    **dict.fromkeys(("per_thread_default_stream", "external_stream"), stream),
    **dict.fromkeys(("select_device", "current_context"), the_device),
    "get_current_device": the_device,
    **dict.fromkeys(("synchronize", "close", "profile_start", "profile_stop"), nothing),
    "gpus": DEVICE,
    "list_devices": lambda: DEVICE,
    "event": Event,
    "cuda_error": lambda: None,
    "profiling": defer_cleanup,
    "auto_device": is_auto_device,
    "_auto_device": is_auto_device,
    **dict.fromkeys(("is_available", "is_supported_version"), lambda: True),
    "is_float16_supported": lambda: True,
}
"""What stands for a function of `numba.cuda`, by the name that it has there."""
for _one in (to_device, device_array, device_array_like, pinned, mapped, as_cuda_array,
             from_cuda_array_interface, is_cuda_array, detect, defer_cleanup,
             event_elapsed_time):  # fmt: skip
    FACE[_one.__name__] = _one
