"""The interpreter has no word that CUDA has not; what libdevice functions compute."""

import math

import numba.cuda
import numba.cuda.fp16
import numpy as np
import pytest
from numba.cuda import libdevice

from minigen import simt
from minigen.simt.language import cuda as language
from minigen.target import cuda

WORDS = sorted(name for name in dir(language) if not name.startswith("_"))


@pytest.mark.parametrize("name", WORDS)
def test_every_word_is_one_of_cuda(name):
    assert hasattr(numba.cuda, name)


def test_so_is_every_atomic_and_every_function_of_libdevice():
    for name in vars(language.atomic):
        assert hasattr(numba.cuda.atomic, name), name
    for name in vars(language.libdevice):
        assert hasattr(libdevice, name), name


def single(*values):
    return [np.float32(v) for v in values]


# name, arguments, what float64 or integers make of it
CASES = [
    ("fast_expf", single(1.5), math.exp(1.5)),
    ("expf", single(-200), 0.0),
    ("logf", single(3), math.log(3)),
    ("fast_log2f", single(3), math.log2(3)),
    ("log2f", single(0), -math.inf),
    ("exp2f", single(0.5), 2**0.5),
    ("exp10f", single(0.5), 10**0.5),
    ("cospif", single(0.25), 0.5**0.5),
    ("rsqrtf", single(3), 3**-0.5),
    ("frcp_rn", single(3), 1 / 3),
    ("fast_fdividef", single(1, 3), 1 / 3),
    ("fdiv_rn", single(1, 0), math.inf),
    ("fmaf", single(3, 5, 7), 22.0),
    ("sqrtf", single(2), 2**0.5),
    ("cbrtf", single(27), 3.0),
    ("powf", single(3, 0.5), 3**0.5),
    ("fast_powf", single(3, 2), 9.0),
    ("tanhf", single(0.25), math.tanh(0.25)),
    ("erff", single(0.25), math.erf(0.25)),
    ("tgammaf", single(5), 24.0),
    ("lgammaf", single(5), math.log(24)),
    ("sinf", single(2), math.sin(2)),
    ("fabsf", single(-2), 2.0),
    ("fmaxf", single(math.nan, 2), 2.0),
    ("fminf", single(1, 2), 1.0),
    ("floorf", single(-1.5), -2.0),
    ("ceilf", single(-1.5), -1.0),
    ("truncf", single(-1.5), -1.0),
    ("rintf", single(2.5), 2.0),
    ("saturatef", single(1.5), 1.0),
    ("fmodf", single(7, 4), 3.0),
    ("atan2f", single(1, -1), math.atan2(1, -1)),
    ("float2int_rn", single(2.5), 2),
    ("float2int_rz", single(-2.7), -2),
    ("float2int_rd", single(-2.2), -3),
    ("float2int_ru", single(2.2), 3),
    ("int2float_rn", [np.int32(-7)], -7.0),
    ("int_as_float", [np.int32(0x3F800000)], 1.0),
    ("float_as_int", single(1), 0x3F800000),
    ("longlong_as_double", [np.int64(0x3FF0000000000000)], 1.0),
    ("double_as_longlong", [np.float64(1)], 0x3FF0000000000000),
    ("mulhi", [np.int32(-(2**30)), np.int32(8)], -2),
    ("umulhi", [np.uint32(2**31), np.uint32(8)], 4),
    ("umul64hi", [np.uint64(2**63), np.uint64(8)], 4),
    ("exp", [np.float64(1)], math.e),
    ("rsqrt", [np.float64(4)], 0.5),
]


@pytest.mark.parametrize("name, values, expected", CASES, ids=[c[0] for c in CASES])
def test_a_function_of_libdevice(name, values, expected):
    def kernel(y):
        y[0] = getattr(cuda.libdevice, name)(*values)
        y[1] = getattr(cuda.libdevice, name)(*values).itemsize

    y = np.zeros(2)
    simt.launch(kernel, 1, 1, y, typed=False)
    if name.endswith("f") or name.startswith("f") and name.endswith("_rn"):
        assert y[1] == 4
        expected = np.float32(expected)
    np.testing.assert_allclose(y[0], expected, rtol=1e-7)
