"""Specification of Mamba-1's selective scan."""

import numpy as np

from minigen.checking.spec import FLUSHED, Spec, floats
from minigen.ops.step_size import reference as step_size


def step_sizes(seed, *shape):
    """Return step sizes: most below one, some of them zero, a few so long that all is
    forgotten.

    >>> bool((step_sizes(0, 2, 3) >= 0).all())
    True
    """
    raw = floats(seed, *shape, scale=4.0) - np.float32(2)
    delta = step_size.step_size(raw, np.zeros(shape[-1], np.float32), 0.0, np.inf)
    delta[raw < -6] = 0
    delta[raw > 8] *= 10
    return delta


def draw_selective_scan(draw):
    """Draw x and delta (b n c), A_log (c s), B and C (b n r s), D (c), state (b c s),
    for r groups of channels."""
    b, n, r, s = draw.sizes("bnrs")
    (c,), dtype, seed = draw.sizes("c"), draw.dtype(), draw.seed()
    return {
        "x": floats(seed, b, n, r * c),
        "delta": step_sizes(seed + 1, b, n, r * c),
        "A_log": floats(seed + 2, r * c, s, dtype=dtype),
        "B": floats(seed + 3, b, n, r, s),
        "C": floats(seed + 4, b, n, r, s),
        "D": floats(seed + 5, r * c, dtype=dtype),
        "state": floats(seed + 6, b, r * c, s),
    }


COMPANY = ("x", "delta", "B", "C", "state")
"""Arguments that have a row for each image."""


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


SPECS = (
    Spec(
        "selective_scan",
        draw_selective_scan,
        scan_magnitude,
        batched=COMPANY,
        changes=("state",),
        # a token; tokens for two warps; of more than a block has before it at a time
        routes=(
            {"n": 1},
            {"b": 1, "n": 67, "c": 1, "s": 2},
            {"b": 1, "n": 259, "r": 1, "c": 1, "s": 1},
        ),
    ),
)
