"""What a Gpu asks of numba-cuda, with host memory in place of a GPU's.

Nothing here has seen a GPU. Arrays are Numba's own device arrays and their copies go
through Numba's own code down to the driver; the driver, the graph builder and kernels
are stand-ins that work on host memory. So this tests our calls and our bookkeeping:
types, owners, streams, what a recording keeps. tests/gpu asks a GPU.
"""

import contextlib
import ctypes
import gc
import re
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from cuda.core import Stream
from numba import types
from numba.cuda.args import wrap_arg
from numba.cuda.cudadrv import devices, driver
from numba.cuda.dispatcher import CUDADispatcher, _Kernel
from numba.cuda.typing.typeof import Purpose, typeof

from minigen import arrays, backends, extras, flags, plans, recorded, target
from minigen.arena import ALIGNMENT
from minigen.bench.gpu import cases, parts, timing
from minigen.checking.spec import several
from minigen.checking.strategies import WEIGHT_DTYPES
from minigen.checkpoints import Model
from minigen.errors import BackendError
from minigen.families import ArpgConfig, VqConfig
from minigen.ops.embed.cuda import _embed
from minigen.ops.intrinsics import load16, mma_bf16
from minigen.ops.rms_norm.cuda import _rms_norm
from minigen.pipeline import Pipeline
from minigen.sample import Options
from minigen.target import cuda, gpu_kernel
from tests.kernels import collect
from tests.models.stand_in import stand_in


class Machine:
    """A GPU's memory, stream and graphs, as far as a Gpu uses them."""

    def __init__(self):
        self.log, self.capture, self.nodes = [], None, None

    def memalloc(self, size):
        memory = np.full(size, 0xAD, np.uint8)
        self.log.append(("memalloc", size))
        where = driver.binding.CUdeviceptr(memory.ctypes.data)
        return driver.MemoryPointer(self, where, size, owner=memory)

    def copy(self, to, source, size, stream):
        assert self.capture is None, "a copy within a capture"
        self.log.append(("copy", size, stream))
        ctypes.memmove(int(to), int(source), size)

    def run(self, work):
        if self.capture is None:
            work()
        else:
            self.capture.append(work)


class Builder:
    """Stand in for cuda.core's GraphBuilder."""

    def __init__(self, machine):
        self.machine = machine

    def begin_building(self, mode):
        assert mode == "relaxed" and self.machine.capture is None
        self.machine.capture = self.works = []
        return self

    def end_building(self):
        self.machine.capture = None

    def close(self):
        self.machine.log.append("closed")
        self.machine.capture = None

    def complete(self):
        return SimpleNamespace(launch=lambda stream: [work() for work in self.works])


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()

    class OurStream(Stream):
        def sync(self):
            assert machine.capture is None, "a sync within a capture"

        def create_graph_builder(self):
            return Builder(machine)

    stream = OurStream._init(obj=SimpleNamespace(__cuda_stream__=lambda: (0, 1234)))
    device = SimpleNamespace(
        name="a stand-in",
        compute_capability=(9, 0),
        set_current=lambda: None,
        create_stream=lambda: stream,
    )
    calls = {
        # looked up, but a copy that is not on our stream is an error
        "cuMemcpyHtoD": None,
        "cuMemcpyDtoH": None,
        "cuMemcpyHtoDAsync": machine.copy,
        "cuMemcpyDtoHAsync": machine.copy,
        "cuStreamGetCaptureInfo": lambda handle: ("active", 1, "graph", [], [], 0),
        "cuGraphGetNodes": lambda graph, count: (
            [],
            len(machine.capture) if machine.nodes is None else machine.nodes,
        ),
    }
    for name, call in calls.items():
        monkeypatch.setitem(vars(driver.driver), name, call)
    runtime = devices._runtime
    monkeypatch.setattr(runtime, "ensure_context", contextlib.nullcontext)
    monkeypatch.setattr(runtime, "get_or_create_context", lambda number: machine)
    monkeypatch.setattr(target, "has_gpu", lambda: True)
    monkeypatch.setattr(target, "core", SimpleNamespace(Device=lambda: device))
    monkeypatch.setattr(arrays, "CHUNK", 1 << 16)
    return machine


@pytest.fixture
def gpu(machine):
    return arrays.Gpu()


def address(array):
    return array.__cuda_array_interface__["data"][0]


def view(array):
    """Return a device array of the stand-in as NumPy's."""
    size = array.size * array.dtype.itemsize
    raw = (ctypes.c_uint8 * size).from_address(address(array))
    return np.frombuffer(raw, array.dtype).reshape(array.shape)


class Kernel:
    """Stand in for a compiled kernel: a function over host views of its arguments."""

    def __init__(self, machine, function):
        self.machine, self.function, self.configurations = machine, function, []

    def __getitem__(self, configuration):
        grid, block, stream = configuration
        assert all(type(n) is int for n in (*grid, *block))
        assert isinstance(stream, Stream)
        self.configurations.append((grid, block))

        def launch(*arguments):
            # the addresses count, not the arrays: they may be dropped before a replay
            given = [view(a) if hasattr(a, "gpu_data") else a for a in arguments]
            self.machine.run(lambda: self.function(*given))

        return launch


DTYPES = (np.float32, np.float16, np.uint16, np.uint8, np.int64, np.uint32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [5, (2, 3), (2, 3, 4), (1, 1), (3, 1, 2, 1)])
def test_values_come_back_as_they_went(gpu, shape, dtype):
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    values.flags.writeable = False
    array = gpu.put(values)
    assert array.shape == values.shape and array.dtype == values.dtype
    back = gpu.get(array)
    assert back.dtype == dtype and np.array_equal(back, values)


def test_all_copies_are_on_our_stream(machine, gpu):
    # the flag's word has been there since the device is
    flag = machine.log.index(("copy", 8, 1234))
    gpu.get(gpu.put(np.zeros(3, np.float32)))
    copies = [entry for entry in machine.log[flag + 1 :] if entry[0] == "copy"]
    assert copies == [("copy", 12, 1234)] * 2 and gpu.stream == 1234


def test_bfloat16_goes_as_its_bits(gpu):
    import ml_dtypes

    values = np.array([[1, -2.5]], ml_dtypes.bfloat16)
    array = gpu.put(values)
    assert array.dtype == np.uint16
    assert np.array_equal(gpu.get(array), values.view(np.uint16))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_view_is_typed_as_a_c_array_that_kernels_may_write(gpu, dtype):
    array = gpu.empty((2, 3, 4), dtype)
    views = array, array.reshape(6, 4), array.reshape((-1, 4)), array[1:], array[0:1]
    for one in (*views, array[1:].reshape(-1), gpu.empty((1, 1), dtype)):
        kind = one._numba_type_
        expected = target.argument_types((np.empty(one.shape, dtype),))[0]
        assert kind == types.Array(expected.dtype, one.ndim, "C") and kind.mutable


def test_views_lie_where_they_should(gpu):
    array = gpu.put(np.arange(24, dtype=np.int64).reshape(4, 3, 2))
    assert gpu.get(array[1:3]).tolist() == view(array)[1:3].tolist()
    part = array[2:].reshape(-1, 2)[1:4]
    assert gpu.get(part).tolist() == view(array)[2:].reshape(-1, 2)[1:4].tolist()
    gpu.write(part, np.zeros((3, 2), np.int64))
    assert (view(array).ravel() == 0).sum() == 6 + 1


def test_a_kernel_is_given_the_address_of_the_view(gpu):
    array = gpu.empty((4, 6))
    for rows, given in ((0, array), (2, array[2:]), (3, array[3:].reshape(2, 3))):
        passed = wrap_arg(given).to_device([], 0)
        assert passed.ptr == address(array) + rows * 24 and passed.ptr % 4 == 0
        assert tuple(passed.shape) == given.shape and passed.dtype == np.float32


@pytest.mark.parametrize("shape", [0, (0, 4), (3, 0, 2)])
def test_an_array_may_be_empty(gpu, shape):
    array = gpu.empty(shape)
    assert gpu.get(array).shape == array.shape and gpu.get(array).size == 0
    gpu.write(array, np.empty(array.shape, np.float32))
    assert array.reshape(-1).shape == (0,)
    assert wrap_arg(array).to_device([], 0).ptr == 0


def test_a_slice_may_be_empty(gpu):
    array = gpu.put(np.arange(4, dtype=np.int64))
    assert gpu.get(array[2:2]).shape == (0,) and gpu.get(array[4:]).shape == (0,)


VIEWS = [
    lambda a: a.reshape(6, 4),
    lambda a: a[1:],
    lambda a: a[1:].reshape(-1),
    lambda a: a.reshape(4, 6)[1:3].reshape(2, 2, 3),
]


@pytest.mark.parametrize("view", VIEWS)
def test_memory_comes_back_when_the_last_view_is_dropped(gpu, view):
    array = gpu.empty((2, 3, 4))
    where = address(array)
    seen = view(array)
    del array
    gc.collect()
    assert address(gpu.empty((2, 3, 4))) != where
    del seen
    gc.collect()
    assert address(gpu.empty((2, 3, 4))) == where


def test_arrays_come_from_one_allocation(machine, gpu):
    kept = [gpu.empty(100) for _ in range(50)]
    assert [entry[0] for entry in machine.log].count("memalloc") == 1
    assert len({address(a) for a in kept}) == 50
    assert all(address(a) % ALIGNMENT == 0 for a in kept)


def test_a_launch_has_plain_ints_and_our_stream(machine, gpu):
    kernel = Kernel(machine, lambda x: None)
    gpu.launch(kernel, np.int64(3), (32, np.int64(2)), gpu.empty(4))
    gpu.launch(kernel, 0, 32, gpu.empty(0))
    assert kernel.configurations == [((3, 1, 1), (32, 2, 1))] and gpu.launches == 1


def work(machine):
    """Return kernels z = x + y and z *= 2, as the stand-in machine runs them."""
    return (
        Kernel(machine, lambda x, y, z: np.add(x, y, out=z)),
        Kernel(machine, lambda z: np.multiply(z, 2, out=z)),
    )


def record(machine, gpu):
    add, double = work(machine)
    x, y = gpu.put(np.ones(5, np.float32)), gpu.put(np.arange(5.0, dtype="f4"))
    with gpu.record() as recording:
        once = gpu.empty(5)
        gpu.launch(add, 1, 32, x, y, once)
        z = gpu.empty(5)
        gpu.launch(add, 1, 32, once, y, z)
        gpu.launch(double, 1, 32, z)
    return recording, x, z


def test_a_replay_runs_what_was_recorded_and_nothing_ran_before(machine, gpu):
    recording, x, z = record(machine, gpu)
    assert len(recording) == 3 and gpu.launches == 0
    assert not np.isfinite(view(z)).all() or (view(z) < 0).all()
    for scale in (1, 3):
        gpu.write(x, np.full(5, scale, np.float32))
        recording.replay()
        assert gpu.get(z).tolist() == [2 * (scale + 2 * i) for i in range(5)]
    assert gpu.launches == 6


def test_a_recording_keeps_what_it_reads_from_outside_and_reuses_its_own(machine, gpu):
    add, double = work(machine)
    x = gpu.put(np.ones(5, np.float32))
    where, inside = address(x), []
    with gpu.record() as recording:
        for _ in range(3):
            y = gpu.empty(5)
            inside.append(address(y))
            gpu.launch(add, 1, 32, x[0:5], x, y)
            del y
    del x
    gc.collect()
    # what a recording makes and drops is used again within it, in the stream's order
    assert len(set(inside)) == 1
    assert where not in {address(gpu.empty(5)) for _ in range(3)}
    del recording
    gc.collect()
    assert address(gpu.empty(5)) == where


def test_a_graph_that_lacks_launches_is_not_trusted(machine, gpu):
    machine.nodes = 0
    with pytest.raises(BackendError, match="3 launches .* 0 nodes"):
        record(machine, gpu)


@pytest.mark.parametrize("name", ["put", "get", "write", "record"])
def test_nothing_moves_within_a_record_and_the_stream_is_mended(machine, gpu, name):
    array = gpu.put(np.zeros(3, np.float32))
    calls = {
        "put": lambda: gpu.put(np.zeros(3)),
        "get": lambda: gpu.get(array),
        "write": lambda: gpu.write(array, np.zeros(3, np.float32)),
        "record": lambda: gpu.record().__enter__(),
    }
    with (
        pytest.raises(BackendError, match=f"^{name} was called while"),
        gpu.record() as recording,
    ):
        calls[name]()
    assert machine.capture is None and "closed" in machine.log
    with pytest.raises(BackendError, match="once it is complete"):
        recording.replay()
    assert gpu.get(array).tolist() == [0, 0, 0]


def test_a_full_gpu_is_a_message(machine, gpu, monkeypatch):
    def full(size):
        code = driver.binding.CUresult.CUDA_ERROR_OUT_OF_MEMORY
        raise driver.CudaAPIError(code, f"Call to cuMemAlloc results in {code.name}")

    monkeypatch.setattr(machine, "memalloc", full)
    with pytest.raises(BackendError, match="no 4.03 GB of memory.*--batch"):
        gpu.empty(1_000_000_000)


def test_without_a_gpu_the_message_says_what_mends_it(monkeypatch):
    monkeypatch.setattr(target, "has_gpu", lambda: False)
    monkeypatch.setattr(target, "has_compiler", lambda: True)
    with pytest.raises(BackendError, match="no usable NVIDIA GPU .*`nvidia-smi`"):
        arrays.Gpu()
    monkeypatch.setattr(target, "has_compiler", lambda: False)
    with pytest.raises(BackendError, match=re.escape(extras.install("cuda13"))):
        arrays.Gpu()


@pytest.fixture
def launched(machine, monkeypatch):
    """Note what Numba would be asked to launch: kernel, grid, block, argument types."""
    found = []

    def configure(kernel, configuration):
        grid, block, stream = configuration
        assert isinstance(stream, Stream)

        def launch(*arguments):
            kinds = tuple(typeof(a, Purpose.argument) for a in arguments)
            found.append((kernel.py_func, grid, block, kinds))
            machine.run(lambda: None)

        return launch

    monkeypatch.setattr(CUDADispatcher, "__getitem__", configure)
    return found


@pytest.mark.parametrize("name", collect.LAUNCHERS)
def test_a_launcher_works_on_numba_s_device_arrays(gpu, launched, name):
    """It launches what it launches on the interpreter, with arguments of those types.

    So it asks nothing of an array that only NumPy's arrays have.
    """
    for dtype in WEIGHT_DTYPES:
        for case in collect.routes(name, dtype):
            launched.clear()
            device = collect.Recorder(interpret=False)
            expected = collect.run(name, case, device)
            found = collect.run(name, case, gpu)
            for one, other in zip(several(found), several(expected), strict=True):
                assert (one.shape, one.dtype) == (other.shape, other.dtype)
            assert launched == [
                (
                    launch.kernel.py_func,
                    *arrays.dimensions(launch.grid, launch.block),
                    target.argument_types(launch.arguments),
                )
                for launch in device.launches
            ]


def test_a_whole_run_asks_for_nothing_but_launches(machine, gpu, launched, monkeypatch):
    """The loop and the tokenizer move arrays before and after, never within."""
    # no kernel runs that would clear the words
    monkeypatch.setattr(flags.Flags, "expect_clear", lambda run: run.ops.get(run.words))
    config = ArpgConfig(
        width=32, layers=2, heads=2, vocabulary=24, classes=3, tokens=4, multiple_of=16
    )
    pixels = VqConfig(base=32, multipliers=(1, 1), latent=8, codes=24, code_size=4)
    ops = backends.table("cuda", gpu)
    models = (
        Model(one, backends.move(ops, stand_in(one)), "stand-in")
        for one in (config, pixels)
    )
    pipe = Pipeline(*models, "cuda", ops)
    plan = plans.plan((2, 2), "random", "arccos", 3, seed=1)
    shapes, counts = [], []
    for seed in range(3):
        before, moved = len(launched), len(machine.log)
        images = recorded.draw(pipe, plan, [0, 2], seed, Options(), 0)[0]
        shapes.append((images.shape, images.dtype))
        counts.append(len(launched) - before)
        # the inputs up, twice where the run is recorded too, and the images down; that
        # nothing moves within a capture, the machine itself makes sure of
        copies = [entry for entry in machine.log[moved:] if entry[0] == "copy"]
        assert len(copies) <= 24
    assert set(shapes) == {((2, 4, 4, 3), np.dtype(np.uint8))}
    # eager, then eager and recorded, then one graph that Python launches nothing of
    (run,) = pipe.recorded.values()
    assert counts == [len(run.recording), 2 * len(run.recording), 0]


def test_the_bench_asks_for_nothing_else(gpu, launched, monkeypatch):
    monkeypatch.setattr(timing, "MOST", 2)
    config = ArpgConfig(
        width=32, layers=2, heads=2, vocabulary=24, classes=3, tokens=16, multiple_of=16
    )
    pixels = VqConfig(base=32, multipliers=(1, 1), latent=8, codes=24, code_size=4)
    chosen = cases.generator(config, 2, 3, 7, "bfloat16") + cases.tokenizer(pixels, 2)

    def seconds(run):
        run()
        return 1.0

    clock, quiet = timing.Clock(seconds), lambda text: None
    top = {"copy": 1e12, "float32": 1e13, "bfloat16": 1e14}
    found = parts.measure_kernels(lambda: (gpu, clock), chosen, top, quiet)
    assert [row["name"] for row in found["rows"]] == [case.name for case in chosen]
    assert all(row["kernels"] and row["share"] > 0 for row in found["rows"])
    parts.measure_launch(gpu, clock, quiet, launches=10)
    monkeypatch.setattr(parts, "torch_products", lambda side: {})
    monkeypatch.setattr(parts, "cublas_products", lambda device: {})
    assert parts.ceilings(gpu, clock, quiet, 5000, 32)["copy"] > 0


@gpu_kernel
def _tensor(x, y):
    v = load16(x, 4 * cuda.threadIdx.x)
    c = v[0], v[1], v[2], v[3]
    a = np.uint32(1), np.uint32(2), np.uint32(3), np.uint32(4)
    y[cuda.threadIdx.x] = mma_bf16(a, (np.uint32(5), np.uint32(6)), c)[0]


def test_kernels_are_linked_as_a_launch_links_them():
    """NVVM's intermediate form to machine code, which is not how PTX is assembled."""
    f = np.float32
    x, w = np.zeros((2, 3), f), np.zeros(3, f)
    kernels = {
        _rms_norm: (x, w, f(1), x),
        _tensor: (w, w),
        _embed: collect.signatures()["embed.cuda._embed"],
    }
    device = mock.Mock(compute_capability=(9, 0))
    context = mock.Mock(device=device)
    with (
        mock.patch("numba.cuda.dispatcher.get_current_device", lambda: device),
        mock.patch("numba.cuda.codegen.devices.get_context", lambda: context),
    ):
        for kernel, arguments in kernels.items():
            kinds = (
                next(iter(arguments))
                if isinstance(arguments, dict)
                else target.argument_types(arguments)
            )
            assert kernel.targetoptions["lto"]
            compiled = _Kernel(kernel.py_func, kinds, **kernel.targetoptions)
            code = compiled.library.get_cubin((9, 0)).code
            assert code.startswith(b"\x7fELF")
