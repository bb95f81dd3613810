"""The cost of a token in a head: ARINAR's mixtures beside MAR's diffusion.

Each head gets conditioning vectors for the tokens of a step, with both halves of
guidance, and draws their features. The outer model, which is nearly the same in both,
does not run. ARINAR's head draws each feature in two ways: by choosing
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
from minigen.checks import MOST_STEPS, choice, integer, number
from minigen.errors import InputError
from minigen.families import PRESETS, arinar, family_of, mar, module_of
from minigen.families.work import Cost
from minigen.models.mixture_head import CANDIDATES
from minigen.models.query import Draws

TOKENS = 4
"""Tokens of a call: the average of a step, if 64 steps draw 256 tokens."""

REPORTED = {"arinar-b": 11.57, "mar-b": 65.69}
"""Seconds an image, outer model and all, as ARINAR's authors report them: README of
Qinyu-Allen-Zhao/Arinar, arXiv 2503.02883. On what machine, at what batch and in how
many steps it does not say."""


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
    """What was measured: two ways of ARINAR's head and MAR's, calls of `tokens`.

    threads: those of the numba backend, None for others.
    """

    heads: list
    tokens: int
    guidance: float
    dtype: str
    backend: str
    threads: int | None = None

    def slower(self, way: int) -> float:
        """The median over rounds of MAR's time divided by that of this way."""
        ours, theirs = self.heads[way].seconds, self.heads[-1].seconds
        return median(b / a for a, b in zip(ours, theirs, strict=True))


def check(names: Sequence[str]) -> None:
    """Raise InputError unless the presets have heads, ARINAR's first."""
    for name, family in zip(names, (arinar.ARINAR, mar.MAR), strict=True):
        known = (n for n, c in PRESETS.items() if family_of(c) is family)
        choice("model", name, known)
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
    tokens = integer("tokens", tokens, least=1, most=MOST_STEPS)
    if number("guidance", guidance) == 1:
        raise InputError(
            f"guidance {guidance} leaves nothing to choose among; give another, such "
            "as 4.5"
        )
    backend, ops = backends.pick(backend)
    found = []
    for name in names:
        say(f"{name}: drawing stand-in weights")
        config = PRESETS[name]
        w = {"head": backends.move(ops, weights.head(config, dtype))}
        call = partial(_call, module_of(config), ops, w, config, tokens, guidance)
        found.append((config, call))
    (mixtures, draw_features), (diffusion, draw_tokens) = found
    ways = {"candidates": f"{CANDIDATES} candidates", "grid": "on a grid"}
    heads = [
        Head(names[0], text, arinar.head_cost(mixtures, tokens, size, way), [])
        for way, text in ways.items()
    ]
    calls = [partial(draw_features, way) for way in ways]
    cost = mar.head_cost(diffusion, tokens, size)
    heads.append(Head(names[1], f"{diffusion.noise_steps} steps", cost, []))
    calls.append(draw_tokens)
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
    return Heads(heads, tokens, guidance, dtype, backend, _threads(backend))


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
        "threads": found.threads,
        "ratio": {
            "seconds": found.slower(0),
            "seconds_on_a_grid": found.slower(1),
            "bytes": last.bytes / first.bytes,
            "products": last.products / first.products,
            "reported": REPORTED["mar-b"] / REPORTED["arinar-b"],
        },
        "reported_seconds_an_image": REPORTED,
    }


def _threads(backend):
    if backend != "numba":
        return None
    from minigen.target import threads

    return threads.count()


def _call(model, ops, w, config, tokens, guidance, way="candidates"):
    # what the outer model says has about unit variance: its last norm sees to it
    said = np.random.default_rng(tokens).standard_normal(
        (2, tokens, config.width), np.float32
    )
    where = np.zeros(2, np.uint32), np.zeros(tokens, np.int64), np.arange(tokens)
    draws, table = Draws(*map(ops.put, where), 0), model.table(config)
    table = table if table is None else ops.put(table)
    x = model.draw(ops, w, config, ops.put(said), draws, guidance, 1.0, table, way)
    # on a device, this waits until all is done
    return ops.get(x)
