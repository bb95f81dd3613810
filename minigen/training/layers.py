"""What several twins share: layers, a KV cache, and how a token is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.families import ArpgConfig, GptConfig


@dataclass(frozen=True)
class Dropouts:
    """Training-only probabilities; `label` replaces the class by "no condition"."""

    token: float = 0.1
    residual: float = 0.1
    hidden: float = 0.1
    label: float = 0.1


def rotary_table(config: ArpgConfig | GptConfig, side: int | None = None) -> Tensor:
    """(1 + y*x, e/2, 2) cosines and sines; row 0, the class token's, is zero.

    The first half of the pairs turns with the row of the grid, the second with its
    column.
    """
    side, half = side or config.side, config.head_size // 2
    frequencies = config.rope_base ** -(torch.arange(0, half, 2).float() / half)
    angles = torch.outer(torch.arange(side).float(), frequencies)
    rows = angles[:, None].expand(side, side, -1)
    columns = angles[None].expand(side, side, -1)
    angles = torch.cat([rows, columns], -1).flatten(0, 1)
    table = torch.stack([angles.cos(), angles.sin()], -1)
    return torch.cat([torch.zeros_like(table[:1]), table])


def widen(x: Tensor) -> Tensor:
    """x in float32, if it is bfloat16 or float16; else x itself."""
    return x.float() if x.dtype.itemsize < 4 else x


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the interleaved pairs of x (b n h e) by `turns` (b n e/2 2), in float32."""
    a, b = widen(x).unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = turns.unsqueeze(2).unbind(-1)
    return (
        torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).type_as(x)
    )


def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """softmax(q k^T / sqrt(e)) v, all (b h . e)."""
    if not torch.is_autocast_enabled("cpu"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    # on a CPU the backward pass in bfloat16 takes three times as long as in float32
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(*map(widen, (q, k, v)), is_causal=causal)


def linear(source: int, target: int) -> nn.Linear:
    layer = nn.Linear(source, target, bias=False)
    nn.init.normal_(layer.weight, std=0.02)
    return layer


class RmsNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) in float32, cast back, then times the weight."""

    def __init__(self, config: ArpgConfig | GptConfig):
        super().__init__()
        self.eps = config.norm_eps
        self.weight = nn.Parameter(torch.ones(config.width))

    def forward(self, x: Tensor) -> Tensor:
        wide = widen(x)
        y = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return y.type_as(x) * self.weight


class SwiGlu(nn.Module):
    """w2(silu(w1 x) * w3 x)."""

    def __init__(self, config: ArpgConfig | GptConfig, dropout: float):
        super().__init__()
        self.w1 = linear(config.width, config.hidden)
        self.w3 = linear(config.width, config.hidden)
        self.w2 = linear(config.hidden, config.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.w2(F.silu(self.w1(x)) * self.w3(x)))


def modulation(source: int, width: int, count: int) -> nn.Sequential:
    """A projection from `source` numbers to `count` vectors, initially all zeros."""
    layer = nn.Linear(source, count * width)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.SiLU(), layer)


@dataclass
class Cache:
    """Keys and values (b h n e) of one layer, filled up to `used`."""

    keys: Tensor
    values: Tensor
    used: int = 0

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append k and v (b h n e); returns all that the cache then holds."""
        start, self.used = self.used, self.used + k.shape[2]
        self.keys[:, :, start : self.used] = k
        self.values[:, :, start : self.used] = v
        return self.keys[:, :, : self.used], self.values[:, :, : self.used]


def keep_top(logits: Tensor, k: int) -> Tensor:
    """Logits strictly below the k-th largest become -inf; k = 0 keeps all."""
    if k < 1:
        return logits
    least = logits.topk(min(k, logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def choose(logits: Tensor, temperature: float, top_k: int, noise, generator) -> Tensor:
    """Draw tokens (b m) of logits (b m v): argmax(p / noise), the noise exponential.

    noise (b m v), or None: fresh from the generator.
    """
    p = keep_top(logits / max(temperature, 1e-5), top_k).softmax(-1)
    if noise is None:
        noise = torch.empty_like(p).exponential_(generator=generator)
    return (p / noise).argmax(-1)
