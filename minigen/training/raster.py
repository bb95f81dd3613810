"""Sampling and training of the twins that draw tokens row by row: GPT and AiM.

What differs between them are the model's `begin`, `read` and `embed`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minigen.errors import InputError
from minigen.training import trainer
from minigen.training.generators import new_generator, tokens_of
from minigen.training.layers import choose


@dataclass(frozen=True)
class Step:
    """The result of a decode step; unconditional is None without guidance."""

    conditional: Tensor  # (b 1 v) logits
    unconditional: Tensor | None  # (b 1 v)
    guided: Tensor  # (b 1 v), before temperature and top-k
    tokens: Tensor  # (b 1)


@torch.no_grad()
def decode(
    model: nn.Module,
    labels: Tensor,
    count: int | None = None,
    *,
    guidance: float = 1.0,
    guided_steps: int | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    noise: Tensor | None = None,
    forced: Tensor | None = None,
    generator: torch.Generator | None = None,
    **how,
) -> Iterator[Step]:
    """Draw `count` tokens in raster order, by default an image, one a step.

    model: a `Gpt` or an `Aim`; guidance: 1 is none; guided_steps: only so many of the
    first steps are guided. A token is argmax(p / noise) with exponential noise: `noise`
    (b n v), or from `generator`. `forced` (b n) tokens replace drawn ones. how: options
    of the model's `embed`.
    """
    config, b = model.config, len(labels)
    count = config.tokens if count is None else count
    if not 1 <= count <= config.tokens:
        raise InputError(f"{count} tokens were asked for; there are {config.tokens}")
    two = guidance != 1
    if two:
        labels = torch.cat([labels, torch.full_like(labels, config.no_class_id)])
    x, state = model.begin(labels, count)
    for i in range(count):
        logits = model.read(x, i, state)
        conditional, unconditional = logits[:b], logits[b:] if two else None
        guided = conditional
        if two and (guided_steps is None or i < guided_steps):
            guided = unconditional + (conditional - unconditional) * guidance
        if forced is not None:
            drawn = forced[:, i : i + 1]
        else:
            part = None if noise is None else noise[:, i : i + 1]
            drawn = choose(guided, temperature, top_k, part, generator)
        yield Step(conditional, unconditional, guided, drawn)
        x = model.embed(torch.cat([drawn, drawn]) if two else drawn, i, **how)


def generate(
    model: nn.Module, labels: Tensor, count: int | None = None, **options
) -> Tensor:
    """Tokens (b n) in raster order, drawn by `decode` with its options."""
    steps = decode(model, labels, count, **options)
    return torch.cat([step.tokens for step in steps], 1)


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
