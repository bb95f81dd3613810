"""The VQ tokenizer: its record, without the forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from minigen.errors import ConfigError
from minigen.families import pyramid
from minigen.families.checks import check_fields, from_upstream
from minigen.families.family import Family
from minigen.families.rows import conv


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
        check_fields(self)
        pyramid.check_widths(self)

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
            "codebook_l2_norm": "unit_codes", "commit_loss_beta": None,
            "entropy_loss_ratio": None, "dropout_p": None, "num_res_blocks": None,
        }  # fmt: skip
        return from_upstream(cls, arguments, names)


PRESETS = {
    "vq-16": VqConfig(),
    "vq-8": VqConfig(multipliers=(1, 2, 2, 4)),
    "vq-mnist": VqConfig(
        base=32, multipliers=(1, 1, 2), latent=32, codes=64, code_size=8
    ),
}


def rows(c: VqConfig, blocks: int = 2):
    """Source: FoundationVision/LlamaGen tokenizer/tokenizer_image/vq_model.py.

    blocks: residual blocks of a level of the encoder, one fewer than of the decoder's.
    """
    from minigen.models.vq import block_names

    deepest, names = (c.levels - 1,), block_names(c)
    yield from pyramid.encoder(c, blocks, deepest, c.latent, names)
    yield from conv("quant_conv", "quant_conv", c.code_size, c.latent, 1)
    yield "codebook", "quantize.embedding.weight", (c.codes, c.code_size)
    yield from conv("post_quant_conv", "post_quant_conv", c.latent, c.code_size, 1)
    yield from pyramid.decoder(c, blocks + 1, deepest, c.latent, names)


def guess(shapes: Mapping) -> tuple[VqConfig, tuple[str, ...]]:
    """Return the configuration that follows from shapes, and the fields that do not."""
    base, multipliers = pyramid.widths(
        shapes, "encoder.conv_blocks.{}.res.0.conv1.weight"
    )
    codes, code_size = shapes["quantize.embedding.weight"]
    latent = shapes["encoder.conv_out.weight"][0]
    return VqConfig(base, multipliers, latent, codes, code_size), ("unit_codes",)


VQ = Family(
    name="vq", config=VqConfig, presets=PRESETS,
    model="minigen.models.vq", twin="minigen.training.vq:Vq",
    repository="FoundationVision/LlamaGen", licence="MIT",
    released={"vq-16": " vq_ds16_c2i.pt", "vq-8": " vq_ds8_c2i.pt"},
    rows=rows, guess=guess, work=partial(pyramid.work, rows),
    dropped=("quantize.codebook_used", "loss.*", "model_ema.*"), part="vqvae.",
)  # fmt: skip
