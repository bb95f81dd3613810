"""The configuration of AiM, and of the Mamba mixers in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minigen.config.checks import from_upstream, positive
from minigen.errors import ConfigError

MIXER_NAMES = {
    "d_model": "width", "d_state": "state_size", "d_conv": "window",
    "expand": "expand", "bias": "bias", "conv_bias": "conv_bias",
}  # fmt: skip
MIXER_SPEED = {"chunk_size"}
# constructor arguments of the original that change training only, never an array's
# shape or a forward pass in evaluation mode: accepted, and they change nothing here
TRAINING = {
    "residual_in_fp32", "fused_add_norm", "pad_vocab_size_multiple", "attn_cfg",
    "token_drop", "mixer_drop", "mlp_drop", "chunk_size",
}  # fmt: skip
# what every released AiM has, and what nothing here could do otherwise
FIXED = {"rms_norm": True, "tie_embeddings": True, "attn_layer_idx": []}


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
        for name in ("width", "state_size", "window", "expand"):
            positive("Mamba1Config", name, getattr(self, name))

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

    @classmethod
    def from_upstream(cls, arguments: Mapping[str, Any]) -> Mamba1Config:
        """Build from the original's constructor arguments (`d_model`, ...)."""
        return from_upstream(cls, arguments, MIXER_NAMES, MIXER_SPEED, {})


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
        for name in ("width", "state_size", "window", "expand", "head_size", "groups"):
            positive("Mamba2Config", name, getattr(self, name))
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

    @classmethod
    def from_upstream(cls, arguments: Mapping[str, Any]) -> Mamba2Config:
        """Build from the original's constructor arguments (`d_model`, ...)."""
        names = MIXER_NAMES | {
            "headdim": "head_size", "ngroups": "groups", "rmsnorm": "normalise",
            "norm_before_gate": "norm_first",
        }  # fmt: skip
        return from_upstream(cls, arguments, names, MIXER_SPEED, {})


@dataclass(frozen=True)
class AimConfig:
    """AiM: Mamba mixers over image tokens in raster order, each under adaLN.

    mixer: "mamba2", as released, or "mamba1"; state_size, head_size, groups, window,
    expand: its sizes (head_size and groups are those of Mamba-2 alone). hidden: of the
    feed-forward layers, 0 where there are none. condition_groups: projections of the
    class that the layers share in turn, 0 where each has its own.

    Source: arXiv 2408.12245; hp-l33/AiM models/stage2/config_mamba.py::MambaConfig.

    >>> AimConfig().mixing.heads, AimConfig(mixer="mamba1", state_size=16).mixing.rank
    (32, 64)
    """

    width: int = 1024
    layers: int = 48
    vocabulary: int = 16384
    classes: int = 1000
    tokens: int = 256
    mixer: str = "mamba2"
    state_size: int = 128
    head_size: int = 64
    groups: int = 1
    window: int = 4
    expand: int = 2
    hidden: int = 0
    condition_groups: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "layers", "vocabulary", "classes", "tokens"):
            positive("AimConfig", name, getattr(self, name))
        for name in ("hidden", "condition_groups"):
            positive("AimConfig", name, getattr(self, name) or 1)
        if self.mixer not in ("mamba1", "mamba2"):
            raise ConfigError(
                f"AimConfig.mixer is {self.mixer!r}; expected mamba1 or mamba2"
            )
        # its sizes are checked where they are put together
        _ = self.mixing

    @property
    def mixing(self) -> Mamba1Config | Mamba2Config:
        """The configuration of every mixer."""
        sizes = self.width, self.state_size, self.window, self.expand
        if self.mixer == "mamba1":
            return Mamba1Config(*sizes)
        return Mamba2Config(*sizes, head_size=self.head_size, groups=self.groups)

    @property
    def side(self) -> int:
        """Rows and columns of the token grid."""
        return math.isqrt(self.tokens)

    @property
    def factor(self) -> int:
        """Vectors a layer makes of the class: shift, scale, gate of each branch."""
        return 6 if self.hidden else 3

    @property
    def no_class_id(self) -> int:
        """Row of the class table that stands for "no condition"."""
        return self.classes

    def class_id(self, label: int) -> int:
        """Row of the class table of class `label`."""
        return label

    @classmethod
    def from_upstream(cls, arguments: Mapping[str, Any]) -> AimConfig:
        """Build from the fields of the original's config.json (`d_model`, ...)."""
        arguments = dict(arguments)
        for name, value in FIXED.items():
            if arguments.pop(name, value) != value:
                raise ConfigError(
                    f"AiM with {name} other than {value} is not supported; every "
                    "released model has it so"
                )
        mixer = dict(arguments.pop("ssm_cfg", {"layer": "Mamba2"}))
        layer = mixer.pop("layer", "Mamba1")
        if layer not in ("Mamba1", "Mamba2"):
            raise ConfigError(f"ssm_cfg has the layer {layer!r}; expected Mamba1 or 2")
        arguments |= {"mixer": layer.lower()}
        if layer == "Mamba1":
            arguments |= {"d_state": 16}
        arguments |= mixer
        if "d_intermediate" in arguments:
            # rounded up, as GatedMLP does
            arguments["d_intermediate"] = -(-arguments["d_intermediate"] // 128) * 128
        if not arguments.pop("adaln_group", False):
            arguments["num_groups"] = 0
        names = {
            "d_model": "width", "n_layer": "layers", "vocab_size": "vocabulary",
            "num_classes": "classes", "num_tokens": "tokens", "mixer": "mixer",
            "d_state": "state_size", "headdim": "head_size", "ngroups": "groups",
            "d_conv": "window", "expand": "expand", "d_intermediate": "hidden",
            "num_groups": "condition_groups",
        }  # fmt: skip
        if "num_groups" not in arguments:
            arguments["num_groups"] = 1
        return from_upstream(cls, arguments, names, TRAINING, PRESETS)


PRESETS = {
    "aim-b": AimConfig(width=768, layers=24),
    "aim-l": AimConfig(condition_groups=4),
    "aim-xl": AimConfig(width=1536, condition_groups=4),
    # inferred: announced with 1.3 billion parameters, never released
    "aim-1b": AimConfig(width=2048, condition_groups=4),
    "aim-mnist": AimConfig(
        width=128,
        layers=7,
        vocabulary=64,
        classes=10,
        tokens=64,
        state_size=32,
        head_size=32,
    ),
}
