"""Every function of every op on Numba, by its specification.

Its values are the reference's, however arrays lie in memory; rows in another order, and
one thread, give the same bits. What more there is to an op, its own tests say.
"""

import pytest

import minigen
from minigen.checking.specs import SPECS


@pytest.mark.parametrize("name", SPECS)
def test_it_is_right(name):
    report = minigen.check(name, backend="numba")
    assert report.ok, str(report)
