"""The configuration of LlamaGen's transformer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from minigen.config.checks import check_heads, from_upstream, hidden_width, positive
from minigen.errors import ConfigError

# constructor arguments of the original that change training only, never an array's
# shape or a forward pass in evaluation mode: accepted, and they change nothing here
TRAINING = {
    "initializer_range", "token_dropout_p", "attn_dropout_p", "resid_dropout_p",
    "ffn_dropout_p", "drop_path_rate", "model_type", "max_batch_size", "max_seq_len",
}  # fmt: skip


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
        if self.key_heads is None:
            object.__setattr__(self, "key_heads", self.heads)
        for name in ("width", "layers", "heads", "key_heads", "vocabulary", "classes",
                     "tokens", "multiple_of"):  # fmt: skip
            positive("GptConfig", name, getattr(self, name))
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
        names = {
            "dim": "width", "n_layer": "layers", "n_head": "heads",
            "n_kv_head": "key_heads", "vocab_size": "vocabulary",
            "num_classes": "classes", "block_size": "tokens",
            "multiple_of": "multiple_of", "ffn_dim_multiplier": "hidden_multiplier",
            "rope_base": "rope_base", "norm_eps": "norm_eps",
        }  # fmt: skip
        config = from_upstream(cls, arguments, names, TRAINING, PRESETS)
        return replace(config, no_class=dropped > 0)


PRESETS = {
    "gpt-b": GptConfig(),
    "gpt-l": GptConfig(width=1024, layers=24, heads=16),
    "gpt-xl": GptConfig(width=1280, layers=36, heads=20),
    "gpt-xxl": GptConfig(width=1536, layers=48, heads=24),
    "gpt-mnist": GptConfig(
        width=128,
        layers=6,
        heads=4,
        vocabulary=64,
        classes=10,
        tokens=64,
        multiple_of=32,
    ),
}
