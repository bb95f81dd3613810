"""The outer model of MAR and ARINAR in PyTorch, for training: the original's names.

Both models hold its layers beside their head, as in the original: `add_outer` gives a
module these layers, and `conditions` runs them.

Source: arXiv 2406.11838; LTH14/mar models/mar.py; Qinyu-Allen-Zhao/Arinar
backbone/mar.py; timm 0.9.12 models/vision_transformer.py::Block. minigen's own forward
pass is `minigen.models.mae`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.models.mae import EPS
from minigen.training.layers import Dropouts, attend

FEWEST, SPREAD = 0.7, 0.25
"""The share of tokens that the original hides in training is drawn from a normal
distribution of mean 1 and deviation `SPREAD`, truncated to `FEWEST` .. 1."""


class Attention(nn.Module):
    """Self-attention without a mask: (b n d) -> (b n d)."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = linear(width, 3 * width), linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        o = attend(*parts, causal=False).transpose(1, 2).flatten(2)
        return self.dropout(self.proj(o))


class Mlp(nn.Module):
    """fc2(gelu(fc1 x)); approximate: how gelu is computed, as `F.gelu` has it."""

    def __init__(self, width: int, hidden: int, dropout: float, approximate="none"):
        super().__init__()
        self.approximate = approximate
        self.fc1, self.fc2 = linear(width, hidden), linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(
            self.fc2(self.dropout(F.gelu(self.fc1(x), approximate=self.approximate)))
        )


class Block(nn.Module):
    """Pre-norm attention and feed-forward layer, each with a residual connection."""

    def __init__(self, width: int, heads: int, c, dropouts: Dropouts):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, c.norm_eps)
        self.attn = Attention(width, heads, dropouts.residual)
        self.norm2 = nn.LayerNorm(width, c.norm_eps)
        self.mlp = Mlp(width, int(c.ratio * width), dropouts.hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def linear(source: int, target: int) -> nn.Linear:
    """A linear layer, initialised as in MAR."""
    layer = nn.Linear(source, target)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def table(*shape: int) -> nn.Parameter:
    """A learned table of vectors, such as of positions; initially small and random."""
    return nn.Parameter(0.02 * torch.randn(shape))


def add_outer(model: nn.Module, c, dropouts: Dropouts):
    """Give a module the outer model's layers, under their names in the original; c: the
    configuration of an ARINAR or a MAR.

    Of the dropouts it uses `residual` (output of attention), `hidden` (feed-forward
    layers) and `label`.
    """
    n, d, wide = c.buffer + c.tokens, c.width, c.encoder_width
    model.class_emb = nn.Embedding(c.classes, wide)
    nn.init.normal_(model.class_emb.weight, std=0.02)
    model.fake_latent = table(1, wide)
    model.z_proj = linear(c.features, wide)
    model.z_proj_ln = nn.LayerNorm(wide, EPS)
    model.encoder_pos_embed_learned = table(1, n, wide)
    model.encoder_blocks = nn.ModuleList(
        Block(wide, c.encoder_heads, c, dropouts) for _ in range(c.encoder_layers)
    )
    model.encoder_norm = nn.LayerNorm(wide, c.norm_eps)
    model.decoder_embed = linear(wide, d)
    model.mask_token = table(1, 1, d)
    model.decoder_pos_embed_learned = table(1, n, d)
    model.decoder_blocks = nn.ModuleList(
        Block(d, c.decoder_heads, c, dropouts) for _ in range(c.decoder_layers)
    )
    model.decoder_norm = nn.LayerNorm(d, c.norm_eps)
    model.diffusion_pos_embed_learned = table(1, c.tokens, d)


def conditions(
    model: nn.Module, tokens: Tensor, labels: Tensor, known: Tensor, asked: Tensor
) -> Tensor:
    """Output of the outer model at the positions `asked` (b m): (b m d).

    tokens (b n c), of which only those at `known` (b k) are read; labels (b), -1 for no
    class.
    """
    c = model.config
    rows = known + c.buffer
    vectors = model.class_emb(labels.clamp(min=0))
    vectors = torch.where((labels < 0)[:, None], model.fake_latent, vectors)
    positions = model.encoder_pos_embed_learned[0]
    read = model.z_proj(take(tokens, known)) + positions[rows]
    x = model.z_proj_ln(torch.cat([vectors[:, None] + positions[: c.buffer], read], 1))
    for block in model.encoder_blocks:
        x = block(x)
    y = model.decoder_embed(model.encoder_norm(x))
    # outputs go back to their positions, and the mask vector to all others
    first = torch.arange(c.buffer, device=rows.device).expand(len(rows), -1)
    rows = torch.cat([first, rows], 1)[..., None].expand_as(y)
    whole = model.mask_token.to(y.dtype).expand(len(y), c.buffer + c.tokens, -1)
    x = whole.scatter(1, rows, y) + model.decoder_pos_embed_learned
    for block in model.decoder_blocks:
        x = block(x)
    x = take(model.decoder_norm(x), asked + c.buffer)
    return x + model.diffusion_pos_embed_learned[0][asked]


def take(x: Tensor, rows: Tensor) -> Tensor:
    """Rows (b m) of x (b n d): (b m d)."""
    return x.gather(1, rows[..., None].expand(-1, -1, x.shape[-1]))


def hide(
    order: Tensor, uniform: Tensor, fewest: float = FEWEST, spread: float = SPREAD
) -> tuple[Tensor, Tensor]:
    """Positions that are known (b k) and masked (b m), rising, of a training step.

    order (b n): a permutation for each image, of which the first m are masked; uniform:
    a number in [0, 1), the quantile of the share that is hidden, which gives m; fewest,
    spread: of that share, as `FEWEST` and `SPREAD`.

    >>> hide(torch.tensor([[2, 0, 1, 3]]), torch.tensor(0.0))
    (tensor([[3]]), tensor([[0, 1, 2]]))
    """
    low = math.erf((fewest - 1) / spread / math.sqrt(2))
    # the inverse of the distribution function between the fewest and the mean
    share = 1 + spread * math.sqrt(2) * torch.erfinv(low * (1 - uniform.double()))
    n = order.shape[1]
    m = min(n, max(1, math.ceil(n * share.item())))
    return order[:, m:].sort(1).values, order[:, :m].sort(1).values


def hidden_labels(model: nn.Module, labels: Tensor, uniforms: Tensor) -> Tensor:
    """Labels (b), -1 where a uniform number is below the label's dropout."""
    return torch.where(uniforms < model.dropouts.label, -1, labels)


def to_tokens(latents: Tensor, patch: int = 1) -> Tensor:
    """Latents (b c y x) as tokens (b n f) in raster order."""
    return F.pixel_unshuffle(latents, patch).flatten(2).transpose(1, 2)


def to_latents(tokens: Tensor, patch: int, side: int) -> Tensor:
    """Tokens (b n f) of a square grid as latents (b c y x)."""
    return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (side, side)), patch)
