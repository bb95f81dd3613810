"""draw: which entries survive a filter, and which token a uniform stands for."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hypothesis_strategies

from minigen.errors import InputError
from minigen.ops.draw import cpu, reference
from minigen.ops.draw.spec import probability_magnitude
from tests import strategies as st
from tests.tolerance import assert_close, assert_same

top_k = hypothesis_strategies.sampled_from((-1, 0, 1, 2, 5, 40, 1000))
top_p = hypothesis_strategies.sampled_from((-0.5, 0.0, 0.1, 0.5, 0.9, 1.0, 1.5))
minimum = hypothesis_strategies.sampled_from((1, 2, 4))
BOTH = pytest.mark.parametrize("ops", [reference, cpu], ids=["reference", "cpu"])


@given(st.b, st.m, st.v, top_k, top_p, minimum, st.seeds)
def test_both_keep_the_same(b, m, v, k, p, minimum, seed):
    logits = st.floats(seed, b, m, v, scale=2.0)
    expected = reference.keep(logits, k, p, minimum)
    assert_same(cpu.keep(logits, k, p, minimum), expected)


@given(st.b, st.m, st.v, top_k, top_p, st.seeds)
def test_ties_go_by_index(b, m, v, k, p, seed):
    logits = np.floor(st.floats(seed, b, m, v))
    logits[..., ::5] = -np.inf
    logits[..., -1] = 0
    kept = cpu.keep(logits, k, p)
    assert_same(kept, reference.keep(logits, k, p))
    assert kept.any(axis=-1).all() and not kept[logits == -np.inf].any()
    for row, flags in zip(logits.reshape(-1, v), kept.reshape(-1, v), strict=True):
        for value in np.unique(row[flags]):
            among = flags[row == value]
            assert (among[:-1] >= among[1:]).all()


@given(st.b, st.m, st.v, top_k, top_p, st.seeds)
def test_filtered_probabilities(b, m, v, k, p, seed):
    logits = st.floats(seed, b, m, v)
    kept = cpu.keep(logits, k, p)
    wide = np.where(kept, logits.astype(np.float64), -np.inf)
    expected = reference.probabilities(wide, 1.0, 0, 1.0)
    result = cpu.probabilities(logits, 1.0, k, p)
    assert_close(
        result, expected, probability_magnitude(np.where(kept, wide, 0), expected)
    )
    assert ((result > 0) == kept).all()


@given(st.m, st.v, st.seeds)
def test_a_row_has_the_same_bits_alone_and_in_a_batch(m, v, seed):
    logits = st.floats(seed, 2, m, v)
    p = cpu.probabilities(logits, 1.0, 7, 0.9)
    for i in range(m):
        one = cpu.probabilities(logits[1:, i : i + 1], 1.0, 7, 0.9)
        assert_same(one, p[1:, i : i + 1])


@given(st.b, st.m, st.v, st.seeds)
def test_both_draw_the_same_tokens(b, m, v, seed):
    p = cpu.probabilities(st.floats(seed, b, m, v, scale=3.0), 1.0, 0, 0.9)
    uniforms = np.random.default_rng(seed).random((b, m))
    tokens = cpu.draw(p, uniforms)
    assert_same(tokens, reference.draw(p, uniforms))
    assert (np.take_along_axis(p, tokens[..., None], -1) > 0).all()


@BOTH
def test_a_token_of_no_probability_is_never_drawn(ops):
    p = np.zeros((1, 1, 9), np.float32)
    p[0, 0, [2, 5]] = 0.3, 0.6
    largest = np.nextafter(np.float32(1), np.float32(0))
    for u, token in ((0.0, 2), (0.33, 2), (0.34, 5), (largest, 5), (1.0, 5)):
        for dtype in (np.float32, np.float64):
            assert ops.draw(p, np.full((1, 1), u, dtype)).tolist() == [[token]]


@BOTH
def test_tokens_come_as_often_as_their_probability_says(ops):
    p = np.float32([0.5, 0.0, 0.125, 0.375])
    uniforms = (np.arange(1000) + 0.5) / 1000
    tokens = ops.draw(np.tile(p, (1, 1000, 1)), uniforms[None])
    assert np.bincount(tokens.ravel(), minlength=4).tolist() == [500, 0, 125, 375]


@BOTH
@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
def test_a_uniform_that_is_none_is_refused(ops, bad):
    with pytest.raises(InputError, match="uniform"):
        ops.draw(np.ones((1, 1, 2), np.float32), np.array([[bad]]))


@BOTH
def test_the_filters_of_the_original(ops, golden):
    folder = golden / "arpg" / "filter"
    case, data = (
        json.loads((folder / "case.json").read_text()),
        np.load(folder / "io.npz"),
    )
    logits = data["logits"]
    for c in case["combos"]:
        options = c["top_k"], c["top_p"], c.get("min_tokens_to_keep", 1)
        kept = ops.keep(logits[None], *options)[0]
        for row, (ours, theirs) in enumerate(
            zip(kept, data[c["array"]] > 0, strict=True)
        ):
            # their sort is not stable: among equal logits any may survive
            assert np.array_equal(
                np.sort(logits[row][ours]), np.sort(logits[row][theirs])
            )
            if len(set(logits[row])) == len(logits[row]):
                assert (ours == theirs).all()
    assert (ops.keep(data["logits3"], 4, 1.0) == data["keep3_topk"]).all()
    assert (ops.keep(data["logits3"], 0, 0.7) == data["keep3_topp_flat"]).all()
    for t, expected in zip(data["temp"], data["temp_probs"], strict=True):
        p = ops.probabilities(data["temp_logits"][None], float(t), 0, 1.0)[0]
        assert abs(p - expected).max() <= 1e-5
