"""The time below which no program can draw an image on this machine.

Every step must read the weights it uses once, and multiply. So a step takes at least
bytes / bandwidth and at least operations / peak, whichever is longer. Activations and
instructions are taken to be free.
"""

from __future__ import annotations

from dataclasses import dataclass

from minigen.bench.ceilings import Ceilings
from minigen.config import ArpgConfig, VqConfig

FLOAT = 4  # bytes of a cached key or value


@dataclass(frozen=True)
class Work:
    """Bytes that must be read from memory and float operations that must be done."""

    bytes: float
    operations: float

    def seconds(self, ceilings: Ceilings) -> float:
        """Return the least time this work takes."""
        return max(self.bytes / ceilings.bandwidth, self.operations / ceilings.peak)


def generator(config: ArpgConfig, counts, size: int, batch: int = 1) -> list[Work]:
    """Return the work of each decoding step, with both halves of guidance.

    counts: tokens decoded at each step; size: bytes of a stored weight.
    """
    d, f, v = config.width, config.hidden, config.vocabulary
    read = config.half * (4 * d * d + 3 * d * f) + 2 * d * d
    ask = config.half * (2 * d * d + 3 * d * f) + v * d
    known, fed, steps = 0, 1, []
    for asked in counts:
        known += fed
        rows = 2 * batch
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
