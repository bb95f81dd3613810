"""Strangers' kernels on ptx: the value that a GPU gives, or the right accusation.

The kernels of `tests/simt/cases` are versions of ops. Here each is launched as its
author meant it, and its result is held against the op's reference, as `minigen check`
does.
"""

import numpy as np
import pytest

from minigen import ptx
from minigen.checking import specs
from minigen.checking.specs import SPECS
from minigen.checking.tolerance import FACTOR
from minigen.errors import KernelError
from minigen.simt.pattern import fresh
from minigen.target import cuda
from tests.simt.cases import hang, right, silent, wrong

pytestmark = pytest.mark.needs("compiler")

ALL = 0xFFFFFFFF
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape, np.float32)


# the largest of a row decide over exp: all below 0, and some above 88
LOGITS = normal(5, 40) + np.array([[0, -200, 0, 200, 3]], np.float32).T
CASES = {
    "rms_norm": {"x": normal(3, 300), "w": normal(300), "eps": np.float32(1e-5)},
    "layer_norm": {
        "x": normal(3, 300), "w": normal(300), "bias": normal(300),
        "eps": np.float32(1e-5),
    },
    "swiglu": {"gate": normal(300), "up": normal(300)},
    "linear": {"x": normal(5, 65), "w": normal(200, 65)},
    "cross_entropy": {"logits": LOGITS, "targets": RNG.integers(0, 40, 5, np.int32)},
}  # fmt: skip
RESULTS = {"linear": (5, 200), "cross_entropy": (5,)}
LAUNCHES = {
    "rms_norm": (3, 128), "layer_norm": (3, 128), "swiglu": (3, 128),
    "linear": ((5, 2), 128), "cross_entropy": (2, 128),
    "r06_block_2d": ((1, 13), (16, 16)), "r04_tree": (3, 64),
    "r15_four_cells": (1, 128), "r07_dynamic": (3, 128),
}  # fmt: skip
OPS = {"up": "swiglu", "targets": "cross_entropy", "bias": "layer_norm"}


def error(kernel):
    """Return the largest error of a case's kernel, in eps of the magnitude."""
    names = kernel.py_func.__code__.co_varnames[: kernel.py_func.__code__.co_argcount]
    op = "rms_norm" if "eps" in names else "linear"
    op = next((OPS[name] for name in OPS if name in names), op)
    given = {name: np.copy(value) for name, value in CASES[op].items()}
    given = {n: v if v.ndim else v[()] for n, v in given.items()}
    if kernel is wrong.w02_divergent_sync:
        # a row that has fewer columns than the block has threads
        given["x"] = given["x"][:, :100].copy()
    shape = RESULTS.get(op, next(iter(given.values())).shape)
    y = fresh(shape, np.float32)
    grid, block = LAUNCHES.get(kernel.__name__, LAUNCHES[op])
    dynamic = 512 if kernel.__name__ == "r07_dynamic" else 0
    ptx.launch(kernel, grid, block, *given.values(), y, dynamic=dynamic, patience=2_000)
    for name, value in CASES[op].items():
        assert np.array_equal(given[name], value), f"wrote into {name}"
    if op == "cross_entropy":
        # the op's is their mean
        with np.errstate(invalid="ignore"):
            y = y.mean(dtype=np.float64)
    more = {"bias": None, "residual": None} if op == "linear" else {}
    return specs.worst(SPECS[op], CASES[op] | more, y)


def kernels(module):
    """Return the kernels of a module by name."""
    found = vars(module).items()
    return {name: value for name, value in found if name[1:3].isdigit()}


@pytest.mark.parametrize("name", kernels(right))
def test_a_right_kernel_is_not_refused(name):
    assert error(getattr(right, name)) <= FACTOR


KINDS = {
    "w01_missing_sync": "race", "w02_divergent_sync": "divergent barrier",
    "w03_no_guard": "bounds", "w06_blockdim": "uninitialised",
    "w08_between_blocks": "race", "w09_no_atomic": "race",
    "w11_uninitialised": "uninitialised", "w13_shared_too_large": "shared memory",
    "w14_warp_synchronous": "race", "w15_int32_index": "race",
    "w16_read_other_block": "race",
    "w17_double_write": "race", "w21_never_ends": "endless",
}  # fmt: skip
"""Those that do something wrong; of the others the result is, or an input."""


@pytest.mark.parametrize("name", kernels(wrong))
def test_a_wrong_kernel_is_named(name):
    kernel = getattr(wrong, name)
    if name == "w18_in_place":
        with pytest.raises(AssertionError, match="wrote into x"):
            error(kernel)
    elif name == "w07_float64":
        # a right value, but its line is named
        assert error(kernel) <= FACTOR
        given = [*CASES["swiglu"].values(), normal(300)]
        assert "mul.f64" in ptx.program(kernel, given).source
    elif name in KINDS:
        with pytest.raises(KernelError) as caught:
            error(kernel)
        assert caught.value.kind == KINDS[name]
    else:
        assert not error(kernel) <= FACTOR


def test_a_product_of_uint32_is_a_uint64():
    given = {"key": RNG.integers(0, 2**32, 2, np.uint32), "images": np.arange(2),
             "positions": np.arange(3), "step": 1, "index": 0}  # fmt: skip
    u = np.zeros((2, 3), np.float32)
    ptx.launch(silent.philox_as_in_c, 1, 32, *given.values(), u)
    assert (u == np.float32(1 - 2**-24)).all()


def test_a_kernel_that_never_ends():
    case = CASES["rms_norm"]
    with pytest.raises(KernelError, match="endless: .*2000 basic blocks"):
        ptx.launch(hang.tree, 3, 128, *case.values(), normal(3, 300), patience=2_000)


def gray(rgb, out):
    out[0] = (rgb[0] + rgb[1] + rgb[2]) // 3


def bools(a, out):
    out[0] = (a[0] > 0) + (a[1] > 0) + (a[2] > 0)
    out[1] = (a[0] < 0) - (a[1] > 0)


def enumerated(a, out):
    for i, v in enumerate(a):
        out[0] += v + i


def two_views(out):
    f = cuda.shared.array(0, np.float32)
    f[0] = 1.0
    i = cuda.shared.array(0, np.int32)
    i[1] = 7
    out[0] = f[0]


def last(a, out):
    out[0] = a[-1]


def plain_integers(out):
    x = 1
    for _ in range(63):
        x = x * 2
    out[0] = x
    h = 5381
    for _ in range(40):
        h = h * 33 + 7
    out[1] = h % 1000


def attributes(a, out):
    out[0] = a.strides[0]
    out[1] = a.T[0, 1] + a.real[0, 0] + a.size


def tuple_of_arrays(arrays):
    arrays[0][cuda.threadIdx.x - 1] += 1


SIDE = 16


def global_sizes(out):
    s = cuda.shared.array((SIDE, SIDE + 1), np.float32)
    s[0, 0] = 1
    out[0] = s[0, 0]


FLOATS = np.arange(4, dtype=np.float32)
VALUES = [
    (gray, (np.array([100, 100, 100], np.uint8), np.zeros(1, np.uint8)), [100]),
    (bools, (np.ones(3, np.float32), np.zeros(2, np.int32)), [3, -1]),
    (enumerated, (FLOATS, np.zeros(1)), [12]),
    (two_views, (np.zeros(1),), [1]),
    (last, (FLOATS, np.zeros(1)), [3]),
    (plain_integers, (np.zeros(2),), [-(2.0**63), 861]),
    (attributes, (np.arange(6.0).reshape(2, 3), np.zeros(2)), [24, 9]),
]


@pytest.mark.parametrize("kernel, given, wanted", VALUES)
def test_a_value_is_what_a_gpu_gives(kernel, given, wanted):
    ptx.launch(kernel, 1, 1, *given, dynamic=8)
    assert given[-1].tolist() == wanted


def test_arrays_in_a_tuple_are_watched():
    with pytest.raises(KernelError, match=r"race: .* of arrays\[0\]"):
        ptx.launch(tuple_of_arrays, 2, 32, (np.zeros(40), np.zeros(1)))


def test_a_shape_that_is_no_constant_does_not_compile():
    with pytest.raises(KernelError, match="compile: .*shared.array"):
        ptx.launch(global_sizes, 1, 1, np.zeros(1))
