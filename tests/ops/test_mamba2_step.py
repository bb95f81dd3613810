"""mamba2_step: the ops of a Mamba-2 mixer in one, token after token."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from minigen.checking.specs import states
from minigen.errors import ShapeError
from minigen.ops.causal_conv import reference as causal_conv
from minigen.ops.gated_rms_norm import reference as gated_rms_norm
from minigen.ops.mamba2_step import cpu, reference
from minigen.ops.ssd import reference as ssd
from minigen.ops.step_size import reference as step_size
from tests import strategies as st
from tests.tolerance import assert_close, assert_same

groups = hs.integers(1, 2)


def case(seed, b, r, h, p, s, w):
    """Return the arguments of mamba2_step, for r groups of h heads."""
    heads = r * h
    d = heads * p
    c = d + 2 * r * s
    shapes = (b, 1, d + c + heads), (c, w), (c,), (heads,), (heads,), (heads,), (d,)
    states = (b, w, c), (b, heads, p, s)
    arrays = [st.floats(seed + i, *each) for i, each in enumerate((*shapes, *states))]
    return [*arrays, r, 1e-5]


def run(function, case):
    """Run a step without touching the states that are given."""
    *given, conv, state, r, eps = case
    return function(*given, conv.copy(), state.copy(), r, eps)


def magnitudes(projected, w, bias, dt_bias, A_log, D, norm, conv, state, r, eps):
    """Return the magnitudes of y and of the scan's state, from those of each part.

    An error of a part moves all that is made of it: of the convolved x, B, C and of the
    step sizes, by as much as the magnitude of each exceeds its value.
    """
    b, h, p, s = state.shape
    d, c = h * p, len(w)
    z, xBC, dt = np.split(projected.astype(np.float64), (d, d + c), axis=-1)
    wide = [each.astype(np.float64) for each in (w, bias, conv.copy())]
    value = causal_conv.causal_conv_silu(xBC, *wide)[0]
    large = states.conv_silu_magnitude(xBC, w, bias, conv)
    delta = step_size.step_size(dt, dt_bias.astype(np.float64), 0.0, np.inf)
    longer = states.step_size_magnitude(dt, dt_bias, 0.0, np.inf)

    def parts(array):
        x, B, C = np.split(array, (d, d + r * s), axis=-1)
        return x.reshape(b, 1, h, p), B.reshape(b, 1, r, s), C.reshape(b, 1, r, s)

    x, B, C = parts(abs(value) + large)
    y_m, state_m = states.ssd_magnitude(x, longer + delta, A_log, B, C, D, state)
    # a longer step decays more: what is carried decays by the step itself
    kept = np.exp(-delta * np.exp(A_log.astype(np.float64)))[:, 0, :, None, None]
    v = (longer * np.exp(A_log.astype(np.float64)))[:, 0, :, None, None]
    carried = kept * (1 + v) * abs(state.astype(np.float64))
    seen = np.repeat(C[:, 0], h // r, axis=1)[:, :, None]
    y_m = y_m + (carried * seen).sum(-1)[:, None]
    exact, _ = ssd.ssd(
        *(each.astype(np.float64) for each in (parts(value)[0], delta, A_log)),
        *parts(value)[1:],
        D.astype(np.float64),
        state.astype(np.float64).copy(),
    )
    # the norm divides by the size of the group; an error of it is shared by all
    exact, y_m = exact.reshape(z.shape), y_m.reshape(z.shape)
    gate = states.silu_magnitude(z)
    result = gated_rms_norm.gate_rms_norm(exact, z, norm.astype(np.float64), r, eps)
    squares = (exact * gate).reshape(b, 1, r, -1)
    size = np.sqrt((squares**2).mean(-1, keepdims=True) + eps)
    off = (y_m * gate).reshape(b, 1, r, -1)
    relative = 1 + (abs(squares) * off).mean(-1, keepdims=True) / size**2
    own = off / size * abs(norm.astype(np.float64)).reshape(r, -1)
    shared = relative * abs(result.reshape(b, 1, r, -1))
    return (own + shared).reshape(z.shape), state_m + carried


@given(st.b, groups, st.h, st.p, st.s, st.w, st.seeds)
def test_close_to_the_reference(b, r, h, p, s, w, seed):
    given = case(seed, b, r, h, p, s, w)
    y, conv, state = run(cpu.mamba2_step, given)
    wide = [g.astype(np.float64) if hasattr(g, "dtype") else g for g in given]
    expected, conv_after, state_after = run(reference.mamba2_step, wide)
    y_magnitude, state_magnitude = magnitudes(*given)
    assert_same(conv, conv_after.astype(np.float32))
    assert_close(state, state_after, state_magnitude)
    assert_close(y, expected, y_magnitude)


@given(groups, st.h, st.p, st.s, st.w, st.seeds)
def test_images_in_another_order_give_the_same_bits(r, h, p, s, w, seed):
    projected, *rest, conv, state, r, eps = case(seed, 3, r, h, p, s, w)
    results = run(cpu.mamba2_step, [projected, *rest, conv, state, r, eps])
    order = [2, 0, 1]
    moved = [projected[order], *rest, conv[order], state[order], r, eps]
    for one, other in zip(run(cpu.mamba2_step, moved), results, strict=True):
        assert_same(one, other[order])


def test_two_threads_give_the_bits_of_one(threads):
    given, results = case(0, 3, 2, 3, 17, 33, 4), []
    for count in (1, 2):
        with threads(count):
            results.append(run(cpu.mamba2_step, given))
    for one, two in zip(*results, strict=True):
        assert_same(one, two)


def test_sizes_of_no_mixer_are_refused():
    given = case(0, 1, 1, 3, 2, 4, 4)
    with pytest.raises(ShapeError, match="3 heads do not divide into 2 groups"):
        cpu.mamba2_step(*given[:-2], 2, 1e-5)
    given[0] = given[0][..., 1:]
    with pytest.raises(ShapeError, match="projected has shape"):
        cpu.mamba2_step(*given)
