"""Every launcher on a GPU: the reference's result, and the interpreter's."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given

from minigen import arrays
from minigen.checking import header, specs
from minigen.checking.spec import floats, several
from minigen.checking.strategies import FULL, WEIGHT_DTYPES, cases
from minigen.checking.tolerance import FACTOR
from minigen.checking.verdict import same_bits
from minigen.ops.linear import cublas
from tests.gpu.device import MARKS, gpu
from tests.kernels import collect

pytestmark = MARKS


@pytest.mark.parametrize("name", collect.LAUNCHERS)
def test_a_launcher_equals_the_reference(name):
    spec, device = collect.LAUNCHERS[name], gpu()

    @given(cases(spec, FULL))
    def check(case):
        result = collect.run(name, case, device)
        assert specs.worst(spec, case, result) <= FACTOR

    check()


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES, ids=str)
@pytest.mark.parametrize("name", collect.LAUNCHERS)
def test_the_device_equals_the_interpreter(name, dtype):
    """To the last bit where a result must be exact; else both are near the truth."""
    spec, device = collect.LAUNCHERS[name], gpu()
    for case in collect.routes(name, dtype):
        found = collect.run(name, case, device)
        interpreted = collect.run(name, case, arrays.Interpreter())
        for one, other in zip(several(found), several(interpreted), strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            if spec.magnitude is None and spec.judge is None:
                assert np.array_equal(one, other)
        for result in (found, interpreted):
            assert specs.worst(spec, case, result) <= FACTOR


@pytest.mark.parametrize("name", collect.LAUNCHERS)
def test_the_same_call_gives_the_same_bits(name):
    """A result that changes from run to run is a race."""
    device = gpu()
    for case in collect.routes(name, WEIGHT_DTYPES[0]):
        first = collect.run(name, case, device)
        for _ in range(20):
            again = collect.run(name, case, device)
            assert same_bits(again, first) is None


def test_every_kernel_was_launched_on_the_gpu():
    """That no kernel escapes these tests: each has run, compiled for this GPU."""
    device = gpu()
    for name in collect.LAUNCHERS:
        for dtype in WEIGHT_DTYPES:
            for case in collect.routes(name, dtype):
                collect.run(name, case, device)
    device.sync()
    for name in collect.KERNELS:
        kernel = collect.kernel(name)
        assert kernel.overloads, f"{name} was not launched"
        # linked for this GPU, too, nothing is kept in slow memory
        local = max(kernel.get_local_mem_per_thread().values())
        assert local == 0 or header.parse(kernel).reason, f"{name}: {local} bytes"


def test_cublas_equals_the_reference_where_it_is_installed():
    if importlib.util.find_spec("nvmath") is None:
        pytest.skip("nvmath-python is not installed: cuBLAS was not asked")
    spec, device = specs.SPECS["linear"], gpu()
    linear = cublas.use(device)
    case = {"x": floats(0, 2, 100, 65), "w": floats(1, 127, 65)}
    moved = {name: device.put(array) for name, array in case.items()}
    result = device.get(linear(**moved))
    assert specs.worst(spec, case, result) <= FACTOR
    # and in a graph, whose nodes are not all launches of ours
    with device.record() as recording:
        y = linear(**moved)
    recording.replay()
    assert np.array_equal(device.get(y), result)
