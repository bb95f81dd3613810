"""A recorded run is a CUDA graph of as many nodes; it gives what launches give."""

import numpy as np
import pytest

from minigen import recorded
from minigen.errors import BackendError
from minigen.pipeline import load
from minigen.target import cuda, gpu_kernel
from tests.gpu.device import MARKS, gpu

pytestmark = MARKS


@gpu_kernel
def _step(x, y, scale):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i] * scale + np.float32(1)


def chain(device, x, count):
    for _ in range(count):
        y = device.empty(x.shape)
        device.launch(_step, -(-x.size // 128), 128, x, y, np.float32(0.5))
        x = y
    return x


def test_a_thousand_launches_are_recorded_and_equal_eager():
    device = gpu()
    x = device.put(np.arange(1000, dtype=np.float32))
    eager = device.get(chain(device, x, 1000))
    before = device.launches
    with device.record() as recording:
        y = chain(device, x, 1000)
    # Gpu.record has compared this with the nodes of the graph
    assert len(recording) == 1000 and device.launches == before
    for scale in (1, 3, 1):
        device.write(x, np.arange(1000, dtype=np.float32) * np.float32(scale))
        recording.replay()
        found = device.get(y)
        assert scale != 1 or np.array_equal(found, eager)
        assert np.allclose(found, 2, atol=1e-5)
    assert device.launches == before + 3000


def test_a_move_within_a_record_is_refused_and_the_device_goes_on():
    device = gpu()
    x = device.put(np.ones(10, np.float32))
    with pytest.raises(BackendError, match="get was called"), device.record():
        chain(device, x, 3)
        device.get(x)
    assert device.get(chain(device, x, 1)).tolist() == [1.5] * 10


def test_a_recording_outlives_what_it_reads():
    device = gpu()
    x = device.put(np.ones(1000, np.float32))
    chain(device, x, 1)
    with device.record() as recording:
        y = chain(device, x, 2)
    del x
    others = [device.put(np.full(1000, 9, np.float32)) for _ in range(20)]
    recording.replay()
    assert (device.get(y) == 1.75).all() and len(others) == 20


def test_the_third_run_of_arpg_is_a_graph_and_draws_the_same_images():
    pipe = load("arpg-mnist", backend="cuda")
    draws = [pipe.sample([3, 7, 1], seed=5, steps=8) for _ in range(3)]
    (run,) = pipe.recorded.values()
    assert isinstance(run, recorded.Run) and len(run.recording) > 100
    assert np.array_equal(draws[0], draws[1]) and np.array_equal(draws[0], draws[2])
    # other seeds and classes through the same graph, and launched one by one
    again = pipe.sample([0, 0, 9], seed=6, steps=8)
    assert len(pipe.recorded) == 1
    fresh = load("arpg-mnist", backend="cuda").sample([0, 0, 9], seed=6, steps=8)
    assert np.array_equal(again, fresh)
