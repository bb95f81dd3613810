"""The mixers of Mamba in PyTorch, for training and as the speed baseline.

A mixer has two forms: all tokens of a sequence at once, for training, and one token
and a state, for drawing. Plain PyTorch does both: no kernel of mamba_ssm is needed.

Source: state-spaces/mamba modules/mamba_simple.py, modules/mamba2.py. minigen's own are
`minigen.models.mamba`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.families import Mamba1Config, Mamba2Config
from minigen.models.mamba import CHUNK, EPS
from minigen.training.layers import widen

STEP_SIZES = 1e-3, 1e-1
"""The range of initial step sizes, which are drawn log-uniformly."""


@dataclass
class State:
    """The state of a mixer after some tokens: conv (b c w), the last inputs of the
    convolution, newest last; scan, (b c s) in Mamba-1, (b h p s) in Mamba-2, float32.
    """

    conv: Tensor
    scan: Tensor

    def slide(self, x: Tensor, conv: nn.Conv1d) -> Tensor:
        """Append x (b c); return silu of its convolution with the inputs before it."""
        self.conv.copy_(self.conv.roll(-1, -1))
        self.conv[:, :, -1] = x
        x = (self.conv * conv.weight[:, 0]).sum(-1)
        return F.silu(x if conv.bias is None else x + conv.bias)


class RmsNorm(nn.Module):
    """w x / sqrt(mean(x^2) + eps), in groups of channels and in float32."""

    def __init__(self, width: int, groups: int = 1):
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        parts = widen(x).unflatten(-1, (self.groups, -1))
        y = parts * torch.rsqrt(parts.square().mean(-1, keepdim=True) + EPS)
        return (y.flatten(-2) * self.weight).type_as(x)


def convolve(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """silu of the causal convolution of x (b n c), channel by channel.

    A sum of shifted products: on a CPU a grouped convolution takes far longer.
    """
    n, window = x.shape[1], conv.weight.shape[-1]
    padded = F.pad(x, (0, 0, window - 1, 0))
    y = sum(padded[:, k : k + n] * conv.weight[:, 0, k] for k in range(window))
    return F.silu(y if conv.bias is None else y + conv.bias)


def depthwise(config: Mamba1Config | Mamba2Config) -> nn.Conv1d:
    c = config.channels
    return nn.Conv1d(c, c, config.window, groups=c, bias=config.conv_bias)


def first_steps(count: int) -> Tensor:
    """Biases that softplus turns into step sizes spread over `STEP_SIZES`."""
    low, high = map(math.log, STEP_SIZES)
    delta = torch.exp(low + (high - low) * torch.rand(count))
    return delta + torch.log(-torch.expm1(-delta))


class Mamba1(nn.Module):
    """The mixer of Mamba-1: every channel has a state of its own."""

    def __init__(self, config: Mamba1Config):
        super().__init__()
        self.config, inner, rank = config, config.inner, config.rank
        rates = torch.arange(1, config.state_size + 1).float()
        self.A_log = nn.Parameter(rates.log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.in_proj = nn.Linear(config.width, 2 * inner, bias=config.bias)
        self.conv1d = depthwise(config)
        self.x_proj = nn.Linear(inner, rank + 2 * config.state_size, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        self.dt_proj.bias = nn.Parameter(first_steps(inner))
        self.out_proj = nn.Linear(inner, config.width, bias=config.bias)

    def choose(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step sizes (... c), B and C (... s), projections of the convolved signal."""
        sizes = self.config.rank, self.config.state_size, self.config.state_size
        low, B, C = self.x_proj(x).split(sizes, -1)
        return F.softplus(widen(self.dt_proj(low))), widen(B), widen(C)

    def new_state(self, batch: int) -> State:
        shape = batch, self.config.inner, self.config.state_size
        return empty_state(self, batch, shape)

    def advance(self, x: Tensor, state: Tensor) -> Tensor:
        """Update the state (b c s) by a convolved token x (b c); return y (b c)."""
        delta, B, C = self.choose(x)
        x = widen(x)
        decay = torch.exp(delta[..., None] * -torch.exp(widen(self.A_log)))
        state.mul_(decay).addcmul_((delta * x)[..., None], B[:, None])
        return (state @ C[..., None])[..., 0] + self.D * x

    def forward(self, u: Tensor) -> Tensor:
        """Return the output (b n d) for all tokens u (b n d)."""
        x, z = self.in_proj(u).chunk(2, -1)
        x = convolve(x, self.conv1d)
        delta, B, C = self.choose(x)
        x = widen(x)
        A, h, y = -torch.exp(self.A_log), 0, []
        for t in range(x.shape[1]):
            taken = (delta[:, t] * x[:, t])[..., None] * B[:, t, None]
            h = torch.exp(delta[:, t, :, None] * A) * h + taken
            y.append((h * C[:, t, None]).sum(-1))
        y = torch.stack(y, 1) + self.D * x
        return self.out_proj(y.type_as(u) * F.silu(z))

    def step(self, u: Tensor, state: State) -> Tensor:
        """Return the output (b d) for one token u (b d); update the state in place."""
        x, z = self.in_proj(u).chunk(2, -1)
        y = self.advance(state.slide(x, self.conv1d), state.scan)
        return self.out_proj(y.type_as(u) * F.silu(z))


class Mamba2(nn.Module):
    """The mixer of Mamba-2: the channels of a head share a rate, groups of heads share
    B and C."""

    def __init__(self, config: Mamba2Config):
        super().__init__()
        self.config, inner, h = config, config.inner, config.heads
        self.dt_bias = nn.Parameter(first_steps(h))
        self.A_log = nn.Parameter(torch.empty(h).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(inner if config.skips else h))
        width = 2 * config.beside + inner + config.channels + h
        self.in_proj = nn.Linear(config.width, width, bias=config.bias)
        self.conv1d = depthwise(config)
        if config.normalise:
            self.norm = RmsNorm(inner, config.groups)
        self.out_proj = nn.Linear(config.whole, config.width, bias=config.bias)

    def split(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What lies beside the scan, the gate z (... d), input of the convolution
        (... c), step sizes (... h)."""
        config, beside = self.config, self.config.beside
        sizes = beside, beside, config.inner, config.channels, config.heads
        gate, value, z, xBC, delta = self.in_proj(u).split(sizes, -1)
        delta = F.softplus(widen(delta) + self.dt_bias).clamp(*config.limits)
        return F.silu(gate) * value, z, xBC, delta

    def part(self, xBC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The signal x (... h p), B and C (... r s), in float32."""
        config = self.config
        size = config.groups * config.state_size
        x, B, C = widen(xBC).split((config.inner, size, size), -1)
        B, C = (each.unflatten(-1, (config.groups, -1)) for each in (B, C))
        return x.unflatten(-1, (config.heads, -1)), B, C

    def new_state(self, batch: int) -> State:
        config = self.config
        shape = batch, config.heads, config.head_size, config.state_size
        return empty_state(self, batch, shape)

    def skip(self, x: Tensor) -> Tensor:
        """D x for the signal x (... h p)."""
        return self.D.view(self.config.heads, -1) * x

    def leave(self, y: Tensor, beside: Tensor, z: Tensor) -> Tensor:
        gate = F.silu(widen(z))
        if not self.config.normalise:
            y = y * gate
        elif self.config.norm_first:
            y = self.norm(y) * gate
        else:
            y = self.norm(y * gate)
        return self.out_proj(torch.cat([beside, y.type_as(z)], -1))

    def forward(self, u: Tensor) -> Tensor:
        """Return the output (b n d) for all tokens u (b n d)."""
        beside, z, xBC, delta = self.split(u)
        x, B, C = self.part(convolve(xBC, self.conv1d))
        with torch.autocast("cpu", enabled=False):
            y = ssd(x, delta, -torch.exp(self.A_log), B, C) + self.skip(x)
        return self.leave(y.flatten(-2), beside, z)

    def step(self, u: Tensor, state: State) -> Tensor:
        """Return the output (b d) for one token u (b d); update the state in place."""
        beside, z, xBC, delta = self.split(u)
        x, B, C = self.part(state.slide(xBC, self.conv1d))
        decay = torch.exp(delta * -torch.exp(widen(self.A_log)))
        # (b r k p s), where k heads share a group
        scan = state.scan.unflatten(1, (self.config.groups, -1))
        taken = (delta[..., None] * x).view(scan.shape[:-1])
        scan.mul_(decay.view(*scan.shape[:3], 1, 1))
        scan.addcmul_(taken[..., None], B[:, :, None, None])
        y = (scan.flatten(2, 3) @ C[..., None]).view_as(x) + self.skip(x)
        return self.leave(y.flatten(-2), beside, z)


def empty_state(mixer: Mamba1 | Mamba2, batch: int, scan: tuple[int, ...]) -> State:
    """The state before the first token: all zeros."""
    config, weights = mixer.config, mixer.conv1d.weight
    conv = weights.new_zeros(batch, config.channels, config.window)
    return State(conv, widen(weights.new_zeros(())).new_zeros(scan))


def ssd(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """State space duality: y (b n h p) of a sequence, `CHUNK` tokens at a time.

    x (b n h p), delta (b n h), A (h) below zero, B and C (b n r s). Inside a chunk it
    is attention with decay; a state (b h p s) goes from one chunk to the next.
    """
    shared, state, done = x.shape[2] // B.shape[2], None, []
    x = x * delta[..., None]
    for first in range(0, x.shape[1], CHUNK):
        part = slice(first, first + CHUNK)
        u = x[:, part].transpose(1, 2)
        keys, queries = (each[:, part].transpose(1, 2) for each in (B, C))
        sums = (delta[:, part] * A).transpose(1, 2).cumsum(-1)
        n = sums.shape[-1]
        later = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)
        exponents = sums[..., None] - sums[..., None, :]
        decay = exponents.masked_fill(later, -torch.inf).exp()
        scores = (queries @ keys.mT).repeat_interleave(shared, 1) * decay
        y = scores @ u
        if state is not None:
            before = queries.repeat_interleave(shared, 1) @ state.mT
            y = y + before * sums.exp()[..., None]
            state = state * sums[..., -1:, None].exp()
        if part.stop < x.shape[1]:
            left = (u * decay[..., -1, :, None]).mT @ keys.repeat_interleave(shared, 1)
            state = left if state is None else state + left
        done.append(y)
    return torch.cat(done, 2).transpose(1, 2)
