"""Ours against the PyTorch twin: paired runs in turn, in a process each."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import median

from minigen import plans
from minigen.bench import ceilings, limit
from minigen.bench.weights import pick
from minigen.bench.worker import Job
from minigen.config import PRESETS, ArpgConfig, VqConfig
from minigen.errors import InputError, MinigenError

OURS, TWIN = "minigen.bench.worker", "minigen.training.bench"
PARTS = ("tokens", "pixels", "image")


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
    def ratio(self) -> float | None:
        """The median over paired runs of the twin's time by ours: above 1, we win."""
        if self.twin is None:
            return None
        pairs = zip(self.ours.runs, self.twin.runs, strict=True)
        return median(twin["image"] / ours["image"] for ours, twin in pairs)


def check(job: Job) -> None:
    """Raise InputError if there is no such model, dtype or plan."""
    for name, family in ((job.generator, ArpgConfig), (job.tokenizer, VqConfig)):
        if not isinstance(PRESETS.get(name), family):
            known = ", ".join(n for n, c in PRESETS.items() if isinstance(c, family))
            raise InputError(f"{name!r} is not one of {known}")
    codes, vocabulary = PRESETS[job.tokenizer].codes, PRESETS[job.generator].vocabulary
    if codes != vocabulary:
        raise InputError(
            f"{job.generator} has {vocabulary} tokens and {job.tokenizer} {codes} "
            "codes; name a pair that belongs together"
        )
    pick(job.dtype)
    plans.counts(job.schedule, PRESETS[job.generator].tokens, job.steps)


def compare(
    job: Job, runs: int, say: Callable[[str], None] = lambda text: None
) -> Comparison:
    """Draw the job `runs` times on each side, in turn; `say` hears of progress."""
    check(job)
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
    return {**asdict(found), "ratio": found.ratio, "limit": least}


def seconds(found: Comparison, part: str) -> float:
    """Return the least time of a part, from its work and the ceilings."""
    steps = [found.work["pixels"]] if part == "pixels" else found.work["tokens"]
    if part == "image":
        steps = [*steps, found.work["pixels"]]
    return sum(step.seconds(found.ceilings) for step in steps)


def _work(job):
    config, tokenizer = PRESETS[job.generator], PRESETS[job.tokenizer]
    size = pick(job.dtype).itemsize
    counts = [n for n in plans.counts(job.schedule, config.tokens, job.steps) if n]
    grid = (config.side, config.side)
    return {
        "tokens": limit.generator(config, counts, size, job.batch),
        "pixels": limit.decoder(tokenizer, grid, size, job.batch),
    }


@contextmanager
def _worker(module, job):
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    threads = {f"{name}_NUM_THREADS": str(job.threads) for name in names}
    process = subprocess.Popen(
        [sys.executable, "-m", module, json.dumps(asdict(job))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # how threads wait is each side's own choice
        env={**os.environ, **threads},
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
