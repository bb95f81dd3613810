"""LlamaGen's GPT in PyTorch, for training and as the speed baseline: the original's
names.

Source: arXiv 2406.06525; FoundationVision/LlamaGen autoregressive/models/gpt.py and
generate.py. minigen's own forward pass is `minigen.models.llamagen`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.errors import InputError
from minigen.families import GptConfig
from minigen.training import trainer
from minigen.training.generators import new_generator, tokens_of
from minigen.training.layers import (
    Cache,
    Dropouts,
    RmsNorm,
    SwiGlu,
    attend,
    draw_noise,
    keep_top,
    linear,
    rotary_table,
    rotate,
)

DEFAULTS = {"steps": 6000, "batch": 128, "rate": 3e-3, "warm": 200, "shift": 0}


class Attention(nn.Module):
    """Causal self-attention; heads of queries share those of keys, if these are fewer.

    Over a cache a single token is read, which sees all that the cache holds.
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
    """Pre-normed attention and feed-forward, each beside an identity."""

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

    def read(self, x: Tensor, row: int, caches: list[Cache]) -> Tensor:
        """Logits (b 1 v) after one more embedded token x (b 1 d), of a rotary row."""
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, self.table[None, row : row + 1], cache)
        return self.answer(x)

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


@dataclass(frozen=True)
class Step:
    """What one decoding step did; unconditional is None where nothing is guided."""

    conditional: Tensor  # (b 1 v) logits
    unconditional: Tensor | None  # (b 1 v)
    guided: Tensor  # (b 1 v), before temperature and top-k
    tokens: Tensor  # (b 1)


@torch.no_grad()
def decode(
    model: Gpt,
    labels: Tensor,
    count: int | None = None,
    *,
    guidance: float = 4.0,
    guided_steps: int | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    noise: Tensor | None = None,
    forced: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Draw `count` tokens in raster order, by default an image, one a step.

    guidance: of 1 is none; guided_steps: guide the first ones only. A token
    is argmax(p / noise) with exponential noise: `noise` (b n v), or fresh from
    `generator`. `forced` (b n) tokens stand in for drawn ones.
    """
    config, b = model.config, len(labels)
    count = config.tokens if count is None else count
    if not 1 <= count <= config.tokens:
        raise InputError(f"{count} tokens were asked for; there are {config.tokens}")
    two = guidance != 1
    if two:
        labels = torch.cat([labels, torch.full_like(labels, config.no_class_id)])
    weights = model.output.weight
    shape = len(labels), config.key_heads, count, config.head_size
    caches = [
        Cache(weights.new_empty(shape), weights.new_empty(shape)) for _ in model.layers
    ]
    x = model.cls_embedding(labels)[:, None]
    for i in range(count):
        logits = model.read(x, i, caches)
        conditional, unconditional = logits[:b], logits[b:] if two else None
        guided = conditional
        if two and (guided_steps is None or i < guided_steps):
            guided = unconditional + (conditional - unconditional) * guidance
        part = slice(i, i + 1)
        if forced is not None:
            drawn = forced[:, part]
        else:
            p = keep_top(guided / max(temperature, 1e-5), top_k).softmax(-1)
            drawn = (p / draw_noise(noise, part, p, generator)).argmax(-1)
        yield Step(conditional, unconditional, guided, drawn)
        x = model.tok_embeddings(torch.cat([drawn, drawn]) if two else drawn)


def generate(model: Gpt, labels: Tensor, count: int | None = None, **options) -> Tensor:
    """Tokens (b n) in raster order, drawn by `decode` with its options."""
    steps = decode(model, labels, count, **options)
    return torch.cat([step.tokens for step in steps], 1)


def train(args: argparse.Namespace) -> nn.Module:
    return train_raster(Gpt, "gpt-mnist", training_loss, args)


def train_raster(twin, preset: str, loss_of, args: argparse.Namespace) -> nn.Module:
    """Train a generator that draws tokens row by row."""
    tokens, labels = tokens_of(args)
    model, compiled = new_generator(twin, preset, args)
    versions, digits, _ = tokens.shape

    def loss(step, g):
        index = torch.randint(digits, (args.batch,), generator=g)
        version = torch.randint(versions, (args.batch,), generator=g)
        uniforms = torch.rand(args.batch, generator=g)
        chosen = tokens[version, index].long()
        with trainer.autocast(args):
            return {"loss": loss_of(compiled, chosen, labels[index], uniforms)}

    return trainer.train(model, loss, args)
