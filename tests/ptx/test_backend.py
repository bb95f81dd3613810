"""The backend ptx: a device like the others, and faults that name their lines."""

import numpy as np
import pytest

from minigen import arrays, backends, ptx, target
from minigen.errors import BackendError, KernelError
from minigen.target import cuda

ALL = 0xFFFFFFFF


def test_without_the_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(target, "has_compiler", lambda: False)
    with pytest.raises(BackendError, match=r"pip install .*cuda13.*no GPU is needed"):
        backends.table("ptx")


@pytest.mark.needs("compiler")
def test_an_op_and_a_recording():
    ops, numpy = backends.table("ptx"), backends.table("numpy")
    x = np.random.default_rng(0).standard_normal((3, 4), np.float32)
    given = ops.put(x)
    with ops.device.record() as recording:
        twice = ops.add(given, given)
    assert ops.device.launches == 0
    recording.replay()
    assert (ops.get(twice) == numpy.add(x, x)).all()
    ops.device.write(given, 2 * x)
    recording.replay()
    assert (ops.get(twice) == numpy.add(2 * x, 2 * x)).all()
    assert ops.device.launches == 2


@pytest.mark.needs("compiler")
def test_a_device_watches_if_it_is_told_to():
    device = arrays.Ptx()
    y = device.empty(32)
    device.launch(late, 1, 64, y)
    with pytest.raises(KernelError, match="race"):
        arrays.Ptx(watch=True).launch(late, 1, 64, y)


def late(y):
    s = cuda.shared.array(64, np.float32)
    t = cuda.threadIdx.x
    s[t] = t
    if t < 32:
        y[t] = s[t + 32]


def unordered(y):
    y[0] += cuda.blockIdx.x


def warp_ordered(y):
    s = cuda.shared.array(32, np.float32)
    t = cuda.threadIdx.x
    s[t] = t
    cuda.syncwarp()
    y[t] = s[31 - t]


def after_a_shuffle(y):
    s = cuda.shared.array(32, np.float32)
    t = cuda.threadIdx.x
    s[t] = t
    z = cuda.shfl_sync(ALL, t, 0)
    y[t] = s[t ^ 1] + z


def last_block_sums(y, count):
    i, n = cuda.blockIdx.x, cuda.gridDim.x
    y[i + 1] = i
    cuda.threadfence()
    if cuda.atomic.inc(count, 0, n) == n - 1:
        total = np.float32(0)
        for k in range(n):
            total += y[k + 1]
        y[0] = total
        count[0] = 0


def locked(y, lock):
    while cuda.atomic.cas(lock, 0, 0, 1) != 0:
        pass
    cuda.threadfence()
    y[0] += cuda.threadIdx.x
    cuda.threadfence()
    cuda.atomic.exch(lock, 0, 0)


def without_a_fence(y, count):
    i, n = cuda.blockIdx.x, cuda.gridDim.x
    y[i + 1] = i
    if cuda.atomic.inc(count, 0, n) == n - 1:
        y[0] = y[1] + y[2]


def same_value(y):
    y[0] = 3


def never_written(y):
    s = cuda.shared.array(32, np.float32)
    t = cuda.threadIdx.x
    if t > 0:
        s[t] = t
    y[t] = s[t]


def some_reach_it(y):
    t = cuda.threadIdx.x
    if t < 16:
        cuda.syncthreads()
    y[t] = t


def two_barriers(y):
    t = cuda.threadIdx.x
    if t < 16:
        cuda.syncthreads()
        y[t] = t
    else:
        cuda.syncthreads()
        y[t] = 2 * y[t - 16]


def not_in_the_mask(y):
    t = cuda.threadIdx.x
    y[t] = cuda.shfl_sync(0xFFFF, t, 0)


def endless(y):
    i = 0
    while i < 10:
        y[0] = y[0] + i


def crooked(y):
    y.view(np.float64)[0] = 1


def beyond(y):
    y[cuda.threadIdx.x + 20] = 1


def too_much(y):
    s = cuda.shared.array(13000, np.float32)
    s[cuda.threadIdx.x] = 1
    cuda.syncthreads()
    y[0] = s[1]


def a_list(y):
    y[0] = [i for i in range(3)][1]


RIGHT = [warp_ordered, last_block_sums]
WRONG = [
    (late, "race", r"s\[t\] = t.*y\[t\] = s\[t \+ 32\]"),
    (unordered, "race", "of y: "),
    (after_a_shuffle, "race", "shared array"),
    (without_a_fence, "race", "of y"),
    (same_value, "race", "of y"),
    (never_written, "uninitialised", "thread 0 .*nobody"),
    (some_reach_it, "divergent barrier", "16 of 32"),
    (two_barriers, "divergent barrier", "for ever"),
    (not_in_the_mask, "mask", "thread 16 "),
    (endless, "endless", "1000 "),
    (beyond, "bounds", "byte 128 of y, which has 128.*test_backend.py:.*PTX"),
    (too_much, "shared memory", "52000 bytes"),
    (a_list, "compile", "test_backend.py"),
]


def launch(kernel, **how):
    y, count = np.zeros(32, np.float32), np.zeros(1, np.uint32)
    if kernel in (last_block_sums, without_a_fence):
        ptx.launch(kernel, 4, 1, y, count, **how)
    else:
        blocks, threads = {late: (1, 64), unordered: (4, 1)}.get(kernel, (1, 32))
        ptx.launch(kernel, blocks, threads, y, **how)
    return y


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("kernel", RIGHT)
def test_what_is_ordered_is_not_accused(kernel):
    y = launch(kernel)
    assert y[0] == {warp_ordered: 31, last_block_sums: 6}[kernel]


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("kernel, kind, said", WRONG, ids=lambda v: str(v)[:20])
def test_what_is_wrong_is_named(kernel, kind, said):
    with pytest.raises(KernelError, match=f"(?s)^{kind}: .*{said}") as caught:
        launch(kernel, patience=1000)
    assert caught.value.kind == kind


@pytest.mark.needs("compiler")
def test_a_lock_that_lanes_of_a_warp_wait_for():
    y, lock = np.zeros(1, np.float32), np.zeros(1, np.int32)
    ptx.launch(locked, 2, 40, y, lock, patience=20_000)
    assert y[0] == 2 * sum(range(40)) and lock[0] == 0


@pytest.mark.needs("compiler")
def test_a_misaligned_address():
    y = np.zeros(33, np.float32)[1:]
    with pytest.raises(KernelError, match="alignment: .*not a multiple of 8"):
        ptx.launch(crooked, 1, 1, y if y.ctypes.data % 8 else np.zeros(9, "f4")[1:])
