"""The digit classifier that evaluates the small models.

Names, for widths (w0, w1, w2, w3) at 32, 16, 8 and 4 pixels; swish(x) = x sigmoid(x):

    conv_in            3x3, padding 1: 3 -> w0
    levels.{i}.norm1   group norm, 32 groups, eps 1e-6, then swish       i = 0, 1, 2
    levels.{i}.conv    3x3, padding 1: w_i -> w_i
    levels.{i}.norm2   group norm, then swish
    levels.{i}.down    3x3, stride 2, zeros on the right and bottom: w_i -> w_(i+1)
    norm_out           group norm of w3 channels, then swish
    features           linear with bias, (y x c) flattened in that order -> 64
    head               linear with bias, 64 -> classes

Images come as (b 3 y x) in [-1, 1]; the features are what distances are measured in.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigen.families import PRESETS, JudgeConfig
from minigen.training import trainer
from minigen.training.data import draw_images, read_mnist, to_input
from minigen.training.vq import group_norm
from minigen.words import say

SMALLEST = 4  # rows and columns of the deepest level
DEFAULTS = {"steps": 3000, "batch": 64, "rate": 2e-3, "warm": 100, "shift": 2}


class Level(nn.Module):
    """Norm, swish and conv at one width, then norm, swish and conv down to the next."""

    def __init__(self, source: int, target: int):
        super().__init__()
        self.norm1, self.conv = group_norm(source), nn.Conv2d(source, source, 3, 1, 1)
        self.norm2, self.down = group_norm(source), nn.Conv2d(source, target, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.silu(self.norm1(x)))
        return self.down(F.pad(F.silu(self.norm2(x)), (0, 1, 0, 1)))


class Judge(nn.Module):
    """(b 3 y x) -> features (b f) and logits (b v)."""

    def __init__(self, config: JudgeConfig):
        super().__init__()
        self.config = config
        widths = config.widths
        self.conv_in = nn.Conv2d(3, widths[0], 3, 1, 1)
        self.levels = nn.ModuleList([Level(*pair) for pair in pairwise(widths)])
        self.norm_out = group_norm(widths[-1])
        self.features = nn.Linear(SMALLEST**2 * widths[-1], config.features)
        self.head = nn.Linear(config.features, config.classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv_in(images)
        for level in self.levels:
            x = level(x)
        x = F.silu(self.norm_out(x)).movedim(1, -1).flatten(1)
        features = self.features(x)
        return features, self.head(features)


def train(args: argparse.Namespace) -> nn.Module:
    grey, labels = read_mnist(args.data, "train")
    torch.manual_seed(args.seed)
    model = Judge(PRESETS["judge-mnist"])

    def loss(step, g):
        index, images = draw_images(grey, args, g)
        with trainer.autocast(args):
            _, logits = model(images)
        return {"cross_entropy": F.cross_entropy(logits.float(), labels[index])}

    average = trainer.train(model, loss, args)
    test, answers = read_mnist(args.data, "test")
    say(f"test accuracy {(classify(average, test) == answers).float().mean():.4f}")
    return average


@torch.no_grad()
def classify(classifier: nn.Module, grey: Tensor, batch: int = 250) -> Tensor:
    """(b y x) uint8 digits -> the classes (b) that the classifier sees in them."""
    classifier.eval()
    return torch.cat(
        [classifier(to_input(part))[1].argmax(1) for part in grey.split(batch)]
    )
