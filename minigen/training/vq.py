"""The VQ tokenizer in PyTorch, for training: names and arithmetic of the original.

Source: FoundationVision/LlamaGen tokenizer/tokenizer_image/vq_model.py. Arrays are NCHW
here as there; minigen's own forward pass is `minigen.models.vq`.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.families import PRESETS, VqConfig
from minigen.training import trainer
from minigen.training.data import draw_images, read_mnist

GROUPS = 32
RECENT = 65536  # the last codes that are recorded, to see which are in use
RESTART = 100  # steps between the restarts of unused codes
RARE = 16  # a code seen less often than this among the last 65536 is unused
DEFAULTS = {"steps": 8000, "batch": 32, "rate": 2e-3, "warm": 200, "shift": 1}


def group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)


class Residual(nn.Module):
    """Twice norm, swish and conv, and a shortcut: (b c y x) -> (b c' y x)."""

    def __init__(self, source: int, target: int):
        super().__init__()
        self.norm1, self.conv1 = group_norm(source), nn.Conv2d(source, target, 3, 1, 1)
        self.norm2, self.conv2 = group_norm(target), nn.Conv2d(target, target, 3, 1, 1)
        if source != target:
            self.nin_shortcut = nn.Conv2d(source, target, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class Attention(nn.Module):
    """Attention of one head over the y * x positions, and a shortcut: (b c y x)."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = group_norm(channels)
        self.q, self.k, self.v = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.norm(x)
        q, k, v = (f(a).flatten(2).transpose(1, 2) for f in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(h.transpose(1, 2).reshape(x.shape))


class Down(nn.Module):
    """Halve both sides; the zero padding is on the right and the bottom only."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
    """Double both sides by repetition, then convolve."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def middle(c: int) -> nn.ModuleList:
    return nn.ModuleList([Residual(c, c), Attention(c), Residual(c, c)])


def level(source: int, target: int, count: int, attend: bool) -> nn.Module:
    """`count` residual blocks, the first of which changes the width."""
    block = nn.Module()
    widths = [source] + [target] * count
    block.res = nn.ModuleList([Residual(*pair) for pair in pairwise(widths)])
    block.attn = nn.ModuleList([Attention(target) for _ in range(count * attend)])
    return block


def run_level(block: nn.Module, x: Tensor) -> Tensor:
    for i, residual in enumerate(block.res):
        x = residual(x)
        if len(block.attn):
            x = block.attn[i](x)
    return x


class Encoder(nn.Module):
    """(b 3 Y X) image -> (b latent y x)."""

    def __init__(self, c: VqConfig):
        super().__init__()
        self.conv_in = nn.Conv2d(3, c.base, 3, 1, 1)
        self.conv_blocks, source = nn.ModuleList(), c.base
        for i, width in enumerate(c.widths):
            last = i == c.levels - 1
            block = level(source, width, 2, attend=last)
            if not last:
                block.downsample = Down(width)
            self.conv_blocks.append(block)
            source = width
        self.mid = middle(source)
        self.norm_out = group_norm(source)
        self.conv_out = nn.Conv2d(source, c.latent, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in self.conv_blocks:
            x = run_level(block, x)
            if hasattr(block, "downsample"):
                x = block.downsample(x)
        for block in self.mid:
            x = block(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Decoder(nn.Module):
    """(b latent y x) -> (b 3 Y X) image; the deepest level comes first."""

    def __init__(self, c: VqConfig):
        super().__init__()
        source = c.widths[-1]
        self.conv_in = nn.Conv2d(c.latent, source, 3, 1, 1)
        self.mid = middle(source)
        self.conv_blocks = nn.ModuleList()
        for i in reversed(range(c.levels)):
            block = level(source, c.widths[i], 3, attend=i == c.levels - 1)
            if i:
                block.upsample = Up(c.widths[i])
            self.conv_blocks.append(block)
            source = c.widths[i]
        self.norm_out = group_norm(source)
        self.conv_out = nn.Conv2d(source, 3, 3, 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.conv_in(z)
        for block in self.mid:
            x = block(x)
        for block in self.conv_blocks:
            x = run_level(block, x)
            if hasattr(block, "upsample"):
                x = block.upsample(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Quantizer(nn.Module):
    """Nearest code by squared distance, with a straight-through gradient."""

    def __init__(self, c: VqConfig, beta: float = 0.25, entropy: float = 0.0):
        super().__init__()
        self.unit, self.beta, self.entropy = c.unit_codes, beta, entropy
        self.embedding = nn.Embedding(c.codes, c.code_size)
        nn.init.uniform_(self.embedding.weight, -1 / c.codes, 1 / c.codes)
        if self.unit:
            with torch.no_grad():
                self.embedding.weight.copy_(F.normalize(self.embedding.weight, dim=-1))
        self.register_buffer("codebook_used", torch.zeros(RECENT))

    def codebook(self) -> Tensor:
        """The codes (k e), of unit length if the configuration says so."""
        rows = self.embedding.weight
        return F.normalize(rows, dim=-1) if self.unit else rows

    def vectors(self, z: Tensor) -> Tensor:
        """(b e y x) -> (b y x e), of unit length if the codes are."""
        z = z.movedim(1, -1)
        return F.normalize(z, dim=-1) if self.unit else z

    def distances(self, z: Tensor) -> Tensor:
        """(b e y x) -> (b*y*x k) squared distances to all codes."""
        flat, rows = self.vectors(z).flatten(0, 2), self.codebook()
        squares = flat.square().sum(1, keepdim=True) + rows.square().sum(1)
        return squares - 2 * flat @ rows.T

    def forward(self, z: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """(b e y x) -> straight-through codes, the losses by name, indices (b*y*x)."""
        # codes are compared in the weights' own precision, whatever autocast is on
        with torch.autocast(z.device.type, enabled=False):
            z = z.to(self.embedding.weight.dtype)
            vectors, distances = self.vectors(z), self.distances(z)
        indices = distances.argmin(1)
        codes = self.codebook()[indices].view(vectors.shape)
        losses = {}
        if self.training:
            self.remember(indices)
            losses["vq"] = F.mse_loss(codes, vectors.detach())
            losses["commit"] = self.beta * F.mse_loss(codes.detach(), vectors)
            if self.entropy:
                losses["entropy"] = self.entropy * entropy_loss(distances)
        codes = vectors + (codes - vectors).detach()
        return codes.movedim(-1, 1).contiguous(), losses, indices

    def remember(self, indices: Tensor):
        recent = torch.cat([self.codebook_used[len(indices) :], indices.float()])
        self.codebook_used.copy_(recent[-RECENT:])

    def usage(self) -> float:
        """The share of codes seen among the last 65536."""
        return len(self.codebook_used.unique()) / len(self.embedding.weight)


def entropy_loss(distances: Tensor, temperature: float = 0.01) -> Tensor:
    """Mean entropy of the soft assignments minus the entropy of their mean."""
    logits = -distances / temperature
    p = logits.softmax(-1)
    mean = p.mean(0)
    each = -(p * (logits + 1e-5).log_softmax(-1)).sum(-1).mean()
    return each + (mean * (mean + 1e-5).log()).sum()


class Vq(nn.Module):
    """Encoder, quantizer and decoder under the original's names."""

    def __init__(self, config: VqConfig, beta: float = 0.25, entropy: float = 0.0):
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantize = Quantizer(config, beta, entropy)
        self.quant_conv = nn.Conv2d(config.latent, config.code_size, 1)
        self.post_quant_conv = nn.Conv2d(config.code_size, config.latent, 1)

    def latent(self, images: Tensor) -> Tensor:
        """(b 3 Y X) -> (b e y x), before normalisation."""
        return self.quant_conv(self.encoder(images))

    def encode(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        return self.quantize(self.latent(images))

    def decode(self, codes: Tensor) -> Tensor:
        """(b e y x) -> (b 3 Y X)."""
        return self.decoder(self.post_quant_conv(codes))

    def decode_code(self, indices: Tensor, grid: tuple[int, int]) -> Tensor:
        """Image of the tokens (b n) in raster order, on a grid of (y, x) positions."""
        codes = self.quantize.codebook()[indices].unflatten(1, grid)
        return self.decode(codes.movedim(-1, 1).contiguous())

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        codes, losses, indices = self.encode(images)
        return self.decode(codes), losses, indices


def train(args: argparse.Namespace) -> nn.Module:
    grey, _ = read_mnist(args.data, "train")
    torch.manual_seed(args.seed)
    model = Vq(PRESETS["vq-mnist"])
    if args.start:
        state, codes = trainer.read(args.start)["ema"], model.config.codes
        # a larger codebook is cut: k-means places all codes again
        state["quantize.embedding.weight"] = state["quantize.embedding.weight"][:codes]
        model.load_state_dict(state)
    recent = {}

    def loss(step, g):
        _, images = draw_images(grey, args, g)
        with trainer.autocast(args):
            z = model.latent(images).float()
            vectors, blank = model.quantize.vectors(z), find_blank(images, z)
            if step < args.plain:
                codes, losses = vectors.movedim(-1, 1), {}
            else:
                codes, losses, _ = model.quantize(z)
            drawn = model.decode(codes.contiguous()).float()
        # all blank patches become code 0: else generators had to guess their codes
        away = (vectors - model.quantize.codebook()[0].detach()).square().sum(-1)
        losses["blank"] = args.blank * (away * blank).mean()
        recent["vectors"] = vectors[~blank].detach()
        near = {"l2": F.mse_loss(drawn, images), "l1": F.l1_loss(drawn, images)}
        return near | losses

    def after(step):
        if step == args.plain:
            place_codes(model.quantize, recent["vectors"])
        elif args.plain < step < 0.6 * args.steps and step % RESTART == 0:
            restart_codes(model.quantize, recent["vectors"])
        return args.plain <= step and step % RESTART == 0

    return trainer.train(model, loss, args, after)


def find_blank(images: Tensor, z: Tensor) -> Tensor:
    """Which patches of images (b 3 Y X) are black, for z (b e y x): (b y x)."""
    return F.adaptive_max_pool2d(images[:, 0], z.shape[2:]) < -0.99


@torch.no_grad()
def place_codes(quantizer: Quantizer, vectors: Tensor, rounds: int = 20):
    """Set all codes but 0 to the centres that k-means finds in vectors (n e)."""
    rows = quantizer.embedding.weight[1:]
    chosen = [vectors[torch.randint(len(vectors), ())]]
    nearest = (vectors - chosen[0]).square().sum(1)
    for _ in range(len(rows) - 1):
        chosen.append(vectors[torch.multinomial(nearest + 1e-12, 1)[0]])
        nearest = nearest.minimum((vectors - chosen[-1]).square().sum(1))
    rows.copy_(torch.stack(chosen))
    for _ in range(rounds):
        owner = torch.cdist(vectors, rows).argmin(1)
        sums = torch.zeros_like(rows).index_add_(0, owner, vectors)
        counts = torch.bincount(owner, minlength=len(rows))
        means = sums / counts[:, None]
        if quantizer.unit:
            means = F.normalize(means, dim=-1)
        rows[counts > 0] = means[counts > 0]


@torch.no_grad()
def restart_codes(quantizer: Quantizer, vectors: Tensor):
    """Move unused codes to some of the vectors (n e) that are far from every code."""
    rows = quantizer.embedding.weight
    used = torch.bincount(quantizer.codebook_used.long(), minlength=len(rows))
    unused = (used < RARE).nonzero()[: len(vectors), 0]
    if len(unused):
        far = torch.cdist(vectors, quantizer.codebook()).min(1).values.square()
        rows[unused] = vectors[torch.multinomial(far + 1e-12, len(unused))]
