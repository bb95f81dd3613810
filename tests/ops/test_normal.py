"""Normal distributions: against the reference, and against what they are defined by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from minigen.ops.normal import cpu, reference
from tests import strategies as st
from tests.tolerance import assert_same

spreads = hs.sampled_from((0.1, 1.0, 9.0))
BOTH = [cpu, reference]


def drawn(seed, spread, b, n, c):
    """Return means, log-variances within what encoders may ask for, and values."""
    mean, v, x = (st.floats(seed + i, b, n, c, scale=spread) for i in range(3))
    return mean, np.clip(v, reference.LOWEST, reference.HIGHEST), x


@given(st.b, st.y, st.x, st.c, st.seeds)
def test_moments_are_split_and_clamped(b, y, x, c, seed):
    moments = st.floats(seed, b, y, x, 2 * c, scale=20.0)
    mean, log_variance = cpu.split_moments(moments)
    assert_same(mean, moments[..., :c].copy())
    assert log_variance.min() >= -30 and log_variance.max() <= 20


@given(st.b, st.n, st.c, spreads, st.seeds)
def test_without_noise_a_draw_is_the_mean(b, n, c, spread, seed):
    mean, v, x = drawn(seed, spread, b, n, c)
    assert_same(cpu.sample_normal(mean, v, 0 * x) + 0, mean + 0)


@given(st.b, st.n, st.c, spreads, st.seeds)
def test_an_image_has_the_same_bits_alone(b, n, c, spread, seed):
    mean, v, x = drawn(seed, spread, b, n, c)
    for name, arrays in (("normal_kl", (mean, v)), ("normal_nll", (x, mean, v))):
        ours = getattr(cpu, name)(*arrays)
        for i in range(b):
            alone = getattr(cpu, name)(*(each[i : i + 1] for each in arrays))
            assert_same(alone, ours[i : i + 1])


@pytest.mark.parametrize("op", BOTH)
@pytest.mark.parametrize("mean, log_variance", [(0.0, 0.0), (1.5, -2.0), (-3.0, 1.25)])
def test_they_are_what_they_are_called(op, mean, log_variance):
    # p and q on a grid that is far wider than either
    x = np.linspace(-40, 40, 100_001, dtype=np.float32)[:, None, None]
    of = np.full_like(x, mean), np.full_like(x, log_variance)
    log_p = -op.normal_nll(x, *of).astype(np.float64)
    log_q = -op.normal_nll(x, 0 * x, 0 * x).astype(np.float64)
    p, cell = np.exp(log_p), 80 / 100_000
    assert abs(p.sum() * cell - 1) < 1e-4
    divergence = (p * (log_p - log_q)).sum() * cell
    assert abs(op.normal_kl(*(each[:1] for each in of)) - divergence) < 1e-3


@given(st.b, st.n, st.c, spreads, st.seeds)
def test_no_divergence_is_negative(b, n, c, spread, seed):
    mean, v, _ = drawn(seed, spread, b, n, c)
    assert (cpu.normal_kl(mean, v) >= 0).all()
    assert not cpu.normal_kl(0 * mean, 0 * v).any()
