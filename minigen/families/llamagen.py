"""LlamaGen's transformer: its record, without the forward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from minigen.errors import ConfigError
from minigen.families.checks import (
    TRANSFORMER,
    check_fields,
    check_heads,
    from_upstream,
    hidden_width,
)
from minigen.families.family import Family
from minigen.families.rows import count, rounding
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
        if self.side**2 != self.tokens:
            raise ConfigError(
                f"GptConfig.tokens is {self.tokens}; expected a square number, such as "
                f"{self.side**2}: the grid is square"
            )

    @property
    def head_size(self) -> int:
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
        """Build from the original's constructor arguments (`dim`, `n_layer`, ...)."""
        arguments = dict(arguments)
        # upstream adds the row of no class where classes are ever dropped
        dropped = arguments.pop("class_dropout_prob", 0.1)
        if arguments.pop("cls_token_num", 1) != 1:
            raise ConfigError("cls_token_num is not 1; a class is one token")
        names = TRANSFORMER | {
            "n_kv_head": "key_heads", "model_type": None, "max_batch_size": None,
            "max_seq_len": None,
        }  # fmt: skip
        config = from_upstream(cls, arguments, names)
        return replace(config, no_class=dropped > 0)


PRESETS = {
    "gpt-b": GptConfig(),
    "gpt-l": GptConfig(width=1024, layers=24, heads=16),
    "gpt-xl": GptConfig(width=1280, layers=36, heads=20),
    "gpt-xxl": GptConfig(width=1536, layers=48, heads=24),
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


def guess(shapes: Mapping) -> tuple[GptConfig, tuple[str, ...]]:
    """Return the configuration that follows from shapes, and the fields that do not."""
    vocabulary, d = shapes["output.weight"]
    f, _ = shapes["layers.0.feed_forward.w1.weight"]
    qkv, _ = shapes["layers.0.attention.wqkv.weight"]
    classes, _ = shapes["cls_embedding.embedding_table.weight"]
    # heads are 64 wide in every released model but the 3B, where it is 100
    key_width = (qkv - d) // 2
    size = math.gcd(d, key_width, 64)
    fields = {
        "width": d,
        "layers": count(shapes, "layers.{}.attention_norm.weight"),
        "heads": d // size,
        "key_heads": key_width // size,
        "vocabulary": vocabulary,
        "classes": max(1, classes - 1),
        "no_class": classes > 1,
    }
    unseen = ("heads", "key_heads", "classes", "no_class", "tokens")
    return GptConfig(**fields, **rounding(d, f)), unseen


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
        "gpt-b": " c2i_B_256.pt", "gpt-l": " c2i_L_256.pt", "gpt-xl": " c2i_XL_384.pt",
        "gpt-xxl": " c2i_XXL_384.pt",
    },
    rows=rows, guess=guess, work=work, tokenizer="vq",
    # the same shapes were released for grids of 16 x 16 and of 24 x 24
    unsure=("tokens",),
    # the rotary table, and what a model saved after it generated still holds
    dropped=("freqs_cis", "layers.*.attention.kv_cache.*_cache"),
    # those of sample_c2i.py
    settings={
        "order": "raster", "schedule": "one", "guidance": 4.0,
        "guidance_schedule": "constant", "temperature": 1.0,
    },
    own={"gpt-mnist": {"guidance": 2.0}},
)  # fmt: skip
