"""`python -m minigen.training.head`: train MAR's head on, alone, for its first step.

A draw begins with almost no signal: at timestep 999 of training a token makes up 1 in
20,000 of what the network sees, and any error of its prediction there is multiplied by
as much. The loss of the joint training weighs that timestep like any other, and for a
small head that is not enough: it draws tokens a hundred times too large. So here the
outer model is frozen, every update sees many tokens, every fourth of them in the last
timesteps, and the loss is the error of the predicted token.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from minigen.families import PRESETS
from minigen.models.diffusion_head import STEPS, schedule
from minigen.training import mae, trainer
from minigen.training.data import read_mnist
from minigen.training.mar import Mar
from minigen.training.masked import draw_latents
from minigen.words import say
from minigen.writing import check_writable

MOST = 1e4
"""The largest weight of the loss of a timestep, 1 / alphas_cumprod."""


@torch.no_grad()
def examples(model: Mar, moments: Tensor, labels: Tensor, hidden: float, g) -> tuple:
    """Masked tokens (r c) of images, and their conditioning vectors (r d).

    hidden: the share of images whose class is hidden.
    """
    n, tokens, conditions = model.config.tokens, [], []
    for part, label in zip(moments.split(50), labels.split(50), strict=True):
        x = draw_latents(part, g)
        order = torch.rand(x.shape[:2], generator=g).argsort(1)
        k = int(torch.randint(n, (), generator=g))
        # a few of each image are enough
        known, asked = order[:, :k].sort(1).values, order[:, k:][:, :8]
        hide = torch.rand(len(label), generator=g) < hidden
        label = torch.where(hide, -1, label)
        conditions.append(mae.conditions(model, x, label, known, asked).flatten(0, 1))
        tokens.append(mae.take(x, asked).flatten(0, 1))
    return torch.cat(tokens), torch.cat(conditions)


def draw_numbers(count: int, g: torch.Generator) -> Tensor:
    """Timesteps (r): an eighth is the last, an eighth lies in the last tenth."""
    numbers = torch.randint(STEPS, (count,), generator=g)
    late = torch.randint(STEPS - STEPS // 10, STEPS, (count,), generator=g)
    chance = torch.rand(count, generator=g)
    numbers = torch.where(chance < 0.25, late, numbers)
    return torch.where(chance < 0.125, STEPS - 1, numbers)


def tune(model: Mar, x: Tensor, z: Tensor, args: argparse.Namespace):
    """Train the head of a model on tokens x (r c), conditioned on z (r d)."""
    head = model.diffloss
    optimizer = trainer.make_optimizer(head, args.rate, 0.0)
    plan = schedule(STEPS)
    alphas_cumprod = torch.as_tensor(plan.alphas_cumprod, dtype=torch.float32)
    shown = time.monotonic()
    for step in range(args.steps):
        g = trainer.generator_at(args.seed, step)
        rows = torch.randint(len(x), (args.batch,), generator=g)
        numbers = draw_numbers(args.batch, g)
        noise = torch.randn(args.batch, x.shape[1], generator=g)
        wrong, bound = head.losses(x[rows], z[rows], numbers, noise)
        weights = (1 / alphas_cumprod[numbers]).clamp(max=MOST)
        losses = {"token": (weights * wrong).mean(), "bound": bound.mean()}
        rate = trainer.rate_at(step, args.steps, args.rate, 50)
        trainer.take_step(head, optimizer, losses, rate)
        if time.monotonic() - shown > 15 or step == args.steps - 1:
            shown = time.monotonic()
            last = wrong[numbers == STEPS - 1].mean().sqrt()
            values = " ".join(f"{name} {v.item():.4f}" for name, v in losses.items())
            stamp = time.strftime("%H:%M:%S")
            say(f"{stamp} step {step + 1} {values} first {last:.5f}")
            trainer.save(Path(args.out), {"ema": model.state_dict(), "args": args})


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m minigen.training.head")
    add = parser.add_argument
    add("--data", required=True, help="folder of the four MNIST files")
    add("--moments", required=True, help="what the training of MAR kept of the digits")
    add("--start", required=True, help="the training file of MAR")
    add("--out", required=True, help="file to write")
    add("--digits", type=int, default=12000)
    add("--steps", type=int, default=2000)
    add("--batch", type=int, default=2048, help="tokens of an update")
    add("--rate", type=float, default=2e-3)
    add("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    check_writable(args.out)
    model = Mar(PRESETS["mar-mnist"])
    model.load_state_dict(trainer.read(args.start)["ema"])
    model.eval()
    g = torch.Generator().manual_seed(args.seed)
    _, labels = read_mnist(args.data, "train")
    moments = trainer.read(args.moments)["moments"][0, : args.digits]
    tune(model, *examples(model, moments, labels[: args.digits], 0.2, g), args)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
