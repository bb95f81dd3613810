"""Every kernel says in four lines what it does, and does that."""

import pytest

from minigen.checking import header
from tests.kernels import collect


@pytest.mark.parametrize("name", collect.KERNELS)
def test_a_kernel_has_a_header(name):
    header.parse(collect.kernel(name))


@pytest.mark.parametrize("name", collect.KERNELS)
def test_a_kernel_is_launched(name):
    assert name in collect.signatures(), (
        "no launcher reached this kernel; ROUTES in tests/kernels/collect.py takes the "
        "sizes that lead to it"
    )


def test_every_kernel_was_found_by_its_decorator():
    # a kernel made in any other way would escape
    for name in collect.signatures():
        assert name in collect.KERNELS


@pytest.mark.parametrize("name", collect.LAUNCHERS)
def test_traffic_and_shared_memory_are_what_the_headers_say(name):
    for _, _, launches in collect.interpreted(name):
        for launch in launches:
            shapes = [getattr(a, "shape", a) for a in launch.arguments]
            assert launch.findings() == [], (launch.name, shapes)
