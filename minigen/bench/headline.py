"""The headlines of the papers, measured here: how many times as fast, in what memory.

Each part compares a model with the one that its authors compare it with, at full size
with stand-in weights. A side draws whole images (tokens, then pixels) in a process of
its own, one side after the other, so that its time and its memory are its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import median
from time import perf_counter
from types import SimpleNamespace

from minigen.bench import compare, process
from minigen.bench.compare import WORKER, decoder_of, settle, total
from minigen.bench.heads import REPORTED
from minigen.bench.worker import Job
from minigen.checks import integer
from minigen.families import PRESETS, family_of
from minigen.families.work import Work
from minigen.memory import kept_bytes
from minigen.words import duration, gigabytes, markdown

BATCHES = (1, 4, 16)

RATES = SimpleNamespace(bandwidth=3e10, peak=2e11)
"""Bytes and operations a second that times are guessed by, before any is measured."""


@dataclass(frozen=True)
class Part:
    """A model and its baseline, as a paper compares them.

    steps: the numbers of steps that the model is measured with, None where each token
    is a step; the baseline takes the first. reported: for each, how many times as fast
    the paper says it is. source: where; differs: what is not as in the paper.
    """

    model: str
    baseline: str
    steps: tuple[int | None, ...]
    reported: tuple[str, ...]
    source: str
    differs: str


RASTER = "2 to 10"
"""How many times as fast as other models AiM is, by its abstract."""

PARTS = {
    "arpg-l": Part(
        "arpg-l", "gpt-l", (64, 32, 16), ("over 20", "over 30", ""),
        "arXiv 2503.10568, abstracts of version 1 (over 20 times, 64 steps) and of "
        "version 3 (over 30 times, 32 steps); memory 75 % less than VAR's: at batch 64 "
        "in bfloat16 7.2 GB by ARPG-XXL, 28.5 GB by VAR-d30",
        "The authors measure large batches on a GPU in bfloat16, where a step of one "
        "token leaves most of the multipliers idle. A CPU has few of them: one token "
        "of a large batch keeps them busy, and more tokens a step save no operations, "
        "only readings of the weights. So with the batch the gain falls from the ratio "
        "of bytes read towards the ratio of operations.",
    ),
    "aim-b": Part(
        "aim-b", "gpt-b", (None,), (RASTER,),
        "arXiv 2408.12245, abstract: beside other autoregressive and diffusion models, "
        "not beside a transformer of its size alone",
        "The transformer here is LlamaGen's of about the same size, with a KV cache. "
        "Both draw 256 tokens one by one, with both halves of guidance, and read about "
        "as many weights: what a state saves grows with the length of a sequence "
        "(`minigen bench growth`), and 256 tokens are few.",
    ),
    "aim-l": Part(
        "aim-l", "gpt-l", (None,), (RASTER,),
        "as for aim-b", "As for aim-b.",
    ),
    "arinar-b": Part(
        "arinar-b", "mar-b", (64,),
        (f"{REPORTED['mar-b'] / REPORTED['arinar-b']:.2f}",),
        "README of Qinyu-Allen-Zhao/Arinar, arXiv 2503.02883: 11.57 and 65.69 s an "
        "image; on what machine, in what batch and how many steps it does not say",
        "Both run the same outer model, of 28 layers in ARINAR and 24 in MAR, which "
        "reads all known tokens in each step: on a CPU it takes most of the time, and "
        "hides part of what the head saves (`minigen bench heads` times heads alone).",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Side:
    """A model's runs of one job: batches of images.

    seconds: of a batch, whole images, in each run; peak_bytes: of the process;
    kept_bytes: what is kept from step to step, KV cache, state or rows; work: the least
    work of the tokens; estimated: whether only some tokens or steps ran.
    """

    job: Job
    seconds: list
    peak_bytes: int
    kept_bytes: int
    work: Work
    estimated: bool

    @property
    def median(self) -> float:
        return median(self.seconds)


def jobs_of(part: Part, batch: int, **options) -> list[Job]:
    """Return the jobs of a part for a batch: the model's, then that of the baseline.

    options: dtype, threads, backend; tokens: how many tokens raster models draw; every:
    of models that read all again, every so many-th step is run. Raises InputError.
    """
    sides = [(part.model, steps) for steps in part.steps]
    return [
        _job(name, steps, batch, **options)
        for name, steps in (*sides, (part.baseline, part.steps[0]))
    ]


def _job(name, steps, batch, tokens=None, every=None, **options):
    config = PRESETS[name]
    family = family_of(config)
    job = Job(name, decoder_of(name), batch=batch, **options)
    if family.settings["schedule"] == "one":
        return settle(replace(job, tokens=min(tokens or config.tokens, config.tokens)))
    masked = family.tokenizer == "kl"
    return settle(replace(job, steps=steps, every=every if masked else None))


def measure(
    parts: Sequence[Part],
    batches: Sequence[int] = BATCHES,
    runs: int = 3,
    say: Callable[[str], None] = lambda text: None,
    **options,
) -> dict[Job, Side]:
    """Draw `runs` batches of each side of the parts; return what each job took.

    A job that occurs in several parts runs once. options: as for `jobs_of`. say hears
    of progress and of the time that is left, which is guessed from the least work of
    each job and, from the first run on, from what was measured. Raises InputError.
    """
    for batch in batches:
        integer("batch", batch, least=1)
    # a side loads, compiles and warms up in about the time of a run
    loads = {
        job: (runs + 1) * _share(job) * work(job).seconds(RATES)
        for part in parts
        for batch in batches
        for job in jobs_of(part, batch, **options)
    }
    found, start, done = {}, perf_counter(), 0.0

    def tell(job, part):
        # part: of the job's load, what is done
        reached = done + part * loads[job]
        pace = (perf_counter() - start) / reached if reached else 1.0
        left = pace * (sum(loads.values()) - reached)
        left = f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
        say(f"{label(job)}, batch {job.batch}; in all about {left} left")

    for job, load in loads.items():
        found[job] = draw_side(job, runs, partial(tell, job))
        done += load
    return found


def _share(job):
    # of the steps of an image, how many run
    whole = PRESETS[job.generator].tokens
    return (job.tokens or whole) / whole / (job.every or 1)


def draw_side(job: Job, runs: int, tell: Callable) -> Side:
    """Draw `runs` batches of a job in a process of its own; tell(0 .. 1) how far."""
    given = json.dumps(asdict(job))
    with process.start(WORKER, given, threads=job.threads) as side:
        tell(0)
        process.read(side)
        times = []
        for run in range(runs):
            tell((run + 1) / (runs + 1))
            times.append(process.ask(side, "go"))
        peak = process.ask(side, "end")["peak_bytes"]
    # of the first tokens of an image the others are taken to last as long each; of
    # every N-th step the worker itself estimates
    scale = 1 / _share(replace(job, every=None))
    seconds = [run["tokens"] * scale + run["pixels"] for run in times]
    kept_here = kept_bytes(PRESETS[job.generator], job.batch)
    return Side(job, seconds, peak, kept_here, work(job), _share(job) < 1)


def label(job: Job) -> str:
    """Return a job's model and steps, as messages name it.

    >>> label(Job("arpg-l", steps=64)), label(Job("gpt-l", tokens=256))
    ('arpg-l, 64 steps', 'gpt-l, 256 steps')
    """
    return f"{job.generator}, {job.steps or PRESETS[job.generator].tokens} steps"


def work(job: Job) -> Work:
    """Return the least work of the tokens of a job's whole images."""
    whole = PRESETS[job.generator].tokens if job.tokens else None
    return total(compare.work(replace(job, tokens=whole))["tokens"])


def to_json(
    names: Sequence[str], batches: Sequence[int], found: dict[Job, Side], **options
) -> list[dict]:
    """Return what was measured, ready for JSON: of each part and batch, all sides.

    The baseline is the last of them.
    """
    entries = []
    for name in names:
        for batch in batches:
            sides = [found[job] for job in jobs_of(PARTS[name], batch, **options)]
            said = (*PARTS[name].reported, "1")
            entries.append({
                "part": name, "batch": batch, "source": PARTS[name].source,
                "differs": PARTS[name].differs,
                "sides": [
                    {
                        **asdict(side), "label": label(side.job),
                        "median": side.median, "reported": reported,
                        "times_as_fast": sides[-1].median / side.median,
                    }
                    for side, reported in zip(sides, said, strict=True)
                ],
            })  # fmt: skip
    return entries


def report(entries: Sequence[dict]) -> str:
    """Return a Markdown table of each part, its source, and what differs from it.

    entries: from `to_json`, of one run or of several. Where they say on what machine,
    a column does: times of two are not compared.
    """
    told = all("machine" in entry for entry in entries)
    texts = []
    for name in dict.fromkeys(entry["part"] for entry in entries):
        of_part = [entry for entry in entries if entry["part"] == name]
        of_part.sort(key=lambda entry: entry["batch"])
        rows = [
            (*_row(side, entry["batch"]), *([entry["machine"]] if told else []))
            for entry in of_part
            for side in entry["sides"]
        ]
        titles = (*HEADER, *(["machine"] if told else []))
        texts.append(markdown([titles, *rows], right=range(1, len(HEADER))))
        texts += [f"Reported: {of_part[0]['source']}.", of_part[0]["differs"]]
    return "\n\n".join(texts)


HEADER = (
    "", "batch", "a batch", "images/s", "times as fast", "reported", "read",
    "operations", "peak memory", "kept",
)  # fmt: skip


def _row(side, batch):
    least = side["work"]
    return (
        f"{side['label']}{' (estimated)' * side['estimated']}", batch,
        duration(side["median"]), f"{batch / side['median']:.3g}",
        f"{side['times_as_fast']:.2f}", side["reported"], gigabytes(least["bytes"]),
        f"{least['operations'] / 1e9:,.0f} GFLOP", gigabytes(side["peak_bytes"]),
        gigabytes(side["kept_bytes"]),
    )  # fmt: skip
