"""Specifications of Mamba-2's scan, step by step and in chunks."""

import numpy as np

from minigen.checking.spec import Spec, floats
from minigen.ops.selective_scan.spec import COMPANY, scan_magnitude, step_sizes


def draw_ssd(draw):
    """Draw x (b n h p), delta (b n h), A_log (h), B and C (b n r s), D (h) and state
    (b h p s), for r groups of heads."""
    b, n, p, r, s = draw.sizes("bnprs")
    (h,), dtype, seed = draw.sizes("h"), draw.dtype(), draw.seed()
    h = r * h
    return {
        "x": floats(seed, b, n, h, p),
        "delta": step_sizes(seed + 1, b, n, h),
        "A_log": floats(seed + 2, h, dtype=dtype),
        "B": floats(seed + 3, b, n, r, s),
        "C": floats(seed + 4, b, n, r, s),
        "D": floats(seed + 5, h, dtype=dtype),
        "state": floats(seed + 6, b, h, p, s),
    }


CHUNKS, LONG = (1, 2, 3, 8, 64), (17, 33, 64, 65)
"""Tokens of a chunk: of a short sequence, and of a long one, which few chunks make."""


def draw_ssd_chunked(draw):
    """Draw the arguments of ssd, and the tokens of a chunk."""
    case = draw_ssd(draw)
    chunks = CHUNKS if case["x"].shape[1] <= 16 else LONG
    return case | {"chunk": draw.among(*chunks)}


def ssd_chunked_magnitude(chunk, **case):
    """Return those of ssd: chunks say the same in other words."""
    return ssd_magnitude(**case)


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


SPECS = (
    Spec(
        "ssd",
        draw_ssd,
        ssd_magnitude,
        batched=COMPANY,
        changes=("state",),
        routes=({"s": 35},),
    ),
    Spec(
        "ssd_chunked",
        draw_ssd_chunked,
        ssd_chunked_magnitude,
        batched=COMPANY,
        changes=("state",),
        # tiles of 64: of tokens, of channels and of states
        routes=(
            {"chunk": 2},
            {"b": 1, "n": 67, "r": 2, "h": 1, "p": 2, "s": 3, "chunk": 66},
            {"b": 1, "n": 2, "r": 2, "h": 1, "p": 65, "s": 66, "chunk": 64},
        ),
    ),
)
