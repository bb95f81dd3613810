"""Every kernel says in four lines what it does; test_interpreter.py: it does that."""

import pytest

from minigen.checking import header
from tests.kernels import collect


@pytest.mark.parametrize("name", collect.KERNELS)
def test_a_kernel_has_a_header(name):
    header.parse(collect.kernel(name))


@pytest.mark.parametrize("name", collect.KERNELS)
def test_a_kernel_is_launched(name):
    assert name in collect.signatures(), (
        "no launcher reached this kernel; the routes of a specification take the sizes "
        "that lead to it"
    )


def test_every_kernel_was_found_by_its_decorator():
    # a kernel made in any other way would escape
    for name in collect.signatures():
        assert name in collect.KERNELS
