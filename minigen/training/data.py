"""MNIST as the small models see it, and digits turned into tokens once and for all."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minigen.errors import InputError

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
SIDE = 32  # the 28 x 28 digits with two black pixels on each side


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of unsigned bytes: images (b y x) or labels (b)."""
    try:
        with gzip.open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist; give --data the folder with the four MNIST files "
            f"({', '.join(sum(FILES.values(), ()))})"
        ) from None
    except (OSError, EOFError) as error:
        raise InputError(f"{path} is not a whole gzip file: {error}") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise InputError(f"{path} does not begin as an IDX file of unsigned bytes does")
    sizes = np.frombuffer(content, ">u4", count=content[3], offset=4).astype(int)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * len(sizes))
    if values.size != sizes.prod():
        raise InputError(
            f"{path} says it holds {tuple(sizes)} values but {values.size} bytes follow"
        )
    return values.reshape(sizes)


def read_mnist(folder: str | Path, part: str) -> tuple[Tensor, Tensor]:
    """Grey digits (b 32 32) uint8 with two black pixels around, and labels (b)."""
    images, labels = (read_idx(Path(folder) / name) for name in FILES[part])
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))


def shift(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Move each image (b y x) by its own rows and columns, black coming in.

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
    """(b y x) uint8 -> (b 3 y x) in [-1, 1], as the tokenizer and the judge take it."""
    return (grey.float() / 127.5 - 1)[:, None].repeat(1, 3, 1, 1)


def draw_shifts(count: int, most: int, generator: torch.Generator) -> Tensor:
    """Rows and columns (2 b) to shift by, each -most to most."""
    return torch.randint(-most, most + 1, (2, count), generator=generator)


@torch.no_grad()
def tokenize(vq, grey: Tensor, batch: int = 250) -> Tensor:
    """(b y x) uint8 digits -> (b n) uint8 or int16 tokens in raster order."""
    dtype = torch.uint8 if vq.config.codes <= 256 else torch.int16
    pieces = [vq.encode(to_input(part))[2].view(len(part), -1) for part in grey.split(batch)]
    return torch.cat(pieces).to(dtype)


def tokenize_versions(vq, grey: Tensor, versions: int, most: int, seed: int) -> Tensor:
    """(a b n) tokens: the digits as they are, then versions - 1 times shifted at random.

    The original trains on stored crops of each image and draws one of them each time.
    """
    generator = torch.Generator().manual_seed(seed)
    stored = [tokenize(vq, grey)]
    for _ in range(versions - 1):
        rows, columns = draw_shifts(len(grey), most, generator)
        stored.append(tokenize(vq, shift(grey, rows, columns)))
    return torch.stack(stored)
