"""The memory that drawing takes with kernels on a CPU, said before anything is drawn.

Most of it is counted, not estimated: weights by their shapes, keys and values by the
tokens that are kept. What a process holds besides is bounded: the widest map of the
tokenizer's decoder, a few times, and the pool that its maps come back to.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, is_dataclass

from minigen import backends
from minigen.checks import shown
from minigen.cpu.buffers import KEPT
from minigen.errors import InputError
from minigen.families import GeneratorConfig, TokenizerConfig, family_of, module_of
from minigen.families.work import FLOAT
from minigen.words import gigabytes

PROGRAM = 320 << 20
"""Bytes of Python, NumPy and Numba with kernels that had to be compiled: `minigen
sample arpg-mnist --backend numba` peaks at 293 MB, and at 223 MB when they are kept."""

MAPS = 4
"""Maps that a residual block holds at most: what it was given, and what its second
convolution reads, writes and adds."""

WIDE = 4
"""Arrays of its widest layer that a step holds at most: logits of both halves, guided,
as probabilities, and sorted; or what a feed-forward layer reads and writes."""

BUDGET = 4 * 10**9
"""Bytes for drawing many images, if nothing is said."""

TOGETHER = 64
"""Images drawn together at most. More are hardly faster, and a run that is stopped has
drawn all but the last batch for good."""

UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
"""What a letter before B multiplies by; with an i after it, 1024 takes the place of
1000."""


@dataclass(frozen=True)
class Memory:
    """Bytes: of the program; of all weights; of what is kept from step to step; of a
    step's largest arrays; of the maps of an image while it is made from tokens."""

    program: int
    weights: int
    kept: int
    step: int
    pixels: int

    @property
    def total(self) -> int:
        """What a process takes at most. A step and pixels are never held at once."""
        largest = max(self.step, self.pixels)
        return self.program + self.weights + self.kept + largest + KEPT


def needed(
    generator: GeneratorConfig,
    tokenizer: TokenizerConfig,
    grid: tuple[int, int],
    together: int,
    batch: int = 1,
    size: int = FLOAT,
) -> Memory:
    """Return the memory for drawing a batch of images of grid (y x) tokens.

    together: the most tokens that a step draws or reads; size: bytes of a stored
    weight. Images are made from tokens one after the other.

    >>> from minigen.families import PRESETS
    >>> found = needed(PRESETS["arpg-l"], PRESETS["vq-16"], (16, 64), 64)
    >>> found.kept == 13 * 2 * 2 * (1 + 16 * 64) * 1024 * FLOAT
    True
    """
    tokens = math.prod(grid)
    numbers = sum(
        math.prod(shape)
        for config in (generator, tokenizer)
        for _, _, shape in family_of(config).rows(config)
    )
    vectors = family_of(generator).tokenizer == "kl"
    rows = 2 * batch * (generator.buffer + tokens if vectors else together)
    width = generator.encoder_width if vectors else generator.width
    widest = max(4 * width, getattr(generator, "vocabulary", 0))
    return Memory(
        PROGRAM,
        numbers * size,
        kept_bytes(generator, batch, tokens),
        WIDE * rows * widest * FLOAT,
        MAPS * widest_map(tokenizer, grid) * FLOAT,
    )


def fitting(budget: int | None, *drawn, **how) -> int:
    """Return how many images drawn together take at most that memory: 1 .. TOGETHER.

    drawn, how: as for `needed`, without the batch. None is BUDGET, and an image is
    drawn even where it takes more. Raises InputError if one image does not fit.

    >>> from minigen.families import PRESETS
    >>> model = PRESETS["arpg-l"], PRESETS["vq-16"], (16, 16), 25
    >>> [fitting(10**9 * n, *model) for n in (3, 4, 9)]
    [12, 26, 64]
    """
    most = BUDGET if budget is None else budget
    fits = [n for n in range(1, TOGETHER + 1) if _total(n, *drawn, **how) <= most]
    if not fits and budget is not None:
        raise InputError(
            f"a memory of {gigabytes(budget)} is less than the "
            f"{gigabytes(_total(1, *drawn, **how))} that drawing one image of this "
            "model may take; give that, or a smaller model"
        )
    return max(fits, default=1)


def _total(batch, *drawn, **how):
    return needed(*drawn, batch=batch, **how).total


def parse(text: str) -> int:
    """Return the bytes that a text such as "4GB" names, or raise InputError.

    >>> parse("4GB"), parse("1.5 gib"), parse("800 M")
    (4000000000, 1610612736, 800000000)
    """
    pattern = "([0-9]{1,9}(?:[.][0-9]{1,9})?) ?([KMGT]?)(I?)B?"
    found = re.fullmatch(pattern, text.strip().upper())
    size = 0
    if found:
        number, unit, binary = found.groups()
        factor = UNITS[unit] if not binary else 1024 ** [*UNITS].index(unit)
        size = int(float(number) * factor)
    if size < 1:
        raise InputError(f"memory {shown(text)} cannot be read; write 4GB, or 800MB")
    return size


def widest_map(tokenizer: TokenizerConfig, grid: tuple[int, int]) -> int:
    """Return the numbers in the largest map of the decoder: pixels times width."""
    pixels, largest = math.prod(grid), 0
    for name, _, shape in family_of(tokenizer).rows(tokenizer):
        if len(shape) != 4 or name.startswith(("encoder", "quant_conv")):
            continue
        if name.endswith(".up.w"):
            pixels *= 4
        largest = max(largest, pixels * max(shape[:2]))
    return largest


def kept_bytes(config: GeneratorConfig, batch: int, tokens: int | None = None) -> int:
    """Return the bytes that a run keeps from step to step, both halves of guidance.

    They are those of the KV cache, of the state, or of the encoder's input (MAR and
    ARINAR); float32. tokens: of an image; default: as many as in training.

    >>> from minigen.families import PRESETS
    >>> kept_bytes(PRESETS["gpt-l"], 1) == 2 * 24 * 2 * 257 * 1024 * 4
    True
    """
    tokens = tokens or config.tokens
    model = module_of(config)
    if family_of(config).tokenizer == "kl":
        return 2 * batch * (config.buffer + tokens) * config.encoder_width * FLOAT
    # of one image, and of one token of a cache: what is told need not be allocated
    ops = backends.table("numpy")
    if hasattr(model, "new_states"):
        return batch * kept(model.new_states(ops, config, 2))
    return batch * (1 + tokens) * kept(model.new_cache(ops, config, 2, 1))


def kept(state) -> int:
    """Return the bytes of all arrays in a model's state."""
    if is_dataclass(state):
        return sum(kept(getattr(state, field.name)) for field in fields(state))
    if isinstance(state, tuple):
        return sum(map(kept, state))
    return state.size * state.dtype.itemsize if hasattr(state, "dtype") else 0
