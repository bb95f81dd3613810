"""A thousand random programs: the interpreter's numbers are the compiler's."""

import pytest

from tests.simt import programs

pytestmark = pytest.mark.needs("compiler")


def test_random_programs_store_what_numba_stores():
    assert programs.differences(1000) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 40, 10))
def test_a_thousand_random_programs(first):
    seeds = range(first, first + 10)
    assert [line for seed in seeds for line in programs.differences(seed)] == []
