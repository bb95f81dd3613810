"""A run of a masked twin: a step asks for a set of positions, and draws their tokens.

ARINAR and MAR have it in common; `draw` of the model is that of its head. minigen's own
is `minigen.models.masked`.

Source: arXiv 2406.11838 (MAR), section 3.4; LTH14/mar models/mar.py::sample_tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minigen.models.masked import guidance_weight
from minigen.sample import Options
from minigen.training import mae


@dataclass(frozen=True)
class Drawn:
    """A step: what the outer model said z (w m d), tokens (b m c) at positions."""

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
    """Draw the tokens of one group of positions (b m) after the other.

    model: an `Arinar` or a `Mar`; labels (b), -1 for no class; guidance: of 1 is none;
    `forced` (b n c) tokens stand in for drawn ones. The whole outer model runs in every
    step.
    """
    config, b = model.config, len(labels)
    options = Options(guidance=guidance, guidance_schedule=guidance_schedule)
    two = guidance != 1
    told = torch.cat([labels, torch.full_like(labels, -1)]) if two else labels
    canvas = torch.zeros(b, config.tokens, config.features)
    known = torch.empty(b, 0, dtype=torch.int64)
    for positions in groups:
        positions = positions.sort(1).values
        m = positions.shape[1]
        done = known.shape[1] + m
        weight = guidance_weight(options, 0, done, config.tokens) if two else 1.0
        call = canvas, known, positions
        if two:
            call = (torch.cat([each, each]) for each in call)
        tokens, seen, asked = call
        z = mae.conditions(model, tokens, told, seen, asked)
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
