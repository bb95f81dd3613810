"""The two Mamba mixers: a token reads all tokens before it, through a state.

Both project a token to a signal and its gate, convolve each channel with its last few
inputs, scan, gate and project back. A state is two arrays of a fixed size, updated in
place. So a sequence may be read whole, in parts or token by token: a decode step is a
sequence of one token.

Source: Gu and Dao, arXiv 2312.00752, figure 3; Dao and Gu, arXiv 2405.21060, section 7;
state-spaces/mamba modules/mamba_simple.py, modules/mamba2.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from minigen.models.watching import tell

EPS = 1e-5

CHUNK = 64
"""Tokens in a chunk of Mamba-2's scan."""


@dataclass(frozen=True, eq=False)
class State:
    """The state of a mixer: conv (b w c), the last inputs of the convolution, newest
    last; scan, (b c s) for Mamba-1 and (b h p s) for Mamba-2."""

    conv: object
    scan: object


def new_state(ops, config, batch):
    """Return the state before the first token: all zeros."""
    scan = config.inner, config.state_size
    # only the channels of Mamba-2 form heads
    if hasattr(config, "heads"):
        scan = config.heads, config.head_size, config.state_size
    conv = config.window, config.channels
    return State(ops.zeros((batch, *conv)), ops.zeros((batch, *scan)))


def mix(ops, w, config, u, state, watch=None):
    """Return the output (b n d) of the mixer for tokens u (b n d); update its state."""
    mixer = mamba2 if hasattr(config, "heads") else mamba1
    return mixer(ops, w, config, u, state, watch)


def mamba1(ops, w, config, u, state, watch=None):
    """Mamba-1: step size, B and C are computed from the convolved signal."""
    inner, rank, s = config.inner, config.rank, config.state_size
    projected = ops.linear(u, **w["in_proj"])  # (b n d) -> (b n 2c): signal, gate
    x = ops.columns(projected, 0, inner)
    z = ops.columns(projected, inner, 2 * inner)
    x, _ = ops.causal_conv_silu(x, *_conv(ops, w, config), state.conv)
    tell(watch, "conv_out", x)

    chosen = ops.linear(x, w["x_proj"])  # step size of low rank, B (s), C (s)
    delta = ops.linear(ops.columns(chosen, 0, rank), w["dt_proj"]["w"])  # (b n c)
    delta = ops.step_size(delta, w["dt_proj"]["bias"], 0.0, math.inf)
    B = _split(ops.columns(chosen, rank, rank + s), 1)  # (b n 1 s)
    C = _split(ops.columns(chosen, rank + s, rank + 2 * s), 1)
    y, _ = ops.selective_scan(x, delta, w["A_log"], B, C, w["D"], state.scan)
    return ops.linear(ops.swiglu(z, y), **w["out_proj"])


def mamba2(ops, w, config, u, state, watch=None):
    """Mamba-2: one projection gives gate, signal, B, C and the step size of each head.

    For a single token one op computes all that follows.
    """
    inner, r, s = config.inner, config.groups, config.state_size
    projected = ops.linear(u, **w["in_proj"])
    tell(watch, "in_proj", projected)
    if u.shape[1] == 1 and _is_plain(config):
        given = *_conv(ops, w, config), w["dt_bias"], w["A_log"], w["D"], w["norm"]
        states = state.conv, state.scan
        y, _, _ = ops.mamba2_step(projected, *given, *states, r, EPS)
        return ops.linear(y, **w["out_proj"])
    first = 2 * config.beside  # before the gate lies the layer beside the scan
    z = ops.columns(projected, first, first + inner)
    last = first + inner + config.channels
    xBC = ops.columns(projected, first + inner, last)
    delta = ops.columns(projected, last, projected.shape[-1])

    xBC, _ = ops.causal_conv_silu(xBC, *_conv(ops, w, config), state.conv)
    tell(watch, "conv_out", xBC)
    x = _split(ops.columns(xBC, 0, inner), config.heads)  # (b n h p)
    B = _split(ops.columns(xBC, inner, inner + r * s), r)  # (b n r s)
    C = _split(ops.columns(xBC, inner + r * s, config.channels), r)
    delta = ops.step_size(delta, w["dt_bias"], *config.limits)

    D = ops.zeros((config.heads,)) if config.skips else w["D"]
    given = x, delta, w["A_log"], B, C, D, state.scan
    y, _ = ops.ssd(*given) if u.shape[1] == 1 else ops.ssd_chunked(*given, CHUNK)
    if config.skips:
        y = _skip(ops, w["D"], x, y)
    tell(watch, "scan_y", y)
    y = _gated(ops, w, config, y.reshape(*z.shape), z)  # (b n h p) -> (b n c)
    tell(watch, "gated_norm", y)
    if config.beside:
        y = _join(ops, _beside(ops, config, projected), y)
    return ops.linear(y, **w["out_proj"])


def _is_plain(config):
    # whether one op computes the decode step
    return not (
        config.norm_first
        or not config.normalise
        or config.skips
        or config.beside
        or config.limits != (0, math.inf)
    )


def _skip(ops, D, x, y):
    # y + D x, a weight of each channel: D (h p), x and y (b n h p)
    b, n, h, p = x.shape
    weight = ops.repeat(D.reshape(1, h * p), b).reshape(b, 1, h * p)
    skipped = ops.gate(x.reshape(b, n, h * p), weight)
    return ops.add(y.reshape(b, n, h * p), skipped).reshape(b, n, h, p)


def _beside(ops, config, projected):
    # the channels that are not scanned: a gated layer
    gate = ops.columns(projected, 0, config.beside)
    return ops.swiglu(gate, ops.columns(projected, config.beside, 2 * config.beside))


def _join(ops, x, y):
    # (b n c), (b n d) -> (b n c+d): the columns side by side
    b, n, _ = x.shape
    columns = (each.reshape(b * n, each.shape[-1], 1) for each in (x, y))
    return ops.concat(*columns).reshape(b, n, -1)


def _gated(ops, w, config, y, z):
    if "norm" not in w:
        return ops.swiglu(z, y)
    norm = ops.rms_norm_gate if config.norm_first else ops.gate_rms_norm
    return norm(y, z, w["norm"], config.groups, EPS)


def _conv(ops, w, config):
    bias = w["conv"].get("bias")
    return w["conv"]["w"], ops.zeros((config.channels,)) if bias is None else bias


def _split(x, parts):
    return x.reshape(x.shape[0], x.shape[1], parts, x.shape[2] // parts)
