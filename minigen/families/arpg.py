"""ARPG: its record, without the forward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from minigen.errors import ConfigError
from minigen.families.checks import (
    HIDDEN,
    SHARED_RULES,
    TRANSFORMER,
    check_fields,
    check_heads,
    check_square,
    expect_fixed,
    grid_of,
    hidden_width,
    named,
    renamed,
)
from minigen.families.family import Family
from minigen.families.rows import count, heads, rounding
from minigen.families.work import FLOAT, Work


@dataclass(frozen=True)
class ArpgConfig:
    """ARPG: a self-decoder over content and a cross-decoder over positions.

    control: how many codes a condition token may be, 0 for a model without control
    (`minigen.models.arpg.control`).

    Source: arXiv 2503.10568, section 3; hp-l33/ARPG models/arpg.py::ModelArgs. control
    is ours: the paper describes it, and no code of it was published.

    >>> ArpgConfig().hidden  # int(2 * 4 * 1024 / 3) = 2730, rounded up to 11 * 256
    2816
    """

    width: int = 1024
    layers: int = 24
    heads: int = 16
    vocabulary: int = 16384
    classes: int = 1000
    tokens: int = 256
    multiple_of: int = 256
    hidden_multiplier: float | None = None
    rope_base: float = 10000.0
    norm_eps: float = 1e-5
    control: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.layers < 2:
            raise ConfigError(
                f"ArpgConfig.layers is {self.layers}; half of them form each decoder, "
                "so at least 2 are needed"
            )
        check_heads(self)
        check_square(self)

    @property
    def head_size(self) -> int:
        """Numbers of a head of attention."""
        return self.width // self.heads

    @property
    def half(self) -> int:
        """Layers of each of the two decoders (an odd `layers` loses one)."""
        return self.layers // 2

    @property
    def side(self) -> int:
        """Rows and columns of the token grid the rotary table is made for."""
        return math.isqrt(self.tokens)

    @property
    def hidden(self) -> int:
        """Width of the SwiGLU: truncated, then rounded up to `multiple_of`."""
        return hidden_width(self)

    @property
    def mask_id(self) -> int:
        """Row of the embedding table that every query starts from."""
        return self.vocabulary

    @property
    def no_class_id(self) -> int:
        """Row of the embedding table that stands for "no condition"."""
        return self.vocabulary + self.classes + 1

    @property
    def no_control_id(self) -> int:
        """Row of the table of condition tokens that stands for "no condition"."""
        return self.control

    def class_id(self, label: int) -> int:
        """Row of the embedding table of class `label`.

        >>> ArpgConfig().class_id(7)  # behind 16384 tokens and the mask
        16392
        """
        return self.vocabulary + 1 + label

    @classmethod
    def from_upstream(cls, arguments: Mapping[str, Any]) -> ArpgConfig:
        """Build from the original's constructor arguments (`dim`, `n_layer`, ...).

        >>> ArpgConfig.from_upstream({"dim": 1280, "n_layer": 36, "n_head": 20}).width
        1280
        """
        return cls(**of_arguments(arguments))


_SMALL = ArpgConfig(
    width=128, layers=6, heads=4, vocabulary=64, classes=10, tokens=64, multiple_of=32
)

PRESETS = {
    "arpg-l": ArpgConfig(),
    "arpg-xl": ArpgConfig(width=1280, layers=36, heads=20),
    "arpg-xxl": ArpgConfig(width=1536, layers=48, heads=24),
    "arpg-mnist": _SMALL,
    # its condition tokens are codes of the same tokenizer
    "arpg-mnist-control": replace(_SMALL, control=_SMALL.vocabulary),
}  # fmt: skip


def rows(c: ArpgConfig):
    """Source: hp-l33/ARPG models/arpg.py."""
    d, f = c.width, c.hidden
    ffn = {"gate": ("w1", (f, d)), "up": ("w3", (f, d)), "down": ("w2", (d, f))}
    yield "embeddings", "embeddings.weight", (c.vocabulary + c.classes + 3, d)
    if c.control:
        yield "control", "control.weight", (c.control + 1, d)
    for half, maps in (
        ("self", ("to_q", "to_k", "to_v", "proj")),
        ("cross", ("to_q", "proj")),
    ):
        for i in range(c.half):
            here, there = f"{half}.{i}", f"layers.{half}_dec.{i}"
            for name in ("attn_norm", "ffn_norm"):
                yield f"{here}.{name}", f"{there}.{name}.weight", (d,)
            for name in maps:
                yield f"{here}.{name}", f"{there}.attn.{name}.weight", (d, d)
            for name, (upstream, shape) in ffn.items():
                yield f"{here}.{name}", f"{there}.ffn.{upstream}.weight", shape
    yield "norm", "layers.norm.weight", (d,)
    yield "to_k", "layers.to_k.weight", (d, d)
    yield "to_v", "layers.to_v.weight", (d, d)
    yield "out_norm", "norm.weight", (d,)
    yield "head", "head.weight", (c.vocabulary, d)


def of_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that arguments of the original's constructor give."""
    arguments = dict(arguments)
    expect_fixed(arguments, {"model_type": "c2i", "cls_token_num": 1})
    return renamed(arguments, TRANSFORMER | {"class_dropout_prob": None})


SIZES = {
    "ARPG-L": {"width": 1024, "layers": 24, "heads": 16},
    "ARPG-XL": {"width": 1280, "layers": 36, "heads": 20},
    "ARPG-XXL": {"width": 1536, "layers": 48, "heads": 24},
}


def of_training(arguments: Mapping[str, Any]) -> tuple[dict, dict]:
    """Return what arguments of the original's train_c2i.py give: see `Family`."""
    same = {"vocab_size", "num_classes", "cls_token_num"} & set(arguments)
    given = {name: arguments[name] for name in sorted(same)} | grid_of(arguments)
    return of_arguments(given), named(arguments, "gpt_model", SIZES)


def guess(shapes: Mapping, told: Mapping) -> tuple[dict, tuple[str, ...]]:
    """Return the fields that follow from shapes, and which do not: see `Family`."""
    vocabulary, d = shapes["head.weight"]
    f, _ = shapes["layers.self_dec.0.ffn.w1.weight"]
    entries, _ = shapes["embeddings.weight"]
    fields = {
        "width": d,
        "layers": 2 * count(shapes, "layers.self_dec.{}.attn_norm.weight"),
        "heads": heads(d, unit=4),
        "vocabulary": vocabulary,
        "classes": entries - vocabulary - 3,
        "tokens": 256,
        "control": max(1, shapes.get("control.weight", (1,))[0]) - 1,
    }
    return {**fields, **rounding(d, f, told)}, tuple(SHARED_RULES)


def work(config, counts, size, batch, asked=None):
    """Return the least `Work` of each step, guided: step i draws counts[i] tokens.

    batch: of how many images; size: bytes of a stored weight; asked: how many positions
    each step asks for, if these are more than it draws (the order confidence).
    """
    rows = 2 * batch
    d, f, v = config.width, config.hidden, config.vocabulary
    read = config.half * (4 * d * d + 3 * d * f) + 2 * d * d
    ask = config.half * (2 * d * d + 3 * d * f) + v * d
    known, fed, steps = 0, 1, []
    for drawn, asking in zip(counts, asked or counts, strict=True):
        known += fed
        # a query and a key meet in 2 d operations, the weight and the value in 2 d more
        meetings = config.half * (fed + asking) * known
        cache = 2 * (config.half + 1) * rows * known * d * FLOAT
        steps.append(
            Work(
                bytes=(read + ask) * size + cache,
                operations=2 * rows * (read * fed + ask * asking + 2 * d * meetings),
            )
        )
        fed = drawn
    return steps


ARPG = Family(
    name="arpg", config=ArpgConfig, presets=PRESETS,
    model="minigen.models.arpg", twin="minigen.training.arpg:Arpg",
    repository="hp-l33/ARPG", licence="MIT",
    released={
        "arpg-l": " arpg_300m.pt", "arpg-xl": " arpg_700m.pt",
        "arpg-xxl": " arpg_1b.pt",
    },
    published="https://huggingface.co/hp-l33/ARPG/blob/main/{file}",
    rows=rows, guess=guess, rules=SHARED_RULES, together=(HIDDEN,),
    of_arguments=of_arguments, of_training=of_training, work=work, tokenizer="vq",
    settings={
        "order": "random", "schedule": "arccos", "guidance": 4.0,
        "guidance_schedule": "linear", "temperature": 1.0,
    },
    own={
        "arpg-mnist": {
            "order": "border", "schedule": "cosine", "guidance": 6.0,
            "temperature": 0.8, "reading": "causal",
        },
        "arpg-mnist-control": {
            "order": "border", "schedule": "linear", "guidance": 4.0,
            "temperature": 0.8,
        },
    },
)  # fmt: skip
