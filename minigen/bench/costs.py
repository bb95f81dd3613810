"""What a call of a head cannot do without, counted from the sizes of its arrays."""

from __future__ import annotations

from dataclasses import dataclass

from minigen.config import ArinarConfig, MarConfig
from minigen.models.diffusion_head import WAVES
from minigen.models.mixture_head import CANDIDATES

FLOAT = 4  # bytes of a number that is kept from token to token

RANDOM = {"candidates": 1 + 2 * CANDIDATES, "grid": 1}
"""Random numbers for a guided feature of ARINAR, for each way of drawing it."""


@dataclass(frozen=True)
class Cost:
    """What a call needs: it draws some tokens, with both halves of guidance.

    bytes: of the matrices, each time that a pass reads them, and of the keys and values
    it reads; products: multiplications, each with an addition; numbers: random ones;
    passes: of a network, each of which must wait for the one before.
    """

    bytes: int
    products: int
    numbers: int
    passes: int


def head(config, tokens: int, size: int, way: str = "candidates") -> Cost:
    """Return what the head of an ARINAR or a MAR needs for a guided call.

    size: bytes of a stored weight; way: how ARINAR draws, a name of `RANDOM`.
    """
    if isinstance(config, MarConfig):
        return _diffusion(config, tokens, size)
    return _mixture(config, tokens, size, RANDOM[way])


def _mixture(config: ArinarConfig, tokens, size, numbers):
    d, w, n = config.width, config.inner_width, config.groups
    layers, out = config.inner_layers, config.mixtures * (2 * config.group + 1)
    # condition and modulations are the same for all features: they are made once
    matrices = w * d + (6 * layers + 2) * w * d
    matrices += n * (12 * layers * w * w + out * w) + (n - 1) * config.group * w
    rows, read = 2 * tokens, layers * 2 * w * n * (n + 1) // 2
    return Cost(
        bytes=matrices * size + rows * read * FLOAT,
        products=rows * (matrices + read),
        numbers=tokens * n * numbers,
        passes=n,
    )


def _diffusion(config, tokens, size):
    w, c, steps = config.head_width, config.features, config.noise_steps
    # the steps are told of by vectors that all tokens share, made in one pass
    once, told = w * config.width, WAVES * w + w * w
    each = 3 * c * w + (5 * config.head_layers + 2) * w * w
    return Cost(
        bytes=(once + told + steps * each) * size,
        products=2 * tokens * (once + steps * each) + steps * told,
        numbers=tokens * steps * c,
        passes=steps,
    )
