"""How a kernel comes to see the interpreter's `cuda`: globals, closures, modules."""

import math
import subprocess
import sys
import types
from math import exp

import numba
import numba.cuda
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import cuda as renamed
from numba.cuda import atomic, grid, libdevice, shared, syncthreads, threadIdx

from minigen import extras, simt, target
from minigen.errors import KernelError
from minigen.simt.maths import maths
from minigen.target import cuda, gpu_inline, gpu_kernel

SCALE = np.float32(3)


def run(kernel, *more, block=4, watch=True):
    y = simt.poison(np.empty(block, np.float32))
    simt.launch(kernel, 1, block, y, *more, watch=watch, typed=False)
    return y.tolist()


@gpu_kernel
def compiled(y):
    y[cuda.threadIdx.x] = SCALE


@gpu_inline
def doubled(x):
    return SCALE * x


@gpu_inline
def quadrupled(x):
    return doubled(doubled(x)) * np.float32(cuda.blockDim.x)


@gpu_kernel
def calls_helpers(y):
    y[cuda.threadIdx.x] = quadrupled(np.float32(cuda.threadIdx.x))


@numba.njit
def tripled(x):
    return SCALE * x


def calls_a_cpu_function(y):
    y[cuda.threadIdx.x] = tripled(y.shape[0])


def by_other_names(y):
    tile = shared.array(4, numba.float32)
    i = threadIdx.x
    tile[i] = libdevice.fast_expf(np.float32(0)) + exp(np.float32(0))
    syncthreads()
    y[i] = tile[3 - i] + renamed.shfl_sync(0xFFFFFFFF, np.float32(i), 0)
    atomic.add(y, i, grid(1))


def through_modules(y):
    tile = numba.cuda.shared.array(4, target.cuda.float32)
    i = target.cuda.threadIdx.x
    tile[i] = HELPERS.helper(np.float32(i))
    numba.cuda.syncthreads()
    y[i] = numba.float32(tile[3 - i]) * math.floor(np.float32(1.5))


HELPERS = types.ModuleType("helpers")
HELPERS.helper = doubled


def test_a_compiled_kernel_is_run_from_its_source():
    assert run(compiled) == run(compiled.py_func) == [3] * 4


def test_helpers_are_run_from_their_source_too():
    assert run(calls_helpers) == [0, 36, 72, 108]
    assert run(calls_a_cpu_function) == [12] * 4


@pytest.mark.parametrize("watch", [True, False])
def test_parts_of_numba_are_known_under_any_name(watch):
    assert run(by_other_names, watch=watch) == [2, 3, 4, 5]
    assert run(through_modules, watch=watch) == [9, 6, 3, 0]


def test_a_closure_is_copied():
    @gpu_inline
    def shift(x):
        return x + amount

    def kernel(y):
        y[threads()] = shift(np.float32(0))

    def threads():
        return cuda.threadIdx.x

    amount = np.float32(5)
    assert run(kernel) == [5] * 4
    amount = np.float32(6)
    assert run(kernel) == [6] * 4


def test_a_global_that_changes_is_seen(monkeypatch):
    assert run(compiled) == [3] * 4
    monkeypatch.setitem(compiled.py_func.__globals__, "SCALE", np.float32(4))
    assert run(compiled) == [4] * 4
    assert run(calls_helpers) == [0, 64, 128, 192]


def test_a_kernel_is_left_as_it_was():
    before = dict(by_other_names.__globals__)
    run(by_other_names)
    assert by_other_names.__globals__ == before
    assert by_other_names.__globals__["renamed"] is numba.cuda


def test_functions_may_call_themselves_and_each_other():
    def even(n):
        return 1 if n == 0 else odd(n - 1)

    def odd(n):
        return 0 if n == 0 else even(n - 1)

    def kernel(y):
        y[cuda.threadIdx.x] = even(cuda.threadIdx.x)

    assert run(kernel) == [1, 0, 1, 0]


def test_default_arguments_stay():
    def power(x, n=2, *, add=1):
        return x**n + add

    def kernel(y):
        y[cuda.threadIdx.x] = power(np.float32(cuda.threadIdx.x))

    assert run(kernel) == [1, 2, 5, 10]


def test_an_intrinsic_is_replaced_by_its_twin():
    from minigen.ops.intrinsics import load16, widen

    def kernel(y, x):
        i = cuda.threadIdx.x
        y[i] = widen(np.uint16(0x4000)) + load16(x, 4)[i]

    assert run(kernel, np.arange(8, dtype=np.float32)) == [6, 7, 8, 9]


def without(module):
    """Return what a first launch prints where a module is not installed."""
    code = (
        f"import sys; sys.modules['{module}'] = None\n"
        "import numpy as np\n"
        "from minigen import errors, simt\n"
        "def kernel(x):\n"
        "    x[0] = 5\n"
        "x = np.zeros(1)\n"
        "try:\n"
        "    simt.launch(kernel, 1, 1, x)\n"
        "except errors.BackendError as error:\n"
        "    print(error)\n"
        "print(x[0])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return out.stdout + out.stderr


def test_the_interpreter_needs_no_numba():
    assert without("numba") == "5.0\n"


def test_without_greenlet_it_says_what_to_install():
    assert f"{extras.install('check')}\n0.0" in without("greenlet")


# what is refused, and how


def test_a_fault_of_python_is_reported_with_thread_and_line():
    def kernel(y):
        y[cuda.threadIdx.x] = 1 // (cuda.threadIdx.x - 2)

    with pytest.raises(KernelError, match="thread 2 of block 0: ZeroDivis") as caught:
        run(kernel)
    assert caught.value.kind == "exception"
    assert "test_rewrite.py:" in str(caught.value)
    assert "y[cuda.threadIdx.x] = 1 // (cuda.threadIdx.x - 2)" in str(caught.value)
    # and the next launch is not the worse for it
    assert run(compiled) == [3] * 4


def test_a_word_the_interpreter_does_not_know():
    def kernel(y):
        cuda.teleport(y)

    def through_a_module(y):
        numba.cuda.teleport(y)

    for each in (kernel, through_a_module):
        with pytest.raises(KernelError, match="no cuda.teleport; it has .*s") as caught:
            run(each)
        assert caught.value.kind == "unsupported"
        assert "cuda.teleport(y)" in str(caught.value)


def test_an_intrinsic_without_a_twin():
    @target.gpu_intrinsic
    def ldmatrix(context, x):
        return None

    def kernel(y):
        y[0] = ldmatrix(y)

    with pytest.raises(KernelError, match="ldmatrix is known to the comp") as caught:
        run(kernel)
    assert caught.value.kind == "unsupported"


def test_a_launch_that_makes_no_sense():
    for blocks, block in ((0, 1), (1, 0), ((1, 1, 1, 1), 1), (1, 1025), (1, (32, 33))):
        with pytest.raises(KernelError) as caught:
            simt.launch(compiled, blocks, block, np.zeros(4))
        assert caught.value.kind == "type"
    with pytest.raises(KernelError, match=r"takes \(y\) and was given 2"):
        simt.launch(compiled, 1, 1, np.zeros(4), np.zeros(4))
    with pytest.raises(KernelError, match="is no kernel"):
        simt.launch("kernel", 1, 1)


# math in float32


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "tanh", "sin", "erf", "log1p"])
@given(st.floats(-200, 200, width=32))
def test_math_of_a_float32_is_a_float32(name, x):
    with np.errstate(all="ignore"):
        y = getattr(maths, name)(np.float32(x))
    assert type(y) is np.float32
    try:
        expected = getattr(math, name)(x)
    except OverflowError:
        expected = np.inf
    except ValueError:
        expected = -np.inf if x == 0 or x == -1 else np.nan
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(y, np.float32(expected))


def test_math_of_other_numbers():
    assert type(maths.exp(1.0)) is float and maths.exp(1.0) == math.e
    assert type(maths.exp(np.float64(1))) is np.float64
    assert type(maths.exp(np.float16(1))) is np.float16
    assert type(maths.pow(np.float32(2), np.float32(3))) is np.float32
    assert type(maths.pow(np.float32(2), np.float64(3))) is np.float64
    assert type(maths.floor(np.float32(2.5))) is np.float32
    assert maths.ceil(np.float32(2.5)) == 3 and maths.trunc(np.float32(-2.5)) == -2
    assert maths.pi == math.pi and maths.isnan(np.float32("nan"))
