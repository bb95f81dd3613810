"""A run of a masked model: a step asks for a set of positions, and draws their tokens.

Tokens are vectors of features here, not numbers of a codebook. The positions of a step
may differ from image to image; only how many there are may not. ARINAR and MAR have all
of this in common, and each a head of its own that draws: `draw` of their modules.

Source: arXiv 2406.11838 (MAR), section 3.4; Qinyu-Allen-Zhao/Arinar backbone/mar.py
::sample_tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from minigen.models import mae
from minigen.models.layers import join
from minigen.models.watching import tell


@dataclass(frozen=True)
class Draws:
    """Where b rows, each a position of an image, take their random numbers from.

    key (2) uint32: the words of the seed; images, positions (b) int64; step: of the
    run.
    """

    key: object
    images: object
    positions: object
    step: int


@dataclass(frozen=True)
class Memory:
    """What a run knows: nothing but its tokens.

    buffer (w n d): what the encoder reads of the classes; canvas (b n c): all tokens;
    known (b k) int64, on the host: the positions of those that are known, rising.
    w is 2b, or b without guidance.
    """

    buffer: object
    canvas: object
    known: np.ndarray


def guides(guidance):
    """Say whether there is any guidance: not at 1, as in the original."""
    return guidance != 1


def begin(ops, weights, config, labels, canvas=None, known=None, guided=False):
    """Return the memory of a run over b images before its first step.

    labels (b) int64, -1 for no class; canvas (b n c), known (b k): what is known.
    """
    b = len(labels)
    if canvas is None:
        canvas, known = ops.zeros((b, config.tokens, config.features)), _none(b)
    told = np.concatenate([labels, np.full(b, -1)]) if guided else labels
    vectors = mae.class_vectors(ops, weights, told)
    return Memory(
        mae.buffer(ops, weights, config, vectors), canvas, np.sort(known, axis=1)
    )


def ask(ops, weights, config, memory, positions, watch=None):
    """Return what the outer model says of positions (b m): (w m d)."""
    known, x = memory.known, memory.buffer
    times = len(x) // len(positions)
    if known.shape[1]:
        rows = ops.put(known)
        tokens = ops.gather(memory.canvas, rows)
        new = mae.embed(ops, weights, config, tokens, known)
        x = join(ops, x, new if times == 1 else ops.twice(new))
    x = mae.encode(ops, weights, config, x, watch)
    known, asked = (np.tile(each, (times, 1)) for each in (known, positions))
    return mae.conditions(ops, weights, config, x, known, asked, watch)


def feed(ops, memory, tokens, positions):
    """Return the memory once tokens (b m c) stand at positions (b m)."""
    canvas = ops.scatter(memory.canvas, tokens, ops.put(positions))
    known = np.sort(np.concatenate([memory.known, positions], axis=1), axis=1)
    return replace(memory, canvas=canvas, known=known)


def decode(draw, ops, weights, config, memory, groups, options, numbers, watch=None):
    """Draw the tokens of one group of positions after the other, and yield them.

    draw: of the model's module; groups: for every step positions (b m) int64, on the
    host; options: guidance, guidance_schedule, temperature, as of `minigen.sample`;
    numbers: the key of the seed and the numbers of the images (b). Yields tokens (b m
    c), the weight of guidance, and the memory that holds them.
    """
    key, images = numbers
    guided = guides(options.guidance)
    n, left = config.tokens, config.tokens - memory.known.shape[1]
    for index, positions in enumerate(groups):
        # by image and position, whatever the order they were planned in
        positions = np.sort(positions, axis=1)
        m = positions.shape[1]
        left -= m
        weight = guidance_weight(options, n - left, n) if guided else 1.0
        z = ask(ops, weights, config, memory, positions, watch)
        tell(watch, "conditions", (index, z))
        whose = np.repeat(np.asarray(images, np.int64), m), positions.reshape(-1)
        draws = Draws(ops.put(key), *map(ops.put, whose), index)
        heat = options.temperature
        tokens = draw(ops, weights, config, z, draws, weight, heat, watch)
        memory = feed(ops, memory, tokens, positions)
        yield tokens, weight, memory


def guidance_weight(options, known, n):
    """Return the guidance of the step after which `known` of n tokens are known.

    linear rises, and would be the full guidance one token after the last: in the
    original one token is always counted as left. In float32, as there.
    """
    guidance = np.float32(options.guidance)
    if options.guidance_schedule == "constant":
        return float(guidance)
    known = min(known, n - 1)
    share = (guidance - np.float32(1)) * np.float32(known) / np.float32(n)
    return float(np.float32(1) + share)


def to_tokens(latent, patch):
    """Return latents (b c y x) as tokens (b n f), on the host: features by channel.

    >>> to_tokens(np.arange(8.0).reshape(1, 2, 2, 2), 2).tolist()
    [[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]]
    """
    b, c, y, x = latent.shape
    cut = latent.reshape(b, c, y // patch, patch, x // patch, patch)
    tokens = cut.transpose(0, 2, 4, 1, 3, 5).reshape(b, -1, c * patch * patch)
    return np.ascontiguousarray(tokens)


def to_latent(tokens, patch, grid):
    """Return the latents (b c y x) of tokens (b n f) on a grid: undoes `to_tokens`."""
    b, _, f = tokens.shape
    rows, columns = grid
    cut = tokens.reshape(b, rows, columns, f // patch**2, patch, patch)
    return cut.transpose(0, 3, 1, 4, 2, 5).reshape(b, -1, rows * patch, columns * patch)


def _none(b):
    return np.empty((b, 0), np.int64)
