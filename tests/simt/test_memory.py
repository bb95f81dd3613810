"""Counting, poison, windows on arrays, and arrays that share memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigen import simt
from minigen.errors import KernelError
from minigen.target import cuda

seeds = st.none() | st.integers(0, 2**32)
DTYPES = ["f2", "f4", "f8", "i2", "i4", "i8", "u2", "u4", "u8"]


def traffic(x, w, y):
    i = cuda.grid(1)
    for k in range(i + 1):
        y[i] = x[k] * w[0]
        y[i] += w[1]


@given(st.integers(1, 20), seeds)
def test_reads_and_writes_are_counted(n, seed):
    x, w, y = np.ones(n), np.ones(3), np.ones(n)
    report = simt.launch(traffic, 1, n, x, w, y, seed=seed)
    i = np.arange(n)
    turns = n * (n + 1) // 2
    assert report.reads["x"].tolist() == (n - i).tolist()
    assert report.reads["w"].tolist() == [turns, turns, 0]
    assert report.reads["y"].tolist() == (i + 1).tolist()
    assert report.writes["y"].tolist() == (2 * (i + 1)).tolist()
    assert not report.writes["x"].any() and not report.writes["w"].any()
    assert report.reads["x"].dtype == report.writes["y"].dtype == np.int64


def test_atomics_count_as_a_read_and_a_write():
    def kernel(y):
        cuda.atomic.add(y, (0, 1), 1)

    report = simt.launch(kernel, 2, 5, np.zeros((2, 2), np.int64))
    assert report.reads["y"].tolist() == [[0, 10], [0, 0]]
    assert report.writes["y"].tolist() == [[0, 10], [0, 0]]


def test_without_watching_nothing_is_counted():
    report = simt.launch(traffic, 1, 2, *np.ones((3, 3)), watch=False)
    assert report.reads == report.writes == {}
    assert report.threads == 2


def windows(x, y):
    i = cuda.threadIdx.x
    row, columns, part = x[i], x[:, i], x[1, 1:3, ::2]
    y[i, 0] = row[1, 2]
    y[i, 1] = columns[0, 3]
    y[i, 2] = part[i % 2, 1]
    y[i][3] = x.reshape(-1)[i] + x.reshape(9, -1)[i, 1] + x[i].reshape((5, 3))[i, i]
    y[i, 4:6] = i
    y[i, 6] = row.shape[0] * 100 + part.ndim * 10 + len(part)
    y[i, 7] = columns.size * 100 + x.itemsize * 10 + part.shape[1]


@given(seeds, st.booleans())
def test_windows_on_arrays(seed, watch):
    x, y = np.arange(45.0).reshape(3, 3, 5), np.empty((3, 8))
    simt.launch(windows, 1, 3, x, simt.poison(y), seed=seed, watch=watch)
    for i in range(3):
        expected = [x[i, 1, 2], x[0, i, 3], x[1, 1 + i % 2, 2]]
        expected += [i + (5 * i + 1) + (15 * i + 4 * i), i, i, 322, 1583]
        assert y[i].tolist() == expected


def test_a_row_may_be_copied_at_once():
    def kernel(x, y):
        i = cuda.threadIdx.x
        y[i] = x[1 - i]
        y[i, :1] = np.float32(7)

    x, y = np.arange(6.0).reshape(2, 3), np.empty((2, 3))
    # Numba does not compile it: it would have to take memory for a copy
    report = simt.launch(kernel, 1, 2, x, simt.poison(y), typed=False)
    assert y.tolist() == [[7, 4, 5], [7, 1, 2]]
    assert report.writes["y"].tolist() == [[2, 1, 1]] * 2
    assert (report.reads["x"] == 1).all()


def test_a_window_counts_in_its_array():
    def kernel(x, y):
        i = cuda.threadIdx.x
        row = x[1]
        y[i] = row[1:3][i] + row[i]

    y = np.empty(2)
    report = simt.launch(kernel, 1, 2, np.arange(8.0).reshape(2, 4), y)
    assert y.tolist() == [5 + 4, 6 + 5]
    assert report.reads["x"].tolist() == [[0] * 4, [1, 2, 1, 0]]


def copy(x, y):
    i, j = cuda.grid(2)
    y[i, j] = x[i, j]


VIEWS = {
    "transposed": lambda a: a.T,
    "backwards": lambda a: a[::-1, ::-1],
    "in steps": lambda a: a[::2, 1::3],
    "one axis backwards": lambda a: a[:, ::-1],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_arrays_need_not_be_contiguous(view):
    x, y = view(np.arange(64.0).reshape(8, 8)), view(np.zeros((8, 8)))
    report = simt.launch(copy, 1, x.shape, x, y)
    np.testing.assert_array_equal(x, y)
    assert (report.reads["x"] == 1).all() and (report.writes["y"] == 1).all()
    assert report.reads["x"].shape == x.shape


def test_one_memory_under_two_names_is_one_memory():
    def shift(x, y):
        i = cuda.threadIdx.x
        y[i] = x[i]

    memory = np.arange(9.0)
    # each thread for itself: no race; one cell further: the neighbour's
    simt.launch(shift, 1, 8, memory[:8], memory[:8])
    with pytest.raises(KernelError, match=r"race: on x/y\["):
        simt.launch(shift, 1, 8, memory[:8], memory[1:])
    simt.launch(shift, 1, 4, memory[:4], memory[4:8])


def test_an_array_that_may_only_be_read():
    x = np.arange(4.0)
    x.flags.writeable = False
    simt.launch(copy, 1, (2, 2), x.reshape(2, 2), np.empty((2, 2)))
    with pytest.raises(KernelError, match="only be read") as caught:
        simt.launch(copy, 1, (2, 2), np.empty((2, 2)), x.reshape(2, 2))
    assert caught.value.kind == "type"


def test_arrays_of_no_cells():
    def none(x, y):
        for i in range(x.shape[0]):
            y[i] = x[i, 0]

    report = simt.launch(none, 1, 4, np.empty((0, 3)), np.empty(0))
    assert report.reads["x"].shape == (0, 3)


@pytest.mark.parametrize("kind", DTYPES)
def test_poison_is_known_again(kind):
    array = np.zeros((3, 5), kind)
    assert not simt.is_poison(array).any()
    assert simt.poison(array) is array
    assert simt.is_poison(array).all()
    assert array.dtype.kind != "f" or np.isnan(array).all()
    array[1, 2] = array.dtype.type(np.nan) if kind[0] == "f" else 7
    assert simt.is_poison(array).sum() == 14
    assert simt.is_poison(array[::2]).all()


def test_single_bytes_have_no_poison():
    array = simt.poison(np.zeros(4, np.uint8))
    assert array.tolist() == [0xAD] * 4
    assert not simt.is_poison(array).any()


def test_poison_of_two_bytes_is_a_nan_of_bfloat16():
    bits = simt.poison(np.zeros(1, np.uint16)).astype(np.uint32) << 16
    assert np.isnan(bits.astype(np.uint32).view(np.float32)).all()


def test_what_nobody_wrote_stays_poison():
    def odd(y):
        i = cuda.threadIdx.x
        if i % 2:
            y[i] = i

    y = simt.poison(np.empty(6, np.float32))
    simt.launch(odd, 1, 6, y)
    assert simt.is_poison(y).tolist() == [True, False] * 3


@pytest.mark.parametrize("kind", [*DTYPES, "u1", "i1", "?"])
def test_shared_memory_of_any_dtype_is_watched(kind):
    dtype = np.dtype(kind)

    def kernel(y):
        tile = cuda.shared.array(2, dtype)
        tile[0] = 1
        y[0] = tile[1]

    with pytest.raises(KernelError, match="shared tile") as caught:
        simt.launch(kernel, 1, 1, np.empty(1))
    assert caught.value.kind == "uninitialised"


@pytest.mark.parametrize("space", [cuda.shared, cuda.local])
def test_the_shape_of_an_array_is_no_list(space):
    # Numba's compiler refuses it; where that is not asked, the interpreter has to
    def kernel(y):
        part = space.array([2, 3], np.float32)
        part[0, 0] = 1
        y[0] = part[0, 0]

    with pytest.raises(KernelError, match=r"shape \[2, 3\] .* write \(2, 3\)"):
        simt.launch(kernel, 1, 1, np.zeros(1), typed=False)


def test_lines_that_store_a_float64_in_less_are_reported():
    def kernel(x, y, scale):
        y[0] = x[0] * np.float32(scale)
        y[1] = x[0] * scale

    x, y = np.ones(1, np.float32), np.empty(2, np.float32)
    (line,) = simt.launch(kernel, 1, 1, x, y, 0.5).float64
    assert "y[1] = x[0] * scale" in line
    assert simt.launch(kernel, 1, 1, x, y, np.float32(0.5)).float64 == ()


OUTSIDE = [4, -5, np.int64(-5), (4,), (-5,)]


@pytest.mark.parametrize("index", OUTSIDE, ids=str)
def test_an_index_outside_is_refused(index):
    def read(x):
        x[index]

    def write(x):
        x[index] = 1

    def change(x):
        cuda.atomic.add(x, index, 1)

    for kernel in (read, write, change):
        with pytest.raises(KernelError, match=r"thread 0 of block 0 touches x\["):
            # an atomic takes no index in a tuple of one when it is compiled
            simt.launch(kernel, 1, 1, np.zeros(4), typed=False)


def last_two(x, y):
    y[0] = x[-1]
    y[-1] = x[-2]


@pytest.mark.parametrize("typed", [None, False])
def test_a_negative_index_counts_from_the_end(typed):
    y = np.zeros(2)
    simt.launch(last_two, 1, 1, np.arange(4.0), y, typed=typed)
    assert y.tolist() == [3, 2]


def test_numpy_notices_some_indices_without_watching():
    def past(x):
        x[cuda.threadIdx.x] = 1

    with pytest.raises(KernelError, match="thread 4 of block 0: IndexError") as caught:
        simt.launch(past, 1, 5, np.zeros(4), watch=False)
    assert caught.value.kind == "bounds"
    assert "x[cuda.threadIdx.x] = 1" in str(caught.value)
