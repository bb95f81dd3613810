"""guide: a straight line from the unconditional to the conditional logits, and on."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as hypothesis_strategies

from minigen.checking.specs.draws import guide_magnitude
from minigen.ops.guide import cpu, reference
from tests import strategies as st
from tests.tolerance import assert_close, assert_same

weights = hypothesis_strategies.sampled_from((-2.0, 0.0, 1.0, 1.5, 7.0))


@given(st.b, st.m, st.v, weights, st.seeds)
def test_close_to_the_reference(b, m, v, weight, seed):
    logits = st.floats(seed, 2 * b, m, v)
    wide = logits.astype(np.float64)
    magnitude = guide_magnitude(logits, weight)
    assert_close(cpu.guide(logits, weight), reference.guide(wide, weight), magnitude)


def test_weight_zero_is_exactly_unconditional_and_rows_do_not_mix():
    logits = st.floats(0, 6, 4, 33)
    assert (cpu.guide(logits, 0.0) == logits[3:]).all()
    assert_same(cpu.guide(logits[[1, 4]], 3.0), cpu.guide(logits, 3.0)[1:2])
