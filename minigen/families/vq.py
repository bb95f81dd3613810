"""The VQ tokenizer: its record, without the forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from minigen.errors import ConfigError
from minigen.families import pyramid
from minigen.families.checks import check_fields, expect_fixed, named, renamed
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
        """Sizes at which it sees an image: each but the last halves both sides."""
        return len(self.multipliers)

    @property
    def factor(self) -> int:
        """Pixels per token along each side."""
        return 2 ** (self.levels - 1)

    @classmethod
    def from_upstream(cls, arguments: Mapping[str, Any]) -> VqConfig:
        """Build from the original's constructor arguments (`encoder_ch_mult`, ...).

        >>> VqConfig.from_upstream({"encoder_ch_mult": [1, 2, 2, 4]}) == PRESETS["vq-8"]
        True
        """
        return cls(**of_arguments(arguments))


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


def of_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that arguments of the original's constructor give.

    They may be those of LlamaGen's or of AiM's.
    """
    arguments = dict(arguments)
    halves = [arguments.pop(f"{half}_ch_mult", None) for half in ("encoder", "decoder")]
    halves = [list(half) for half in halves if half is not None]
    if len(halves) == 2 and halves[0] != halves[1]:
        raise ConfigError(
            f"encoder_ch_mult {halves[0]} and decoder_ch_mult {halves[1]} differ; "
            "every released tokenizer has the same in both halves"
        )
    if halves:
        arguments["ch_mult"] = halves[0]
    expect_fixed(arguments, {"num_res_blocks": 2, "in_channels": 3, "out_channels": 3})
    names = {
        "ch": "base", "ch_mult": "multipliers", "z_channels": "latent",
        "codebook_size": "codes", "n_embed": "codes",
        "codebook_embed_dim": "code_size", "embed_dim": "code_size",
        "codebook_l2_norm": "unit_codes", "codebook_show_usage": None,
        "commit_loss_beta": None, "entropy_loss_ratio": None, "dropout_p": None,
        "attn_resolutions": None,
    }  # fmt: skip
    return renamed(arguments, names)


SIZES = {
    "VQ-16": {"multipliers": (1, 1, 2, 2, 4)}, "VQ-8": {"multipliers": (1, 2, 2, 4)}
}  # fmt: skip


def of_training(arguments: Mapping[str, Any]) -> tuple[dict, dict]:
    """Return what arguments of the original's vq_train.py give: see `Family`."""
    names = {"codebook_size", "codebook_embed_dim", "codebook_l2_norm"}
    given = {name: arguments[name] for name in sorted(names & set(arguments))}
    return of_arguments(given), named(arguments, "vq_model", SIZES)


def guess(shapes: Mapping, told: Mapping) -> tuple[dict, tuple[str, ...]]:
    """Return the fields that follow from shapes, and which do not: see `Family`."""
    base, multipliers = pyramid.widths(
        shapes, "encoder.conv_blocks.{}.res.0.conv1.weight"
    )
    codes, code_size = shapes["quantize.embedding.weight"]
    latent = shapes["encoder.conv_out.weight"][0]
    fields = {
        "base": base, "multipliers": multipliers, "latent": latent, "codes": codes,
        "code_size": code_size, "unit_codes": True,
    }  # fmt: skip
    return fields, ("unit_codes",)


VQ = Family(
    name="vq", config=VqConfig, presets=PRESETS,
    model="minigen.models.vq", twin="minigen.training.vq:Vq",
    repository="FoundationVision/LlamaGen", licence="MIT",
    released={"vq-16": " vq_ds16_c2i.pt", "vq-8": " vq_ds8_c2i.pt"},
    published="https://huggingface.co/FoundationVision/LlamaGen/blob/main/{file}",
    rows=rows, guess=guess,
    rules={"unit_codes": "codes of length 1, as every released tokenizer has"},
    of_arguments=of_arguments, of_training=of_training,
    work=partial(pyramid.work, rows),
    dropped=("quantize.codebook_used", "loss.*", "model_ema.*"), part="vqvae.",
)  # fmt: skip
