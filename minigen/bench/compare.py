"""Compare minigen with its PyTorch twin: paired runs, each side in its own process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from statistics import median

from minigen import defaults, plans, target
from minigen.bench import ceilings, limit
from minigen.bench.weights import pick
from minigen.bench.worker import Job, chosen
from minigen.catalogue import TOKENIZERS
from minigen.checks import choice, picture
from minigen.errors import InputError, MinigenError
from minigen.families import FAMILIES, PRESETS, family_of
from minigen.options import check

OURS, TWIN = "minigen.bench.worker", "minigen.training.bench"
PARTS = ("tokens", "pixels", "image")

STEPS = 64
"""Steps of an image, where a step may draw several tokens."""

TOKENS = 64
"""Tokens that a model of one token a step draws: a quarter of an image of 256."""

EVERY = 8
"""A masked model takes a minute or two: every N-th step is run, and this is N."""


@dataclass(frozen=True)
class Side:
    """One program's seconds for each of PARTS in every run, and its peak memory."""

    runs: list
    about: dict
    peak_bytes: int

    def median(self, part: str) -> float:
        return median(run[part] for run in self.runs)


@dataclass(frozen=True)
class Comparison:
    """What a bench found. twin is None where PyTorch is not installed."""

    job: Job
    ours: Side
    twin: Side | None
    ceilings: ceilings.Ceilings
    work: dict

    @property
    def judged(self) -> str:
        """The part whose times are compared: the image, or its tokens."""
        return "tokens" if self.job.tokens else "image"

    @property
    def ran(self) -> tuple[int, int]:
        """How many steps ran, and for how many steps their time is an estimate."""
        steps = len(self.work["tokens"])
        return len(chosen(steps, self.job.every or 1)), steps

    @property
    def ratio(self) -> float | None:
        """The median over paired runs of the twin's time divided by ours."""
        if self.twin is None:
            return None
        part = self.judged
        pairs = zip(self.ours.runs, self.twin.runs, strict=True)
        return median(twin[part] / ours[part] for ours, twin in pairs)


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


def compare(
    job: Job, runs: int, say: Callable[[str], None] = lambda text: None
) -> Comparison:
    """Draw the job `runs` times on each side, in turn; `say` hears of progress."""
    job = settle(job)
    with ExitStack() as stack:
        say("drawing stand-in weights and compiling")
        sides = [stack.enter_context(_worker(OURS, job))]
        if importlib.util.find_spec("torch"):
            sides.append(stack.enter_context(_worker(TWIN, job)))
        about = [_read(side) for side in sides]
        say("measuring the ceilings")
        before = ceilings.measure()
        times = [[] for _ in sides]
        for run in range(runs):
            # who goes first changes, so that neither has the warmer machine
            turns = list(enumerate(sides))
            for i, side in turns if run % 2 == 0 else reversed(turns):
                say(f"run {run + 1} of {runs}, {('minigen', 'pytorch')[i]}")
                times[i].append(_ask(side, "go"))
        peaks = [_ask(side, "end")["peak_bytes"] for side in sides]
    best = ceilings.better(before, ceilings.measure())
    ours, *twin = map(Side, times, about, peaks)
    return Comparison(job, ours, twin[0] if twin else None, best, _work(job))


def to_json(found: Comparison) -> dict:
    """Return everything that was measured, ready for JSON."""
    least = {part: seconds(found, part) for part in PARTS}
    ran, steps = found.ran
    about = {"ratio": found.ratio, "judged": found.judged, "limit": least}
    about |= {"steps_ran": ran, "steps": steps, "estimated": ran < steps}
    return {**asdict(found), **about}


def seconds(found: Comparison, part: str) -> float:
    """Return the least time of a part, from its work and the ceilings."""
    steps = [found.work["pixels"]] if part == "pixels" else found.work["tokens"]
    if part == "image":
        steps = [*steps, found.work["pixels"]]
    return sum(step.seconds(found.ceilings) for step in steps)


def _work(job):
    config, tokenizer = PRESETS[job.generator], PRESETS[job.tokenizer]
    size = pick(job.dtype).itemsize
    grid = (config.side, config.side)
    return {
        "tokens": limit.generator(config, _counts(job, config), size, job.batch),
        "pixels": limit.decoder(tokenizer, grid, size, job.batch),
    }


@contextmanager
def _worker(module, job):
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    threads = {f"{name}_NUM_THREADS": str(job.threads) for name in names}
    # how threads wait is each side's own choice, unless the user made it
    given = {k: v for k, v in os.environ.items() if k not in target.ADDED}
    process = subprocess.Popen(
        [sys.executable, "-m", module, json.dumps(asdict(job))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**given, **threads},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _read(process):
    # a library may print something of its own
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise MinigenError(
        f"the process that draws stopped with status {process.wait()}; what it said "
        "stands above"
    )


def _ask(process, word):
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    return _read(process)
