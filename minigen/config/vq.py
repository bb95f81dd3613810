"""The configuration of the VQ tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minigen.config.checks import from_upstream, positive
from minigen.errors import ConfigError

# constructor arguments of the original that change training only, never an array's
# shape or a forward pass in evaluation mode: accepted, and they change nothing here
TRAINING = {"commit_loss_beta", "entropy_loss_ratio", "dropout_p", "num_res_blocks"}


@dataclass(frozen=True)
class VqConfig:
    """The VQ tokenizer: convolutional encoder, nearest code, convolutional decoder.

    Source: FoundationVision/LlamaGen tokenizer/tokenizer_image/vq_model.py::ModelArgs.

    >>> VqConfig().factor, VqConfig().widths  # five levels halve the image four times
    (16, (128, 128, 256, 256, 512))
    """

    base: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    latent: int = 256
    codes: int = 16384
    code_size: int = 8
    unit_codes: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "multipliers", tuple(self.multipliers))
        for name in ("base", "latent", "codes", "code_size"):
            positive("VqConfig", name, getattr(self, name))
        for m in self.multipliers:
            positive("VqConfig", "multipliers", m)
        if not self.multipliers or self.base % 32:
            raise ConfigError(
                f"VqConfig.base is {self.base} with multipliers {self.multipliers}; "
                "widths must be multiples of 32, the number of groups in a group norm"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each level, finest first."""
        return tuple(self.base * m for m in self.multipliers)

    @property
    def levels(self) -> int:
        return len(self.multipliers)

    @property
    def factor(self) -> int:
        """Pixels per token along each side."""
        return 2 ** (self.levels - 1)

    @classmethod
    def from_upstream(cls, arguments: Mapping[str, Any]) -> VqConfig:
        """Build from the original's constructor arguments (`encoder_ch_mult`, ...)."""
        arguments = dict(arguments)
        encoder = arguments.get("encoder_ch_mult", [1, 1, 2, 2, 4])
        decoder = arguments.pop("decoder_ch_mult", encoder)
        if list(encoder) != list(decoder):
            raise ConfigError(
                f"encoder_ch_mult {list(encoder)} and decoder_ch_mult {list(decoder)} "
                "differ; every released tokenizer has the same in both halves"
            )
        names = {
            "ch": "base", "encoder_ch_mult": "multipliers", "z_channels": "latent",
            "codebook_size": "codes", "codebook_embed_dim": "code_size",
            "codebook_l2_norm": "unit_codes",
        }  # fmt: skip
        return from_upstream(cls, arguments, names, TRAINING, PRESETS)


PRESETS = {
    "vq-16": VqConfig(),
    "vq-8": VqConfig(multipliers=(1, 2, 2, 4)),
    "vq-mnist": VqConfig(
        base=32, multipliers=(1, 1, 2), latent=32, codes=64, code_size=8
    ),
}
