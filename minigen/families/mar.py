"""MAR: its record, without the forward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from minigen.checks import shown
from minigen.errors import ConfigError
from minigen.families import mae
from minigen.families.checks import check_fields
from minigen.families.family import Family
from minigen.families.rows import count, pair, prefixed
from minigen.families.work import Cost


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
    ratio: float = 4.0
    buffer: int = 64
    classes: int = 1000
    tokens: int = 256
    channels: int = 16
    patch: int = 1
    head_width: int = 1024
    head_layers: int = 6
    noise_steps: int = 100
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        check_fields(self)
        mae.check_heads(self)
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
    def layers(self) -> int:
        """Layers between what it reads and what it draws from, in all steps."""
        outer = self.encoder_layers + self.decoder_layers
        return outer + self.head_layers * self.noise_steps

    @property
    def side(self) -> int:
        """Rows and columns of the token grid."""
        return math.isqrt(self.tokens)

    @classmethod
    def from_upstream(cls, arguments: Mapping[str, Any]) -> MarConfig:
        """Build from the original's constructor arguments (`img_size`, ...).

        >>> MarConfig.from_upstream({"img_size": 512, "diffloss_d": 3}).head_layers
        3
        """
        return cls(**of_arguments({"img_size": 256, **arguments}))


SIZES = {
    "mar_base": mae.alike(768, 12, 12), "mar_large": mae.alike(1024, 16, 16),
    "mar_huge": mae.alike(1280, 20, 16),
}  # fmt: skip


def of_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that arguments of the original's constructor give."""
    arguments = dict(arguments)
    if "num_sampling_steps" in arguments:
        steps = noise_steps(arguments["num_sampling_steps"])
        arguments["num_sampling_steps"] = steps
    names = mae.NAMES | {
        "diffloss_w": "head_width", "diffloss_d": "head_layers",
        "num_sampling_steps": "noise_steps",
    }  # fmt: skip
    return mae.of_arguments(arguments, names, SIZES)


def noise_steps(given: str | int) -> int:
    """Return the steps of a draw that the original's num_sampling_steps asks for.

    It is a text there; an empty one asks for all steps of training. Raises ConfigError
    for those that ask for other ways to take fewer steps, such as "ddim50".

    >>> noise_steps("100"), noise_steps("")
    (100, 1000)
    """
    if given == "":
        return 1000
    try:
        return int(given)
    except (TypeError, ValueError):
        raise ConfigError(
            f"num_sampling_steps is {shown(given)}; expected a number of steps, evenly "
            "spaced, or nothing for all of them"
        ) from None


def of_training(arguments: Mapping[str, Any]) -> tuple[dict, dict]:
    """Return what arguments of the original's main_mar.py give: see `Family`."""
    own = {"diffloss_w", "diffloss_d", "num_sampling_steps"}
    found, size = mae.of_training(arguments, own, SIZES)
    return of_arguments(found), size


PRESETS = {
    "mar-b": MarConfig(),
    "mar-l": MarConfig(**mae.alike(1024, 16, 16), head_width=1280, head_layers=8),
    "mar-h": MarConfig(**mae.alike(1280, 20, 16), head_width=1536, head_layers=12),
    "mar-mnist": MarConfig(
        **mae.alike(128, 3, 4), buffer=8, classes=10, tokens=64, channels=4,
        head_width=128, head_layers=3, noise_steps=50,
    ),
}  # fmt: skip


def rows(c: MarConfig):
    """Source: LTH14/mar models/mar.py::MAR."""
    yield from mae.outer_rows(c)
    head = diffusion_rows(c.features, c.width, c.head_width, c.head_layers)
    yield from prefixed(head, "head.", "diffloss.net.")


def diffusion_rows(features, condition, width, layers):
    """Source: LTH14/mar models/diffloss.py::SimpleMLPAdaLN."""
    from minigen.models.diffusion_head import FREQUENCIES

    inside, modulation = (width, width), "adaLN_modulation.1"
    yield from pair("time1", "time_embed.mlp.0", (width, FREQUENCIES))
    yield from pair("time2", "time_embed.mlp.2", inside)
    yield from pair("condition", "cond_embed", (width, condition))
    yield from pair("features", "input_proj", (width, features))
    for i in range(layers):
        here, there = f"layers.{i}", f"res_blocks.{i}"
        yield from pair(f"{here}.norm", f"{there}.in_ln", (width,))
        yield from pair(f"{here}.fc1", f"{there}.mlp.0", inside)
        yield from pair(f"{here}.fc2", f"{there}.mlp.2", inside)
        each = f"{there}.{modulation}"
        yield from pair(f"{here}.modulation", each, (3 * width, width))
    yield from pair("out_modulation", f"final_layer.{modulation}", (2 * width, width))
    yield from pair("out", "final_layer.linear", (2 * features, width))


RULES = mae.RULES | {"noise_steps": "100 steps, as the original takes"}


def guess(shapes: Mapping, told: Mapping) -> tuple[dict, tuple[str, ...]]:
    """Return the fields that follow from shapes, and which do not: see `Family`."""
    head_width, features = shapes["diffloss.net.input_proj.weight"]
    fields = dict(
        **mae.outer_sizes(shapes),
        **mae.channels(features, told),
        head_width=head_width,
        head_layers=count(shapes, "diffloss.net.res_blocks.{}.in_ln.weight"),
        noise_steps=100,
    )
    return fields, tuple(RULES)


def head_cost(config: MarConfig, tokens: int, size: int) -> Cost:
    """Return the least work of a guided call of the head that draws `tokens` tokens.

    size: bytes of a stored weight.
    """
    from minigen.models.diffusion_head import FREQUENCIES

    w, c, steps = config.head_width, config.features, config.noise_steps
    # all tokens share the timestep embeddings, made in one pass
    once, embedding = w * config.width, FREQUENCIES * w + w * w
    each = 3 * c * w + (5 * config.head_layers + 2) * w * w
    return Cost(
        bytes=(once + embedding + steps * each) * size,
        products=2 * tokens * (once + steps * each) + steps * embedding,
        numbers=tokens * steps * c,
        passes=steps,
    )


MAR = Family(
    name="mar", config=MarConfig, presets=PRESETS,
    model="minigen.models.mar", twin="minigen.training.mar:Mar",
    repository="LTH14/mar", licence="MIT",
    released={"mar-b": " mar_base", "mar-l": " mar_large", "mar-h": " mar_huge"},
    # its README has the links, and util/download.py makes these folders
    published="https://github.com/LTH14/mar",
    rows=rows, guess=guess, rules=RULES, together=mae.TOGETHER,
    of_arguments=of_arguments, of_training=of_training,
    work=partial(mae.work, head_cost), tokenizer="kl",
    # those of its README
    settings={
        "order": "random", "schedule": "cosine", "guidance": 2.9,
        "guidance_schedule": "linear", "temperature": 1.0,
    },
    own={"mar-mnist": {"guidance": 3.0, "guidance_schedule": "constant"}},
)  # fmt: skip
