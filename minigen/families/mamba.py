"""The Mamba mixers: their configurations, and the names of their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from minigen.checks import choice
from minigen.errors import ConfigError
from minigen.families.checks import MOST, check_fields, renamed
from minigen.families.rows import factor, pair


@dataclass(frozen=True)
class Mamba1Config:
    """The mixer of Mamba-1: every channel has a state of its own.

    expand: channels that are scanned, as a multiple of the width, rounded down; rank:
    numbers that the step sizes of all channels are made from, None for a 16th of the
    width, rounded up.

    Source: state-spaces/mamba modules/mamba_simple.py::Mamba.

    >>> Mamba1Config(width=768).inner, Mamba1Config(width=768).rank
    (1536, 48)
    """

    width: int
    state_size: int = 16
    window: int = 4
    expand: float = 2.0
    bias: bool = False
    conv_bias: bool = True
    rank: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.rank is None:
            object.__setattr__(self, "rank", -(-self.width // 16))
        _check_inner(self)

    @property
    def inner(self) -> int:
        """Channels that are scanned."""
        return int(self.expand * self.width)

    @property
    def channels(self) -> int:
        """Channels that are convolved."""
        return self.inner


@dataclass(frozen=True)
class Mamba2Config:
    """The mixer of Mamba-2: the channels of a head share a rate, groups share B and C.

    normalise, norm_first: whether what was scanned is normalised, and whether that is
    before its gate or behind it. scanned: how many of the `expand` times width channels
    are scanned, None for all; the others are a gated layer beside it. skips: whether
    every channel has a weight D of its own, or every head. step_min, step_max: limits
    of the step sizes, None for no upper one.

    The original's decode step forgets the limits, and knows no D of a channel; here
    both forms compute the same.

    Source: state-spaces/mamba modules/mamba2.py::Mamba2.

    >>> Mamba2Config(width=768).heads, Mamba2Config(width=768).channels
    (24, 1792)
    """

    width: int
    state_size: int = 128
    window: int = 4
    expand: float = 2.0
    bias: bool = False
    conv_bias: bool = True
    head_size: int = 64
    groups: int = 1
    normalise: bool = True
    norm_first: bool = False
    scanned: int | None = None
    skips: bool = False
    step_min: float = 0.0
    step_max: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.scanned == self.whole:
            object.__setattr__(self, "scanned", None)
        if self.head_size == 1:
            # a channel is a head
            object.__setattr__(self, "skips", False)
        _check_inner(self)
        if self.step_min > self.limits[1]:
            raise ConfigError(
                f"Mamba2Config.step_min {self.step_min} is above its step_max "
                f"{self.step_max}"
            )
        if self.inner % self.head_size or self.heads % self.groups:
            raise ConfigError(
                f"Mamba2Config scans {self.inner} channels, which do not divide into "
                f"heads of {self.head_size}, and these into {self.groups} groups"
            )

    @property
    def whole(self) -> int:
        """Channels that are scanned, and those beside them."""
        return int(self.expand * self.width)

    @property
    def inner(self) -> int:
        """Channels that are scanned."""
        return self.scanned or self.whole

    @property
    def beside(self) -> int:
        """Channels of the gated layer beside the scan."""
        return self.whole - self.inner

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest step size."""
        return self.step_min, math.inf if self.step_max is None else self.step_max

    @property
    def heads(self) -> int:
        """Heads of its states."""
        return self.inner // self.head_size

    @property
    def channels(self) -> int:
        """Channels that are convolved: the scanned ones, and B and C of each group."""
        return self.inner + 2 * self.groups * self.state_size


def _check_inner(c):
    # whole: of Mamba-2, of which not all need be scanned
    whole = getattr(c, "whole", c.inner)
    if not 1 <= c.inner <= whole <= MOST:
        raise ConfigError(
            f"{type(c).__name__} scans {c.inner} of {whole} channels ({c.expand:g} x "
            f"{c.width}); expected 1 .. {whole} of at most {MOST}"
        )


NAMES = {
    "d_model": "width", "d_state": "state_size", "d_conv": "window",
    "expand": "expand", "bias": "bias", "conv_bias": "conv_bias",
    # what the weights begin with, and how fast they are computed with
    "dt_min": None, "dt_max": None, "dt_init_floor": None, "layer_idx": None,
}  # fmt: skip
ARGUMENTS = {
    "Mamba1": NAMES | {
        "dt_rank": "rank", "dt_init": None, "dt_scale": None, "use_fast_path": None,
    },
    "Mamba2": NAMES | {
        "headdim": "head_size", "ngroups": "groups", "rmsnorm": "normalise",
        "norm_before_gate": "norm_first", "d_ssm": "scanned", "D_has_hdim": "skips",
        "dt_limit": None, "conv_init": None, "A_init_range": None, "chunk_size": None,
        "use_mem_eff_path": None,
    },
}  # fmt: skip
"""Our field for each argument of the originals' constructors, None where it is none."""


UNSAID = {
    "Mamba1": {"d_state": 16},
    "Mamba2": {
        "d_state": 128, "ngroups": 1, "norm_before_gate": False,
        "dt_limit": (0.0, None),
    },
}  # fmt: skip
"""What the originals take if it is not said, of what no shape shows."""


def of_arguments(
    layer: str, arguments: Mapping[str, Any], whole: bool = False
) -> dict[str, Any]:
    """Return the fields that arguments of the original's constructor give.

    layer: "Mamba1" or "Mamba2"; whole: whether these are all arguments, so that what is
    not said is what the original takes then.

    >>> of_arguments("Mamba2", {"d_state": 64, "dt_limit": (0.0, math.inf)})
    {'state_size': 64, 'step_min': 0.0, 'step_max': None}
    """
    choice("layer", layer, ARGUMENTS, error=ConfigError)
    arguments = {**(UNSAID[layer] if whole else {}), **arguments}
    if arguments.get("dt_rank") == "auto":
        del arguments["dt_rank"]
    limits = {}
    if layer == "Mamba2" and "dt_limit" in arguments:
        least, most = arguments.pop("dt_limit")
        most = None if most is None or float(most) == math.inf else most
        limits = {"step_min": least, "step_max": most}
    return renamed(arguments, ARGUMENTS[layer]) | limits


def guess(shapes: Mapping, there: str, told: Mapping) -> tuple[dict, tuple[str, ...]]:
    """Return the fields that follow from shapes, and which do not: see `Family`.

    there: what stands before the names of the mixer.
    """
    d, whole = shapes[f"{there}out_proj.weight"]
    channels, _, window = shapes[f"{there}conv1d.weight"]
    found = {
        "window": window, "expand": factor((d, whole)),
        "bias": f"{there}in_proj.bias" in shapes,
        "conv_bias": f"{there}conv1d.bias" in shapes,
    }  # fmt: skip
    heads, *state = shapes[f"{there}A_log"]
    if state:
        rank = shapes[f"{there}dt_proj.weight"][1]
        return found | {"mixer": "mamba1", "state_size": state[0], "rank": rank}, ()
    # B and C of all groups together: only the product of two fields is seen
    both = shapes[f"{there}in_proj.weight"][0] - 2 * whole - heads
    scanned, size = channels - both, both // 2
    groups = told.get("groups", size // told.get("state_size", size))
    found |= {
        "mixer": "mamba2", "state_size": size // groups, "groups": groups,
        "head_size": scanned // heads, "skips": shapes[f"{there}D"][0] != heads,
        "scanned": None if scanned == whole else scanned,
        "normalise": f"{there}norm.weight" in shapes, "step_min": 0.0, "step_max": None,
    }  # fmt: skip
    unseen = "state_size", "groups", "step_min", "step_max"
    if not found["normalise"]:
        return found, unseen
    return found | {"norm_first": False}, (*unseen, "norm_first")


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
    for name in ("dt_bias", "A_log"):
        yield name, name, (h,)
    yield "D", "D", (inner if c.skips else h,)
    rows = 2 * c.beside + inner + c.channels + h
    yield from linear("in_proj", (rows, d), c.bias)
    yield from _conv(c)
    if c.normalise:
        yield "norm", "norm.weight", (inner,)
    yield from linear("out_proj", (d, c.whole), c.bias)


def _conv(c):
    shape = c.channels, 1, c.window
    yield from linear("conv", shape, c.conv_bias, "conv1d")


def linear(name, shape, bias, upstream=None):
    """Yield the rows of a layer, whose bias has the first axis of its weight."""
    yield from islice(pair(name, upstream or name, shape), 1 + bias)
