"""What the ops with a state expect of their arguments, on a CPU as on a GPU."""

from __future__ import annotations

from minigen.errors import ShapeError
from minigen.ops.buffers import expect


def expect_channels(x, delta, A_log, B, C, D, state):
    """Return the sizes b, n, c, r, s of a selective scan, or raise ShapeError."""
    b, n, c = x.shape
    r, s = B.shape[-2:]
    if c % r:
        raise ShapeError(f"{c} channels do not divide into {r} groups")
    expect("delta", delta, x.shape)
    expect("A_log", A_log, (c, s))
    expect("B", B, (b, n, r, s))
    expect("C", C, (b, n, r, s))
    expect("D", D, (c,))
    expect("state", state, (b, c, s))
    return b, n, c, r, s


def expect_heads(x, delta, A_log, B, C, D, state):
    """Return the sizes b, n, h, p, r, s of a scan of Mamba-2, or raise ShapeError."""
    b, n, h, p = x.shape
    r, s = B.shape[-2:]
    if h % r:
        raise ShapeError(f"{h} heads do not divide into {r} groups")
    expect("delta", delta, (b, n, h))
    expect("A_log", A_log, (h,))
    expect("B", B, (b, n, r, s))
    expect("C", C, (b, n, r, s))
    expect("D", D, (h,))
    expect("state", state, (b, h, p, s))
    return b, n, h, p, r, s


def expect_step(projected, w, bias, dt_bias, A_log, D, norm, conv, state, r):
    """Return the sizes b, h, p, s, d, c of a step of Mamba-2, or raise ShapeError.

    They are those of a mixer: d = h p, c = d + 2 r s and f = d + c + h.
    """
    b, h, p, s = state.shape
    d = h * p
    c = d + 2 * r * s
    if h % r:
        raise ShapeError(f"{h} heads do not divide into {r} groups")
    expect("projected", projected, (b, 1, d + c + h))
    expect("w", w, (c, *w.shape[1:]))
    expect("bias", bias, (c,))
    for name, array in (("dt_bias", dt_bias), ("A_log", A_log), ("D", D)):
        expect(name, array, (h,))
    expect("norm", norm, (d,))
    expect("conv", conv, (b, w.shape[1], c))
    return b, h, p, s, d, c
