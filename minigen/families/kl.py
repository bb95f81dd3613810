"""The KL tokenizer: its record, without the forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from minigen.errors import ConfigError
from minigen.families import pyramid
from minigen.families.checks import check_fields, expect_fixed, renamed
from minigen.families.family import Family
from minigen.families.rows import conv, count


@dataclass(frozen=True)
class KlConfig:
    """The KL tokenizer: an image as a grid of Gaussians, and back from their samples.

    blocks: residual blocks of a level of the encoder, one fewer than of the decoder's;
    channels: of a latent; attention, decoder_attention: the levels, 0 the finest, where
    it follows the blocks, beside the middle, which always has it; variational: False
    for an encoder that gives means alone; scale: what latents are multiplied by for a
    generator, so that their deviation is about 1.

    Source: arXiv 2112.10752 (latent diffusion), section 3.1; LTH14/mar
    models/vae.py::AutoencoderKL.

    >>> KlConfig().factor, KlConfig().widths  # five levels halve the image four times
    (16, (128, 128, 256, 256, 512))
    """

    base: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    blocks: int = 2
    channels: int = 16
    attention: tuple[int, ...] = (4,)
    decoder_attention: tuple[int, ...] = ()
    variational: bool = True
    scale: float = 0.2325

    def __post_init__(self) -> None:
        check_fields(self)
        pyramid.check_widths(self)
        if not {*self.attention, *self.decoder_attention} <= set(range(self.levels)):
            raise ConfigError(
                f"KlConfig has attention at the levels {self.attention} and "
                f"{self.decoder_attention}; its levels are 0 .. {self.levels - 1}"
            )

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
        """Pixels per latent along each side."""
        return 2 ** (self.levels - 1)

    @classmethod
    def from_upstream(cls, arguments: Mapping[str, Any]) -> KlConfig:
        """Build from the original's constructor arguments (`ch_mult`, ...).

        >>> KlConfig.from_upstream({"embed_dim": 16, "ch_mult": (1, 1, 2, 2, 4)}).factor
        16
        """
        # the original's halves differ in what they do when nothing is said
        levels = range(len(arguments.get("ch_mult", cls.multipliers)))
        side = arguments.get("resolution", 256)
        attention = tuple(i for i in levels if side >> i == 16)
        return cls(**({"attention": attention} | of_arguments(arguments)))


PRESETS = {
    "kl-16": KlConfig(),
    "kl-mnist": KlConfig(
        base=32, multipliers=(1, 1, 2), channels=4, attention=(2,), scale=1.0072
    ),
}


def rows(c: KlConfig):
    """Source: LTH14/mar models/vae.py; Qinyu-Allen-Zhao/Arinar backbone/vae.py."""
    from minigen.models.kl import block_names

    moments, names = 2 * c.channels, block_names(c)
    latents = moments if c.variational else c.channels
    yield from pyramid.encoder(c, c.blocks, c.attention, moments, names)
    yield from conv("quant_conv", "quant_conv", latents, moments, 1)
    yield from conv("post_quant_conv", "post_quant_conv", c.channels, c.channels, 1)
    more = c.blocks + 1
    yield from pyramid.decoder(c, more, c.decoder_attention, c.channels, names)


def of_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that arguments of the original's constructor give.

    With those of its encoder and decoder, which latent diffusion's files call ddconfig.
    """
    arguments = dict(arguments) | dict(arguments.get("ddconfig", {}))
    expect_fixed(arguments, {"double_z": True, "in_channels": 3, "out_ch": 3})
    expect_fixed(arguments, {"resamp_with_conv": True, "give_pre_end": False})
    side = arguments.pop("resolution", 256)
    chosen = arguments.pop("attn_resolutions", None)
    if chosen is not None and "ch_mult" in arguments:
        levels = range(len(arguments["ch_mult"]))
        found = tuple(i for i in levels if side >> i in chosen)
        arguments |= {"attention": found, "decoder_attention": found}
    if "z_channels" in arguments:
        channels = arguments.pop("z_channels")
        if arguments.setdefault("embed_dim", channels) != channels:
            raise ConfigError(
                f"z_channels {channels} is not embed_dim {arguments['embed_dim']}, "
                "as in every released tokenizer"
            )
    names = {
        "ch": "base", "ch_mult": "multipliers", "num_res_blocks": "blocks",
        "embed_dim": "channels", "use_variational": "variational",
        "attention": "attention", "decoder_attention": "decoder_attention",
        "dropout": None, "ckpt_path": None, "ddconfig": None, "lossconfig": None,
        "monitor": None,
    }  # fmt: skip
    return renamed(arguments, names)


def guess(shapes: Mapping, told: Mapping) -> tuple[dict, tuple[str, ...]]:
    """Return the fields that follow from shapes, and which do not: see `Family`."""
    base, multipliers = pyramid.widths(shapes, "encoder.down.{}.block.0.conv1.weight")
    levels = range(len(multipliers))
    channels = shapes["post_quant_conv.weight"][0]
    fields = dict(
        base=base,
        multipliers=multipliers,
        blocks=count(shapes, "encoder.down.0.block.{}.conv1.weight"),
        channels=channels,
        attention=tuple(
            i for i in levels if f"encoder.down.{i}.attn.0.q.weight" in shapes
        ),
        decoder_attention=tuple(
            i for i in levels if f"decoder.up.{i}.attn.0.q.weight" in shapes
        ),
        variational=shapes["quant_conv.weight"][0] != channels,
        scale=0.2325,
    )
    return fields, ("scale",)


KL = Family(
    name="kl", config=KlConfig, presets=PRESETS,
    model="minigen.models.kl", twin="minigen.training.kl:Kl",
    repository="LTH14/mar", licence="MIT", released={"kl-16": " kl16.ckpt"},
    # util/download.py there fetches it
    published="https://github.com/LTH14/mar",
    rows=rows, guess=guess, rules={"scale": "0.2325, as the released one has"},
    of_arguments=of_arguments, work=partial(pyramid.work, rows),
    # what training alone needs, in files of latent diffusion's kind; the average too
    # is not what the originals read of them
    dropped=("loss.*", "foundation_model.*", "linear_proj.weight", "model_ema.*"),
)  # fmt: skip
