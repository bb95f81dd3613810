"""MNIST as the small models see it, and its digits as tokens, encoded only once."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minigen.evaluate import read_digits


def read_mnist(folder: str | Path, part: str) -> tuple[Tensor, Tensor]:
    """Grey digits (b 32 32) uint8, with a black border of two pixels; labels (b)."""
    images, labels = read_digits(folder, part)
    return torch.from_numpy(np.ascontiguousarray(images[..., 0])), torch.from_numpy(
        labels
    )


def shift(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Shift each image (b y x) by its own rows and columns, filled up with black.

    >>> shift(torch.eye(2)[None], torch.tensor([1]), torch.tensor([0])).tolist()
    [[[0.0, 0.0], [1.0, 0.0]]]
    """
    b, height, width = images.shape
    most = int(max(rows.abs().max(), columns.abs().max()))
    y = torch.arange(height) + most - rows[:, None]
    x = torch.arange(width) + most - columns[:, None]
    padded = F.pad(images, (most,) * 4)
    return padded[torch.arange(b)[:, None, None], y[:, :, None], x[:, None, :]]


def to_input(grey: Tensor) -> Tensor:
    """(b y x) uint8 -> (b 3 y x) in [-1, 1], as tokenizer and classifier take it."""
    return (grey.float() / 127.5 - 1)[:, None].repeat(1, 3, 1, 1)


def to_grey(images: Tensor) -> Tensor:
    """(b 3 y x) about [-1, 1] -> (b y x) uint8, as images are written."""
    return (127.5 * images.mean(1) + 128).clamp(0, 255).to(torch.uint8)


def draw_shifts(count: int, most: int, generator: torch.Generator) -> Tensor:
    """Random rows and columns (2 b) to shift by, each in -most .. most."""
    return torch.randint(-most, most + 1, (2, count), generator=generator)


def draw_images(grey: Tensor, args: argparse.Namespace, g: torch.Generator):
    """Random indices (b), and their images (b 3 y x) shifted by up to `args.shift`."""
    index = torch.randint(len(grey), (args.batch,), generator=g)
    rows, columns = draw_shifts(args.batch, args.shift, g)
    return index, to_input(shift(grey[index], rows, columns))


@torch.no_grad()
def in_parts(model, encode, grey: Tensor, batch: int = 50) -> Tensor:
    """The result of `encode`, for digits (b y x) uint8, `batch` of them at a time."""
    model.eval()
    pieces = [
        encode(to_input(part).contiguous(memory_format=torch.channels_last))
        for part in grey.split(batch)
    ]
    return torch.cat(pieces)


def tokenize(vq, grey: Tensor) -> Tensor:
    """(b y x) uint8 digits -> tokens (b n) in raster order."""
    return in_parts(vq, lambda x: vq.encode(x)[2], grey).view(len(grey), -1)


def measure(kl, grey: Tensor) -> Tensor:
    """(b y x) uint8 digits -> the moments (b 2c y x) that the KL tokenizer gives."""
    return in_parts(kl, kl.moments, grey).contiguous()


def tokenize_versions(
    model, grey: Tensor, versions: int, most: int, seed: int, encode=tokenize
) -> Tensor:
    """Encoded versions (a b ..) of the digits: unchanged, then shifted at random.

    By default they are tokens (a b n), and `model` is a VQ tokenizer. The original
    trains on stored crops of each image and draws one of them each time.
    """
    generator = torch.Generator().manual_seed(seed)
    stored = [encode(model, grey)]
    for _ in range(versions - 1):
        rows, columns = draw_shifts(len(grey), most, generator)
        stored.append(encode(model, shift(grey, rows, columns)))
    return torch.stack(stored)
