"""Specifications of causal_conv, alone and with silu."""

import numpy as np

from minigen.checking.spec import Spec, floats, in_float64
from minigen.ops.causal_conv import reference
from minigen.ops.silu.spec import silu_magnitude


def draw_causal_conv(draw):
    """Draw x (b n c), w (c w), bias (c), state (b w c); n is at times less than w."""
    b, n, c, w = draw.sizes("bncw")
    dtype, seed = draw.dtype(), draw.seed()
    weight, bias = floats(seed, c, w, dtype=dtype), floats(seed, c, dtype=dtype)
    x, state = floats(seed, b, n, c), floats(seed + 1, b, w, c)
    return {"x": x, "w": weight, "bias": bias, "state": state}


def conv_magnitude(x, w, bias, state):
    """Return the convolution of all absolute values."""
    return reference.causal_conv(*map(abs, in_float64(x, w, bias, state)))[0]


def conv_silu_magnitude(x, w, bias, state):
    """Return |silu(v)| + |v|', with |v|' the magnitude of v: silu is not steeper than
    1.1, so an error of v is not carried on by more than that."""
    v, _ = reference.causal_conv(*in_float64(x, w, bias, state))
    return silu_magnitude(v) + 1.1 * conv_magnitude(x, w, bias, state)


def conv_magnitudes(**case):
    """Return the magnitude of y, and none for the state: its inputs are copied."""
    return conv_magnitude(**case), np.zeros(case["state"].shape)


def conv_silu_magnitudes(**case):
    """Return the same for `causal_conv_silu`."""
    return conv_silu_magnitude(**case), np.zeros(case["state"].shape)


# a state that is moved on by few tokens, and by several blocks of them
ROUTES = ({"n": 1, "w": 4}, {"n": 2, "w": 5}, {"n": 17, "c": 33})

SPECS = (
    Spec(
        "causal_conv",
        draw_causal_conv,
        conv_magnitudes,
        batched=("x", "state"),
        changes=("state",),
        routes=ROUTES,
    ),
    Spec(
        "causal_conv_silu",
        draw_causal_conv,
        conv_silu_magnitudes,
        batched=("x", "state"),
        changes=("state",),
        routes=ROUTES,
    ),
)
