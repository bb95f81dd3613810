"""Specification of the step of Mamba-2: many ops in one, and their errors in one."""

import numpy as np

from minigen.checking.spec import Spec, floats, in_float64
from minigen.ops.causal_conv import reference as causal_conv
from minigen.ops.causal_conv.spec import conv_silu_magnitude
from minigen.ops.gated_rms_norm import reference as gated_rms_norm
from minigen.ops.silu.spec import silu_magnitude
from minigen.ops.ssd import reference as ssd
from minigen.ops.ssd.spec import ssd_magnitude
from minigen.ops.step_size import reference as step_size
from minigen.ops.step_size.spec import step_size_magnitude


def draw_mamba2_step(draw):
    """Draw the arguments of mamba2_step, for one or two groups of h heads each."""
    b, h, p, s, w = draw.sizes("bhpsw")
    (r,), dtype, seed = draw.sizes("r"), draw.dtype(), draw.seed()
    return make_case(seed, b, min(r, 2), h, p, s, w, dtype)


def make_case(seed, b, r, h, p, s, w, dtype=np.float32):
    """Return the arguments of mamba2_step, for r groups of h heads each."""
    heads = r * h
    d = heads * p
    c = d + 2 * r * s
    return {
        "projected": floats(seed, b, 1, d + c + heads),
        "w": floats(seed + 1, c, w, dtype=dtype),
        "bias": floats(seed + 2, c, dtype=dtype),
        "dt_bias": floats(seed + 3, heads, dtype=dtype),
        "A_log": floats(seed + 4, heads, dtype=dtype),
        "D": floats(seed + 5, heads, dtype=dtype),
        "norm": floats(seed + 6, d, dtype=dtype),
        "conv": floats(seed + 7, b, w, c),
        "state": floats(seed + 8, b, heads, p, s),
        "r": r,
        "eps": 1e-5,
    }


def mamba2_step_magnitudes(
    projected, w, bias, dt_bias, A_log, D, norm, conv, state, r, eps
):
    """Return the magnitudes of y, of the inputs (they are copied), and of the state.

    An error of a part moves all that is made of it: of the convolved x, B, C and of the
    step sizes, by as much as the magnitude of each exceeds its value.
    """
    b, h, p, s = state.shape
    d, c = h * p, len(w)
    z, xBC, dt = np.split(projected.astype(np.float64), (d, d + c), axis=-1)
    given = in_float64(w, bias, conv)
    value = causal_conv.causal_conv_silu(xBC, *given)[0]
    large = conv_silu_magnitude(xBC, w, bias, conv)
    delta = step_size.step_size(dt, dt_bias.astype(np.float64), 0.0, np.inf)
    longer = step_size_magnitude(dt, dt_bias, 0.0, np.inf)

    def parts(array):
        x, B, C = np.split(array, (d, d + r * s), axis=-1)
        return x.reshape(b, 1, h, p), B.reshape(b, 1, r, s), C.reshape(b, 1, r, s)

    x, B, C = parts(abs(value) + large)
    y_m, state_m = ssd_magnitude(x, longer + delta, A_log, B, C, D, state)
    # a longer step decays more: what is carried decays by the step itself
    kept = np.exp(-delta * np.exp(A_log.astype(np.float64)))[:, 0, :, None, None]
    v = (longer * np.exp(A_log.astype(np.float64)))[:, 0, :, None, None]
    carried = kept * (1 + v) * abs(state.astype(np.float64))
    seen = np.repeat(C[:, 0], h // r, axis=1)[:, :, None]
    y_m = y_m + (carried * seen).sum(-1)[:, None]
    x, B, C = parts(value)
    rates = delta, A_log.astype(np.float64)
    exact, _ = ssd.ssd(x, *rates, B, C, D.astype(np.float64), state.astype(np.float64))
    # the norm divides by the size of the group; an error of it is shared by all
    exact, y_m = exact.reshape(z.shape), y_m.reshape(z.shape)
    gate, norm = silu_magnitude(z), norm.astype(np.float64)
    result = gated_rms_norm.gate_rms_norm(exact, z, norm, r, eps)
    squares = (exact * gate).reshape(b, 1, r, -1)
    size = np.sqrt((squares**2).mean(-1, keepdims=True) + eps)
    off = (y_m * gate).reshape(b, 1, r, -1)
    relative = 1 + (abs(squares) * off).mean(-1, keepdims=True) / size**2
    own = off / size * abs(norm).reshape(r, -1)
    shared = relative * abs(result.reshape(b, 1, r, -1))
    return (own + shared).reshape(z.shape), np.zeros(conv.shape), state_m + carried


SPECS = (
    Spec(
        "mamba2_step",
        draw_mamba2_step,
        mamba2_step_magnitudes,
        batched=("projected", "conv", "state"),
        changes=("conv", "state"),
        # so many images that a block takes a group; more than a warp takes at a time
        routes=(
            {"b": 8, "r": 2, "h": 2, "p": 2, "s": 3},
            {"b": 1, "r": 1, "h": 1, "p": 67, "s": 2},
            {"b": 1, "r": 1, "h": 1, "p": 2, "s": 130},
        ),
    ),
)
