"""ARINAR in PyTorch, for training and as the speed baseline: the original's names.

The head has two forms: all features of a token at once, for training, and one group of
features with a KV cache, for sampling. What depends on the condition alone is computed
again in every step, as in the original. The flow variant has no twin.

Source: arXiv 2503.02883; Qinyu-Allen-Zhao/Arinar backbone/mar.py,
model_head/arhead_gmm.py, module/adaln.py. minigen's own forward pass is
`minigen.models.arinar`.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.errors import InputError
from minigen.families import ArinarConfig
from minigen.models.mixture_head import BEHAVIOURS, CANDIDATES, EPS, SHARE, within_token
from minigen.training import mae, trainer
from minigen.training.layers import Cache, Dropouts, attend, modulation, widen
from minigen.training.masked import loss_on_test, train_masked
from minigen.words import say

DEFAULTS = {"steps": 6000, "batch": 128, "rate": 2e-3, "warm": 200, "shift": 0}


@dataclass(frozen=True)
class Mixtures:
    """Mixtures of Gaussians: weights (r n g), means and log_variances (r n g f)."""

    weights: Tensor
    means: Tensor
    log_variances: Tensor

    def likelihood(self, x: Tensor) -> Tensor:
        """The log-likelihood (r n) of groups of features x (r n f), less a constant:
        half of log(2 pi) for each feature."""
        far = (x[..., None, :] - self.means).square() * torch.exp(-self.log_variances)
        exponents = -0.5 * (far + self.log_variances).sum(-1)
        return torch.logsumexp(self.weights.log() + exponents, -1)

    def draw(self, count: int, stretch: float, generator=None) -> Tensor:
        """Values (r count f) of mixtures of one group, deviations times `stretch`."""
        r, _, _, f = self.means.shape
        drawn = torch.multinomial(
            self.weights[:, 0], count, replacement=True, generator=generator
        )
        rows = drawn[..., None].expand(-1, -1, f)
        mean, log_variance = (
            each[:, 0].gather(1, rows) for each in (self.means, self.log_variances)
        )
        noise = torch.randn((r, count, f), generator=generator, dtype=mean.dtype)
        return mean + stretch * torch.exp(log_variance / 2) * noise

    def halves(self) -> tuple[Mixtures, Mixtures]:
        parts = (self.weights, self.means, self.log_variances)
        one, two = zip(*(each.chunk(2) for each in parts), strict=True)
        return Mixtures(*one), Mixtures(*two)


class Attention(nn.Module):
    """Causal attention between features; keys have no bias that is learned."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.mat_qkv = nn.Linear(width, 3 * width, bias=False)
        nn.init.xavier_uniform_(self.mat_qkv.weight)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("zero_k_bias", torch.zeros(width))
        self.proj = mae.linear(width, width)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        bias = torch.cat([self.q_bias, self.zero_k_bias, self.v_bias])
        parts = F.linear(x, self.mat_qkv.weight, bias)
        q, k, v = parts.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if cache is not None:
            k, v = cache.extend(k, v)
        o = attend(SHARE * q, k, v, causal=cache is None)
        return self.proj(o.transpose(1, 2).flatten(2))


def modulate(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """The standardised x, times 1 + scale, plus shift."""
    return F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale) + shift


class Layer(nn.Module):
    """Attention and feed-forward layer, shifted, scaled and gated by the condition."""

    def __init__(self, config: ArinarConfig):
        super().__init__()
        w = config.inner_width
        self.attn = Attention(w, config.inner_heads)
        self.ffn = mae.Mlp(w, 4 * w, 0.0, "tanh")
        self.ada_lin = modulation(config.width, w, 6)

    def forward(self, h: Tensor, z: Tensor, cache: Cache | None = None) -> Tensor:
        gate1, gate2, scale1, scale2, shift1, shift2 = self.ada_lin(z).chunk(6, -1)
        h = h + gate1 * self.attn(modulate(h, scale1, shift1), cache)
        return h + gate2 * self.ffn(modulate(h, scale2, shift2))


class HeadNorm(nn.Module):
    """The last norm: scaled and shifted by the condition."""

    def __init__(self, config: ArinarConfig):
        super().__init__()
        self.ada_lin = modulation(config.width, config.inner_width, 2)

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        return modulate(h, *self.ada_lin(z).chunk(2, -1))


class Head(nn.Module):
    """The features of a token, one group after the other. Rows are tokens."""

    def __init__(self, config: ArinarConfig):
        super().__init__()
        if config.flow:
            raise InputError(
                "ARINAR with a flow cannot be trained here; set flow False"
            )
        w, g, f = config.inner_width, config.mixtures, config.group
        self.config = config
        self.start_token = mae.table(1, 1, w)
        self.pos_embedding = mae.table(1, config.groups, w)
        self.input_proj = mae.linear(f, w)
        self.cond_proj = mae.linear(config.width, w)
        self.blocks = nn.ModuleList(Layer(config) for _ in range(config.inner_layers))
        self.head_nm = HeadNorm(config)
        self.head = mae.linear(w, g * (2 * f + 1))

    def forward(self, x: Tensor, z: Tensor) -> Mixtures:
        """The mixtures of all groups of x (r n f); that of group i depends on x < i.

        z (r d): conditioning vectors, the output of the outer model.
        """
        z = z[:, None]
        parts = [self.cond_proj(z) + self.start_token, self.input_proj(x[:, :-1])]
        h = torch.cat(parts, 1) + self.pos_embedding
        for block in self.blocks:
            h = block(h, z)
        return self.answer(h, z)

    def step(self, x: Tensor | None, i: int, z: Tensor, caches: list[Cache]):
        """The mixtures of group i; x (r 1 f): the group before it; z (r 1 d)."""
        h = self.cond_proj(z) + self.start_token if i == 0 else self.input_proj(x)
        h = h + self.pos_embedding[:, i : i + 1]
        for block, cache in zip(self.blocks, caches, strict=True):
            h = block(h, z, cache)
        return self.answer(h, z)

    def answer(self, h: Tensor, z: Tensor) -> Mixtures:
        g, f = self.config.mixtures, self.config.group
        # exponentials and logarithms follow: in float32, whatever autocast is on
        made = widen(self.head(self.head_nm(h, z)))
        means, log_variances, logits = made.split((g * f, g * f, g), -1)
        means, log_variances = (
            each.unflatten(-1, (g, f)) for each in (means, log_variances)
        )
        return Mixtures(logits.softmax(-1), means, log_variances)

    def new_caches(self, rows: int) -> list[Cache]:
        c, like = self.config, self.start_token
        shape = rows, c.inner_heads, c.groups, c.inner_width // c.inner_heads
        return [
            Cache(like.new_zeros(shape), like.new_zeros(shape)) for _ in self.blocks
        ]

    def sample(
        self,
        z: Tensor,
        guidance: float = 1.0,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        forced: Tensor | None = None,
        watch=None,
    ) -> Tensor:
        """Draw all features (r c) of tokens with conditioning vectors z (r d).

        If guidance is not 1, z is (2r d): first the rows with a class, then the same
        without. forced (r c) features replace drawn ones; watch: called with the
        mixtures of every group.
        """
        c, two = self.config, guidance != 1
        z, caches, drawn, x = z[:, None], self.new_caches(len(z)), [], None
        temperatures, weights = (
            within_token(c.inner_schedule, value, c.groups)
            for value in (temperature, guidance)
        )
        for i in range(c.groups):
            made = self.step(x, i, z, caches)
            if watch is not None:
                watch(made)
            stretch, weight = temperatures[i] ** BEHAVIOURS[c.behaviour], weights[i]
            if forced is not None:
                group = forced[:, None, i * c.group : (i + 1) * c.group]
            elif two:
                group = choose(*made.halves(), stretch, weight, generator)
            else:
                group = made.draw(1, stretch, generator)
            drawn.append(group[:, 0])
            x = torch.cat([group, group]) if two else group
        return torch.cat(drawn, 1)


def choose(
    conditional: Mixtures,
    unconditional: Mixtures,
    stretch: float,
    weight: float,
    generator: torch.Generator | None = None,
    candidates: int = CANDIDATES,
) -> Tensor:
    """Draw a feature (r 1 1) with guidance: one of many candidates from the conditional
    mixture, chosen by the ratio of its densities under both mixtures."""
    x = conditional.draw(candidates, stretch, generator)
    likelier = conditional.likelihood(x) - unconditional.likelihood(x)
    p = ((weight - 1) * likelier).softmax(-1)
    chosen = torch.multinomial(p, 1, generator=generator)
    return x.gather(1, chosen[..., None])


class Arinar(nn.Module):
    """The outer model and the head under the original's names."""

    def __init__(self, config: ArinarConfig, dropouts: Dropouts | None = None):
        super().__init__()
        self.config, self.dropouts = config, dropouts or Dropouts()
        mae.add_outer(self, config, self.dropouts)
        self.arhead = Head(config)

    def forward(
        self, tokens: Tensor, labels: Tensor, known: Tensor, masked: Tensor
    ) -> Tensor:
        """The log-likelihood (b m) of the masked tokens, less its constant.

        tokens (b n c); labels (b), -1 for no class; known (b k), masked (b m):
        positions.
        """
        config = self.config
        z = mae.conditions(self, tokens, labels, known, masked)
        x = mae.take(tokens, masked).flatten(0, 1).unflatten(1, (config.groups, -1))
        of_groups = self.arhead(x, z.flatten(0, 1)).likelihood(x)
        return of_groups.sum(1).view(masked.shape)

    def draw(self, z: Tensor, guidance: float, temperature: float, generator=None):
        """Draw tokens (r c) conditioned on z (r d), or (2r d): see `Head.sample`."""
        return self.arhead.sample(z, guidance, temperature, generator)


def training_loss(
    model: Arinar,
    tokens: Tensor,
    labels: Tensor,
    known: Tensor,
    masked: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The mean negative log-likelihood of the masked tokens, less its constant.

    The generator is not used: it is for models whose loss is random.
    """
    return -model(tokens, labels, known, masked).mean()


def bits_per_feature(loss: float, features: int) -> float:
    """A loss in bits for each feature of a token, the constant included.

    It may be negative, since it is the logarithm of a density.
    """
    return (loss / features + 0.5 * math.log(2 * math.pi)) / math.log(2)


def train(args: argparse.Namespace) -> nn.Module:
    average = train_masked(Arinar, "arinar-mnist", training_loss, args)
    loss = loss_on_test(average, training_loss, args)
    bits = bits_per_feature(loss, average.config.features)
    if trainer.rank() == 0:
        say(f"{bits:.4f} bits a feature of the test digits, one token after the other")
    return average
