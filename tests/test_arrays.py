"""Arrays of a device: where they lie, when memory comes back, and what a record is."""

import gc

import numpy as np
import pytest

from minigen import arrays, simt
from minigen.arena import ALIGNMENT, Arena, round_up
from minigen.arrays import Interpreter
from minigen.errors import BackendError
from minigen.target import cuda, gpu_kernel


@gpu_kernel
def _add(x, y, z):
    i = cuda.grid(1)
    if i < z.size:
        z[i] = x[i] + y[i]


@gpu_kernel
def _double(x):
    i = cuda.grid(1)
    if i < x.size:
        x[i] *= np.float32(2)


class Memory:
    """Stand in for an allocator: addresses that start anywhere, and what was asked."""

    def __init__(self, start=1000003):
        self.next, self.asked = start, []

    def __call__(self, size):
        self.asked.append(size)
        address = self.next
        self.next += size + 77
        return address, object()


def address(array):
    return array.__array_interface__["data"][0]


def test_blocks_are_aligned_and_do_not_overlap():
    arena = Arena(Memory(), 4096)
    blocks = [arena.take(size) for size in (1, 256, 257, 4000, 4096, 5000, 0, 300)]
    assert all(block.address % ALIGNMENT == 0 for block in blocks)
    ends = sorted((block.address, block.address + block.size) for block in blocks)
    assert all(
        end <= start for (_, end), (start, _) in zip(ends, ends[1:], strict=False)
    )


def test_no_block_leaves_the_memory_that_was_given():
    memory = Memory()
    arena = Arena(memory, 4096)
    blocks = [arena.take(size) for size in (4096, 1, 9000, 4095, 700, 700)]
    ranges, start = [], 1000003
    for size in memory.asked:
        ranges.append((start, start + size))
        start += size + 77
    for block in blocks:
        assert any(a <= block.address and block.address + block.size <= b
                   for a, b in ranges)  # fmt: skip


def test_the_same_requests_get_the_same_addresses():
    found = []
    for _ in range(2):
        arena, addresses = Arena(Memory(), 1 << 16), []
        for size in (100, 3000, 100, 70_000, 100):
            block = arena.take(size)
            addresses.append(block.address)
        found.append(addresses)
        # 100 bytes, dropped and asked for again, lie where they lay
        assert addresses[0] == addresses[2]
    assert found[0] == found[1]


def test_a_dropped_block_is_the_next_one_of_its_size():
    arena = Arena(Memory(), 1 << 20)
    one, two = arena.take(5000), arena.take(5000)
    first, second = one.address, two.address
    del one
    assert arena.take(5000).address == first
    del two
    # the last one given back is the first one taken
    assert [arena.take(n).address for n in (300, 5120)][1] == second


def test_what_is_larger_than_a_chunk_leaves_the_chunk_alone():
    memory = Memory()
    arena = Arena(memory, 4096)
    small, large = arena.take(256), arena.take(10_000)
    beside = arena.take(256)
    assert beside.address == small.address + 256
    assert large.size >= 10_000 and len(memory.asked) == 2


def test_memory_is_asked_for_when_a_chunk_is_full():
    memory = Memory()
    arena = Arena(memory, 1024)
    kept = [arena.take(256) for _ in range(9)]
    assert len(memory.asked) == 3 and len({b.address for b in kept}) == 9


def test_round_up_wastes_an_eighth_at_most():
    for size in (1, 255, 256, 257, 4097, 10**6 + 1, 2**30 + 1):
        room = round_up(size)
        assert size <= room <= max(size + ALIGNMENT, size * 9 / 8)


VIEWS = [
    lambda a: a.reshape(6, 4),
    lambda a: a[1:],
    lambda a: a[1:].reshape(-1),
    lambda a: a.reshape(4, 6)[1:3].reshape(2, 2, 3),
]


@pytest.mark.parametrize("view", VIEWS)
def test_memory_comes_back_when_the_last_view_is_dropped(view):
    device = Interpreter()
    array = device.empty((2, 3, 4))
    where = address(array)
    seen = view(array)
    del array
    gc.collect()
    # the view alone keeps the block, though its base is NumPy's array, not ours
    assert address(device.empty((2, 3, 4))) != where
    del seen
    gc.collect()
    assert address(device.empty((2, 3, 4))) == where


def test_arrays_are_poisoned_each_time():
    device = Interpreter()
    for dtype in (np.float32, np.float16, np.uint16, np.uint8, np.int64, np.uint32):
        for _ in range(2):
            array = device.empty((3, 5), dtype)
            assert array.shape == (3, 5) and array.dtype == dtype
            assert array.flags.c_contiguous and array.flags.writeable
            # eight bits have no value to spare: any may be poison
            assert dtype == np.uint8 or simt.is_poison(array).all()
            assert not (array == 1).any()
            array[...] = 1
            del array


@pytest.mark.parametrize("shape", [0, (0, 4), (3, 0, 2)])
def test_an_array_may_be_empty(shape):
    device = Interpreter()
    array = device.empty(shape)
    assert array.size == 0
    assert device.get(array).shape == array.shape
    device.write(array, np.empty(array.shape, np.float32))


def test_put_and_get_copy():
    device = Interpreter()
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    array = device.put(values.T)
    values[...] = 0
    assert device.get(array).tolist() == [[0, 3], [1, 4], [2, 5]]
    device.get(array)[...] = 9
    assert device.get(array)[0, 1] == 3


def test_put_takes_what_is_read_only_and_bfloat16_as_its_bits():
    import ml_dtypes

    device = Interpreter()
    values = np.array([1, -2], ml_dtypes.bfloat16)
    values.flags.writeable = False
    array = device.put(values)
    assert array.dtype == np.uint16 and array.flags.writeable
    assert device.get(array).view(ml_dtypes.bfloat16).tolist() == [1, -2]
    device.write(array, values[::-1])
    assert device.get(array).view(ml_dtypes.bfloat16).tolist() == [-2, 1]


def test_write_keeps_the_address_and_refuses_another_shape_or_dtype():
    device = Interpreter()
    array = device.put(np.zeros(3, np.float32))
    before = address(array)
    device.write(array, np.ones(3, np.float32))
    assert address(array) == before and device.get(array).tolist() == [1, 1, 1]
    with pytest.raises(BackendError, match="must be the same"):
        device.write(array, np.ones(2, np.float32))
    with pytest.raises(BackendError, match="float64"):
        device.write(array, np.ones(3))


def test_a_launch_without_blocks_runs_nothing():
    device = Interpreter()
    x = device.empty(0)
    device.launch(_double, 0, 32, x)
    device.launch(_double, (3, 0), 32, x)
    assert device.launches == 0
    with device.record() as recording:
        device.launch(_double, 0, 32, x)
    assert len(recording) == 0


@pytest.mark.parametrize(
    "grid, block",
    [((1, 65536), 32), (2**31, 1), (-1, 32), (1, 2048), (1, (1, 1, 65)), (1, 0),
     (1, (64, 32)), ((1, 1, 1, 1), 32)],
)  # fmt: skip
def test_a_launch_that_no_gpu_takes_is_refused(grid, block):
    device = Interpreter()
    with pytest.raises(BackendError, match="a GPU takes"):
        device.launch(_double, grid, block, device.empty(3))


def test_dimensions_are_plain_ints():
    for n in (7, np.int64(7), np.uint8(7)):
        assert all(
            type(i) is int for part in arrays.dimensions(n, (n, 1)) for i in part
        )


def recorded(device):
    """Record z = 2 (x + y) twice doubled, through an array that only it knows."""
    x, y = device.put(np.ones(5, np.float32)), device.put(np.arange(5.0, dtype="f4"))
    with device.record() as recording:
        z = device.empty(5)
        device.launch(_add, 1, 32, x, y, z)
        device.launch(_double, 1, 32, z)
    return recording, x, y, z


def test_nothing_runs_while_recorded_and_replay_equals_eager():
    device = Interpreter(seed=2, watch=True)
    recording, x, y, z = recorded(device)
    assert device.launches == 0 and len(recording) == 2
    assert simt.is_poison(z).all()
    recording.replay()
    eager = device.empty(5)
    device.launch(_add, 1, 32, x, y, eager)
    device.launch(_double, 1, 32, eager)
    assert np.array_equal(device.get(z), device.get(eager))
    assert device.launches == 4


def test_a_replay_reads_what_was_written_since():
    device = Interpreter(seed=2)
    recording, x, y, z = recorded(device)
    for scale in (1, 3):
        device.write(x, np.full(5, scale, np.float32))
        recording.replay()
        assert device.get(z).tolist() == [2 * (scale + i) for i in range(5)]


def test_what_a_recording_holds_outlives_its_names():
    device = Interpreter(seed=2)
    recording, x, y, z = recorded(device)
    del x, y
    gc.collect()
    # arrays of the same sizes, which would have been given the dropped ones' memory
    others = [device.put(np.full(5, 100, np.float32)) for _ in range(4)]
    recording.replay()
    assert device.get(z).tolist() == [2, 4, 6, 8, 10]
    assert {address(z)}.isdisjoint(map(address, others))


def test_a_recording_takes_no_memory_of_the_device():
    device = Interpreter()
    device.empty(1000)
    with device.record():
        inside = device.empty(1000)
    outside = device.empty(1000)
    assert address(inside) != address(outside)


@pytest.mark.parametrize("name", ["put", "get", "write", "record"])
def test_nothing_moves_within_a_record(name):
    device = Interpreter()
    array = device.put(np.zeros(3, np.float32))
    calls = {
        "put": lambda: device.put(np.zeros(3)),
        "get": lambda: device.get(array),
        "write": lambda: device.write(array, np.zeros(3, np.float32)),
        "record": lambda: device.record().__enter__(),
    }
    with (
        pytest.raises(BackendError, match=f"^{name} was called while"),
        device.record() as recording,
    ):
        calls[name]()
    # the device is as it was, and what was not completed cannot be replayed
    with pytest.raises(BackendError, match="once it is complete"):
        recording.replay()
    device.launch(_double, 1, 32, array)
    assert device.launches == 1 and device.get(array).tolist() == [0, 0, 0]


def test_a_recording_is_not_replayed_before_it_is_complete():
    device = Interpreter()
    with pytest.raises(BackendError, match="complete"), device.record() as recording:
        recording.replay()
