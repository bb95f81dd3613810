"""How far off the ops of a state space model may be: the magnitude of each result."""

from __future__ import annotations

import numpy as np

from minigen.checking.tolerance import EPS, TINY
from minigen.ops.causal_conv import reference as causal_conv
from minigen.ops.gated_rms_norm import reference as gated_rms_norm
from minigen.ops.silu import reference as silu

FLUSHED = 2 * TINY / EPS
"""An exponential below the smallest normal number may be zero: in units of eps."""


def silu_magnitude(x):
    """Return |silu(x)|: nothing is subtracted; exp(-|x|) may be flushed to zero."""
    x = x.astype(np.float64)
    return abs(silu.silu(x)) + FLUSHED * abs(x)


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


def gated_magnitude(function, x, z, w, r, eps):
    """Return |result|: squares do not cancel; and what flushed exponentials cost."""
    wide = [each.astype(np.float64) for each in (x, z, w)]
    # where a whole group vanishes, what is left is divided by no more than sqrt(eps)
    flushed = FLUSHED * abs(wide[0] * wide[1] * wide[2]) / np.sqrt(eps)
    return abs(function(*wide, r, eps)) + flushed


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


SPECS = ()
