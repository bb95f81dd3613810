"""The time below which no program can draw an image on this machine.

Every step must read the weights it uses once and what is kept from token to token, and
multiply. So a step takes at least bytes / bandwidth and at least operations / peak,
whichever is longer. Activations and instructions are taken to be free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

from minigen.bench import costs
from minigen.bench.ceilings import Ceilings
from minigen.bench.costs import FLOAT
from minigen.checkpoints.aim_names import mixer_rows
from minigen.config import (
    AimConfig,
    ArinarConfig,
    ArpgConfig,
    GptConfig,
    KlConfig,
    MarConfig,
    VqConfig,
)


@dataclass(frozen=True)
class Work:
    """Bytes that must be read from memory and float operations that must be done."""

    bytes: float
    operations: float

    def seconds(self, ceilings: Ceilings) -> float:
        """Return the least time this work takes."""
        return max(self.bytes / ceilings.bandwidth, self.operations / ceilings.peak)


def generator(
    config: ArpgConfig | GptConfig | AimConfig | ArinarConfig | MarConfig,
    counts,
    size: int,
    batch: int = 1,
) -> list[Work]:
    """Return the work of each decoding step, with both halves of guidance.

    counts: tokens decoded at each step, one each for LlamaGen and AiM; size: bytes of a
    stored weight.
    """
    if isinstance(config, ArpgConfig):
        return _arpg(config, counts, size, 2 * batch)
    if isinstance(config, ArinarConfig | MarConfig):
        ends = accumulate(counts, initial=0)
        steps = zip(ends, (0, *counts), counts, strict=False)
        return [_masked(config, *step, size, batch) for step in steps]
    work = _gpt if isinstance(config, GptConfig) else _aim
    return [work(config, token + 1, size, 2 * batch) for token in range(len(counts))]


def _arpg(config, counts, size, rows):
    d, f, v = config.width, config.hidden, config.vocabulary
    read = config.half * (4 * d * d + 3 * d * f) + 2 * d * d
    ask = config.half * (2 * d * d + 3 * d * f) + v * d
    known, fed, steps = 0, 1, []
    for asked in counts:
        known += fed
        # a query and a key meet in 2 d operations, the weight and the value in 2 d more
        meetings = config.half * (fed + asked) * known
        cache = 2 * (config.half + 1) * rows * known * d * FLOAT
        steps.append(
            Work(
                bytes=(read + ask) * size + cache,
                operations=2 * rows * (read * fed + ask * asked + 2 * d * meetings),
            )
        )
        fed = asked
    return steps


def _gpt(config, known, size, rows):
    # one token, of which the cache then holds `known`
    d, r, f = config.width, config.key_width, config.hidden
    read = config.layers * (2 * d * (d + r) + 3 * d * f) + config.vocabulary * d
    cache = config.layers * 2 * rows * known * r
    meetings = config.layers * rows * known
    return Work(
        bytes=(read + rows * d) * size + cache * FLOAT,
        operations=2 * rows * read + 4 * d * meetings,
    )


def _aim(config, known, size, rows):
    # one token; all that follows from the class was computed before the first
    d, mixing = config.width, config.mixing
    shapes = [shape for _, _, shape in mixer_rows(mixing) if len(shape) > 1]
    mixer = sum(map(math.prod, shapes))
    read = config.layers * (mixer + 3 * d * config.hidden) + config.vocabulary * d
    # a row of the table of tokens, and one of that of positions
    tables = 2 * d
    scanned = config.layers * mixing.inner * mixing.state_size
    state = scanned + config.layers * mixing.window * mixing.channels
    vectors = (config.layers * config.factor + 2) * d
    return Work(
        # a state is read and written
        bytes=(read + rows * tables) * size + rows * (2 * state + vectors) * FLOAT,
        # a cell of the state decays, takes something in, and gives something out
        operations=rows * (2 * read + 5 * scanned),
    )


def _masked(config, known, fed, asked, size, batch):
    # all is read again: the encoder's rows by each of them, the decoder's by each of
    # all, but for its last layer, of which only those asked for are needed
    e, d, r = config.encoder_width, config.width, config.ratio
    s, n, m = config.buffer + known, config.buffer + config.tokens, asked
    encoder = config.encoder_layers * (4 + 2 * r) * e * e
    layer = (4 + 2 * r) * d * d
    before = config.decoder_layers - 1
    a_row = encoder * s + d * e * s + before * layer * n
    # of the last layer, keys and values are made of all rows
    a_row += 2 * d * d * n + (layer - 2 * d * d) * m
    meetings = config.encoder_layers * e * s * s + d * n * (before * n + m)
    head = costs.head(config, asked * batch, size)
    weights = encoder + d * e + config.decoder_layers * layer
    # a token is made a row once, after the step that drew it
    a_row += config.features * e * fed
    weights += config.features * e * bool(fed)
    return Work(
        bytes=weights * size + head.bytes,
        operations=2 * (2 * batch * (a_row + 2 * meetings) + head.products),
    )


def decoder(
    config: VqConfig | KlConfig, grid: tuple[int, int], size: int, batch: int = 1
) -> Work:
    """Return the work of turning a grid of codes or latents into an image."""
    pixels = grid[0] * grid[1]
    widths = config.widths
    weights = operations = 0

    def convolve(source, target, taps, pixels):
        nonlocal weights, operations
        weights += source * target * taps
        operations += 2 * source * target * taps * pixels

    def residual(source, target, pixels):
        convolve(source, target, 9, pixels)
        convolve(target, target, 9, pixels)
        if source != target:
            convolve(source, target, 1, pixels)

    def attend(width, pixels):
        nonlocal operations
        for _ in range(4):
            convolve(width, width, 1, pixels)
        operations += 4 * width * pixels * pixels

    width, last = widths[-1], config.levels - 1
    if isinstance(config, VqConfig):
        given, inner, blocks, attending = config.code_size, config.latent, 3, (last,)
    else:
        given = inner = config.channels
        blocks, attending = config.blocks + 1, config.decoder_attention
    convolve(given, inner, 1, pixels)
    convolve(inner, width, 9, pixels)
    residual(width, width, pixels)
    attend(width, pixels)
    residual(width, width, pixels)
    for level in reversed(range(config.levels)):
        for _ in range(blocks):
            residual(width, widths[level], pixels)
            width = widths[level]
            if level in attending:
                attend(width, pixels)
        if level:
            pixels *= 4
            convolve(width, width, 9, pixels)
    convolve(width, 3, 9, pixels)
    return Work(weights * size, batch * operations)
