"""ARPG in PyTorch, for training and as the speed baseline: the original's names.

Source: arXiv 2503.10568; hp-l33/ARPG models/arpg.py. minigen's own forward pass is
`minigen.models.arpg`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.errors import InputError
from minigen.families import ArpgConfig
from minigen.training import trainer
from minigen.training.generators import new_generator, outlines_of, tokens_of
from minigen.training.layers import (
    Cache,
    Dropouts,
    RmsNorm,
    SwiGlu,
    attend,
    choose,
    linear,
    rotary_table,
    rotate,
)

DEFAULTS = {"steps": 6000, "batch": 128, "rate": 3e-3, "warm": 200, "shift": 0}


class Attention(nn.Module):
    """Self-attention; or, given shared keys and values, cross-attention."""

    def __init__(self, config: ArpgConfig, dropout: float, cross: bool):
        super().__init__()
        self.heads = config.heads
        self.to_q = linear(config.width, config.width)
        if not cross:
            self.to_k = linear(config.width, config.width)
            self.to_v = linear(config.width, config.width)
        self.proj = linear(config.width, config.width)
        self.dropout = nn.Dropout(dropout)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))

    def forward(
        self, x, turns, causal, shared=None, cache: Cache | None = None
    ) -> Tensor:
        q = rotate(self.split(self.to_q(x)), turns).transpose(1, 2)
        if shared is None:
            k = rotate(self.split(self.to_k(x)), turns).transpose(1, 2)
            v = self.split(self.to_v(x)).transpose(1, 2)
            k, v = (k, v) if cache is None else cache.extend(k, v)
        else:
            k, v = shared
        y = attend(q, k, v, causal)
        return self.dropout(self.proj(y.transpose(1, 2).flatten(2)))


class Layer(nn.Module):
    """Pre-norm attention and feed-forward layer, each with a residual connection."""

    def __init__(self, config: ArpgConfig, dropouts: Dropouts, cross: bool):
        super().__init__()
        self.attn = Attention(config, dropouts.residual, cross)
        self.ffn = SwiGlu(config, dropouts.hidden)
        self.attn_norm, self.ffn_norm = RmsNorm(config), RmsNorm(config)

    def forward(self, x, turns, causal, shared=None, cache=None) -> Tensor:
        x = x + self.attn(self.attn_norm(x), turns, causal, shared, cache)
        return x + self.ffn(self.ffn_norm(x))


class Decoders(nn.Module):
    """The self-decoder, the shared keys and values, the cross-decoder."""

    def __init__(self, config: ArpgConfig, dropouts: Dropouts):
        super().__init__()
        self.self_dec, self.cross_dec = (
            nn.ModuleList([Layer(config, dropouts, cross) for _ in range(config.half)])
            for cross in (False, True)
        )
        self.norm = RmsNorm(config)
        self.to_k = linear(config.width, config.width)
        self.to_v = linear(config.width, config.width)

    def content(self, x, turns, causal, caches=None) -> tuple[Tensor, Tensor]:
        """First pass: content (b n d) -> shared keys and values (b h n e)."""
        caches = caches or [None] * (len(self.self_dec) + 1)
        for layer, cache in zip(self.self_dec, caches, strict=False):
            x = layer(x, turns, causal, cache=cache)
        x = self.norm(x)
        split = self.self_dec[0].attn.split
        k = rotate(split(self.to_k(x)), turns).transpose(1, 2)
        v = split(self.to_v(x)).transpose(1, 2)
        return (k, v) if caches[-1] is None else caches[-1].extend(k, v)

    def queries(self, u, turns, causal, shared) -> Tensor:
        """Second pass: mask vectors (b m d) attend to the shared keys and values."""
        for layer in self.cross_dec:
            u = layer(u, turns, causal, shared)
        return u


class Arpg(nn.Module):
    """The model under the original's names, initialised as the original is."""

    def __init__(self, config: ArpgConfig, dropouts: Dropouts | None = None):
        super().__init__()
        dropouts = dropouts or Dropouts()
        self.config, self.dropouts = config, dropouts
        self.embeddings = nn.Embedding(
            config.vocabulary + 1 + config.classes + 2, config.width
        )
        nn.init.normal_(self.embeddings.weight, std=0.02)
        if config.control:
            self.control = nn.Embedding(config.control + 1, config.width)
            # it begins as the model without control, if started from its weights
            nn.init.zeros_(self.control.weight)
        self.token_dropout = nn.Dropout(dropouts.token)
        self.layers = Decoders(config, dropouts)
        self.norm = RmsNorm(config)
        self.head = linear(config.width, config.vocabulary)
        nn.init.zeros_(self.head.weight)
        self.register_buffer("table", rotary_table(config), persistent=False)

    def ask(self, turns: Tensor, causal: bool, shared, control=None) -> Tensor:
        """Logits (b m v) at the positions whose rotations are `turns` (b m e/2 2).

        control (b m): their condition tokens, of a model with control.
        """
        mask = self.embeddings.weight[self.config.mask_id]
        u = mask.expand(len(shared[0]), turns.shape[1], -1)
        u = u if control is None else u + self.control(control)
        u = self.layers.queries(u, turns, causal, shared)
        return self.head(self.norm(u)).float()

    def forward(
        self, ids: Tensor, order: Tensor, causal: bool = True, control=None
    ) -> Tensor:
        """Logits (b n v) of tokens taken in `order` (b n) raster positions.

        `ids` (b n) are the class id and the first n - 1 of those tokens. Row t predicts
        the token at order[:, t] from the class and the t tokens before it. `control` (b
        n): condition tokens in raster order, of a model with control.
        """
        control = None if control is None else control.gather(1, order)
        first = torch.zeros_like(order[:, :1])
        turns = self.table[torch.cat([first, 1 + order], 1)]
        x = self.token_dropout(self.embeddings(ids))
        shared = self.layers.content(x, turns[:, :-1], causal)
        return self.ask(turns[:, 1:], causal, shared, control)


def training_loss(
    model: Arpg,
    tokens: Tensor,
    labels: Tensor,
    order: Tensor,
    uniforms: Tensor,
    sources: Tensor | None = None,
    control: Tensor | None = None,
) -> Tensor:
    """Mean cross entropy of tokens (b n) in raster order, decoded in `order` (b n).

    A sample's class is hidden where its uniform number (b) is below `dropouts.label`.
    `control` (b n) are the condition tokens in raster order; half of the samples whose
    class is hidden have none either, so that a class, too, is left out alone. `sources`
    (b n) are the positions that the content is read from, if not `order`.
    """
    config = model.config
    hidden = uniforms < model.dropouts.label
    condition = torch.where(hidden, config.no_class_id, config.class_id(labels))
    targets = tokens.gather(1, order)
    content = targets if sources is None else tokens.gather(1, sources)
    ids = torch.cat([condition[:, None], content[:, :-1]], 1)
    if control is not None:
        none = uniforms < model.dropouts.label / 2
        control = torch.where(none[:, None], config.no_control_id, control)
    logits = model(ids, order, control=control)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


@dataclass(frozen=True)
class Step:
    """What one decoding step did."""

    positions: Tensor  # (m) raster positions
    weight: float  # guidance
    conditional: Tensor  # (b m v) logits
    unconditional: Tensor  # (b m v)
    guided: Tensor  # (b m v), before temperature and top-k
    tokens: Tensor  # (b m)


@torch.no_grad()
def decode(
    model: Arpg,
    labels: Tensor,
    order: Tensor,
    counts: list[int],
    *,
    guidance: float = 4.0,
    ramp: str = "linear",
    temperature: float = 1.0,
    top_k: int = 0,
    noise: Tensor | None = None,
    forced: Tensor | None = None,
    generator: torch.Generator | None = None,
    control: Tensor | None = None,
) -> Iterator[Step]:
    """Draw `counts[s]` tokens at step s, at the next raster positions of `order` (n).

    A token is argmax(p / noise) with exponential noise: `noise` (b n v), or fresh from
    `generator`. `forced` (b n) tokens, in decoding order, stand in for drawn ones.
    `control` (b n): condition tokens in raster order, for the half with the class.
    """
    config, b, n = model.config, len(labels), len(order)
    if sum(counts) != n or min(counts) < 1:
        raise InputError(
            f"counts {counts} do not add up to {n} positions, at least one a step"
        )
    weights = model.head.weight
    shape = (2 * b, config.heads, n, config.head_size)
    caches = [
        Cache(weights.new_empty(shape), weights.new_empty(shape))
        for _ in range(config.half + 1)
    ]
    ids = torch.cat(
        [config.class_id(labels), torch.full_like(labels, config.no_class_id)]
    )
    ids, rows, last = ids[:, None], order.new_zeros(1), 0
    if control is not None:
        nothing = torch.full_like(control, config.no_control_id)
        control = torch.cat([control, nothing])
    for count in counts:
        queries = slice(last, last + count)
        last += count
        weight = 1 + (guidance - 1) * last / n if ramp == "linear" else guidance
        turns = model.table[None, rows]
        shared = model.layers.content(model.embeddings(ids), turns, False, caches)
        rows = 1 + order[queries]
        asked = None if control is None else control[:, order[queries]]
        both = model.ask(model.table[None, rows], False, shared, asked)
        conditional, unconditional = both.chunk(2)
        guided = unconditional + (conditional - unconditional) * weight
        if forced is not None:
            drawn = forced[:, queries]
        else:
            part = None if noise is None else noise[:, queries]
            drawn = choose(guided, temperature, top_k, part, generator)
        yield Step(order[queries], weight, conditional, unconditional, guided, drawn)
        ids = torch.cat([drawn, drawn])


def generate(model: Arpg, labels: Tensor, order: Tensor, counts: list[int], **options):
    """Tokens (b n) in raster order, drawn by `decode` with its options."""
    tokens = torch.empty(len(labels), len(order), dtype=torch.long)
    for step in decode(model, labels, order, counts, **options):
        tokens[:, step.positions] = step.tokens
    return tokens


def train(args: argparse.Namespace) -> nn.Module:
    tokens, labels = tokens_of(args)
    control = outlines_of(args) if args.control else None
    preset = "arpg-mnist-control" if args.control else "arpg-mnist"
    model, compiled = new_generator(Arpg, preset, args)
    versions, digits, n = tokens.shape

    def loss(step, g):
        index = torch.randint(digits, (args.batch,), generator=g)
        version = torch.randint(versions, (args.batch,), generator=g)
        order = torch.rand(args.batch, n, generator=g).argsort(1)
        uniforms = torch.rand(args.batch, generator=g)
        sources = misplace(order, args.misplace, g)
        call = tokens[version, index].long(), labels[index], order, uniforms, sources
        if control is not None:
            call = *call, control[version, index].long()
        with trainer.autocast(args):
            return {"loss": training_loss(compiled, *call)}

    return trainer.train(model, loss, args)


def misplace(order: Tensor, most: float, g: torch.Generator) -> Tensor:
    """Positions (b n) to read content from: early in the order, some are random ones.

    Before other tokens are known, a query cannot tell where on the grid it is (the key
    of the class token is zero), so the first tokens that are drawn may fit any place.
    Trained on such content, the model relies on it less. most: the chance of the first
    position to be random.
    """
    b, n = order.shape
    chance = most * torch.exp(-torch.arange(n) / 4)
    elsewhere = torch.randint(n, (b, n), generator=g)
    return torch.where(torch.rand(b, n, generator=g) < chance, elsewhere, order)
