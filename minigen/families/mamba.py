"""The Mamba mixers: their configurations, and the names of their weights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from minigen.errors import ConfigError
from minigen.families.checks import check_fields
from minigen.families.rows import pair


@dataclass(frozen=True)
class Mamba1Config:
    """The mixer of Mamba-1: every channel has a state of its own.

    Source: state-spaces/mamba modules/mamba_simple.py::Mamba.

    >>> Mamba1Config(width=768).inner, Mamba1Config(width=768).rank
    (1536, 48)
    """

    width: int
    state_size: int = 16
    window: int = 4
    expand: int = 2
    bias: bool = False
    conv_bias: bool = True

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def inner(self) -> int:
        """Channels that are scanned."""
        return self.expand * self.width

    @property
    def channels(self) -> int:
        """Channels that are convolved."""
        return self.inner

    @property
    def rank(self) -> int:
        """Numbers that the step sizes of all channels are made from."""
        return -(-self.width // 16)


@dataclass(frozen=True)
class Mamba2Config:
    """The mixer of Mamba-2: the channels of a head share a rate, groups share B and C.

    normalise, norm_first: whether what was scanned is normalised, and whether that is
    before its gate or behind it.

    Source: state-spaces/mamba modules/mamba2.py::Mamba2.

    >>> Mamba2Config(width=768).heads, Mamba2Config(width=768).channels
    (24, 1792)
    """

    width: int
    state_size: int = 128
    window: int = 4
    expand: int = 2
    bias: bool = False
    conv_bias: bool = True
    head_size: int = 64
    groups: int = 1
    normalise: bool = True
    norm_first: bool = False
    scanned: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.inner % self.head_size or self.heads % self.groups:
            raise ConfigError(
                f"Mamba2Config scans {self.inner} channels, which do not divide into "
                f"heads of {self.head_size}, and these into {self.groups} groups"
            )

    @property
    def inner(self) -> int:
        """Channels that are scanned: `scanned`, or `expand` times the width."""
        return self.scanned or self.expand * self.width

    @property
    def heads(self) -> int:
        return self.inner // self.head_size

    @property
    def channels(self) -> int:
        """Channels that are convolved: the scanned ones, and B and C of each group."""
        return self.inner + 2 * self.groups * self.state_size


def mixer_rows(c):
    """Source: state-spaces/mamba modules/mamba_simple.py, modules/mamba2.py."""
    return _mamba2_rows(c) if isinstance(c, Mamba2Config) else _mamba1_rows(c)


def _mamba1_rows(c: Mamba1Config):
    d, inner, rank = c.width, c.inner, c.rank
    yield "A_log", "A_log", (inner, c.state_size)
    yield "D", "D", (inner,)
    yield from linear("in_proj", (2 * inner, d), c.bias)
    yield from _conv(c)
    yield "x_proj", "x_proj.weight", (rank + 2 * c.state_size, inner)
    yield from linear("dt_proj", (inner, rank), True)
    yield from linear("out_proj", (d, inner), c.bias)


def _mamba2_rows(c: Mamba2Config):
    d, inner, h = c.width, c.inner, c.heads
    for name in ("dt_bias", "A_log", "D"):
        yield name, name, (h,)
    yield from linear("in_proj", (inner + c.channels + h, d), c.bias)
    yield from _conv(c)
    if c.normalise:
        yield "norm", "norm.weight", (inner,)
    yield from linear("out_proj", (d, inner), c.bias)


def _conv(c):
    shape = c.channels, 1, c.window
    yield from linear("conv", shape, c.conv_bias, "conv1d")


def linear(name, shape, bias, upstream=None):
    """Yield the rows of a layer, whose bias has the first axis of its weight."""
    yield from islice(pair(name, upstream or name, shape), 1 + bias)
