"""Specifications of what a state space model, and its blocks, are made of."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from minigen.checking.specs.spec import Spec, absolute, linear_in_each, wide
from minigen.checking.strategies import floats, seeds
from minigen.checking.tolerance import EPS, TINY
from minigen.ops.add_rms_norm import reference as add_rms_norm
from minigen.ops.causal_conv import reference as causal_conv
from minigen.ops.gated_rms_norm import reference as gated_rms_norm
from minigen.ops.modulate import reference as modulate
from minigen.ops.silu import reference as silu

SCALES = st.sampled_from((1.0, 5.0, 100.0))

FLUSHED = 2 * TINY / EPS
"""An exponential below the smallest normal number may be zero: in units of eps."""


@st.composite
def draw_silu(draw, sizes):
    """Draw x (b n d), at times so large that exp overflows."""
    b, n, d, seed = draw(sizes.b), draw(sizes.n), draw(sizes.d), draw(seeds)
    return {"x": floats(seed, b, n, d, scale=draw(SCALES))}


@st.composite
def draw_gated_silu(draw, sizes):
    """Draw x (b n 2f), at times so large that exp overflows."""
    b, n, f, seed = draw(sizes.b), draw(sizes.n), draw(sizes.f), draw(seeds)
    return {"x": floats(seed, b, n, 2 * f, scale=draw(SCALES))}


@st.composite
def draw_columns(draw, sizes):
    """Draw x (b n d), and which of its columns."""
    b, n, d, seed = draw(sizes.b), draw(sizes.n), draw(sizes.d), draw(seeds)
    first = draw(st.integers(0, min(d - 1, 5)))
    last = d - draw(st.integers(0, min(d - 1 - first, 5)))
    return {"x": floats(seed, b, n, d), "first": first, "last": last}


@st.composite
def draw_modulate(draw, sizes):
    """Draw x (b n d), shift and scale (b 1 d)."""
    b, n, d, seed = draw(sizes.b), draw(sizes.n), draw(sizes.d), draw(seeds)
    shift, scale = floats(seed + 1, b, 1, d), floats(seed + 2, b, 1, d)
    return {"x": floats(seed, b, n, d), "shift": shift, "scale": scale}


@st.composite
def draw_gate(draw, sizes):
    """Draw x (b n d), weight (b 1 d)."""
    b, n, d, seed = draw(sizes.b), draw(sizes.n), draw(sizes.d), draw(seeds)
    return {"x": floats(seed, b, n, d), "weight": floats(seed + 1, b, 1, d)}


@st.composite
def draw_add_rms_norm(draw, sizes):
    """Draw x, residual (b n d), w (d), eps; x so small at times that eps decides."""
    b, n, d, seed = draw(sizes.b), draw(sizes.n), draw(sizes.d), draw(seeds)
    dtype, scale = draw(sizes.dtypes), draw(st.sampled_from((1.0, 1e-3)))
    x, residual = (floats(seed + i, b, n, d, scale=scale) for i in range(2))
    return {
        "x": x,
        "residual": residual,
        "w": floats(seed, d, dtype=dtype),
        "eps": 1e-5,
    }


@st.composite
def draw_gated_rms_norm(draw, sizes):
    """Draw x and z (b n d), w (d), r groups of channels, eps; at times large gates."""
    b, n, c, r = (draw(getattr(sizes, letter)) for letter in "bncr")
    dtype, seed = draw(sizes.dtypes), draw(seeds)
    x, z = floats(seed, b, n, r * c), floats(seed + 1, b, n, r * c, scale=draw(SCALES))
    return {"x": x, "z": z, "w": floats(seed, r * c, dtype=dtype), "r": r, "eps": 1e-5}


@st.composite
def draw_causal_conv(draw, sizes):
    """Draw x (b n c), w (c w), bias (c), state (b w c); n is at times less than w."""
    b, n, c, w = (draw(getattr(sizes, letter)) for letter in "bncw")
    dtype, seed = draw(sizes.dtypes), draw(seeds)
    weight, bias = floats(seed, c, w, dtype=dtype), floats(seed, c, dtype=dtype)
    x, state = floats(seed, b, n, c), floats(seed + 1, b, w, c)
    return {"x": x, "w": weight, "bias": bias, "state": state}


@st.composite
def draw_step_size(draw, sizes):
    """Draw x (b n h), bias (h), and limits, of which the highest may be none."""
    b, n, h, seed = draw(sizes.b), draw(sizes.n), draw(sizes.h), draw(seeds)
    lowest, highest = draw(st.sampled_from(((0.0, np.inf), (0.05, 0.2))))
    x, bias = floats(seed, b, n, h, scale=draw(SCALES)), draw(sizes.dtypes)
    bias = floats(seed, h, dtype=bias)
    return {"x": x, "bias": bias, "lowest": lowest, "highest": highest}


def silu_magnitude(x):
    """Return |silu(x)|: nothing is subtracted; exp(-|x|) may be flushed to zero."""
    x = x.astype(np.float64)
    return abs(silu.silu(x)) + FLUSHED * abs(x)


def gated_silu_magnitude(x):
    """Return |value| times the magnitude of silu(gate)."""
    value, gate = np.split(x.astype(np.float64), 2, axis=-1)
    return abs(value) * silu_magnitude(gate)


def modulate_magnitude(x, shift, scale):
    """Return |x| (1 + |scale|) + |shift|: all terms counted as positive."""
    return modulate.modulate(**absolute({"x": x, "shift": shift, "scale": scale}))


def add_rms_norm_magnitudes(x, residual, w, eps):
    """Return |y|, since squares do not cancel, and |x + residual|, rounded once."""
    given = wide({"x": x, "residual": residual, "w": w})
    return tuple(map(abs, add_rms_norm.add_rms_norm(**given, eps=eps)))


def conv_magnitude(x, w, bias, state):
    """Return the convolution of all absolute values."""
    wide = (abs(each.astype(np.float64)) for each in (x, w, bias, state))
    return causal_conv.causal_conv(*wide)[0]


def conv_silu_magnitude(x, w, bias, state):
    """Return |silu(v)| + |v|', with |v|' the magnitude of v: silu is not steeper than
    1.1, so an error of v is not carried on by more than that."""
    wide = [each.astype(np.float64) for each in (x, w, bias, state)]
    v, _ = causal_conv.causal_conv(*wide)
    return silu_magnitude(v) + 1.1 * conv_magnitude(x, w, bias, state)


def conv_magnitudes(**case):
    """Return the magnitude of y, and none for the state: its inputs are copied."""
    return conv_magnitude(**case), np.zeros(case["state"].shape)


def conv_silu_magnitudes(**case):
    """Return the same for `causal_conv_silu`."""
    return conv_silu_magnitude(**case), np.zeros(case["state"].shape)


def gated_magnitude(function, x, z, w, r, eps):
    """Return |result| for the gate and again for the norm, whose squares do not cancel;
    and what flushed exponentials cost."""
    wide = [each.astype(np.float64) for each in (x, z, w)]
    # where a whole group vanishes, what is left is divided by no more than sqrt(eps)
    flushed = FLUSHED * abs(wide[0] * wide[1] * wide[2]) / np.sqrt(eps)
    return 2 * abs(function(*wide, r, eps)) + flushed


def gate_rms_norm_magnitude(x, z, w, r, eps):
    """Return the magnitude of gate_rms_norm."""
    return gated_magnitude(gated_rms_norm.gate_rms_norm, x, z, w, r, eps)


def rms_norm_gate_magnitude(x, z, w, r, eps):
    """Return the magnitude of rms_norm_gate."""
    return gated_magnitude(gated_rms_norm.rms_norm_gate, x, z, w, r, eps)


def step_size_magnitude(x, bias, lowest, highest):
    """Return softplus(v) + sigmoid(v) (|x| + |bias|), with v = x + bias.

    The derivative of the softplus is the sigmoid: it carries on the rounding of v.
    """
    x, bias = x.astype(np.float64), bias.astype(np.float64)
    v = x + bias
    sigmoid = np.exp(-np.logaddexp(0, -v))
    # within limits, a result moves by no more than it would without; lowest is rounded
    return np.logaddexp(0, v) + sigmoid * (abs(x) + abs(bias)) + FLUSHED + lowest


def scan_magnitude(x, delta, A_log, B, C, D, state):
    """Return the magnitudes of y (b n c) and of the last state (b c s).

    With H the state of all absolute values: at each step a state is multiplied by
    exp(-v), v = delta e^A_log, whose own error is (1 + v) eps of it, and rounded twice.
    So the magnitude M of a state is what decayed of M and (1 + v) H, and what is new.
    """
    A = np.exp(A_log.astype(np.float64))
    x, delta, B, C, D, H = (
        abs(each.astype(np.float64)) for each in (x, delta, B, C, D, state)
    )
    c = x.shape[2]
    B, C = (np.repeat(each, c // each.shape[2], axis=2) for each in (B, C))
    y, M = np.empty_like(x), H
    for t in range(x.shape[1]):
        v = delta[:, t, :, None] * A
        new = (delta[:, t] * x[:, t])[..., None] * B[:, t]
        M = np.exp(-v) * (M + (1 + v) * H) + FLUSHED * H + new
        H = np.exp(-v) * H + new
        y[:, t] = (M * C[:, t]).sum(-1) + D * x[:, t]
    return y, M


def ssd_magnitude(x, delta, A_log, B, C, D, state):
    """Return the magnitudes of y (b n h p) and of the last state (b h p s).

    A head of p channels is p channels of `scan_magnitude` that share all they have.
    """
    b, n, h, p = x.shape
    s = state.shape[-1]
    A_log = np.repeat(A_log, p)[:, None].repeat(s, axis=1)
    delta, D = np.repeat(delta, p, axis=2), np.repeat(D, p)
    flat = x.reshape(b, n, h * p), delta, A_log, B, C, D, state.reshape(b, h * p, s)
    y, M = scan_magnitude(*flat)
    return y.reshape(x.shape), M.reshape(state.shape)


# a state that is moved on by few tokens, and by several blocks of them
CONV_ROUTES = {"n": 1, "c": 2, "w": 4}, {"b": 1, "n": 17, "c": 33}

SPECS = (
    Spec(
        "silu",
        "silu",
        draw_silu,
        magnitude=silu_magnitude,
        company=("x",),
        axis=1,
        routes=({"d": 300},),
    ),
    Spec(
        "silu",
        "gated_silu",
        draw_gated_silu,
        magnitude=gated_silu_magnitude,
        company=("x",),
        axis=1,
        routes=({"f": 300},),
    ),
    Spec(
        "columns",
        "columns",
        draw_columns,
        company=("x",),
        axis=1,
        routes=({"d": 300},),
    ),
    Spec(
        "modulate",
        "modulate",
        draw_modulate,
        magnitude=modulate_magnitude,
        company=("x", "shift", "scale"),
        routes=({"d": 300},),
    ),
    Spec(
        "modulate",
        "gate",
        draw_gate,
        magnitude=linear_in_each(modulate.gate),
        company=("x", "weight"),
        routes=({"d": 300},),
    ),
    Spec(
        "add_rms_norm",
        "add_rms_norm",
        draw_add_rms_norm,
        magnitude=add_rms_norm_magnitudes,
        company=("x", "residual"),
        axis=1,
        routes=({"d": 300},),
    ),
    Spec(
        "gated_rms_norm",
        "gate_rms_norm",
        draw_gated_rms_norm,
        magnitude=gate_rms_norm_magnitude,
        company=("x", "z"),
        axis=1,
        routes=({"c": 300, "r": 1},),
    ),
    Spec(
        "gated_rms_norm",
        "rms_norm_gate",
        draw_gated_rms_norm,
        magnitude=rms_norm_gate_magnitude,
        company=("x", "z"),
        axis=1,
        routes=({"c": 300, "r": 1},),
    ),
    Spec(
        "causal_conv",
        "causal_conv",
        draw_causal_conv,
        magnitude=conv_magnitudes,
        company=("x", "state"),
        changes=("state",),
        routes=CONV_ROUTES,
    ),
    Spec(
        "causal_conv",
        "causal_conv_silu",
        draw_causal_conv,
        magnitude=conv_silu_magnitudes,
        company=("x", "state"),
        changes=("state",),
        routes=CONV_ROUTES,
    ),
    Spec(
        "step_size",
        "step_size",
        draw_step_size,
        magnitude=step_size_magnitude,
        company=("x",),
        axis=1,
        routes=({"b": 2, "n": 150, "h": 1},),
    ),
)
