"""The configuration of ARINAR."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minigen.config.checks import expect_fixed, from_upstream, positive
from minigen.config.mar import NAMES, TRAINING, sizes
from minigen.errors import ConfigError

# what two versions of ARINAR's code do differently, though no weight shows it
INNER_HEADS = {"v1": 4, "head": 16}
TEMPERATURE_RULES = {"v1": "std / T", "head": "std * T"}


@dataclass(frozen=True)
class ArinarConfig:
    """ARINAR: an outer masked model of tokens, an inner one of each token's features.

    channels, patch: of the latents, and of the square of them that is a token; buffer:
    positions that hold the class; width, encoder_width: of the decoder, of the encoder.
    mixtures: components for each group of features; group: features of a group;
    inner_schedule: how temperature and guidance change within a token (constant,
    linear, cosine); flow: whether what the head models goes through a flow.

    behaviour: "v1" for the released weights, "head" for what the code became later. No
    weight tells them apart: it decides the heads of the inner attention, and whether a
    temperature above 1 narrows ("v1") or widens. A wrong one gives wrong pictures.

    Source: arXiv 2503.02883; Qinyu-Allen-Zhao/Arinar backbone/mar.py::MAR.

    >>> ArinarConfig().features, ArinarConfig().inner_heads, ArinarConfig().side
    (16, 4, 16)
    """

    width: int = 768
    encoder_width: int = 768
    encoder_layers: int = 14
    decoder_layers: int = 14
    encoder_heads: int = 12
    decoder_heads: int = 12
    ratio: int = 4
    buffer: int = 64
    classes: int = 1000
    tokens: int = 256
    channels: int = 16
    patch: int = 1
    mixtures: int = 4
    inner_width: int = 768
    inner_layers: int = 1
    group: int = 1
    inner_schedule: str = "constant"
    flow: bool = False
    behaviour: str = "v1"

    def __post_init__(self) -> None:
        for name in ("width", "encoder_width", "encoder_layers", "decoder_layers",
                     "encoder_heads", "decoder_heads", "ratio", "buffer", "classes",
                     "tokens", "channels", "patch", "mixtures", "inner_width",
                     "inner_layers", "group"):  # fmt: skip
            positive("ArinarConfig", name, getattr(self, name))
        for name, known in (
            ("behaviour", INNER_HEADS),
            ("inner_schedule", ("constant", "linear", "cosine")),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"ArinarConfig.{name} is {getattr(self, name)!r}; expected "
                    + " or ".join(known)
                )
        for width, heads in (
            ("width", "decoder_heads"),
            ("encoder_width", "encoder_heads"),
            ("inner_width", "inner_heads"),
        ):
            if getattr(self, width) % getattr(self, heads):
                raise ConfigError(
                    f"ArinarConfig.{width} {getattr(self, width)} does not divide into "
                    f"{getattr(self, heads)} heads ({heads})"
                )
        if self.features % self.group:
            raise ConfigError(
                f"ArinarConfig.group is {self.group}; it must divide the "
                f"{self.features} features of a token"
            )

    @property
    def features(self) -> int:
        """Numbers that a token consists of."""
        return self.channels * self.patch**2

    @property
    def groups(self) -> int:
        """Steps in which the features of a token are drawn."""
        return self.features // self.group

    @property
    def inner_heads(self) -> int:
        """Heads of the inner model's attention."""
        return INNER_HEADS[self.behaviour]

    @property
    def side(self) -> int:
        """Rows and columns of the token grid."""
        return math.isqrt(self.tokens)

    @classmethod
    def from_upstream(cls, arguments: Mapping[str, Any]) -> ArinarConfig:
        """Build from the original's constructor arguments (`img_size`, ...).

        upstream_version: "v1" or "head", the version of the code they are for; or, if
        it is left out, that of the arguments that only "head" has.
        """
        arguments = dict(arguments)
        version = "head" if "head_type" in arguments else "v1"
        version = arguments.pop("upstream_version", version)
        width = 1024 if version == "head" else 768
        arguments = {"inner_ar_width": width} | arguments | {"behaviour": version}
        expect_fixed(arguments, {"head_type": "ar_gmm", "norm_eps": 1e-6})
        # these follow from the version
        heads, rule = INNER_HEADS.get(version), TEMPERATURE_RULES.get(version)
        expect_fixed(arguments, {"inner_num_heads": heads, "temperature_rule": rule})
        arguments = sizes(arguments)
        patch = arguments.get("patch_size", 1)
        side = arguments.pop("img_size", 256) // arguments.pop("vae_stride", 16)
        arguments |= {"tokens": (side // patch) ** 2}
        names = NAMES | {
            "num_gaussians": "mixtures", "inner_ar_width": "inner_width",
            "inner_ar_depth": "inner_layers", "bilevel_schedule": "inner_schedule",
            "feature_group": "group", "use_nf": "flow", "behaviour": "behaviour",
        }  # fmt: skip
        return from_upstream(cls, arguments, names, TRAINING, PRESETS)


PRESETS = {
    "arinar-b": ArinarConfig(),
    "arinar-l": ArinarConfig(
        width=1024,
        encoder_width=1024,
        encoder_layers=18,
        decoder_layers=18,
        encoder_heads=16,
        decoder_heads=16,
    ),
    "arinar-h": ArinarConfig(
        width=1280,
        encoder_width=1280,
        encoder_layers=22,
        decoder_layers=22,
        encoder_heads=16,
        decoder_heads=16,
    ),
    "arinar-mnist": ArinarConfig(
        width=128,
        encoder_width=128,
        encoder_layers=3,
        decoder_layers=3,
        encoder_heads=4,
        decoder_heads=4,
        buffer=8,
        classes=10,
        tokens=64,
        channels=4,
        inner_width=128,
        # here a temperature does what it does in all other models
        behaviour="head",
    ),
}
