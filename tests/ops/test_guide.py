"""guide: a straight line from the unconditional to the conditional logits, and on."""

from minigen.ops.guide import cpu
from tests import strategies as st
from tests.tolerance import assert_same


def test_weight_zero_is_exactly_unconditional_and_rows_do_not_mix():
    logits = st.floats(0, 6, 4, 33)
    assert (cpu.guide(logits, 0.0) == logits[3:]).all()
    assert_same(cpu.guide(logits[[1, 4]], 3.0), cpu.guide(logits, 3.0)[1:2])
