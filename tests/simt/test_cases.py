"""Kernels that were once run or judged wrongly: values, faults, and what check says."""

import copy
import inspect

import numpy as np
import pytest

import minigen
from minigen import simt
from minigen.errors import KernelError
from tests.simt.cases import hang, kernels, right, silent, wrong

pytestmark = pytest.mark.needs("compiler")


@pytest.mark.parametrize("watch", [True, False])
@pytest.mark.parametrize("kernel", kernels.VALUES, ids=lambda k: k.__name__)
def test_a_value_is_what_a_gpu_computes(kernel, watch):
    arguments, expected = copy.deepcopy(kernels.VALUES[kernel])
    grid, block = kernels.LAUNCH.get(kernel, (1, 1))
    report = simt.launch(kernel, grid, block, *arguments, watch=watch, dynamic=8)
    assert report.untyped == ""
    np.testing.assert_array_equal(arguments[-1], expected)


@pytest.mark.parametrize("kernel", kernels.FAULTS, ids=lambda k: k.__name__)
def test_a_fault_is_named(kernel):
    arguments, grid, block, kind, words = copy.deepcopy(kernels.FAULTS[kernel])
    with pytest.raises(KernelError) as caught:
        simt.launch(kernel, grid, block, *arguments, seed=1, patience=2000)
    assert caught.value.kind == kind
    assert words in str(caught.value)


def test_what_is_no_argument_is_named():
    for wrong_one in ([1.0, 2.0], {"a": 1}, "x"):
        with pytest.raises(KernelError, match="argument y of made"):
            simt.launch(kernels.made, 1, 1, wrong_one)


def test_too_many_threads_along_an_axis():
    with pytest.raises(KernelError, match="too many along an axis"):
        simt.launch(kernels.endless, 1, (1, 1, 65), np.zeros(1))


OPS = {
    ("x", "w", "eps", "y"): "rms_norm",
    ("gate", "up", "y"): "swiglu",
    ("logits", "targets", "losses"): "cross_entropy",
    ("x", "w", "bias", "eps", "y"): "layer_norm",
    ("key", "images", "positions", "step", "index", "u"): "uniforms",
}


def check(kernel, **options):
    op = OPS[tuple(inspect.signature(kernel.py_func).parameters)]
    known = {"layer_norm": "_layer_norm"}
    return minigen.check(op, kernel, instead_of=known.get(op), examples=5, **options)


def named(module, start):
    return [value for name, value in vars(module).items() if name.startswith(start)]


# these are for other launches than an op's own
OTHERS = {
    right.r06_block_2d: ((1, 1), (16, 16)),
    right.r08_tiles: ((5, 1), 128),
    wrong.w19_swapped: ((5, 1), 128),
}
ELSEWHERE = {*OTHERS, right.r07_dynamic, right.r11_no_widen}
RIGHT = [k for k in named(right, "r") if k not in ELSEWHERE]
WRONGS = [k for k in named(wrong, "w") if k not in OTHERS and k.__name__ != "widen"]


@pytest.mark.parametrize("kernel", OTHERS, ids=lambda k: k.__name__)
def test_a_product_of_matrices(kernel):
    dice = np.random.default_rng(0)
    x, w = (dice.standard_normal(s).astype(np.float32) for s in ((5, 40), (7, 40)))
    y = np.zeros((5, 7), np.float32)
    if kernel is wrong.w19_swapped:
        # columns are threads of one block, and rows its blocks: half is never written
        y = simt.poison(y)
        simt.launch(kernel, *OTHERS[kernel], x, w, y)
        assert simt.is_poison(y).any()
        return
    simt.launch(kernel, *OTHERS[kernel], x, w, y, seed=0)
    np.testing.assert_allclose(y, x @ w.T, rtol=1e-4, atol=1e-5)


def test_dynamic_memory_of_a_launch():
    x = np.random.default_rng(0).standard_normal((2, 50)).astype(np.float32)
    y = np.zeros_like(x)
    given = x, np.ones(50, np.float32), np.float32(1e-5), y
    simt.launch(right.r07_dynamic, 2, 64, *given, dynamic=256, seed=0)
    root = np.sqrt((x.astype(np.float64) ** 2).mean(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, x / root, rtol=1e-6)


@pytest.mark.in_parts
@pytest.mark.slow
@pytest.mark.parametrize("kernel", RIGHT, ids=lambda k: k.__name__)
def test_a_right_kernel_is_not_refused(kernel):
    assert check(kernel).ok


def test_a_kernel_of_float32_alone_is_right_for_weights_of_float32():
    # it reads the bits of two-byte weights as numbers, which an op of ours may not
    assert check(right.r11_no_widen, weights="float32").ok
    (finding, *_) = check(right.r11_no_widen, weights="bfloat16").findings
    assert finding.kind == "wrong value"


WRONG = {
    "w01": ("race", "put a barrier between them"),
    "w02": ("divergent barrier", "arrived at syncthreads"),
    "w03": ("bounds", "outside of its shape"),
    "w04": ("wrong value", ""),
    "w05": ("never written", ""),
    "w06": ("uninitialised", "shared s[128]"),
    "w07": ("float64", "np.float32"),
    "w08": ("race", "on y[0, "),
    "w09": ("race", "use cuda.atomic.add"),
    "w10": ("dtype", "is kept in an array of integers"),
    "w11": ("uninitialised", "shared s["),
    "w12": ("wrong value", "does a maximum start from 0?"),
    "w13": ("shared memory", "65536 bytes"),
    "w14": ("race", "put a barrier between them"),
    "w15": ("never written", ""),
    "w16": ("race", "let one block do both"),
    "w17": ("race", "on y["),
    "w18": ("input changed", "its input x"),
    "w20": ("wrong value", ""),
    "w21": ("endless", "no end"),
    "w22": ("wrong value", "exp overflows"),
    "w23": ("wrong value", ""),
    "w24": ("wrong value", ""),
}


@pytest.mark.in_parts
@pytest.mark.slow
@pytest.mark.parametrize("kernel", WRONGS, ids=lambda k: k.__name__)
def test_a_wrong_kernel_is_called_what_it_is(kernel):
    kind, words = WRONG[kernel.__name__[:3]]
    report = check(kernel)
    assert not report.ok
    assert kind in report.findings[0].kind
    assert words in report.findings[0].message


def test_products_of_uint32_are_64_bits_wide():
    report = check(silent.philox_as_in_c)
    assert [finding.kind for finding in report.findings] == ["wrong value"]


def test_a_loop_that_forgets_to_step_ends():
    report = check(hang.tree)
    assert {finding.kind for finding in report.findings} == {"endless"}
