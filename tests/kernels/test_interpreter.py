"""Every launcher on drawn cases under drawn schedules: the reference's result, no race,
no stray index, nothing read before it was written, and traffic as the headers say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen.checking import specs
from minigen.checking.strategies import SMALL
from minigen.checking.tolerance import FACTOR
from tests.kernels import collect

EXAMPLES = {"quick": 5, "slow": 40}


@pytest.mark.parametrize("name", specs.SPECS)
def test_a_launcher_equals_the_reference_under_any_schedule(name, request):
    spec = specs.SPECS[name]
    slow = request.config.getoption("--slow")

    @settings(max_examples=EXAMPLES["slow" if slow else "quick"])
    @given(spec.draw(SMALL), st.integers(0, 2**16))
    def check(case, schedule):
        device = collect.Recorder(seed=schedule)
        result = collect.run(spec, case, device)
        off = specs.errors(spec, case, result)
        assert off.max(initial=0) <= FACTOR
        for launch in device.launches:
            assert launch.findings() == [], launch.name

    check()
