"""linear on a GPU: each rung of the ladder, interpreted, against the reference."""

import ctypes
import re
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hypothesis

from minigen import arrays, simt
from minigen.errors import BackendError, ShapeError
from minigen.extras import install
from minigen.ops.linear import cublas, cuda, cuda_tensor, reference
from minigen.simt import twins
from minigen.target import cuda as gpu
from tests import strategies as st
from tests.tolerance import assert_close, assert_same

FLOAT32, FLOAT16, BFLOAT16 = st.WEIGHT_DTYPES

rungs = hypothesis.sampled_from(("naive", "skinny", "tiled", "tensor"))
n = hypothesis.sampled_from((1, 2, 3, 4, 5, 7, 8, 9, 16, 17))
f = hypothesis.sampled_from((1, 2, 3, 4, 5, 31, 33))


def width_of(draw, rung, dtype):
    """Draw a width of x that a rung can take with weights of a dtype."""
    if rung in ("naive", "tiled"):
        return draw(hypothesis.sampled_from((1, 2, 3, 15, 16, 17, 31, 33)))
    return 16 // dtype.itemsize * draw(hypothesis.sampled_from((1, 2, 3, 5, 9)))


@hypothesis.composite
def cases(draw, rungs=rungs, n=n, f=f):
    """Draw a rung, and x (1 n d), w (f d), a bias (f) and a residual (1 n f) for it,
    of which there may be none."""
    rung, seed = draw(rungs), draw(st.seeds)
    dtype = BFLOAT16 if rung == "tensor" else draw(st.weight_dtypes)
    rows, features, d = draw(n), draw(f), width_of(draw, rung, dtype)
    x = st.floats(seed, 1, rows, d)
    w = st.floats(seed, features, d, dtype=dtype)
    bias = st.floats(seed + 1, features, dtype=dtype)
    residual = st.floats(seed + 2, 1, rows, features)
    biased, added = draw(hypothesis.booleans()), draw(hypothesis.booleans())
    return rung, x, w, bias if biased else None, residual if added else None


def multiply(rung, *inputs, seed=None, watch=False):
    device = arrays.Interpreter(seed=seed, watch=watch)
    return device.get(cuda.multiply(device, rung, *moved(device, inputs)))


def moved(device, inputs):
    return [one if one is None else device.put(one) for one in inputs]


def assert_right(y, *inputs):
    wide = [one if one is None else one.astype(np.float64) for one in inputs]
    magnitude = reference.linear(*(one if one is None else abs(one) for one in wide))
    assert_close(y, reference.linear(*wide), magnitude)


@given(cases(), st.seeds)
def test_close_to_the_reference_in_every_schedule(case, schedule):
    rung, *inputs = case
    assert_right(multiply(rung, *inputs, seed=schedule, watch=True), *inputs)


@pytest.mark.parametrize(
    ("rung", "rows", "features"),
    [("naive", 2, 130), ("skinny", 9, 9), ("tiled", 66, 65), ("tensor", 66, 65)],
)
def test_more_than_one_block_each_way(rung, rows, features):
    x, w = st.floats(0, 1, rows, 24), st.floats(1, features, 24, dtype=BFLOAT16)
    assert_right(multiply(rung, x, w, seed=3), x, w)


def long_and_positive(features):
    # where nothing cancels, the roundings of a plain running sum go past the tolerance
    x, w = abs(st.floats(4, 1, 1, 1032)), abs(st.floats(5, features, 1032))
    return x, w.astype(BFLOAT16)


@pytest.mark.parametrize("rung", ["skinny", "tiled", "tensor"])
def test_long_sums_are_made_of_short_ones(rung):
    x, w = long_and_positive(3)
    assert_right(multiply(rung, x, w), x, w)


def test_tensor_cores_may_drop_bits_instead_of_rounding(monkeypatch):
    multiply_matrices = twins._multiply

    def dropping(lanes):
        # more than any hardware drops: a whole unit in the last place, each time
        product = multiply_matrices(lanes).items()
        return {lane: tuple(np.nextafter(c, np.float32(0))) for lane, c in product}

    monkeypatch.setattr(twins, "_multiply", dropping)
    x, w = long_and_positive(3)
    assert_right(multiply("tensor", x, w), x, w)


@given(cases(), hypothesis.data())
@settings(max_examples=10)
def test_a_row_has_the_same_bits_in_any_batch(case, data):
    rung, x, w, bias, residual = case
    i = data.draw(hypothesis.integers(0, x.shape[1] - 1))
    together = multiply(rung, x, w, bias, residual)
    added = residual if residual is None else residual[:, i : i + 1]
    alone = multiply(rung, x[:, i : i + 1], w, bias, added)
    assert_same(alone, together[:, i : i + 1])


@given(cases(f=hypothesis.just(33)), hypothesis.data())
@settings(max_examples=6)
def test_a_feature_has_the_same_bits_in_any_batch(case, data):
    rung, x, w, *_ = case
    j = data.draw(hypothesis.integers(0, len(w) - 1))
    together = multiply(rung, x, w)
    assert_same(multiply(rung, x, w[j : j + 1]), together[..., j : j + 1])


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16], ids=str)
@pytest.mark.parametrize("rung", ["skinny", "tiled"])
def test_every_kind_of_number_of_sixteen_bits_is_widened(rung, dtype):
    # of each exponent and sign the first and the last, subnormal ones and zeros too
    step = 1 << (10 if dtype == FLOAT16 else 7)
    bits = np.arange(0, 2**16, step)[:, None] + np.array([0, 1, step - 1])
    w = bits.astype(np.uint16).view(dtype).ravel()
    w = w[np.isfinite(w.astype(np.float32))]
    # y is w transposed
    w = w[: len(w) // 8 * 8].reshape(-1, 8)
    y = multiply(rung, np.eye(8, dtype=np.float32)[None], w)
    assert (y[0] == w.astype(np.float32).T).all()


def _parts(x, parts):
    # a kernel, for the interpreter
    i = gpu.threadIdx.x
    high, middle, low = cuda_tensor._split(x[i])
    parts[i, 0], parts[i, 1], parts[i, 2] = high, middle, low


@given(hypothesis.lists(hypothesis.floats(2.0**-100, 2.0**100, width=32), min_size=1))
def test_three_bfloat16_are_a_float32(values):
    x = np.array(values, np.float32)[:64] * np.float32(1 - 2 * (len(values) % 2))
    parts = np.zeros((len(x), 3), np.int32)
    simt.launch(_parts, 1, len(x), x, parts)
    # nothing but the upper halves, and nothing lost
    assert not np.any(parts & 0xFFFF)
    high, middle, low = parts.view(np.float32).T
    assert_same(low + middle + high, x)
    assert_same(x - high, middle + low)


@pytest.mark.parametrize(
    ("rows", "d", "dtype", "cores", "expected"),
    [
        (1, 4, np.float32, True, "skinny"),
        (1, 6, np.float32, True, "tiled"),
        (1, 8, np.uint16, True, "skinny"),
        (1, 12, np.uint16, True, "tiled"),
        (64, 16, np.uint16, True, "skinny"),
        (65, 16, np.uint16, True, "tensor"),
        (65, 16, np.uint16, False, "tiled"),
        (65, 16, np.float16, True, "tiled"),
        (65, 16, np.float32, True, "tiled"),
        (65, 12, np.uint16, True, "tiled"),
    ],
)
def test_which_rung_is_taken(rows, d, dtype, cores, expected):
    device = arrays.Interpreter(tensor_cores=cores)
    assert cuda.choose(device, rows, np.ones((3, d), dtype)) == expected


@pytest.mark.parametrize("dtype", st.WEIGHT_DTYPES, ids=str)
@pytest.mark.parametrize(("rows", "d"), [(2, 8), (2, 5), (66, 8)])
def test_the_launchers_take_a_rung_and_one_launch(rows, d, dtype):
    device = arrays.Interpreter()
    x, w = st.floats(0, 1, rows, d), st.floats(1, 3, d, dtype=dtype)
    bias, residual = st.floats(2, 3, dtype=dtype), st.floats(3, 1, rows, 3)
    endings = (None, None), (bias, None), (None, residual), (bias, residual)
    for ending in endings:
        y = cuda.linear(device, *moved(device, (x, w, *ending)))
        assert_right(device.get(y), x, w, *ending)
    assert device.launches == len(endings)


@pytest.mark.parametrize("rows", [(22,), (11, 6)])
def test_an_image_has_the_same_bits_alone_and_in_a_batch(rows):
    # few rows of an image, though 66 together; and many, of pixels
    device = arrays.Interpreter()
    x, w = st.floats(0, 3, *rows, 8), st.floats(1, 3, 8, dtype=BFLOAT16)
    together = device.get(cuda.linear(device, *moved(device, (x, w))))
    alone = device.get(cuda.linear(device, *moved(device, (x[1:2], w))))
    assert_same(alone, together[1:2])


class Shared(np.ndarray):
    """A NumPy array that says where it lies, as an array of a GPU does."""

    @property
    def __cuda_array_interface__(self):
        return {"data": (self.ctypes.data, False)}


class Blas:
    """Stands in for nvmath.bindings.cublas: its signatures, and matrices by columns."""

    def __init__(self):
        self.calls = Counter()

    def create(self):
        return 7

    def set_stream(self, handle, stream_id):
        assert (handle, stream_id) == (7, 11)
        self.calls["set_stream"] += 1

    def sgemm(
        self, handle, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc
    ):
        self.calls["sgemm"] += 1
        assert handle == 7
        left = by_columns(a, *((k, m) if transa else (m, k)), lda)
        right = by_columns(b, *((n, k) if transb else (k, n)), ldb)
        out = by_columns(c, m, n, ldc)
        alpha, beta = by_columns(alpha, 1, 1, 1)[0, 0], by_columns(beta, 1, 1, 1)[0, 0]
        # what is there is not read if beta is zero: it may be NaN
        before = beta * out if beta else 0
        left, right = (left.T if transa else left), (right.T if transb else right)
        out[...] = alpha * (left @ right) + before


def by_columns(address, rows, columns, ld):
    """Return the matrix that cuBLAS sees at an address."""
    assert ld >= rows
    memory = (ctypes.c_float * (ld * columns)).from_address(address)
    return np.frombuffer(memory, np.float32).reshape(columns, ld).T[:rows]


class Gpu:
    """Stands in for a GPU: memory with addresses, a stream, and our own kernels."""

    stream, tensor_cores = 11, True

    def __init__(self):
        self.launch = arrays.Interpreter().launch

    def empty(self, shape, dtype=np.float32):
        return np.full(shape, np.nan, dtype).view(Shared)


@given(hypothesis.integers(65, 80), st.d, st.f, st.seeds)
def test_cublas_is_told_the_right_product(rows, d, f, seed):
    x, w = st.floats(seed, 1, rows, d), st.floats(seed, f, d)
    blas = Blas()
    y = cublas.use(Gpu(), blas)(x.view(Shared), w.view(Shared))
    assert_right(np.asarray(y), x, w)
    assert blas.calls == {"set_stream": 1, "sgemm": 1}


@pytest.mark.parametrize(
    ("rows", "dtype", "biased"),
    [(3, np.float32, False), (66, np.float16, False), (66, np.float32, True)],
)
def test_cublas_leaves_the_rest_to_our_kernels(rows, dtype, biased):
    x, w = st.floats(0, 1, rows, 8), st.floats(1, 5, 8, dtype=dtype)
    blas, bias = Blas(), st.floats(2, 5) if biased else None
    assert_right(np.asarray(cublas.use(Gpu(), blas)(x, w, bias=bias)), x, w, bias)
    assert blas.calls == {"set_stream": 1}


def test_cublas_refuses_what_linear_refuses():
    with pytest.raises(ShapeError, match="w has shape"):
        cublas.use(Gpu(), Blas())(st.floats(0, 1, 70, 3), st.floats(1, 4, 5))


def test_without_nvmath_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvmath", None)
    with pytest.raises(BackendError, match=re.escape(install("cublas"))):
        cublas.use(Gpu())
