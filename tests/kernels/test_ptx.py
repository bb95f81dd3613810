"""Every kernel is compiled for three generations of GPUs, and none uses float64."""

import numpy as np
import pytest

from minigen import target
from minigen.checking.strategies import WEIGHT_DTYPES
from minigen.target import cuda
from tests.kernels import collect, compiled

pytestmark = pytest.mark.needs("compiler")


def leaks(ptx):
    """Return the instructions of PTX that work on float64."""
    return [line.strip() for line in ptx.splitlines() if ".f64" in line]


@pytest.mark.parametrize("name", collect.KERNELS)
def test_no_float64(name):
    for types, cc in compiled.variants(name):
        found = leaks(compiled.ptx(name, types, cc))
        where = target.float64_lines(collect.kernel(name), types) if found else []
        assert not found, f"{name}{types} for {cc}: {found[:3]}, from {where}"


def test_kernels_with_weights_are_compiled_for_each_dtype_of_them():
    for name in ("embed.cuda._embed", "linear.cuda._linear_skinny"):
        types = {types for types, _ in compiled.variants(name)}
        assert len(types) == len(WEIGHT_DTYPES), name


@pytest.mark.parametrize("name", [n for n in collect.KERNELS if n.endswith("_tensor")])
def test_a_tensor_kernel_uses_tensor_cores(name):
    for types, cc in compiled.variants(name):
        assert "mma.sync" in compiled.ptx(name, types, cc), (types, cc)


def test_a_leak_is_seen_and_its_line_named():
    def halve(x):
        i = cuda.grid(1)
        total = 0.5
        for k in range(i):
            total += x[k]
        x[i] = total

    types = target.argument_types((np.zeros(3, np.float32),))
    assert leaks(target.compile_ptx(halve, types, (8, 0)))
    lines = {line for _, line in target.float64_lines(halve, types)}
    start = halve.__code__.co_firstlineno
    assert {start + 2, start + 4} <= lines
