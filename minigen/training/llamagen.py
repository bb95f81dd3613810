"""LlamaGen's GPT in PyTorch, for training and as the speed baseline: the original's
names.

Source: arXiv 2406.06525; FoundationVision/LlamaGen autoregressive/models/gpt.py and
generate.py. minigen's own forward pass is `minigen.models.llamagen`.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.families import GptConfig
from minigen.training.layers import (
    Cache,
    Dropouts,
    RmsNorm,
    SwiGlu,
    attend,
    linear,
    rotary_table,
    rotate,
)
from minigen.training.raster import train_raster

DEFAULTS = {"steps": 6000, "batch": 128, "rate": 3e-3, "warm": 200, "shift": 0}


class Attention(nn.Module):
    """Causal self-attention; several heads of queries may share one of keys and values.

    With a cache, x is a single token, which attends to all tokens of the cache.
    """

    def __init__(self, config: GptConfig, dropout: float):
        super().__init__()
        self.config = config
        self.wqkv = linear(config.width, config.width + 2 * config.key_width)
        self.wo = linear(config.width, config.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, turns: Tensor, cache: Cache | None = None) -> Tensor:
        config = self.config
        widths = config.width, config.key_width, config.key_width
        q, k, v = (
            part.unflatten(-1, (-1, config.head_size))
            for part in self.wqkv(x).split(widths, -1)
        )
        q, k = rotate(q, turns).transpose(1, 2), rotate(k, turns).transpose(1, 2)
        v = v.transpose(1, 2)
        if cache is not None:
            k, v = cache.extend(k, v)
        k, v = (part.repeat_interleave(config.shared, 1) for part in (k, v))
        y = attend(q, k, v, causal=cache is None)
        return self.dropout(self.wo(y.transpose(1, 2).flatten(2)))


class Layer(nn.Module):
    """Pre-norm attention and feed-forward layer, each with a residual connection."""

    def __init__(self, config: GptConfig, dropouts: Dropouts):
        super().__init__()
        self.attention = Attention(config, dropouts.residual)
        self.feed_forward = SwiGlu(config, dropouts.hidden)
        self.attention_norm, self.ffn_norm = RmsNorm(config), RmsNorm(config)

    def forward(self, x: Tensor, turns: Tensor, cache: Cache | None = None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), turns, cache)
        return x + self.feed_forward(self.ffn_norm(x))


class Classes(nn.Module):
    """The table of classes, under the name it has in the original."""

    def __init__(self, rows: int, width: int):
        super().__init__()
        self.embedding_table = nn.Embedding(rows, width)

    def forward(self, labels: Tensor) -> Tensor:
        return self.embedding_table(labels)


class Gpt(nn.Module):
    """The model under the original's names, initialised as the original is."""

    def __init__(self, config: GptConfig, dropouts: Dropouts | None = None):
        super().__init__()
        dropouts = dropouts or Dropouts()
        self.config, self.dropouts = config, dropouts
        rows = config.classes + config.no_class
        self.cls_embedding = Classes(rows, config.width)
        self.tok_embeddings = nn.Embedding(config.vocabulary, config.width)
        for table in (self.cls_embedding.embedding_table, self.tok_embeddings):
            nn.init.normal_(table.weight, std=0.02)
        self.token_dropout = nn.Dropout(dropouts.token)
        self.layers = nn.ModuleList(
            [Layer(config, dropouts) for _ in range(config.layers)]
        )
        self.norm = RmsNorm(config)
        self.output = linear(config.width, config.vocabulary)
        nn.init.zeros_(self.output.weight)
        self.register_buffer("table", rotary_table(config), persistent=False)

    def forward(self, classes: Tensor, tokens: Tensor) -> Tensor:
        """Logits (b 1+n v) of classes (b) followed by tokens (b n) in raster order.

        Row t predicts token t from the class and the t tokens before it.
        """
        first = self.cls_embedding(classes)[:, None]
        x = torch.cat([first, self.tok_embeddings(tokens)], 1)
        x = self.token_dropout(x)
        for layer in self.layers:
            x = layer(x, self.table[None, : x.shape[1]])
        return self.answer(x)

    def begin(self, labels: Tensor, count: int) -> tuple[Tensor, list[Cache]]:
        """The classes (b) as embedded tokens (b 1 d), and caches for `count` tokens."""
        c, weights = self.config, self.output.weight
        shape = len(labels), c.key_heads, count, c.head_size
        caches = [
            Cache(weights.new_empty(shape), weights.new_empty(shape))
            for _ in self.layers
        ]
        return self.cls_embedding(labels)[:, None], caches

    def read(self, x: Tensor, i: int, caches: list[Cache]) -> Tensor:
        """Logits (b 1 v) of token i, from one more embedded token x (b 1 d)."""
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, self.table[None, i : i + 1], cache)
        return self.answer(x)

    def embed(self, tokens: Tensor, i: int) -> Tensor:
        """Tokens (b 1), each token i of its image, as `read` takes them."""
        return self.tok_embeddings(tokens)

    def answer(self, x: Tensor) -> Tensor:
        return self.output(self.norm(x)).float()


def training_loss(
    model: Gpt,
    tokens: Tensor,
    labels: Tensor,
    uniforms: Tensor,
    valid: Tensor | None = None,
) -> Tensor:
    """Mean cross entropy of tokens (b n) in raster order.

    A sample's class is hidden where its uniform number (b) is below the probability
    `label` of the dropouts. valid (b): 1 where a sample counts, by default everywhere.
    """
    hidden = uniforms < model.dropouts.label
    classes = torch.where(hidden, model.config.no_class_id, labels)
    logits = model(classes, tokens[:, :-1])
    losses = F.cross_entropy(
        logits.flatten(0, 1), tokens.flatten(), reduction="none"
    ).view_as(tokens)
    if valid is None:
        return losses.mean()
    counted = valid[:, None].expand_as(losses)
    return (losses * counted).sum() / counted.sum().clamp(min=1)


def train(args: argparse.Namespace) -> nn.Module:
    return train_raster(Gpt, "gpt-mnist", training_loss, args)
