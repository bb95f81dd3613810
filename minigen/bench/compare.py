"""Compare minigen with PyTorch: paired runs, each side in its own process."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from statistics import median

from minigen import defaults, plans
from minigen.bench import ceilings, process
from minigen.bench.weights import pick
from minigen.bench.worker import Job, chosen
from minigen.catalogue import TOKENIZERS, parameters
from minigen.checks import choice, picture
from minigen.errors import BackendError, InputError
from minigen.extras import install
from minigen.families import FAMILIES, PRESETS, family_of
from minigen.families.work import Work
from minigen.options import check

OURS = "minigen"
WORKER, TWIN = "minigen.bench.worker", "minigen.training.bench"

AGAINST = {
    "eager": "PyTorch",
    "onednn": "PyTorch, each linear layer's weight packed once for oneDNN",
    "compile": "torch.compile of the twin's layers",
}
"""The sides that ours can be compared with: the twin in PyTorch, run in three ways."""

PARTS = ("tokens", "pixels", "image")

STEPS = 64
"""Steps of an image, where a step may draw several tokens."""

TOKENS = 64
"""Tokens that a model of one token a step draws: a quarter of an image of 256."""

EVERY = 8
"""A masked model takes a minute or two: every N-th step is run, and this is N."""


@dataclass(frozen=True)
class Side:
    """One program's seconds for each of PARTS in every run, and its peak memory.

    about: what it says of itself; "first": the seconds of the image before all others,
    in which it compiles.
    """

    runs: list
    about: dict
    peak_bytes: int

    def median(self, part: str) -> float:
        return median(run[part] for run in self.runs)


@dataclass(frozen=True)
class Comparison:
    """What a bench found: sides by name, ours first, and the work of each step."""

    job: Job
    sides: dict[str, Side]
    ceilings: ceilings.Ceilings
    work: dict[str, list[Work]]

    @property
    def ours(self) -> Side:
        return self.sides[OURS]

    @property
    def parts(self) -> list[str]:
        """The parts that were drawn: of some of the tokens there is no image."""
        most = PRESETS[self.job.generator].tokens
        return [p for p in PARTS if p != "image" or self.job.tokens in (None, most)]

    @property
    def ran(self) -> tuple[int, int]:
        """How many steps ran, and for how many steps their time is an estimate."""
        steps = len(self.work["tokens"])
        return len(chosen(steps, self.job.every or 1)), steps

    @property
    def estimated(self) -> bool:
        return self.ran[0] < self.ran[1]

    @property
    def cached(self) -> bool:
        """Whether all weights of the generator lie in the last-level cache."""
        return weight_bytes(self.job) <= self.ceilings.cache

    def ratio(self, side: str, part: str) -> float:
        """The median over paired runs of a side's time divided by ours."""
        pairs = zip(self.ours.runs, self.sides[side].runs, strict=True)
        return median(theirs[part] / ours[part] for ours, theirs in pairs)

    def limit(self, part: str) -> float:
        """The least seconds of a part, from its work and the ceilings."""
        top = self.ceilings
        if self.cached:
            # what a cache delivers is not measured
            top = replace(top, bandwidth=float("inf"))
        steps = self.work[part] if part != "image" else sum(self.work.values(), [])
        return sum(step.seconds(top) for step in steps)

    def share(self, part: str) -> float:
        """The limit of a part divided by our time: 1 would be the limit itself."""
        return self.limit(part) / self.ours.median(part)


def weight_bytes(job: Job) -> int:
    """Return the bytes of a generator's weights.

    >>> weight_bytes(Job("arpg-mnist"))
    4634112
    """
    return parameters(PRESETS[job.generator]) * pick(job.dtype).itemsize


def decoder_of(generator: str) -> str:
    """Return the preset of the tokenizer that a generator goes with."""
    config = PRESETS.get(generator)
    kind = family_of(config).tokenizer if config else ""
    return TOKENIZERS.get(generator, f"{kind or 'vq'}-16")


def settle(job: Job) -> Job:
    """Return the job with defaults for all that is None.

    Raises InputError if there is no such model, dtype or plan, and for an option that
    is out of range.
    """
    for name in ("steps", "schedule", "guidance", "batch", "backend"):
        check(name, getattr(job, name))
    _expect_preset(job.generator, [f for f in FAMILIES.values() if f.tokenizer])
    config = PRESETS[job.generator]
    family = family_of(config)
    masked = family.tokenizer == "kl"
    _expect_preset(job.tokenizer, [FAMILIES[family.tokenizer]])
    _check_pair(job, config, PRESETS[job.tokenizer])
    pick(job.dtype)
    pixels = (config.side * PRESETS[job.tokenizer].factor) ** 2
    picture(job.batch * pixels, "draw fewer images together")
    own = defaults.settle(family.name, job.generator, schedule=job.schedule)
    job = replace(job, **own)
    if job.every is not None and not masked:
        raise InputError(
            f"{job.generator} does not read all again in every step, so none of its "
            "steps can stand for others; do not say which to run"
        )
    if family.settings["schedule"] == "one":
        return _settle_raster(job, config.tokens)
    job = replace(job, steps=job.steps or STEPS)
    if job.tokens is not None:
        raise InputError(
            f"{job.generator} draws several tokens in a step, so it is timed by the "
            "image; ask for fewer steps, or for no number of tokens"
        )
    steps = len(_counts(job, config))
    if not masked:
        return job
    _check_guidance(job)
    every = min(EVERY, steps) if job.every is None else job.every
    if not 1 <= every <= steps:
        raise InputError(f"every {every}th step was asked for; there are {steps}")
    return replace(job, every=every)


def _expect_preset(name, families):
    known = (n for n, c in PRESETS.items() if family_of(c) in families)
    choice("model", name, known)


def _check_pair(job, config, tokenizer):
    if family_of(tokenizer).name == "vq":
        what, ours, theirs = "codes", config.vocabulary, tokenizer.codes
    else:
        # latents, each of them a token
        what, ours, theirs = "channels", config.features, tokenizer.channels
    if ours != theirs:
        raise InputError(
            f"{job.generator} draws tokens of {ours} {what} and {job.tokenizer} has "
            f"{theirs}; name a pair that belongs together"
        )


def _check_guidance(job):
    if not job.guidance > 1:
        raise InputError(
            f"guidance {job.guidance} leaves a half of guidance out on one side; give "
            "one above 1"
        )


def _counts(job, config):
    number = job.tokens or config.tokens
    return [n for n in plans.counts(job.schedule, number, job.steps) if n]


def _settle_raster(job, most):
    if job.schedule != "one":
        raise InputError(
            f"{job.generator} draws one token a step; ask for no schedule but one"
        )
    if job.steps is not None:
        raise InputError(
            f"{job.generator} takes a step for each token, not {job.steps}; ask for a "
            "number of tokens instead"
        )
    _check_guidance(job)
    tokens = min(TOKENS, most) if job.tokens is None else job.tokens
    if not 1 <= tokens <= most:
        raise InputError(f"{tokens} tokens were asked for; an image has 1 .. {most}")
    return replace(job, tokens=tokens)


def sides_of(given: Sequence[str] | None) -> list[str]:
    """Return the names of the sides that are asked for, each of them once.

    given: names, or several with commas between; None for PyTorch where it is
    installed. Raises InputError for others, BackendError without PyTorch.
    """
    there = importlib.util.find_spec("torch") is not None
    if given is None:
        return ["eager"] if there else []
    names = [name.strip() for each in given for name in each.split(",")]
    for name in names:
        choice("--against", name, AGAINST)
    if not there:
        raise BackendError(
            f"--against {','.join(names)} needs PyTorch: run `{install('train')}`"
        )
    return list(dict.fromkeys(names))


def compare(
    job: Job,
    runs: int,
    against: Sequence[str] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Draw the job `runs` times on each side, in turn; `say` hears of progress.

    against: as for `sides_of`.
    """
    job, names = settle(job), sides_of(against)
    say("measuring the ceilings")
    before, given = ceilings.measure(job.threads), json.dumps(asdict(job))
    with ExitStack() as stack:
        sides, said = {}, {}
        for name in (OURS, *names):
            say(f"{name}: drawing stand-in weights and compiling")
            command = (WORKER, given) if name == OURS else (TWIN, given, name)
            side = process.start(*command, threads=job.threads)
            sides[name] = stack.enter_context(side)
            # one after the other, so that the times of compiling are comparable
            said[name] = process.read(sides[name])
        times = {name: [] for name in sides}
        for run in range(runs):
            # who goes first changes, so that neither has the warmer machine
            for name in sides if run % 2 == 0 else reversed(sides):
                say(f"run {run + 1} of {runs}, {name}")
                times[name].append(process.ask(sides[name], "go"))
        found = {
            name: Side(times[name], said[name], process.ask(side, "end")["peak_bytes"])
            for name, side in sides.items()
        }
    best = ceilings.better(before, ceilings.measure(job.threads))
    return Comparison(job, found, best, work(job))


def to_json(found: Comparison) -> dict:
    """Return what was measured, ready for JSON: medians, ratios and shares by part."""
    ran, steps = found.ran
    limits = {}
    for part in found.parts:
        limits[part] = {"seconds": found.limit(part), "share": found.share(part)}
    return {
        "job": asdict(found.job),
        "sides": {
            name: {
                **asdict(side),
                "medians": {part: side.median(part) for part in found.parts},
                "ratios": {part: found.ratio(name, part) for part in found.parts},
            }
            for name, side in found.sides.items()
        },
        "steps": steps,
        "steps_ran": ran,
        "estimated": found.estimated,
        "ceilings": asdict(found.ceilings),
        "cached": found.cached,
        "limit": limits,
        "work": {part: asdict(total(steps)) for part, steps in found.work.items()},
    }


def total(steps: Sequence[Work]) -> Work:
    """Return the work of all steps together."""
    return Work(sum(s.bytes for s in steps), sum(s.operations for s in steps))


def work(job: Job) -> dict[str, list[Work]]:
    """Return the least work of each step, and that of turning tokens into pixels.

    A step must read its weights once, and the KV cache or state, and multiply: see
    `work` of a `Family`. Activations and instructions are counted as free.
    """
    config, tokenizer = PRESETS[job.generator], PRESETS[job.tokenizer]
    size, grid = pick(job.dtype).itemsize, (config.side, config.side)
    counts, decoding = _counts(job, config), family_of(tokenizer).work
    return {
        "tokens": family_of(config).work(config, counts, size, job.batch),
        "pixels": [decoding(tokenizer, grid, size, job.batch)],
    }
