"""The names of the weights of both Mamba mixers; see `names` for what a row is."""

from __future__ import annotations

from minigen.config import Mamba1Config, Mamba2Config


def mixer_rows(c, ours="", upstream=""):
    """Yield the rows of a mixer, each name behind a prefix.

    Source: state-spaces/mamba modules/mamba_simple.py, modules/mamba2.py.
    """
    rows = _mamba2_rows(c) if isinstance(c, Mamba2Config) else _mamba1_rows(c)
    for here, there, shape in rows:
        yield f"{ours}{here}", f"{upstream}{there}", shape


def _mamba1_rows(c: Mamba1Config):
    d, inner, rank = c.width, c.inner, c.rank
    yield "A_log", "A_log", (inner, c.state_size)
    yield "D", "D", (inner,)
    yield from _linear("in_proj", (2 * inner, d), c.bias)
    yield from _conv(c)
    yield "x_proj", "x_proj.weight", (rank + 2 * c.state_size, inner)
    yield from _linear("dt_proj", (inner, rank), True)
    yield from _linear("out_proj", (d, inner), c.bias)


def _mamba2_rows(c: Mamba2Config):
    d, inner, h = c.width, c.inner, c.heads
    for name in ("dt_bias", "A_log", "D"):
        yield name, name, (h,)
    yield from _linear("in_proj", (inner + c.channels + h, d), c.bias)
    yield from _conv(c)
    if c.normalise:
        yield "norm", "norm.weight", (inner,)
    yield from _linear("out_proj", (d, inner), c.bias)


def _conv(c):
    yield "conv.w", "conv1d.weight", (c.channels, 1, c.window)
    if c.conv_bias:
        yield "conv.bias", "conv1d.bias", (c.channels,)


def _linear(name, shape, bias):
    yield f"{name}.w", f"{name}.weight", shape
    if bias:
        yield f"{name}.bias", f"{name}.bias", shape[:1]
