"""Sampling with a masked twin: a step asks for positions, and draws their tokens.

ARINAR and MAR share it; `draw` of the model calls its head. minigen's own version is
`minigen.models.masked`.

Source: arXiv 2406.11838 (MAR), section 3.4; LTH14/mar models/mar.py::sample_tokens.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minigen.families import PRESETS
from minigen.models.masked import guidance as weights_of
from minigen.sample import Options
from minigen.training import mae, trainer
from minigen.training.data import measure, read_mnist
from minigen.training.generators import moments_of, new_generator, read_tokenizer
from minigen.training.kl import Kl, posterior_of


@dataclass(frozen=True)
class Drawn:
    """A step: conditioning vectors z (w m d), tokens (b m c) at positions (b m)."""

    z: Tensor
    guidance: float
    tokens: Tensor
    positions: Tensor


@torch.no_grad()
def decode(
    model: nn.Module,
    labels: Tensor,
    groups: Sequence[Tensor],
    *,
    guidance: float = 1.0,
    guidance_schedule: str = "linear",
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    forced: Tensor | None = None,
) -> Iterator[Drawn]:
    """Draw tokens, one group of positions (b m) after the other.

    model: an `Arinar` or a `Mar`; labels (b), -1 for no class; guidance: 1 is none;
    `forced` (b n c) tokens replace drawn ones. The whole outer model runs in each step.
    """
    config, b = model.config, len(labels)
    options = Options(guidance=guidance, guidance_schedule=guidance_schedule)
    two = guidance != 1
    given = torch.cat([labels, torch.full_like(labels, -1)]) if two else labels
    canvas = torch.zeros(b, config.tokens, config.features)
    known = torch.empty(b, 0, dtype=torch.int64)
    groups = list(groups)
    counts = [positions.shape[1] for positions in groups]
    # the groups may leave some tokens out
    weights = weights_of(options, 0, [*counts, config.tokens - sum(counts)])
    for positions, weight in zip(groups, weights, strict=False):
        positions = positions.sort(1).values
        m, weight = positions.shape[1], weight if two else 1.0
        call = canvas, known, positions
        if two:
            call = (torch.cat([each, each]) for each in call)
        tokens, seen, asked = call
        z = mae.conditions(model, tokens, given, seen, asked)
        if forced is None:
            drawn = model.draw(z.flatten(0, 1), weight, temperature, generator)
            drawn = drawn.view(b, m, -1)
        else:
            drawn = mae.take(forced, positions)
        yield Drawn(z, weight, drawn, positions)
        canvas = canvas.scatter(1, positions[..., None].expand_as(drawn), drawn)
        known = torch.cat([known, positions], 1).sort(1).values


def generate(
    model: nn.Module, labels: Tensor, groups: Sequence[Tensor], **options
) -> Tensor:
    """Tokens (b n c) in raster order, drawn by `decode` with its options."""
    c = model.config
    tokens = torch.zeros(len(labels), c.tokens, c.features)
    for step in decode(model, labels, groups, **options):
        rows = step.positions[..., None].expand_as(step.tokens)
        tokens.scatter_(1, rows, step.tokens)
    return tokens


def train_masked(twin, preset: str, loss_of, args: argparse.Namespace) -> nn.Module:
    """Train a generator that draws latents, in any order and any number a step.

    loss_of(model, tokens, labels, known, masked, generator=..) returns the loss.
    """
    moments, labels = moments_of(args)
    model, compiled = new_generator(twin, preset, args)
    versions, digits = moments.shape[:2]

    def loss(step, g):
        index = torch.randint(digits, (args.batch,), generator=g)
        version = torch.randint(versions, (args.batch,), generator=g)
        tokens = draw_latents(moments[version, index], g)
        uniforms = torch.rand(args.batch, generator=g)
        given = mae.hidden_labels(model, labels[index], uniforms)
        order = torch.rand(tokens.shape[:2], generator=g).argsort(1)
        uniform = torch.rand((), generator=g)
        positions = mae.hide(order, uniform, args.fewest, args.spread)
        with trainer.autocast(args):
            return {"loss": loss_of(compiled, tokens, given, *positions, generator=g)}

    return trainer.train(model, loss, args)


def draw_latents(moments: Tensor, g: torch.Generator) -> Tensor:
    """Tokens (b n c), sampled from posteriors with moments (b 2c y x) of kl-mnist."""
    config = PRESETS["kl-mnist"]
    posterior = posterior_of(moments, config.variational)
    noise = torch.randn(posterior.mean.shape, generator=g)
    return mae.to_tokens(config.scale * posterior.sample(noise))


@torch.no_grad()
def loss_on_test(model: nn.Module, loss_of, args: argparse.Namespace) -> float:
    """The mean loss of at most 1024 test digits, drawn one token a step.

    Orders are random. Each number of known tokens is tested with a part of the digits.
    """
    model.eval()
    n = model.config.tokens
    grey, labels = (each[: 1024 // n * n] for each in read_mnist(args.data, "test"))
    g, losses = torch.Generator().manual_seed(0), []
    moments = measure(read_tokenizer(args.tokenizer, Kl), grey)
    for k in range(n):
        tokens = draw_latents(moments[k::n], g)
        order = torch.rand(tokens.shape[:2], generator=g).argsort(1)
        positions = order[:, :k].sort(1).values, order[:, k:].sort(1).values
        if len(tokens):
            call = model, tokens, labels[k::n], *positions
            losses.append(loss_of(*call, generator=g).item())
    return sum(losses) / len(losses)
