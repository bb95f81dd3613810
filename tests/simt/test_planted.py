"""Each planted bug is named, with its lines; its mended twin passes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigen import simt
from minigen.errors import KernelError
from tests.simt.planted import BUGS

NAMES = [bug.wrong.__name__ for bug in BUGS]
seeds = st.none() | st.integers(0, 2**32)


def launch(kernel, bug, seed, watch=True):
    shape, other = bug.arrays
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    y = np.zeros(other, np.float32)
    # an output that may be read has values; every other one is poisoned
    if bug.kind == "uninitialised":
        simt.poison(y)
    simt.launch(kernel, bug.grid, bug.block, x, y, seed=seed, watch=watch)
    return y


@pytest.mark.parametrize("bug", BUGS, ids=NAMES)
@given(seeds)
def test_a_planted_bug_is_named_under_every_schedule(bug, seed):
    with pytest.raises(KernelError) as caught:
        launch(bug.wrong, bug, seed)
    fault = caught.value
    if bug.refused and fault.kind == "compile":
        return
    assert fault.kind == bug.kind
    for text in (*bug.says, "planted.py:"):
        assert text in str(fault)


@pytest.mark.parametrize("bug", BUGS, ids=NAMES)
@given(seeds)
def test_its_mended_twin_passes_under_every_schedule(bug, seed):
    watched = launch(bug.right, bug, seed)
    np.testing.assert_array_equal(watched, launch(bug.right, bug, seed, watch=False))
