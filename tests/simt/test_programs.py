"""A thousand random programs: the interpreter's numbers are the compiler's."""

import pytest

from tests import parts
from tests.simt import programs

pytestmark = pytest.mark.needs("compiler")


def test_random_programs_store_what_numba_stores():
    assert programs.differences(1000) == []


@pytest.mark.slow
@pytest.mark.parametrize("one", range(parts.share(40)[1]))
def test_a_thousand_random_programs(one):
    seed = parts.share(40)[0] + one
    assert programs.differences(seed) == []
