"""Every launcher on drawn cases under drawn schedules: the reference's result, no race,
no stray index, nothing read before it was written, and traffic as the headers say."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from minigen.checking import specs
from minigen.checking.strategies import SMALL, cases
from minigen.checking.tolerance import FACTOR
from tests.kernels import collect

QUICK = [Phase.explicit, Phase.reuse, Phase.generate]
"""Without shrinking: sizes are small, and a failing kernel takes long enough."""


@pytest.mark.in_parts
@pytest.mark.parametrize("name", collect.LAUNCHERS)
def test_every_route_leads_to_what_reference_and_headers_say(name):
    for case, result, launches in collect.interpreted(name):
        off = specs.worst(collect.LAUNCHERS[name], case, result)
        assert off <= FACTOR, [launch.name for launch in launches]
        for launch in launches:
            shapes = [getattr(a, "shape", a) for a in launch.arguments]
            assert launch.findings() == [], (launch.name, shapes)


@pytest.mark.parametrize("name", collect.LAUNCHERS)
def test_a_launcher_equals_the_reference_under_any_schedule(name, request):
    spec = collect.LAUNCHERS[name]
    slow = request.config.getoption("--slow")
    search = {"max_examples": 40} if slow else {"max_examples": 3, "phases": QUICK}

    @settings(**search)
    @given(cases(spec, SMALL), st.integers(0, 2**16))
    def check(case, schedule):
        device = collect.Recorder(seed=schedule)
        result = collect.run(name, case, device)
        assert specs.worst(spec, case, result) <= FACTOR
        for launch in device.launches:
            assert launch.findings() == [], launch.name

    check()
