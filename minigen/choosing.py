"""Which backend `auto` is: NumPy for a little work, kernels for more.

Kernels draw faster, but a process that uses them imports Numba and loads them first, or
compiles them, where no process has done so before. So the work of a run is counted from
the records of its two models (`minigen.families`), and times of a table say how long it
takes either way.

NumPy is taken while a run, drawn by NumPy, takes at most as long as the geometric mean
of what it would take with kernels to be compiled and with kernels to be loaded. There
the two mistakes cost the same factor: to compile for a run that NumPy would have drawn
sooner, and to draw in NumPy although kernels lay ready. What lies there, and how busy a
machine is, decides nothing: the same command is to draw the same bits on any day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minigen import backends, plans
from minigen.catalogue import TOKENIZERS
from minigen.checks import LAST_IMAGE
from minigen.defaults import STEPS, settle
from minigen.families import (
    FAMILIES,
    PRESETS,
    GeneratorConfig,
    TokenizerConfig,
    family_of,
)
from minigen.families.work import FLOAT


@dataclass(frozen=True)
class Times:
    """Seconds that a family of generators, with its tokenizer, takes on one machine.

    numpy, numba: for 10**9 operations, and for the calls of a step beside them;
    compile, load: that a process with kernels takes longer to start than one without,
    if they must be compiled, and if they are kept.
    """

    numpy: tuple[float, float]
    numba: tuple[float, float]
    compile: float
    load: float


TIMES = {
    "arpg": Times((0.077, 0.0014), (0.028, 0.0013), 9.4, 0.33),
    "llamagen": Times((0.085, 0.0013), (0.037, 0.0012), 9.6, 0.5),
    "aim": Times((0.22, 0.00064), (0.052, 0.00093), 14, 0.46),
    "arinar": Times((0.21, 0), (0.017, 0.0035), 17, 0.39),
    "mar": Times((0.12, 0.035), (0.015, 0.02), 14, 0.71),
}
"""Measured by `minigen bench backends` on two cores of an AMD EPYC (Zen 4, AVX-512)."""


def is_little(
    generator: GeneratorConfig,
    tokenizer: TokenizerConfig,
    images: int,
    counts: Sequence[int],
    batch: int,
    times: Times | None = None,
    asked: Sequence[int] | None = None,
    grid: tuple[int, int] | None = None,
) -> bool:
    """Say whether NumPy is to draw and decode some images.

    counts: tokens of each step (`Plan.counts`); batch: images drawn together; times: by
    default those of `TIMES`; asked: positions asked for at each step, by default as
    many as tokens (`Plan.asked`); grid: rows and columns of tokens, by default those of
    training.
    """
    times = times or TIMES[family_of(generator).name]
    operations, steps = work(generator, tokenizer, images, counts, batch, asked, grid)
    numpy, numba = (
        operation * operations / 1e9 + step * steps
        for operation, step in (times.numpy, times.numba)
    )
    return numpy**2 <= (times.compile + numba) * (times.load + numba)


def work(
    generator: GeneratorConfig,
    tokenizer: TokenizerConfig,
    images: int,
    counts: Sequence[int],
    batch: int,
    asked: Sequence[int] | None = None,
    grid: tuple[int, int] | None = None,
) -> tuple[float, int]:
    """Return the operations of a guided run, and its steps; arguments as above."""
    grid = grid or (generator.side, generator.side)
    operations = (
        images * family_of(tokenizer).work(tokenizer, grid, FLOAT, 1).operations
    )
    full, rest = divmod(images, batch)
    # only ARPG can ask for more than it draws
    how = {} if asked in (None, counts) else {"asked": asked}
    for times, together in ((full, batch), (1, rest)):
        if times and together:
            steps = family_of(generator).work(generator, counts, FLOAT, together, **how)
            operations += times * sum(step.operations for step in steps)
    return operations, len(counts) * (full + bool(rest))


def most(
    generator: GeneratorConfig,
    tokenizer: TokenizerConfig,
    counts: Sequence[int],
    batch: int,
    times: Times | None = None,
    asked: Sequence[int] | None = None,
    grid: tuple[int, int] | None = None,
) -> int:
    """Return how many images are still little work; 0 if not even one is."""
    low, high, how = 0, 1, (counts, batch, times, asked, grid)
    while high < LAST_IMAGE and is_little(generator, tokenizer, high, *how):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        little = is_little(generator, tokenizer, middle, *how)
        low, high = (middle, high) if little else (low, middle)
    return low


def usual(name: str, generator: GeneratorConfig, batch: int) -> int:
    """Return `most` for what is drawn by default."""
    configs, counts = drawn_by_default(name, generator)
    return most(*configs, counts, batch)


def drawn_by_default(name: str, generator: GeneratorConfig):
    """Return configurations of generator and tokenizer, and the counts of the steps.

    name: of a preset, which has settings of its own and may ship with a tokenizer;
    another one is decoded by that which was released.
    """
    family = family_of(generator)
    schedule = settle(family.name, name, schedule=None)["schedule"]
    released, *_ = FAMILIES[family.tokenizer].released
    tokenizer = PRESETS[TOKENIZERS.get(name, released)]
    return (generator, tokenizer), plans.counts(schedule, generator.tokens, STEPS)


def reason(backend: str, most: int) -> str:
    """Say why that is the backend of a run; most: images of `most`."""
    if not backends.has_numba():
        return f"{backend}, since Numba is not installed"
    many = f"{most} image{'s' * (most != 1)}"
    if backend == "numpy":
        return f"{backend}, as for up to {many}"
    meant = f"more than {many}" if most else "any number of images"
    return f"{backend}, as for {meant}"
