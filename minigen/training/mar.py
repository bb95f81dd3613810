"""MAR in PyTorch, for training and as the speed baseline: the original's names.

The outer model is ARINAR's (`mae`). The head removes noise from a token, step by step:
it is trained to predict the noise, and the variance of each step.

Source: arXiv 2406.11838; LTH14/mar models/{mar,diffloss}.py, diffusion/
gaussian_diffusion.py; arXiv 2102.09672 (the variational bound that teaches variances).
minigen's own forward pass is `minigen.models.mar`.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.families import MarConfig
from minigen.models.diffusion_head import EPS, FREQUENCIES, MAX_PERIOD, STEPS, schedule
from minigen.training import mae, trainer
from minigen.training.layers import Dropouts, modulation, widen
from minigen.training.masked import loss_on_test, train_masked
from minigen.words import say

DEFAULTS = {"steps": 6000, "batch": 128, "rate": 2e-3, "warm": 200, "shift": 0}

REPEATS = 4
"""How often a token is noised in a training step: `diffusion_batch_mul`."""


def normal(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    return torch.randn(shape, generator=generator)


class TimeEmbed(nn.Module):
    """Timesteps (r) to conditioning vectors (r w): cosines, sines, two layers."""

    def __init__(self, width: int):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )
        for layer in (self.mlp[0], self.mlp[2]):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, numbers: Tensor) -> Tensor:
        half = FREQUENCIES // 2
        index = torch.arange(half, dtype=torch.float32, device=numbers.device)
        angles = numbers[:, None] * torch.exp(-math.log(MAX_PERIOD) * index / half)
        embedding = torch.cat([angles.cos(), angles.sin()], -1)
        return self.mlp(embedding.to(self.mlp[0].weight.dtype))


class Block(nn.Module):
    """A feed-forward layer, shifted, scaled and gated by the conditioning."""

    def __init__(self, width: int):
        super().__init__()
        self.in_ln = nn.LayerNorm(width, EPS)
        self.mlp = nn.Sequential(
            mae.linear(width, width), nn.SiLU(), mae.linear(width, width)
        )
        self.adaLN_modulation = modulation(width, width, 3)

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        shift, scale, gate = self.adaLN_modulation(conditioning).chunk(3, -1)
        return x + gate * self.mlp(self.in_ln(x) * (1 + scale) + shift)


class FinalLayer(nn.Module):
    """(r w) to (r 2c): the noise, and the variance. At first all zeros."""

    def __init__(self, width: int, features: int):
        super().__init__()
        self.adaLN_modulation = modulation(width, width, 2)
        self.linear = nn.Linear(width, 2 * features)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, conditioning: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(conditioning).chunk(2, -1)
        x = F.layer_norm(x, x.shape[-1:], eps=EPS)
        return self.linear(x * (1 + scale) + shift)


class Denoiser(nn.Module):
    """The network of the head. Rows are tokens."""

    def __init__(self, c: MarConfig):
        super().__init__()
        w = c.head_width
        self.time_embed = TimeEmbed(w)
        self.cond_embed = mae.linear(c.width, w)
        self.input_proj = mae.linear(c.features, w)
        self.res_blocks = nn.ModuleList(Block(w) for _ in range(c.head_layers))
        self.final_layer = FinalLayer(w, c.features)

    def forward(self, x: Tensor, numbers: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The noise predicted in x (r c), and the variance of the step: (r c), (r c).

        numbers (r): timesteps; z (r d): the output of the outer model. The second is an
        interpolation of the variance, from -1 (smallest) to 1.
        """
        conditioning = self.time_embed(numbers) + self.cond_embed(z)
        x = self.input_proj(x)
        for block in self.res_blocks:
            x = block(x, conditioning)
        # exponentials follow: in float32, whatever autocast is on
        noise, between = widen(self.final_layer(x, conditioning)).chunk(2, -1)
        return noise, between


class DiffLoss(nn.Module):
    """The head: its network, what it learns from, and how it draws."""

    def __init__(self, config: MarConfig):
        super().__init__()
        self.config, self.net = config, Denoiser(config)

    def losses(self, x: Tensor, z: Tensor, numbers: Tensor, noise: Tensor):
        """The losses of predicted noise and of predicted variance: (r), (r).

        x (r c): tokens without noise; z (r d): the output of the outer model; numbers
        (r): timesteps; noise (r c): what is added to x there. The first loss is a mean
        square; the second is the term of the variational bound, in bits a feature, and
        its gradient reaches the variances only.
        """
        plan = schedule(STEPS)

        def at(table: np.ndarray) -> Tensor:
            return torch.as_tensor(table).type_as(x).to(x.device)[numbers][:, None]

        alphas_cumprod = at(plan.alphas_cumprod)
        noisy = alphas_cumprod.sqrt() * x + (1 - alphas_cumprod).sqrt() * noise
        predicted, between = self.net(noisy, numbers, z)
        wrong = predicted - noise
        share, lowest = (between + 1) / 2, at(plan.posterior_log_variance)
        log_variance = share * at(np.log(plan.betas)) + (1 - share) * lowest
        # what an error of the noise does to the mean of the step before
        spread = at(plan.posterior_mean_coef1 * np.sqrt(1 / plan.alphas_cumprod - 1))
        off = spread * wrong.detach()
        bound = divergence(off, lowest, log_variance)
        # the last step does not draw: its mean is the token
        bound = torch.where(
            numbers[:, None] == 0, code_length(x, off, log_variance), bound
        )
        return wrong.square().mean(-1), bound.mean(-1) / math.log(2)

    def sample(
        self,
        z: Tensor,
        guidance: float = 1.0,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        watch=None,
    ) -> Tensor:
        """Draw tokens (r c), conditioned on the output z (r d) of the outer model.

        If guidance is not 1, z is (2r d): r rows with a condition, then the same
        without; the variance is that of the first. temperature: a factor of the noise
        that the steps add, not of the noise they begin with. watch: called at every
        step as watch(i, x, mean, log_variance).
        """
        c, two = self.config, guidance != 1
        plan, rows = schedule(c.noise_steps), len(z)
        shape = rows // (2 if two else 1), c.features
        x = normal(shape, generator)
        for i in reversed(range(c.noise_steps)):
            numbers = torch.full((rows,), int(plan.timesteps[i]))
            both = torch.cat([x, x]) if two else x
            noise, between = self.net(both, numbers, z)
            if two:
                noise, without = noise.chunk(2)
                noise = without + guidance * (noise - without)
                between = between[: len(x)]
            of_x, of_noise, lowest, highest = plan.step(i)
            mean = of_x * x + of_noise * noise
            share = (between + 1) / 2
            log_variance = share * highest + (1 - share) * lowest
            if watch is not None:
                watch(i, x, mean, log_variance)
            x = mean
            if i:
                added = temperature * normal(shape, generator)
                x = mean + torch.exp(log_variance / 2) * added
        return x


def divergence(off: Tensor, true: Tensor, log_variance: Tensor) -> Tensor:
    """The KL divergence of two normal distributions, in nats.

    off: the difference of their means; true, log_variance: their log-variances.
    """
    ratio = true - log_variance
    return 0.5 * (ratio.exp() - ratio - 1 + off.square() * torch.exp(-log_variance))


def code_length(x: Tensor, off: Tensor, log_variance: Tensor) -> Tensor:
    """The negative log-likelihood of x, in nats, under a normal distribution.

    Its mean is x - off. As in the original, made for pixels: the probability of the
    interval of 1/255 to both sides of x, open where x is at an end of [-1, 1].
    """
    scale = torch.exp(-log_variance / 2)
    above, below = (roughly_below(scale * (off + side / 255)) for side in (1, -1))
    inside = (above - below).clamp(min=1e-12).log()
    first, last = above.clamp(min=1e-12).log(), (1 - below).clamp(min=1e-12).log()
    return -torch.where(x < -0.999, first, torch.where(x > 0.999, last, inside))


def roughly_below(x: Tensor) -> Tensor:
    """The standard normal distribution function at x, approximated as upstream."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class Mar(nn.Module):
    """The outer model and the head under the original's names."""

    def __init__(self, config: MarConfig, dropouts: Dropouts | None = None):
        super().__init__()
        self.config, self.dropouts = config, dropouts or Dropouts()
        mae.add_outer(self, config, self.dropouts)
        self.diffloss = DiffLoss(config)

    def forward(
        self,
        tokens: Tensor,
        labels: Tensor,
        known: Tensor,
        masked: Tensor,
        numbers: Tensor,
        noise: Tensor,
    ) -> Tensor:
        """The losses (a b m) of the masked tokens, each noised a times.

        tokens (b n c); labels (b), -1 for no class; known (b k), masked (b m):
        positions; numbers (a b m), noise (a b m c): of `DiffLoss.losses`.
        """
        z = mae.conditions(self, tokens, labels, known, masked)
        x = mae.take(tokens, masked)
        times = len(numbers)
        x, z = (each.repeat(times, 1, 1).flatten(0, 1) for each in (x, z))
        call = x, z, numbers.flatten(), noise.flatten(0, 2)
        return sum(self.diffloss.losses(*call)).view(numbers.shape)

    def draw(self, z: Tensor, guidance: float, temperature: float, generator=None):
        """Draw tokens (r c) given z (r d), or (2r d) with guidance. See `DiffLoss`."""
        return self.diffloss.sample(z, guidance, temperature, generator)


def training_loss(
    model: Mar,
    tokens: Tensor,
    labels: Tensor,
    known: Tensor,
    masked: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The mean loss of the masked tokens, each noised `REPEATS` times."""
    sizes = REPEATS, *masked.shape
    numbers = torch.randint(STEPS, sizes, generator=generator)
    noise = normal((*sizes, tokens.shape[-1]), generator)
    return model(tokens, labels, known, masked, numbers, noise).mean()


def train(args: argparse.Namespace) -> nn.Module:
    average = train_masked(Mar, "mar-mnist", training_loss, args)
    loss = loss_on_test(average, training_loss, args)
    if trainer.rank() == 0:
        say(f"loss of the test digits, one token after the other: {loss:.4f}")
    return average
