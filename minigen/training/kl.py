"""The KL tokenizer in PyTorch, for training: names and arithmetic of the original.

Source: LTH14/mar models/vae.py; Qinyu-Allen-Zhao/Arinar backbone/vae.py. Arrays are
NCHW here as there; minigen's own forward pass is `minigen.models.kl`.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.families import PRESETS, KlConfig
from minigen.training import trainer
from minigen.training.data import draw_images, read_mnist, to_input
from minigen.training.vq import Attention, Down, Residual, Up, group_norm
from minigen.words import say

LOG_VARIANCES = -30.0, 20.0
"""The log-variances of the encoder are clamped to this range."""

DEFAULTS = {"steps": 6000, "batch": 32, "rate": 2e-3, "warm": 200, "shift": 1}


@dataclass(frozen=True)
class Posterior:
    """A Gaussian for every number of the grid: mean, log_variance (b c y x)."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """A sample, from standard normal noise (b c y x); gradients pass through it."""
        return self.mean + torch.exp(self.log_variance / 2) * noise

    def kl(self) -> Tensor:
        """The divergence (b) from the standard normal, in nats an image."""
        lv = self.log_variance
        return 0.5 * (self.mean.square() + lv.exp() - 1 - lv).flatten(1).sum(1)

    def nll(self, drawn: Tensor) -> Tensor:
        """The negative log-likelihood (b) of samples (b c y x), in nats an image."""
        lv = self.log_variance
        far = (drawn - self.mean).square() * torch.exp(-lv)
        return 0.5 * (math.log(2 * math.pi) + lv + far).flatten(1).sum(1)


def posterior_of(moments: Tensor, variational: bool = True) -> Posterior:
    """The posterior of moments (b 2c y x), or of means (b c y x) if not variational."""
    if not variational:
        # as in the original, though the logarithm of a variance of 1 is 0
        return Posterior(moments, torch.ones_like(moments))
    mean, log_variance = moments.chunk(2, 1)
    return Posterior(mean, log_variance.clamp(*LOG_VARIANCES))


class Middle(nn.Module):
    """Two residual blocks with attention between them."""

    def __init__(self, width: int):
        super().__init__()
        self.block_1, self.attn_1 = Residual(width, width), Attention(width)
        self.block_2 = Residual(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Level(nn.Module):
    """Residual blocks, the first of which changes the width, each followed by attention
    if the level has it; then a layer that halves or doubles the sides, if it has one.
    """

    def __init__(self, source: int, target: int, count: int, attends: bool):
        super().__init__()
        widths = [source] + [target] * count
        self.block = nn.ModuleList([Residual(*pair) for pair in pairwise(widths)])
        self.attn = nn.ModuleList([Attention(target) for _ in range(count * attends)])

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.block):
            x = block(x)
            if len(self.attn):
                x = self.attn[i](x)
        for name in ("downsample", "upsample"):
            if hasattr(self, name):
                x = getattr(self, name)(x)
        return x


class Encoder(nn.Module):
    """(b 3 Y X) image -> (b 2c y x)."""

    def __init__(self, c: KlConfig):
        super().__init__()
        self.conv_in = nn.Conv2d(3, c.base, 3, 1, 1)
        self.down, source = nn.ModuleList(), c.base
        for i, width in enumerate(c.widths):
            level = Level(source, width, c.blocks, i in c.attention)
            if i < c.levels - 1:
                level.downsample = Down(width)
            self.down.append(level)
            source = width
        self.mid = Middle(source)
        self.norm_out = group_norm(source)
        self.conv_out = nn.Conv2d(source, 2 * c.channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """(b c y x) -> (b 3 Y X) image. Levels are counted from the finest, which is the
    last to run."""

    def __init__(self, c: KlConfig):
        super().__init__()
        source, levels = c.widths[-1], []
        self.conv_in = nn.Conv2d(c.channels, source, 3, 1, 1)
        self.mid = Middle(source)
        for i, width in reversed(list(enumerate(c.widths))):
            level = Level(source, width, c.blocks + 1, i in c.decoder_attention)
            if i > 0:
                level.upsample = Up(width)
            levels.append(level)
            source = width
        self.up = nn.ModuleList(reversed(levels))
        self.norm_out = group_norm(source)
        self.conv_out = nn.Conv2d(source, 3, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Kl(nn.Module):
    """Encoder, posterior and decoder under the original's names."""

    def __init__(self, config: KlConfig):
        super().__init__()
        self.config, c = config, config.channels
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = nn.Conv2d(2 * c, 2 * c if config.variational else c, 1)
        self.post_quant_conv = nn.Conv2d(c, c, 1)

    def moments(self, images: Tensor) -> Tensor:
        """(b 3 Y X) -> means and log-variances as the encoder gives them."""
        return self.quant_conv(self.encoder(images))

    def posterior(self, moments: Tensor) -> Posterior:
        return posterior_of(moments, self.config.variational)

    def encode(self, images: Tensor) -> Posterior:
        return self.posterior(self.moments(images))

    def decode(self, samples: Tensor) -> Tensor:
        """(b c y x) -> (b 3 Y X), about [-1, 1]."""
        return self.decoder(self.post_quant_conv(samples))

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Posterior]:
        """Reconstructed images and their posteriors; noise (b c y x) draws samples."""
        moments = self.moments(images)
        # variances are exponentials: in float32, whatever autocast is on
        posterior = self.posterior(moments.float() if moments.itemsize < 4 else moments)
        return self.decode(posterior.sample(noise)), posterior


def training_losses(
    model: Kl, images: Tensor, noise: Tensor, weight: float
) -> dict[str, Tensor]:
    """Reconstruction errors of images (b 3 Y X), and `weight` times the KL divergence
    of their posteriors, in nats for each number of the grid. noise (b c y x)."""
    drawn, posterior = model(images, noise)
    drawn = drawn.type_as(images)
    return {
        "l2": F.mse_loss(drawn, images),
        "l1": F.l1_loss(drawn, images),
        "kl": weight * posterior.kl().mean() / posterior.mean[0].numel(),
    }


def train(args: argparse.Namespace) -> nn.Module:
    grey, _ = read_mnist(args.data, "train")
    torch.manual_seed(args.seed)
    model = Kl(PRESETS["kl-mnist"])
    if args.start:
        model.load_state_dict(trainer.read(args.start)["ema"])
    side = grey.shape[1] // model.config.factor
    shape = args.batch, model.config.channels, side, side

    def loss(step, g):
        _, images = draw_images(grey, args, g)
        noise = torch.randn(shape, generator=g)
        with trainer.autocast(args):
            return training_losses(model, images, noise, args.kl)

    average = trainer.train(model, loss, args)
    if trainer.rank() == 0:
        deviation = deviation_of(average, grey[:1000])
        say(
            f"the root mean square of samples is {deviation:.4f}, so the scale of "
            f"kl-mnist should be {1 / deviation:.4f}"
        )
    return average


@torch.no_grad()
def deviation_of(kl: Kl, grey: Tensor, batch: int = 50) -> float:
    """Root mean square of posterior samples of digits (b y x), uint8."""
    kl.eval()
    squares = []
    for part in grey.split(batch):
        posterior = kl.encode(to_input(part))
        squares.append(posterior.mean.square() + posterior.log_variance.exp())
    return torch.cat(squares).mean().sqrt().item()
