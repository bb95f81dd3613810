"""Near-ties: what rounding may do to a draw is explained, and no more; the record."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigen.errors import InputError
from minigen.ops.draw import reference as draw
from minigen.ops.mixture import reference as mixtures
from minigen.sameness import near_ties, pack, unpack

WRONG = tuple(map(pack, (
    np.zeros((1, 1, 1), int), np.zeros((9, 999, 999), int), np.full((1, 1, 2), 64),
    np.full((1, 1, 2), -2),
)))  # fmt: skip


@given(
    seed=st.integers(0, 2**32),
    v=st.integers(1, 40),
    error=st.sampled_from([1e-6, 1e-3, 0.3]),
    top_k=st.sampled_from([0, 0, 1, 3, 50]),
    top_p=st.sampled_from([1.0, 1.0, 0.5, 0.9]),
    tied=st.booleans(),
)
def test_what_logits_within_the_error_draw_is_a_near_tie(
    seed, v, error, top_k, top_p, tied
):
    """Whatever the rounding does to the logits, the token it leads to is explained."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, v)
    z = z.round(1) if tied else z
    moved = z + rng.uniform(-error, error, v)
    p, q = (draw.probabilities(a[None, None], 1.0, top_k, top_p) for a in (z, moved))
    weights = near_ties.of_codes(z, error, top_k, top_p)
    for u in [*rng.uniform(0, 1, 4), *np.clip(np.cumsum(p)[:4] + error / 9, 0, 1)]:
        token = int(draw.draw(q, np.array([[u]]))[0, 0])
        assert near_ties.tie(weights, u, token).near
        own = int(draw.draw(p, np.array([[u]]))[0, 0])
        assert near_ties.tie(weights, u, own).margin <= 1e-12


@given(seed=st.integers(0, 2**32), error=st.sampled_from([1e-7, 1e-4]))
def test_rounding_explains_no_more_than_the_error_of_the_logits(seed, error):
    """A sum F of shares moves by 2 error F (1 - F) at most, so by half the error."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, 30)
    weights = near_ties.of_codes(z, error, 0, 1.0)
    ties = [near_ties.tie(weights, 0.5, token) for token in range(30)]
    assert all(tie.allowed <= 0.51 * error for tie in ties)
    assert sum(tie.near for tie in ties) <= 2


@given(seed=st.integers(0, 2**32), error=st.sampled_from([1e-6, 1e-4]))
def test_what_mixtures_within_the_error_choose_is_a_near_tie(seed, error):
    """Among candidates, too: also if one is of another component than before."""
    rng, m, g, weight = np.random.default_rng(seed), 200, 3, 2.5
    of_components = rng.uniform(0, 1, m)
    normals, u = rng.normal(0, 1, m), rng.uniform()
    both = rng.normal(0, 1, (2, 3, g))

    def chosen(both):
        # weights, means, log-variances of the conditional mixture, and of the other
        (w, means, logs), (w0, means0, logs0) = (
            (np.exp(a) / np.exp(a).sum(), b, c) for a, b, c in both
        )
        k = mixtures.draw_component(w[None], of_components[None])
        one, zero = (w, means, logs), (w0, means0, logs0)
        x = mixtures.draw_value(k, means[None, :, None], logs[None, :, None],
                                normals[None, :, None], 1.0)  # fmt: skip
        l_c, l_u = (
            mixtures.log_density(x, a[None], b[None, :, None], c[None, :, None])
            for a, b, c in (one, zero)
        )
        p = mixtures.candidate_probabilities(l_c, l_u, weight)
        token = int(draw.draw(p[:, None], np.array([[u]]))[0, 0])
        return one, zero, p[0], x[0, :, 0], token

    _, _, _, then, token = chosen(both + rng.uniform(-error, error, both.shape))
    one, zero, p, x, _ = chosen(both)
    weights, others = near_ties.of_candidates(
        x, one, zero, p, of_components, weight - 1, error
    )
    assert near_ties.tie(weights, u, token).near
    values = np.array([x[token], *others.get(token, [])])
    assert np.abs(values - then[token]).min() < 20 * error


def test_a_token_that_is_unknown_is_no_near_tie():
    weights = near_ties.of_codes(np.zeros(4), 1e-3, 0, 1.0)
    assert near_ties.tie(weights, 0.9, 3).near
    assert near_ties.tie(weights, 0.9, -1) is near_ties.NONE


def test_a_record_of_infinite_vectors_is_refused():
    with pytest.raises(InputError, match="infinite"):
        unpack(pack(np.float32([[[[np.inf, 0]]]])), (1, 1, 1, 2), None)


def test_tokens_stand_in_the_recipe_as_they_were():
    codes = np.array([[[5, -1], [0, 63]]])
    assert np.array_equal(unpack(pack(codes), (1, 2, 2), 64), codes)
    vectors = np.float32([[[[0.1, 0.2], [np.nan, np.nan]]]])
    again = unpack(pack(vectors), (1, 1, 2, 2), None)
    assert again.dtype == np.float32 and again.tobytes() == vectors.tobytes()
    with pytest.raises(InputError, match="some of their features"):
        unpack(pack(vectors[..., ::-1, :] + [[0, np.nan]]), (1, 1, 2, 2), None)


@pytest.mark.parametrize("text", ["", "?", "AAAA", WRONG[0][:-4], *WRONG])
def test_a_record_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="records"):
        unpack(text, (1, 1, 2), 64)
