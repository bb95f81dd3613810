"""What a kernel can say, held against what NumPy makes of it."""

import enum
import gc
import math

import numpy as np
import pytest
from greenlet import getcurrent, greenlet
from hypothesis import assume, given
from hypothesis import strategies as st

from minigen import simt
from minigen.errors import KernelError
from minigen.simt.threads import KEPT
from minigen.target import cuda

seeds = st.none() | st.integers(0, 2**32)
watches = st.booleans()


def full(shape, value=-1, dtype=np.int64):
    return np.full(shape, value, dtype)


def indices(place, block):
    i, j, k = cuda.grid(3)
    place[k, j, i, 0] = cuda.threadIdx.x + 10 * cuda.threadIdx.y
    place[k, j, i, 1] = cuda.threadIdx.z + 10 * cuda.laneid
    place[k, j, i, 2] = cuda.gridDim.x + 10 * cuda.gridDim.y + 100 * cuda.gridDim.z
    block[k, j, i, 0] = cuda.blockIdx.x
    block[k, j, i, 1] = cuda.blockIdx.y
    block[k, j, i, 2] = cuda.blockIdx.z


@given(seeds, watches)
def test_indices_in_three_axes(seed, watch):
    grid, block = (3, 2, 4), (5, 3, 2)
    place, blocks = full((8, 6, 15, 3)), full((8, 6, 15, 3))
    report = simt.launch(indices, grid, block, place, blocks, seed=seed, watch=watch)
    z, y, x = np.meshgrid(*map(np.arange, (8, 6, 15)), indexing="ij")
    lane = (x % 5) + 5 * (y % 3) + 15 * (z % 2)
    expected = [x % 5 + 10 * (y % 3), z % 2 + 10 * lane, 423 + 0 * x]
    np.testing.assert_array_equal(place, np.stack(expected, -1))
    np.testing.assert_array_equal(blocks, np.stack([x // 5, y // 3, z // 2], -1))
    assert (report.threads, report.blocks) == (24 * 30, 24)


def strided(x, y):
    first, step = cuda.grid(1), cuda.gridsize(1)
    for i in range(first, x.size, step):
        y[i] = x[i] * np.float32(2)


@given(seeds, watches, st.integers(1, 200))
def test_a_grid_strides_over_an_array_of_any_size(seed, watch, n):
    x, y = np.arange(n, dtype=np.float32), np.empty(n, np.float32)
    simt.launch(strided, 2, 32, x, simt.poison(y), seed=seed, watch=watch)
    np.testing.assert_array_equal(y, 2 * x)


def sizes(y):
    a, b = cuda.grid(2)
    c, d = cuda.gridsize(2)
    y[a, b, 0], y[a, b, 1] = c, d
    y[a, b, 2], y[a, b, 3] = cuda.blockDim.x, cuda.blockDim.y


def test_grid_and_gridsize_in_two_axes():
    y = full((6, 8, 4))
    simt.launch(sizes, (3, 2), (2, 4), y)
    assert (y == [6, 8, 2, 4]).all()


def reverse(x, y):
    tile = cuda.shared.array(64, np.float32)
    i = cuda.threadIdx.x
    tile[i] = x[cuda.grid(1)]
    cuda.syncthreads()
    y[cuda.grid(1)] = tile[cuda.blockDim.x - 1 - i]


@given(seeds, watches)
def test_a_barrier_lets_all_see_what_all_wrote(seed, watch):
    x, y = np.arange(128, dtype=np.float32), np.empty(128, np.float32)
    report = simt.launch(reverse, 2, 64, x, simt.poison(y), seed=seed, watch=watch)
    np.testing.assert_array_equal(y, x.reshape(2, 64)[:, ::-1].reshape(-1))
    assert (report.barriers, report.shared_bytes) == (2, 256)


def tree_sum(x, y):
    partial = cuda.shared.array(64, np.float32)
    i = cuda.threadIdx.x
    partial[i] = x[cuda.grid(1)]
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if i < half:
            partial[i] += partial[i + half]
        cuda.syncthreads()
        half //= 2
    if i == 0:
        y[cuda.blockIdx.x] = partial[0]


@given(seeds, watches)
def test_a_tree_sum(seed, watch):
    x, y = np.arange(192, dtype=np.float32), np.empty(3, np.float32)
    simt.launch(tree_sum, 3, 64, x, simt.poison(y), seed=seed, watch=watch)
    np.testing.assert_array_equal(y, x.reshape(3, 64).sum(1))


def tiles(x, y):
    # one array for both turns of the loop, two for the two lines
    i = cuda.threadIdx.x
    for turn in range(2):
        a = cuda.shared.array((2, 8), np.int32)
        b = cuda.shared.array(8, np.int64)
        if turn == 0:
            a[0, i], b[i] = i, 10 * i
        cuda.syncthreads()
        y[turn, i] = a[0, 7 - i] + b[7 - i]
    x[i] = 1


def test_shared_arrays_are_known_by_their_place_in_the_source():
    x, y = full(8), full((2, 8))
    report = simt.launch(tiles, 1, 8, x, y)
    np.testing.assert_array_equal(y, [np.arange(77, -1, -11)] * 2)
    assert report.shared_bytes == 2 * 8 * 4 + 8 * 8


def helper(i):
    tile = cuda.shared.array(4, np.float32)
    tile[i] = i
    return tile


def helped(y):
    i = cuda.threadIdx.x
    first = helper(i)
    second = helper(i)
    first[i] += np.float32(10)
    y[i] = first[i] - second[i]


def test_without_types_each_call_of_a_helper_has_its_own_shared_array():
    y = full(4, dtype=np.float32)
    assert simt.launch(helped, 1, 4, y, typed=False).shared_bytes == 32
    assert (y == 10).all()


def dynamic(x, y):
    memory = cuda.shared.array(0, np.float32)
    n = cuda.blockDim.x
    first, second = memory[:n], memory[n:]
    i = cuda.threadIdx.x
    first[i], second[i] = x[i], -x[i]
    cuda.syncthreads()
    y[i] = first[n - 1 - i] + np.float32(2) * second[i]


@given(seeds, watches)
def test_dynamic_shared_memory(seed, watch):
    x, y = np.arange(8, dtype=np.float32), full(8, dtype=np.float32)
    report = simt.launch(dynamic, 1, 8, x, y, seed=seed, watch=watch, dynamic=16 * 4)
    np.testing.assert_array_equal(y, x[::-1] - 2 * x)
    assert report.shared_bytes == 64


TABLE = np.arange(6, dtype=np.float32).reshape(2, 3)


def own_arrays(y):
    i = cuda.threadIdx.x
    mine = cuda.local.array(3, np.float32)
    table = cuda.const.array_like(TABLE)
    for k in range(3):
        mine[k] = table[1, k] * np.float32(i)
    y[i] = mine[0] + mine[1] + mine[2]


@given(seeds, watches)
def test_local_and_constant_arrays(seed, watch):
    y = full(40, dtype=np.float32)
    simt.launch(own_arrays, 1, 40, y, seed=seed, watch=watch)
    np.testing.assert_array_equal(y, 12 * np.arange(40))


def count(x, y):
    i = cuda.threadIdx.x
    y[0, i] = cuda.syncthreads_count(np.int32(x[i] > 3))
    y[1, i] = cuda.syncthreads_and(np.int32(x[i] > 3))
    y[2, i] = cuda.syncthreads_or(np.int32(x[i] > 3))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=50), seeds)
def test_barriers_that_count(values, seed):
    x = np.array(values)
    y = full((3, len(x)))
    report = simt.launch(count, 1, len(x), x, y, seed=seed)
    large = x > 3
    np.testing.assert_array_equal(y.T - [large.sum(), large.all(), large.any()], 0)
    assert report.barriers == 3


def neighbours(x, y):
    cuda.cg.this_grid().sync()
    i = cuda.grid(1)
    for _ in range(3):
        y[i] = x[(i + 1) % x.size]
        cuda.cg.this_grid().sync()
        x[i] = y[i]
        cuda.cg.this_grid().sync()


@given(seeds, watches)
def test_a_grid_that_waits_for_all_of_itself(seed, watch):
    x, y = np.arange(12), full(12)
    simt.launch(neighbours, 3, 4, x, y, seed=seed, watch=watch)
    np.testing.assert_array_equal(x, (np.arange(12) + 3) % 12)


def atomics(n, sums, bits, wheel, ends):
    i = cuda.grid(1)
    cuda.atomic.add(sums, 0, i)
    cuda.atomic.sub(sums, 1, i)
    cuda.atomic.add(sums, 2, 1)
    cuda.atomic.or_(bits, 0, np.uint64(1) << np.uint64(i))
    cuda.atomic.xor(bits, 1, np.uint64(i))
    cuda.atomic.and_(bits, 2, ~(np.uint64(1) << np.uint64(i)))
    cuda.atomic.inc(wheel, 0, np.uint32(6))
    cuda.atomic.dec(wheel, 1, np.uint32(6))
    cuda.atomic.max(ends, 0, np.float32(i))
    cuda.atomic.min(ends, 1, np.float32(i))
    cuda.threadfence()


@given(seeds, watches)
def test_atomics(seed, watch):
    sums, bits = np.zeros(3, np.int64), np.array([0, 0, 2**64 - 1], np.uint64)
    wheel, ends = np.array([0, 5], np.uint32), np.array([5, 5], np.float32)
    simt.launch(atomics, 2, 25, 50, sums, bits, wheel, ends, seed=seed, watch=watch)
    numbers = range(50)
    assert sums.tolist() == [sum(numbers), -sum(numbers), 50]
    flips = 0
    for i in numbers:
        flips ^= i
    assert bits.tolist() == [2**50 - 1, flips, 2**64 - 2**50]
    # each wheel has seven places
    assert wheel.tolist() == [50 % 7, (5 - 50) % 7]
    assert ends.tolist() == [49, 0]


def tickets(next_ticket, y):
    ticket = cuda.atomic.add(next_ticket, 0, 1)
    y[ticket] = cuda.grid(1)


@given(seeds)
def test_an_atomic_returns_what_was_there(seed):
    y = full(40)
    simt.launch(tickets, 2, 20, np.zeros(1, np.int64), y, seed=seed)
    assert sorted(y) == list(range(40))
    if seed is None:
        assert y.tolist() == list(range(40))


def lock(cells, y):
    i = cuda.threadIdx.x
    y[i, 0] = cuda.atomic.cas(cells, i % 2, 7, i)
    y[i, 1] = cuda.atomic.compare_and_swap(cells[i % 2 : i % 2 + 1], i, 7)
    y[i, 2] = cuda.atomic.exch(cells, 2 + i, i)


@given(watches)
def test_compare_and_swap(watch):
    cells, y = np.array([7, 8, 1, 2, 3, 4]), full((4, 3))
    simt.launch(lock, 1, 4, cells, y, watch=watch)
    # the odd threads find 8 and leave it
    assert y.tolist() == [[7, 0, 1], [8, 8, 2], [7, 2, 3], [8, 8, 4]]
    assert cells.tolist() == [7, 8, 0, 1, 2, 3]


def take_turns(lock, total, calls):
    if cuda.laneid == 0:
        while cuda.atomic.cas(lock, 0, 0, 1) != 0:
            calls[cuda.grid(1)] += 1
        total[0] = cuda.atomic.add(total, 1, 0) + 1
        cuda.atomic.add(total, 1, 1)
        cuda.atomic.exch(lock, 0, 0)


@given(seeds)
def test_a_lock_lets_one_in_after_the_other(seed):
    lock, total = np.zeros(1, np.int64), np.zeros(2, np.int64)
    simt.launch(take_turns, 1, 256, lock, total, np.zeros(256), seed=seed, watch=False)
    assert total.tolist() == [8, 8] and lock[0] == 0


def test_a_lock_that_nobody_opens_is_a_deadlock():
    with pytest.raises(KernelError, match="compare-and-swap failed") as caught:
        simt.launch(
            take_turns,
            1,
            32,
            np.ones(1, np.int64),
            np.zeros(2),
            np.zeros(256),
            watch=False,
        )
    assert caught.value.kind == "deadlock"
    assert "while cuda.atomic.cas(lock, 0, 0, 1) != 0" in str(caught.value)


def two_steps(counter, y):
    # between looking and taking another thread may come
    free = cuda.atomic.add(counter, 0, 0)
    cuda.atomic.add(counter, 0, 1)
    y[cuda.grid(1)] = free


def test_schedules_differ_between_two_atomics():
    twice = 0
    for seed in range(20):
        y = full(16)
        simt.launch(two_steps, 1, 16, np.zeros(1, np.int64), y, seed=seed)
        twice += len(set(y)) < 16
    assert twice > 10


def bit_tricks(x, y, z):
    i = cuda.threadIdx.x
    y[i, 0], y[i, 1] = cuda.popc(x[i]), cuda.clz(x[i])
    y[i, 2], y[i, 3] = cuda.ffs(x[i]), cuda.brev(x[i])
    z[i] = cuda.libdevice.int_as_float(cuda.libdevice.float_as_int(z[i]))


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=9))
def test_bits(values):
    x, y = np.array(values, np.uint32), full((len(values), 4))
    assume(not simt.is_poison(x).any())
    z = x.astype(np.float32)
    simt.launch(bit_tricks, 1, len(x), x, y, z)
    for value, (ones, zeros, first, back) in zip(values, y.tolist(), strict=True):
        text = f"{value:032b}"
        assert ones == text.count("1")
        assert zeros == (text + "1").index("1")
        assert first == (text[::-1].find("1") + 1)
        assert f"{back:032b}" == text[::-1]
    np.testing.assert_array_equal(z, x.astype(np.float32))


def hashed(x):
    # a product of two uint32 is a uint64, until it is made one of 32 bits again
    i = cuda.grid(1)
    h = np.uint32(x[i] * np.uint32(0x9E3779B1)) ^ np.uint32(i)
    h = np.uint32((h ^ (h >> np.uint32(15))) * np.uint32(0x85EBCA77))
    x[i] = h - np.uint32(1)


@pytest.mark.filterwarnings("error")
@given(seeds)
def test_unsigned_arithmetic_wraps_in_silence(seed):
    x = np.arange(64, dtype=np.uint32)
    h = x * np.uint32(0x9E3779B1) ^ x
    expected = (h ^ (h >> np.uint32(15))) * np.uint32(0x85EBCA77) - np.uint32(1)
    simt.launch(hashed, 2, 32, x, seed=seed)
    np.testing.assert_array_equal(x, expected)


def ieee(x, y):
    y[0], y[1] = x[0] / x[1], x[1] / x[1]
    y[2], y[3] = math.log(x[1]), math.sqrt(-x[0])
    y[4], y[5] = math.exp(np.float32(1000)), math.exp(np.float32(-1000))


@pytest.mark.filterwarnings("error")
def test_division_by_zero_and_its_like_follow_ieee():
    x, y = np.array([1, 0], np.float32), full(6, dtype=np.float32)
    simt.launch(ieee, 1, 1, x, y)
    inf, nan = np.inf, np.nan
    np.testing.assert_array_equal(y, np.float32([inf, nan, -inf, nan, inf, 0]))


def hinted(x, y):
    i = cuda.threadIdx.x
    cuda.stcg(y, i, cuda.ldca(x, i) + cuda.selp(i < 2, 10, 20))


@given(watches)
def test_cache_hints_and_select(watch):
    x, y = np.arange(4), full(4)
    report = simt.launch(hinted, 1, 4, x, y, watch=watch)
    assert y.tolist() == [10, 11, 22, 23]
    if watch:
        assert report.reads["x"].tolist() == report.writes["y"].tolist() == [1] * 4


def test_a_seed_is_a_schedule():
    def order(y, counter):
        y[cuda.atomic.add(counter, 0, 1)] = cuda.grid(1)

    def run(seed):
        y = full(64)
        simt.launch(order, 4, 16, y, np.zeros(1, np.int64), seed=seed)
        return y.tolist()

    assert run(None) == list(range(64))
    assert run(5) == run(5)
    assert len({tuple(run(seed)) for seed in range(20)}) == 20


def test_launches_leave_nothing_behind():
    def meet(y):
        cuda.cg.this_grid().sync()
        y[cuda.grid(1)] = 1

    def fault(y):
        cuda.syncthreads()
        y[cuda.threadIdx.x + 1] = 1

    before = {id(thing): thing for thing in greenlets()}
    for _ in range(3):
        simt.launch(meet, 8, 256, full(2048), watch=False)
        with pytest.raises(KernelError):
            simt.launch(fault, 1, 64, full(64))
    # some are kept to be used again; 6336 threads ran
    assert sum(id(thing) not in before for thing in greenlets()) <= KEPT


def greenlets():
    gc.collect()
    # the test runs in one itself, which is made when it is first asked for
    getcurrent()
    # isinstance would ask proxies of other modules what they are, and they warn
    return [thing for thing in gc.get_objects() if issubclass(type(thing), greenlet)]


class Way(enum.Enum):
    UP = 1
    DOWN = 2


@cuda.jit(device=True)
def turned(down):
    return Way.DOWN if down else Way.UP


@cuda.jit(device=True)
def weighed(a, *more):
    return a + 10 * more[0] + 100 * more[1]


def typed_odds(x, n, y, count):
    y[0] = math.ldexp(x[0], n[0])
    y[1] = round(x[1], 3)
    y[2] = turned(x[0] > 0) == Way.DOWN
    y[3] = turned(x[0] < 0) == Way.UP
    y[4] = weighed(1, 2, x[0])
    four = cuda.float32x4(x[0], cuda.float32x2(x[1], 2), 3)
    y[5] = four.x + four.z + four.w
    # uint64 % int64 is a float64, and an atomic makes an integer of it
    cuda.atomic.add(count, (1, np.uint64(n[0]) % 2), 1)


@pytest.mark.needs("compiler")
def test_what_numba_makes_of_odd_types():
    x, n = np.array([0.75, 0.3425], np.float32), np.array([3], np.int32)
    y, count = np.zeros(6, np.float32), np.zeros((2, 2), np.int32)
    simt.launch(typed_odds, 1, 1, x, n, y, count, typed=True)
    assert y.tolist() == [6, np.float32(0.343), 1, 1, 96, 5.75]
    assert count.tolist() == [[0, 0], [0, 1]]


PAIR = np.dtype([("i", np.int32), ("j", np.float32, (3, 2))])


def back_to_front(x, y):
    s = cuda.shared.array(4, x.dtype)
    i = cuda.threadIdx.x
    s[i] = x[i]
    cuda.syncthreads()
    y[i] = s[3 - i]


@pytest.mark.needs("compiler")
def test_shared_records_may_hold_arrays():
    x = np.zeros(4, PAIR)
    x["i"], x["j"] = np.arange(4), np.arange(24).reshape(4, 3, 2)
    y = np.zeros_like(x)
    simt.launch(back_to_front, 1, 4, x, y, watch=False)
    assert (y == x[::-1]).all()
