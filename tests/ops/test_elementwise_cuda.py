"""rope2d, swiglu, embed, guide and cross_entropy on a GPU, interpreted and watched.

These kernels need no test of batches: a thread, or a warp, does its cells alone.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as hypothesis_strategies

from minigen.checking.specs import SPECS, errors
from minigen.ops.cross_entropy import cuda as cross_entropy
from minigen.ops.embed import cuda as embed
from minigen.ops.embed import reference as embed_reference
from minigen.ops.guide import cuda as guide
from minigen.ops.rope2d import cuda as rope2d
from minigen.ops.rope2d.reference import table as rope_table
from minigen.ops.swiglu import cuda as swiglu
from tests import strategies as st
from tests.kernels.collect import Recorder
from tests.kernels.collect import ran as run
from tests.tolerance import FACTOR, assert_close, assert_same

choose = hypothesis_strategies.sampled_from
n = m = choose((1, 2, 3, 5, 9))
f = d = v = choose((1, 2, 31, 32, 33, 65, 129))
h = choose((1, 2, 5))
e = choose((4, 8, 12, 68))
schedules = hypothesis_strategies.integers(0, 99)


def assert_right(name, result, **case):
    """Assert that a result is the reference's, by the specification of the op."""
    assert errors(SPECS[name], case, result).max(initial=0) <= FACTOR


@given(st.b, n, h, e, st.y, st.x, st.seeds, schedules)
def test_rope2d_turns_pairs(b, n, h, e, y, x, seed, schedule):
    case = {
        "x": st.floats(seed, b, n, h, e),
        "table": rope_table(y, x, e, 100.0),
        "rows": st.integers(seed, 1 + y * x, b, n),
    }
    result = run(rope2d.rope2d, *case.values(), schedule=schedule)
    assert_right("rope2d", result, **case)
    assert not result[case["rows"] == 0].any()


@given(n, h, e, st.seeds)
def test_rope2d_of_permuted_tokens_is_permuted(n, h, e, seed):
    table, rows = rope_table(3, 4, e, 100.0), st.integers(seed, 13, 2, n)
    x, order = st.floats(seed, 2, n, h, e), np.random.default_rng(seed).permutation(n)
    y = run(rope2d.rope2d, x, table, rows)
    assert_same(run(rope2d.rope2d, x[:, order], table, rows[:, order]), y[:, order])
    assert_same(run(rope2d.rope2d, x[1:], table, rows[1:]), y[1:])


@given(st.b, n, f, st.seeds, schedules)
def test_swiglu(b, n, f, seed, schedule):
    case = {
        "gate": st.floats(seed, b, n, f, scale=5.0),
        "up": st.floats(seed + 1, b, n, f),
    }
    y = run(swiglu.swiglu, *case.values(), schedule=schedule)
    assert_right("swiglu", y, **case)
    alone = [array[:1, -1:] for array in case.values()]
    assert_same(run(swiglu.swiglu, *alone), y[:1, -1:])


def test_swiglu_of_gates_far_from_zero():
    gate = np.float32([[[-1e30, -200.0, -90.0, -0.0, 0.0, 90.0, 200.0, 1e30]]])
    up = np.ones_like(gate)
    y = run(swiglu.swiglu, gate, up)
    assert_right("swiglu", y, gate=gate, up=up)
    assert_same(y[gate >= 90], gate[gate >= 90])


@given(st.b, n, st.t, d, st.weight_dtypes, st.seeds, schedules)
def test_embed_is_exact_for_every_kind_of_weight(b, n, t, d, dtype, seed, schedule):
    table, ids = st.floats(seed, t, d, dtype=dtype), st.integers(seed, t, b, n)
    y = run(embed.embed, table, ids, schedule=schedule)
    assert_same(y, embed_reference.embed(table, ids))


@given(st.b, m, v, choose((-2.0, 0.0, 1.0, 1.5, 7.0)), st.seeds, schedules)
def test_guide(b, m, v, weight, seed, schedule):
    logits = st.floats(seed, 2 * b, m, v)
    y = run(guide.guide, logits, weight, schedule=schedule)
    assert_right("guide", y, logits=logits, weight=weight)
    assert_same(run(guide.guide, logits[[b - 1, -1]], weight), y[-1:])
    assert_same(run(guide.guide, logits, 0.0), logits[b:])


@given(st.b, n, v, choose((1.0, 3.0, 100.0)), st.seeds, schedules)
def test_cross_entropy(b, n, v, scale, seed, schedule):
    logits = st.floats(seed, b, n, v, scale=scale)
    targets = st.integers(seed, v, b, n)
    device = Recorder(seed=schedule)
    loss = cross_entropy.cross_entropy(device, *map(device.put, (logits, targets)))
    assert device.launches[0].findings() == []
    assert type(loss) is np.float64
    assert_right("cross_entropy", loss, logits=logits, targets=targets)


def test_cross_entropy_of_logits_that_overflow_without_care():
    logits = np.float32([[[1000.0, 0.0], [-1000.0, -1000.0]]])
    device = Recorder()
    targets = device.put(np.array([[1, 0]]))
    loss = cross_entropy.cross_entropy(device, device.put(logits), targets)
    assert_close(loss, (1000.0 + np.log(2)) / 2, 1000.0)


def test_a_logit_of_minus_infinity_has_no_part_in_the_loss():
    logits = np.full((1, 1, 70), -np.inf, np.float32)
    logits[0, 0, [3, 69]] = 0.5
    device = Recorder()
    targets = device.put(np.array([[69]]))
    loss = cross_entropy.cross_entropy(device, device.put(logits), targets)
    assert_close(loss, np.log(2), 1.0)
