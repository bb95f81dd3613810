"""What the tokenizers share: the weights of encoder and decoder, and their work."""

from __future__ import annotations

import math

from minigen.errors import ConfigError
from minigen.families.rows import conv, count, pair
from minigen.families.work import Work

LEAST = {1: 1, 3: 4}
"""The fewest multiplications of an output and an input channel, by a window's side: of
3 x 3 pixels those of Winograd's way, 16 for four outputs. Source: arXiv 1509.09308,
F(2 x 2, 3 x 3)."""


def check_widths(config) -> None:
    """Raise ConfigError unless all widths of a tokenizer can be normed in groups."""
    if not config.multipliers or 0 in config.multipliers or config.base % 32:
        raise ConfigError(
            f"{type(config).__name__}.base is {config.base} with multipliers "
            f"{config.multipliers}; widths must be multiples of 32, the number of "
            "groups in a group norm"
        )


def encoder(c, blocks, attention, f, names):
    """Yield the rows of an encoder to f channels.

    blocks: residual blocks of a level; attention: the levels that have it; names: a
    `minigen.models.pyramid.Names`.
    """
    yield from conv("encoder.conv_in", "encoder.conv_in", c.base, 3, 3)
    before = c.base
    for i, width in enumerate(c.widths):
        here, there = f"encoder.levels.{i}", f"encoder.{names.down[i]}"
        attends = i in attention
        yield from _level(here, there, names.block, before, width, blocks, attends)
        if i < c.levels - 1:
            down = f"{there}.downsample.conv"
            yield from conv(f"{here}.down", down, width, width, 3)
        before = width
    yield from _middle("encoder.mid", names.mid, before)
    yield from _ends("encoder", before, f)


def decoder(c, blocks, attention, f, names):
    """Yield the rows of a decoder of f channels; arguments as of `encoder`."""
    before, last = c.widths[-1], c.levels - 1
    yield from conv("decoder.conv_in", "decoder.conv_in", before, f, 3)
    yield from _middle("decoder.mid", names.mid, before)
    for i, width in enumerate(reversed(c.widths)):
        here, there = f"decoder.levels.{i}", f"decoder.{names.up[i]}"
        attends = last - i in attention
        yield from _level(here, there, names.block, before, width, blocks, attends)
        if i < last:
            yield from conv(f"{here}.up", f"{there}.upsample.conv", width, width, 3)
        before = width
    yield from _ends("decoder", before, 3)


def _level(ours, upstream, block, before, width, blocks, attends):
    for i in range(blocks):
        here, there = f"{ours}.res.{i}", f"{upstream}.{block}.{i}"
        yield from _residual(here, there, before, width)
        before = width
    for i in range(blocks * attends):
        yield from _attention(f"{ours}.attn.{i}", f"{upstream}.attn.{i}", width)


def _middle(name, mid, width):
    first, attention, second = (f"{name}.{part}" for part in mid)
    yield from _residual(f"{name}.0", first, width, width)
    yield from _attention(f"{name}.1", attention, width)
    yield from _residual(f"{name}.2", second, width, width)


def _ends(name, width, f):
    yield from pair(f"{name}.norm_out", f"{name}.norm_out", (width,))
    yield from conv(f"{name}.conv_out", f"{name}.conv_out", f, width, 3)


def _residual(ours, upstream, before, width):
    yield from pair(f"{ours}.norm1", f"{upstream}.norm1", (before,))
    yield from conv(f"{ours}.conv1", f"{upstream}.conv1", width, before, 3)
    yield from pair(f"{ours}.norm2", f"{upstream}.norm2", (width,))
    yield from conv(f"{ours}.conv2", f"{upstream}.conv2", width, width, 3)
    if before != width:
        shortcut = f"{upstream}.nin_shortcut"
        yield from conv(f"{ours}.shortcut", shortcut, width, before, 1)


def _attention(ours, upstream, width):
    yield from pair(f"{ours}.norm", f"{upstream}.norm", (width,))
    for name in ("q", "k", "v"):
        yield from conv(f"{ours}.{name}", f"{upstream}.{name}", width, width, 1)
    yield from conv(f"{ours}.proj", f"{upstream}.proj_out", width, width, 1)


def widths(shapes, pattern):
    """Return the width of the first level, and times what it is at each level."""
    base = shapes["encoder.conv_in.weight"][0]
    found = [shapes[pattern.format(i)][0] for i in range(count(shapes, pattern))]
    return base, tuple(width // base for width in found)


def work(rows, config, grid, size, batch) -> Work:
    """Return the work of turning a grid of codes or latents into an image.

    rows: of a tokenizer, which names its layers in the order in which they run; grid,
    size, batch: as for `work` of a `Family`.
    """
    pixels = grid[0] * grid[1]
    weights = operations = 0
    for name, _, shape in rows(config):
        if len(shape) != 4 or name.startswith(("encoder", "quant_conv")):
            continue
        if name.endswith(".up.w"):
            pixels *= 4
        weights += math.prod(shape)
        operations += 2 * shape[0] * shape[1] * LEAST[shape[2]] * pixels
        if name.endswith(".proj.w"):
            # before this layer every pixel met every other: scores, then a sum
            operations += 4 * shape[0] * pixels * pixels
    return Work(weights * size, batch * operations)
