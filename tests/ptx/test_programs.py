"""A thousand random typed programs, compiled for a GPU: the bits are the CPU's."""

import pytest

from tests import parts
from tests.fuzz import compiled

pytestmark = pytest.mark.needs("compiler")


def test_random_programs_store_what_numba_stores():
    assert compiled.differences(1000) == []


@pytest.mark.slow
@pytest.mark.parametrize("one", range(parts.share(40)[1]))
def test_a_thousand_random_programs(one):
    seed = parts.share(40)[0] + one
    assert compiled.differences(seed) == []


def test_a_difference_is_found(monkeypatch):
    text, programs = compiled.source(0, 2)
    # the CPU's function alone stores something else
    wrong = text[: text.rindex("y_")] + "y_int8[1, i] = 77\n"
    monkeypatch.setattr(compiled, "source", lambda *_: (wrong, programs))
    assert {found[3] for found in compiled.differences(0, 2)} >= {77}
