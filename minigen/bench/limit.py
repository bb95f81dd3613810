"""The time below which no program can draw an image on this machine.

Every step must read the weights it uses once and what is kept from token to token, and
multiply. So a step takes at least bytes / bandwidth and at least operations / peak,
whichever is longer. Activations and instructions are taken to be free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from minigen.bench.ceilings import Ceilings
from minigen.checkpoints.aim_names import mixer_rows
from minigen.config import AimConfig, ArpgConfig, GptConfig, VqConfig

FLOAT = 4  # bytes of a number that is kept from token to token


@dataclass(frozen=True)
class Work:
    """Bytes that must be read from memory and float operations that must be done."""

    bytes: float
    operations: float

    def seconds(self, ceilings: Ceilings) -> float:
        """Return the least time this work takes."""
        return max(self.bytes / ceilings.bandwidth, self.operations / ceilings.peak)


def generator(
    config: ArpgConfig | GptConfig | AimConfig, counts, size: int, batch: int = 1
) -> list[Work]:
    """Return the work of each decoding step, with both halves of guidance.

    counts: tokens decoded at each step, one each but for ARPG; size: bytes of a stored
    weight.
    """
    if isinstance(config, ArpgConfig):
        return _arpg(config, counts, size, 2 * batch)
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


def decoder(config: VqConfig, grid: tuple[int, int], size: int, batch: int = 1) -> Work:
    """Return the work of turning a grid of codes into an image."""
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

    width = widths[-1]
    convolve(config.code_size, config.latent, 1, pixels)
    convolve(config.latent, width, 9, pixels)
    residual(width, width, pixels)
    attend(width, pixels)
    residual(width, width, pixels)
    for level in reversed(range(config.levels)):
        for _ in range(3):
            residual(width, widths[level], pixels)
            width = widths[level]
            if level == config.levels - 1:
                attend(width, pixels)
        if level:
            pixels *= 4
            convolve(width, width, 9, pixels)
    convolve(width, 3, 9, pixels)
    return Work(weights * size, batch * operations)
