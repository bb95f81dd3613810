"""LlamaGen's transformer: its record, without the forward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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
class GptConfig:
    """LlamaGen's GPT: one causal decoder, one token a step in raster order.

    key_heads: heads of keys and values, None for as many as heads; no_class: whether
    the table of classes ends with a row for "no condition", which guidance needs.
    Source: arXiv 2406.06525; FoundationVision/LlamaGen
    autoregressive/models/gpt.py::ModelArgs.

    >>> GptConfig(heads=12, key_heads=4).shared  # heads that share one of keys
    3
    """

    width: int = 768
    layers: int = 12
    heads: int = 12
    key_heads: int | None = None
    vocabulary: int = 16384
    classes: int = 1000
    no_class: bool = True
    tokens: int = 256
    multiple_of: int = 256
    hidden_multiplier: float | None = None
    rope_base: float = 10000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        check_fields(self)
        if self.key_heads is None:
            object.__setattr__(self, "key_heads", self.heads)
        check_heads(self)
        if self.heads % self.key_heads:
            raise ConfigError(
                f"GptConfig.heads is {self.heads}, key_heads {self.key_heads}; heads "
                "share those of keys evenly, so key_heads must divide heads"
            )
        check_square(self)

    @property
    def head_size(self) -> int:
        """Numbers of a head of attention."""
        return self.width // self.heads

    @property
    def key_width(self) -> int:
        """Width of all heads of keys together."""
        return self.key_heads * self.head_size

    @property
    def shared(self) -> int:
        """Neighbouring heads of queries that share one head of keys and values."""
        return self.heads // self.key_heads

    @property
    def side(self) -> int:
        """Rows and columns of the token grid the rotary table is made for."""
        return math.isqrt(self.tokens)

    @property
    def hidden(self) -> int:
        """Width of the SwiGLU: truncated, then rounded up to `multiple_of`."""
        return hidden_width(self)

    @property
    def no_class_id(self) -> int:
        """Row of the table of classes that stands for "no condition"."""
        return self.classes

    @classmethod
    def from_upstream(cls, arguments: Mapping[str, Any]) -> GptConfig:
        """Build from the original's constructor arguments (`dim`, `n_layer`, ...).

        >>> GptConfig.from_upstream({"dim": 1024, "n_layer": 24, "n_head": 16}).layers
        24
        """
        return cls(**of_arguments(arguments))


SIZES = {
    "GPT-B": {"width": 768, "layers": 12, "heads": 12},
    "GPT-L": {"width": 1024, "layers": 24, "heads": 16},
    "GPT-XL": {"width": 1280, "layers": 36, "heads": 20},
    "GPT-XXL": {"width": 1536, "layers": 48, "heads": 24},
    "GPT-XXXL": {"width": 2560, "layers": 48, "heads": 40},
    "GPT-1B": {"width": 2048, "layers": 22, "heads": 32},
    "GPT-3B": {"width": 3200, "layers": 24, "heads": 32},
    "GPT-7B": {"width": 4096, "layers": 32, "heads": 32},
}

PRESETS = {
    f"gpt-{size}{suffix}": GptConfig(**SIZES[f"GPT-{size.upper()}"], tokens=tokens)
    for suffix, tokens in (("", 256), ("-384", 576))
    for size in ("b", "l", "xl", "xxl", "3b")
} | {
    "gpt-mnist": GptConfig(
        width=128, layers=6, heads=4, vocabulary=64, classes=10, tokens=64,
        multiple_of=32,
    ),
}  # fmt: skip


def rows(c: GptConfig):
    """Source: FoundationVision/LlamaGen autoregressive/models/gpt.py."""
    d, f = c.width, c.hidden
    names = {
        "attn_norm": ("attention_norm", (d,)),
        "qkv": ("attention.wqkv", (d + 2 * c.key_width, d)),
        "proj": ("attention.wo", (d, d)),
        "ffn_norm": ("ffn_norm", (d,)),
        "gate": ("feed_forward.w1", (f, d)),
        "up": ("feed_forward.w3", (f, d)),
        "down": ("feed_forward.w2", (d, f)),
    }
    yield "classes", "cls_embedding.embedding_table.weight", (c.classes + c.no_class, d)
    yield "embeddings", "tok_embeddings.weight", (c.vocabulary, d)
    for i in range(c.layers):
        for name, (upstream, shape) in names.items():
            yield f"layers.{i}.{name}", f"layers.{i}.{upstream}.weight", shape
    yield "out_norm", "norm.weight", (d,)
    yield "head", "output.weight", (c.vocabulary, d)


def of_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that arguments of the original's constructor give."""
    arguments = dict(arguments)
    expect_fixed(arguments, {"model_type": "c2i", "cls_token_num": 1})
    # upstream adds the row of no class where classes are ever dropped
    dropped = arguments.pop("class_dropout_prob", None)
    names = TRANSFORMER | {
        "n_kv_head": "key_heads", "caption_dim": None, "max_batch_size": None,
        "max_seq_len": None,
    }  # fmt: skip
    found = renamed(arguments, names)
    return found if dropped is None else {**found, "no_class": dropped > 0}


def of_training(arguments: Mapping[str, Any]) -> tuple[dict, dict]:
    """Return what arguments of the original's train_c2i.py give: see `Family`."""
    same = {"vocab_size", "num_classes", "cls_token_num"} & set(arguments)
    given = {name: arguments[name] for name in sorted(same)} | grid_of(arguments)
    return of_arguments(given), named(arguments, "gpt_model", SIZES)


def guess(shapes: Mapping, told: Mapping) -> tuple[dict, tuple[str, ...]]:
    """Return the fields that follow from shapes, and which do not: see `Family`."""
    vocabulary, d = shapes["output.weight"]
    f, _ = shapes["layers.0.feed_forward.w1.weight"]
    qkv, _ = shapes["layers.0.attention.wqkv.weight"]
    rows, _ = shapes["cls_embedding.embedding_table.weight"]
    key_width = (qkv - d) // 2
    # a head of queries is as wide as one of keys
    both = math.gcd(d, key_width)
    h = WIDE[d] if d in WIDE else d * heads(both, unit=4) // both
    if "heads" in told:
        h = told["heads"]
    elif "key_heads" in told:
        h = d * told["key_heads"] // max(1, key_width)
    no_class = told.get("no_class", told.get("classes", 1) < rows and rows > 1)
    fields = {
        "width": d,
        "layers": count(shapes, "layers.{}.attention_norm.weight"),
        "heads": h,
        "key_heads": max(1, key_width * h // d),
        "vocabulary": vocabulary,
        "classes": rows - no_class,
        "no_class": no_class,
        "tokens": 256,
    }
    return {**fields, **rounding(d, f, told)}, tuple(RULES)


WIDE = {size["width"]: size["heads"] for size in SIZES.values()}
"""The heads of the original's sizes: 3B and 7B have more numbers a head than others."""

RULES = SHARED_RULES | {
    "heads": "64 numbers a head, and the original's number at the width of its sizes",
    "key_heads": "what the width of the keys leaves",
    "classes": "all rows of the table of classes but the last",
    "no_class": "the last row of the table of classes stands for no class",
}


def work(config, counts, size, batch):
    """Return the least `Work` of each token, guided: arguments as of `arpg.work`."""
    return [_token(config, i + 1, size, 2 * batch) for i in range(len(counts))]


def _token(config, known, size, rows):
    # one token, of which the cache then holds `known`
    d, r, f = config.width, config.key_width, config.hidden
    read = config.layers * (2 * d * (d + r) + 3 * d * f) + config.vocabulary * d
    cache = config.layers * 2 * rows * known * r
    meetings = config.layers * rows * known
    return Work(
        bytes=(read + rows * d) * size + cache * FLOAT,
        operations=2 * rows * read + 4 * d * meetings,
    )


LLAMAGEN = Family(
    name="llamagen", config=GptConfig, presets=PRESETS,
    model="minigen.models.llamagen", twin="minigen.training.llamagen:Gpt",
    repository="FoundationVision/LlamaGen", licence="MIT",
    released={
        "gpt-b": " c2i_B_256.pt", "gpt-l": " c2i_L_256.pt",
        **dict.fromkeys(("gpt-xl", "gpt-xxl", "gpt-3b"), "; released for 384 pixels"),
        **{f"gpt-{size.lower()}-384": f" c2i_{size}_384.pt"
           for size in ("B", "L", "XL", "XXL", "3B")},
    },
    published="https://huggingface.co/FoundationVision/LlamaGen/blob/main/{file}",
    rows=rows, guess=guess, rules=RULES,
    together=(HIDDEN, ("heads", "key_heads"), ("classes", "no_class")),
    of_arguments=of_arguments, of_training=of_training, work=work, tokenizer="vq",
    # the rotary table, and what a model saved after it generated still holds
    dropped=("freqs_cis", "layers.*.attention.kv_cache.*_cache"),
    # those of sample_c2i.py
    settings={
        "order": "raster", "schedule": "one", "guidance": 4.0,
        "guidance_schedule": "constant", "temperature": 1.0,
    },
    own={"gpt-mnist": {"guidance": 2.0}},
)  # fmt: skip
