"""What a token costs in a head: ARINAR's mixtures beside MAR's diffusion.

Either head is given what the outer model would say of the tokens of a step, with both
halves of guidance, and draws their features; the outer model itself, which is much the
same in both, does not run. ARINAR's head draws each feature in two ways: by choosing
among candidates, as the original does, and exactly, on a grid. Weights are stand-ins of
full size. What is drawn is no picture, but takes as long as one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median

import numpy as np

from minigen import backends, rng
from minigen.bench import weights
from minigen.bench.limit import FLOAT
from minigen.config import PRESETS, ArinarConfig, MarConfig
from minigen.errors import InputError
from minigen.models import arinar, diffusion_head, mar, mixture_head
from minigen.models.masked import Draws

TOKENS = 4
"""Tokens of a call: what a step draws on average, of 64 that draw 256."""

REPORTED = {"arinar-b": 11.57, "mar-b": 65.69}
"""Seconds an image, outer model and all, as ARINAR's authors report them: README of
Qinyu-Allen-Zhao/Arinar, arXiv 2503.02883. On what machine, at what batch and in how
many steps it does not say."""


@dataclass(frozen=True)
class Cost:
    """What a call cannot do without, counted from the sizes of its arrays.

    bytes: of the matrices, each time that a pass reads them, and of the keys and values
    it reads; products: multiplications, each with an addition; numbers: random ones;
    passes: of a network, each of which must wait for the one before.
    """

    bytes: int
    products: int
    numbers: int
    passes: int


@dataclass(frozen=True)
class Head:
    """A head's way of drawing: preset, name, cost and seconds of every call."""

    model: str
    way: str
    cost: Cost
    seconds: list

    @property
    def median(self) -> float:
        return median(self.seconds)


@dataclass(frozen=True)
class Heads:
    """What was measured: two ways of ARINAR's head and MAR's, calls of `tokens`."""

    heads: list
    tokens: int
    guidance: float
    dtype: str
    backend: str

    def slower(self, way: int) -> float:
        """The median over rounds of MAR's time by that of ARINAR's way 0 or 1."""
        ours, theirs = self.heads[way].seconds, self.heads[-1].seconds
        return median(b / a for a, b in zip(ours, theirs, strict=True))


def check(names: Sequence[str]) -> None:
    """Raise InputError unless the presets, ARINAR's first, have heads to be timed."""
    for name, family in zip(names, (ArinarConfig, MarConfig), strict=True):
        config = PRESETS.get(name)
        if not isinstance(config, family):
            known = ", ".join(n for n, c in PRESETS.items() if isinstance(c, family))
            raise InputError(f"{name!r} is not one of {known}")
    config = PRESETS[names[0]]
    if config.group != 1 or config.flow:
        raise InputError(
            f"{names[0]} draws groups of features or has a flow; a guided draw is of "
            "single features, and timed without a flow"
        )


def measure(
    names: Sequence[str] = ("arinar-b", "mar-b"),
    tokens: int = TOKENS,
    rounds: int = 10,
    dtype: str = "float32",
    guidance: float = 4.5,
    backend: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> Heads:
    """Time `rounds` calls of every head, in turns, each of which draws `tokens` tokens.

    names: presets of an ARINAR and of a MAR; say hears of progress. Raises InputError,
    BackendError.
    """
    check(names)
    size = weights.pick(dtype).itemsize
    if guidance == 1:
        raise InputError(
            "guidance 1 leaves nothing to choose among; give another, such as 4.5"
        )
    backend, ops = backends.pick(backend)
    configs, many = [PRESETS[name] for name in names], mixture_head.CANDIDATES
    made = []
    for name, config in zip(names, configs, strict=True):
        say(f"{name}: drawing stand-in weights")
        made.append({"head": backends.move(ops, weights.head(config, dtype))})
    of_arinar, of_mar = (
        partial(_call, draw, ops, w, config, tokens, guidance)
        for draw, w, config in zip((arinar.draw, mar.draw), made, configs, strict=True)
    )
    on_grid = partial(of_arinar, guided=mixture_head.draw_on_grid)
    calls = of_arinar, on_grid, of_mar
    sizes = configs[0], tokens, size
    heads = [
        Head(names[0], f"{many} candidates", mixture_cost(*sizes, 1 + 2 * many), []),
        Head(names[0], "on a grid", mixture_cost(*sizes, 1), []),
        Head(names[1], f"{configs[1].noise_steps} steps",
             diffusion_cost(configs[1], tokens, size), []),
    ]  # fmt: skip
    for head, call in zip(heads, calls, strict=True):
        say(f"{head.model}, {head.way}: compiling")
        call()
    for turn in range(rounds):
        say(f"round {turn + 1} of {rounds}")
        # whoever follows whom changes, so that no head has the warmer machine
        for i in rng.permutation(turn, len(calls)):
            start = time.perf_counter()
            calls[i]()
            heads[i].seconds.append(time.perf_counter() - start)
    return Heads(heads, tokens, guidance, dtype, backend)


def mixture_cost(config: ArinarConfig, tokens: int, size: int, numbers: int) -> Cost:
    """Return what ARINAR's head needs for a guided call.

    size: bytes of a stored weight; numbers: random ones for each feature.

    >>> cost = mixture_cost(PRESETS["arinar-b"], 1, 4, 1)
    >>> cost.products  # 118.9 million for each of two rows
    237844992
    """
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


def diffusion_cost(config: MarConfig, tokens: int, size: int) -> Cost:
    """Return what MAR's head needs for a guided call. size: bytes of a stored weight.

    >>> diffusion_cost(PRESETS["mar-b"], 1, 4).passes
    100
    """
    w, c, steps = config.head_width, config.features, config.noise_steps
    # the steps are told of by vectors that all tokens share, made in one pass
    once, told = w * config.width, diffusion_head.WAVES * w + w * w
    each = 3 * c * w + (5 * config.head_layers + 2) * w * w
    return Cost(
        bytes=(once + told + steps * each) * size,
        products=2 * tokens * (once + steps * each) + steps * told,
        numbers=tokens * steps * c,
        passes=steps,
    )


def to_json(found: Heads) -> dict:
    """Return everything that was measured, ready for JSON."""
    first, last = found.heads[0].cost, found.heads[-1].cost
    heads = [
        {
            **asdict(head), "median": head.median,
            "a_token": {
                "seconds": head.median / found.tokens,
                "bytes": head.cost.bytes / found.tokens,
                "products": head.cost.products / found.tokens,
            },
        }
        for head in found.heads
    ]  # fmt: skip
    return {
        "heads": heads,
        "tokens": found.tokens,
        "rows": 2 * found.tokens,
        "guidance": found.guidance,
        "dtype": found.dtype,
        "backend": found.backend,
        "ratio": {
            "seconds": found.slower(0),
            "seconds_on_a_grid": found.slower(1),
            "bytes": last.bytes / first.bytes,
            "products": last.products / first.products,
            "reported": REPORTED["mar-b"] / REPORTED["arinar-b"],
        },
        "reported_seconds_an_image": REPORTED,
    }


def _call(draw, ops, w, config, tokens, guidance, **how):
    # what the outer model says has about unit variance: its last norm sees to it
    said = np.random.default_rng(tokens).standard_normal(
        (2, tokens, config.width), np.float32
    )
    where = np.zeros(2, np.uint32), np.zeros(tokens, np.int64), np.arange(tokens)
    draws = Draws(*map(ops.put, where), 0)
    x = draw(ops, w, config, ops.put(said), draws, guidance, 1.0, **how)
    # on a device, this waits until all is done
    return ops.get(x)
