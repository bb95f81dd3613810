"""Arrays on a GPU: values come and go, views share memory, launches are counted."""

import gc

import numpy as np
import pytest

from minigen.errors import BackendError
from minigen.target import cuda, gpu_kernel
from tests.gpu.device import MARKS, gpu

pytestmark = MARKS


@gpu_kernel
def _double(x):
    i = cuda.grid(1)
    if i < x.size:
        x[i] += x[i]


DTYPES = (np.float32, np.float16, np.uint16, np.uint8, np.int64, np.uint32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [5, (2, 3), (2, 3, 4), (1, 1), (0, 4), (1000, 1000)])
def test_values_come_back_as_they_went(shape, dtype):
    device = gpu()
    values = (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)
    values.flags.writeable = False
    assert np.array_equal(device.get(device.put(values)), values)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint32])
def test_a_view_is_the_same_memory(dtype):
    device = gpu()
    array = device.put(np.arange(24).reshape(4, 6).astype(dtype))
    device.launch(_double, 1, 32, array[1:3].reshape(-1))
    expected = np.arange(24).reshape(4, 6)
    expected[1:3] *= 2
    assert np.array_equal(device.get(array), expected)
    device.write(array[0:1], np.zeros((1, 6), dtype))
    assert not device.get(array)[0].any() and device.get(array)[3].all()


def test_dropped_memory_is_used_again_in_the_order_of_the_stream():
    device = gpu()
    total = device.put(np.zeros(1 << 16, np.float32))
    for i in range(50):
        array = device.put(np.full(1 << 16, i, np.float32))
        device.launch(_double, 1 << 11, 32, array)
        seen = array
        del array
    assert (device.get(seen) == 98).all() and not device.get(total).any()
    gc.collect()


def test_a_launch_without_blocks_runs_nothing():
    device = gpu()
    before = device.launches
    device.launch(_double, 0, 32, device.empty(0))
    assert device.launches == before
    device.launch(_double, np.int64(1), np.int64(32), device.empty(3))
    device.sync()
    assert device.launches == before + 1


def test_a_full_gpu_is_a_message():
    device = gpu()
    with pytest.raises(BackendError, match="memory left"):
        device.empty(1 << 46)
    # and the device goes on
    assert device.get(device.put(np.ones(3, np.float32))).tolist() == [1, 1, 1]
