"""Shuffles, votes and masks, and the tensor core's twin."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigen import simt
from minigen.errors import KernelError
from minigen.target import cuda

seeds = st.none() | st.integers(0, 2**32)
watches = st.booleans()
LANES = np.arange(32)


def shuffles(x, by, y):
    i = cuda.grid(1)
    y[0, i] = cuda.shfl_sync(0xFFFFFFFF, x[i], by)
    y[1, i] = cuda.shfl_xor_sync(0xFFFFFFFF, x[i], by)
    y[2, i] = cuda.shfl_up_sync(0xFFFFFFFF, x[i], by)
    y[3, i] = cuda.shfl_down_sync(-1, x[i], by)


@given(st.integers(0, 31), seeds, watches)
def test_shuffles(by, seed, watch):
    x = np.random.default_rng(by).random(64, np.float32)
    y = np.empty((4, 64), np.float32)
    simt.launch(shuffles, 1, 64, x, by, simt.poison(y), seed=seed, watch=watch)
    for warp in (slice(0, 32), slice(32, 64)):
        up, down = LANES - by, LANES + by
        sources = [0 * LANES + by, LANES ^ by]
        sources += [np.where(up < 0, LANES, up), np.where(down > 31, LANES, down)]
        for row, lanes in zip(y, sources, strict=True):
            np.testing.assert_array_equal(row[warp], x[warp][lanes])


def butterfly(x, y):
    i = cuda.grid(1)
    total = x[i]
    step = 16
    while step > 0:
        total += cuda.shfl_xor_sync(0xFFFFFFFF, total, step)
        step //= 2
    y[i] = total


@given(seeds, watches)
def test_a_butterfly_sums_a_warp(seed, watch):
    x, y = np.arange(96, dtype=np.float32), np.empty(96, np.float32)
    simt.launch(butterfly, 3, 32, x, y, seed=seed, watch=watch)
    np.testing.assert_array_equal(y, np.repeat(x.reshape(3, 32).sum(1), 32))


def votes(x, y):
    i = cuda.threadIdx.x
    y[0, i] = cuda.ballot_sync(0xFFFFFFFF, x[i] > 2)
    y[1, i] = cuda.any_sync(0xFFFFFFFF, x[i] > 2)
    y[2, i] = cuda.all_sync(0xFFFFFFFF, x[i] > 2)
    y[3, i] = cuda.eq_sync(0xFFFFFFFF, x[i] > 2)
    y[4, i] = cuda.match_any_sync(0xFFFFFFFF, x[i])
    lanes, same = cuda.match_all_sync(0xFFFFFFFF, x[i])
    y[5, i] = lanes if same else 0
    y[6, i] = cuda.activemask()
    y[7, i] = cuda.lanemask_lt()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=32), seeds)
@example([0] * 32, None)
@example([4] * 32, None)
def test_votes(values, seed):
    """Of a whole warp a mask is -1 where Numba gives its type, as it makes it int32."""
    n = len(values)
    x, y = np.array(values), np.zeros((8, n), np.int64)
    simt.launch(votes, 1, n, x, y, seed=seed)
    large, every = x > 2, 2**n - 1
    bits = 1 << np.arange(n)
    expected = [0 * x + bits[large].sum(), 0 * x + large.any(), 0 * x + large.all()]
    expected += [0 * x + (large.all() or not large.any())]
    expected += [[bits[x == v].sum() for v in x], 0 * x + every * (x == x[0]).all()]
    np.testing.assert_array_equal(y[:6] & 0xFFFFFFFF, expected)
    np.testing.assert_array_equal(y[7], bits - 1)


def halves(x, y):
    i = cuda.threadIdx.x
    if i < 16:
        y[i] = cuda.shfl_xor_sync(0x0000FFFF, x[i], 1)
        cuda.syncwarp(0x0000FFFF)
    else:
        for _ in range(3):
            y[i] = cuda.shfl_down_sync(0xFFFF0000, x[i], 1)


@given(seeds, watches)
def test_a_part_of_a_warp_waits_for_itself_only(seed, watch):
    x, y = LANES.astype(np.float32), np.empty(32, np.float32)
    simt.launch(halves, 1, 32, x, simt.poison(y), seed=seed, watch=watch)
    expected = np.where(LANES < 16, LANES ^ 1, np.minimum(LANES + 1, 31))
    np.testing.assert_array_equal(y, expected)


def trade(x, y, mask):
    # one write, one meeting, one read of what a neighbour wrote
    tile = cuda.shared.array(32, np.float32)
    i = cuda.threadIdx.x
    if mask >> i & 1:
        tile[i] = x[i]
        cuda.syncwarp(mask)
        y[i] = tile[i ^ 1]


@given(st.lists(st.booleans(), min_size=16, max_size=16).filter(any), seeds)
def test_a_meeting_orders_the_lanes_it_names(pairs, seed):
    mask = sum(3 << 2 * i for i, there in enumerate(pairs) if there)
    x, y = LANES.astype(np.float32), np.full(32, -1, np.float32)
    simt.launch(trade, 1, 32, x, y, mask, seed=seed)
    there = np.repeat(pairs, 2)
    np.testing.assert_array_equal(y, np.where(there, LANES ^ 1, -1))


def relay(x, y):
    # 0 tells 1, 1 tells 2: so 2 may read what 0 wrote
    tile = cuda.shared.array(1, np.float32)
    i = cuda.threadIdx.x
    if i == 0:
        tile[0] = x[0]
    if i < 2:
        cuda.syncwarp(0b011)
    if i > 0:
        cuda.syncwarp(0b110)
    if i == 2:
        y[0] = tile[0]


@given(seeds)
def test_order_is_handed_on(seed):
    x, y = np.float32([5]), np.float32([0])
    simt.launch(relay, 1, 3, x, y, seed=seed)
    assert y[0] == 5


def unrelated(x, y):
    tile = cuda.shared.array(1, np.float32)
    i = cuda.threadIdx.x
    if i == 0:
        tile[0] = x[0]
    if i > 0:
        cuda.syncwarp(0b110)
    if i < 2:
        cuda.syncwarp(0b011)
    if i == 2:
        y[0] = tile[0]


@given(seeds)
def test_order_is_not_handed_backwards(seed):
    with pytest.raises(KernelError, match="race") as caught:
        simt.launch(unrelated, 1, 3, np.float32([5]), np.float32([0]), seed=seed)
    assert caught.value.kind == "race"


def broken_warp(x, y):
    i = cuda.threadIdx.x
    y[i] = cuda.shfl_xor_sync(0xFFFFFFFF, x[i], 1)


def test_lanes_the_block_does_not_have_are_not_waited_for():
    x, y = np.arange(40.0), np.empty(40)
    simt.launch(broken_warp, 1, 40, x, y)
    np.testing.assert_array_equal(y, np.arange(40) ^ 1)
    with pytest.raises(KernelError, match="reads from lane 7, which the block does"):
        simt.launch(broken_warp, 1, 39, x[:39], y[:39])


def bf16(x):
    """Round to the nearest bfloat16; return its bits and its value."""
    bits = x.astype(np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return bits.astype(np.uint32), (bits << 16).astype(np.uint32).view(np.float32)


def tensor_core(mma):
    """Return a kernel: each lane packs its fragments as the PTX ISA says."""

    def kernel(a, b, c, y):
        lane = cuda.laneid
        g, t = lane >> 2, lane & 3
        left = (
            a[g, 2 * t] | a[g, 2 * t + 1] << 16,
            a[g + 8, 2 * t] | a[g + 8, 2 * t + 1] << 16,
            a[g, 2 * t + 8] | a[g, 2 * t + 9] << 16,
            a[g + 8, 2 * t + 8] | a[g + 8, 2 * t + 9] << 16,
        )
        right = (
            b[2 * t, g] | b[2 * t + 1, g] << 16,
            b[2 * t + 8, g] | b[2 * t + 9, g] << 16,
        )
        sums = (c[g, 2 * t], c[g, 2 * t + 1], c[g + 8, 2 * t], c[g + 8, 2 * t + 1])
        d = mma(left, right, sums)
        y[g, 2 * t], y[g, 2 * t + 1] = d[0], d[1]
        y[g + 8, 2 * t], y[g + 8, 2 * t + 1] = d[2], d[3]

    return kernel


@given(st.integers(0, 2**32), seeds, watches)
def test_the_tensor_core_multiplies_matrices(case, seed, watch):
    from minigen.simt.twins import mma_bf16

    rng = np.random.default_rng(case)
    a, left = bf16(rng.standard_normal((16, 16)))
    b, right = bf16(rng.standard_normal((16, 8)))
    c = rng.standard_normal((16, 8)).astype(np.float32)
    y = np.empty((16, 8), np.float32)
    kernel = tensor_core(mma_bf16)
    simt.launch(
        kernel, 1, 32, a, b, c, simt.poison(y), seed=seed, watch=watch, typed=False
    )
    expected = c + left.astype(np.float64) @ right
    np.testing.assert_array_equal(y, expected.astype(np.float32))


def test_sixteen_bytes_at_once():
    from minigen.simt import twins

    values = np.linspace(-2, 2, 16).astype(np.float32)
    half_bits, half = bf16(values)
    for x, expected in (
        (values, values),
        (values.astype(np.float16), values.astype(np.float16)),
        (half_bits.astype(np.uint16), half),
    ):
        count = 16 // x.itemsize

        def kernel(x, y, count):
            first = count * cuda.grid(1)
            for k, value in enumerate(twins.load16(x, first)):
                y[first + k] = twins.widen(value)

        def shifted(x, y):
            y[0] = twins.load16(x, 2)[0]

        y = np.empty(16, np.float32)
        report = simt.launch(
            kernel, 16 // count, 1, x, simt.poison(y), count, typed=False
        )
        np.testing.assert_array_equal(y, expected)
        assert (report.reads["x"] == 1).all()
        with pytest.raises(KernelError, match="multiple of 16 bytes"):
            simt.launch(kernel, 1, 1, x[1:], y, count, typed=False)
        with pytest.raises(KernelError, match="multiple of 16 bytes") as caught:
            simt.launch(shifted, 1, 1, x, y, typed=False)
        assert caught.value.kind == "alignment"


def leave_and_sync(x, y):
    t = cuda.threadIdx.x
    if t > 3:
        return
    x[t] = t
    cuda.syncwarp()
    y[t] = x[3 - t]


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_syncwarp_does_not_wait_for_lanes_that_have_exited(seed):
    x, y = np.zeros(32), np.zeros(4)
    simt.launch(leave_and_sync, 1, 32, x, y, seed=seed)
    assert y.tolist() == [3, 2, 1, 0]
