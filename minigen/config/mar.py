"""The configuration of MAR, and what the originals of MAR and ARINAR share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minigen.config.checks import expect_fixed, from_upstream, positive
from minigen.errors import ConfigError

# constructor arguments of the original that change training only, never an array's
# shape or a forward pass in evaluation mode: accepted, and they change nothing here
TRAINING = {
    "mask_ratio_min", "label_drop_prob", "attn_dropout", "proj_dropout",
    "grad_checkpointing", "diffloss_d", "diffloss_w", "num_sampling_steps",
    "diffusion_batch_mul",
}  # fmt: skip
NAMES = {
    "encoder_embed_dim": "encoder_width", "encoder_depth": "encoder_layers",
    "encoder_num_heads": "encoder_heads", "decoder_embed_dim": "width",
    "decoder_depth": "decoder_layers", "decoder_num_heads": "decoder_heads",
    "mlp_ratio": "ratio", "vae_embed_dim": "channels", "patch_size": "patch",
    "class_num": "classes", "buffer_size": "buffer", "tokens": "tokens",
}  # fmt: skip
FACTORIES = {
    "mar_base": (768, 14, 12), "mar_large": (1024, 18, 16), "mar_huge": (1280, 22, 16),
}  # fmt: skip


@dataclass(frozen=True)
class MarConfig:
    """MAR: the outer masked model of ARINAR, and a diffusion head that draws tokens.

    channels, patch: of the latents, and of the square of them that is a token; buffer:
    positions that hold the class; width, encoder_width: of the decoder, of the encoder;
    head_width, head_layers: of the network that removes noise from a token;
    noise_steps: how many of its 1000 steps a token is drawn in.

    Source: arXiv 2406.11838; LTH14/mar models/mar.py::MAR, models/diffloss.py.

    >>> MarConfig().features, MarConfig().side
    (16, 16)
    """

    width: int = 768
    encoder_width: int = 768
    encoder_layers: int = 12
    decoder_layers: int = 12
    encoder_heads: int = 12
    decoder_heads: int = 12
    ratio: int = 4
    buffer: int = 64
    classes: int = 1000
    tokens: int = 256
    channels: int = 16
    patch: int = 1
    head_width: int = 1024
    head_layers: int = 6
    noise_steps: int = 100

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            positive("MarConfig", name, value)
        for width, heads in (
            ("width", "decoder_heads"),
            ("encoder_width", "encoder_heads"),
        ):
            if getattr(self, width) % getattr(self, heads):
                raise ConfigError(
                    f"MarConfig.{width} {getattr(self, width)} does not divide into "
                    f"{getattr(self, heads)} heads ({heads})"
                )
        if not 2 <= self.noise_steps <= 1000:
            raise ConfigError(
                f"MarConfig.noise_steps is {self.noise_steps}; the head was trained on "
                "1000 steps, so expected 2 .. 1000"
            )

    @property
    def features(self) -> int:
        """Numbers that a token consists of."""
        return self.channels * self.patch**2

    @property
    def side(self) -> int:
        """Rows and columns of the token grid."""
        return math.isqrt(self.tokens)

    @classmethod
    def from_upstream(cls, arguments: Mapping[str, Any]) -> MarConfig:
        """Build from the original's constructor arguments (`img_size`, ...)."""
        arguments = dict(arguments)
        expect_fixed(arguments, {"norm_eps": 1e-6})
        patch = arguments.get("patch_size", 1)
        side = arguments.pop("img_size", 256) // arguments.pop("vae_stride", 16)
        arguments |= {"tokens": (side // patch) ** 2}
        # a text there: it may also ask for other ways to take fewer steps
        arguments |= {"noise_steps": int(arguments.pop("num_sampling_steps", 100))}
        names = NAMES | {
            "diffloss_w": "head_width", "diffloss_d": "head_layers",
            "noise_steps": "noise_steps",
        }  # fmt: skip
        return from_upstream(cls, arguments, names, TRAINING, PRESETS)


PRESETS = {
    "mar-b": MarConfig(),
    "mar-l": MarConfig(
        width=1024,
        encoder_width=1024,
        encoder_layers=16,
        decoder_layers=16,
        encoder_heads=16,
        decoder_heads=16,
        head_width=1280,
        head_layers=8,
    ),
    "mar-h": MarConfig(
        width=1280,
        encoder_width=1280,
        encoder_layers=20,
        decoder_layers=20,
        encoder_heads=16,
        decoder_heads=16,
        head_width=1536,
        head_layers=12,
    ),
    "mar-mnist": MarConfig(
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
        head_width=128,
        head_layers=3,
        noise_steps=50,
    ),
}


def sizes(arguments):
    """Return the arguments, with those that a factory of MAR's would set."""
    factory = arguments.pop("factory", None)
    depth = arguments.pop("enc_dec_depth", -1)
    if factory is None:
        return arguments
    if factory not in FACTORIES:
        raise ConfigError(
            f"the factory {factory!r} is not known; known: {', '.join(FACTORIES)}"
        )
    width, layers, heads = FACTORIES[factory]
    made = {}
    for half in ("encoder", "decoder"):
        made |= {f"{half}_embed_dim": width, f"{half}_num_heads": heads}
        made |= {f"{half}_depth": depth if depth > 0 else layers}
    return made | arguments
