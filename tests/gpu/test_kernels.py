"""Every launcher on a GPU: the reference's result, and the interpreter's."""

import numpy as np
import pytest
from hypothesis import given

from minigen import arrays
from minigen.checking import specs
from minigen.checking.strategies import FULL, WEIGHT_DTYPES
from minigen.checking.tolerance import EPS, FACTOR
from tests.gpu.device import MARKS, gpu
from tests.kernels import collect

pytestmark = MARKS


@pytest.mark.parametrize("name", specs.SPECS)
def test_a_launcher_equals_the_reference(name):
    spec, device = specs.SPECS[name], gpu()

    @given(spec.draw(FULL))
    def check(case):
        result = collect.run(spec, case, device)
        assert specs.errors(spec, case, result).max(initial=0) <= FACTOR

    check()


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES, ids=str)
@pytest.mark.parametrize("name", specs.SPECS)
def test_the_device_equals_the_interpreter(name, dtype):
    """To the last bit where a result must be exact; else both are near the truth."""
    spec, device = specs.SPECS[name], gpu()
    for sizes in collect.routes(name):
        case = collect.case(spec, sizes, dtype)
        found = collect.run(spec, case, device)
        interpreted = collect.run(spec, case, arrays.Interpreter())
        assert (found.shape, found.dtype) == (interpreted.shape, interpreted.dtype)
        if spec.magnitude is None and spec.judge is None:
            assert np.array_equal(found, interpreted)
        for result in (found, interpreted):
            assert specs.errors(spec, case, result).max(initial=0) <= FACTOR


@pytest.mark.parametrize("name", specs.SPECS)
def test_the_same_call_gives_the_same_bits(name):
    """A result that changes from run to run is a race."""
    spec, device = specs.SPECS[name], gpu()
    for sizes in collect.routes(name):
        case = collect.case(spec, sizes, WEIGHT_DTYPES[0])
        first = collect.run(spec, case, device)
        for _ in range(20):
            again = collect.run(spec, case, device)
            assert np.array_equal(again, first, equal_nan=again.dtype.kind == "f")


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES, ids=str)
@pytest.mark.parametrize("name", collect.DIRECT)
def test_a_kernel_without_a_launcher_equals_the_interpreter(name, dtype):
    device, interpreter = gpu(), arrays.Interpreter()
    grid, block, *arguments = collect.DIRECT[name](dtype)
    results = []
    for where in (device, interpreter):
        moved = [where.put(a) if a.shape else a for a in arguments]
        where.launch(collect.kernel(name), grid, block, *moved)
        results.append([where.get(a) for a in moved if a.shape])
    shapes = [a.shape for a in arguments if a.shape]
    # a sum of n products of numbers up to m, in another order: n eps of n m m
    n = max(max(shape) for shape in shapes)
    m = max(float(abs(np.asarray(a, np.float64)).max()) for a in results[1])
    for found, interpreted in zip(*results, strict=True):
        if found.dtype.kind in "iu":
            assert np.array_equal(found, interpreted)
        else:
            assert np.abs(found - interpreted).max() <= FACTOR * EPS * n * n * m * m


def test_every_kernel_was_launched_on_the_gpu():
    """That no kernel escapes these tests: each has run, compiled for this GPU."""
    device = gpu()
    for spec in specs.SPECS.values():
        for sizes in collect.routes(spec.name):
            for dtype in WEIGHT_DTYPES:
                collect.run(spec, collect.case(spec, sizes, dtype), device)
    for name, direct in collect.DIRECT.items():
        grid, block, *arguments = direct(WEIGHT_DTYPES[0])
        moved = [device.put(a) if a.shape else a for a in arguments]
        device.launch(collect.kernel(name), grid, block, *moved)
    device.sync()
    missing = [n for n in collect.KERNELS if not collect.kernel(n).overloads]
    assert not missing
