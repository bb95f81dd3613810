"""What many images cost: a batch is measured here, the rest is planned on paper.

Images do not depend on each other, and a batch goes to one machine. So a run takes as
long as the machine with the most batches, and the machines together work as long as one
of them alone would. What a machine does once is left out: it reads the weights for
their hash, and loads them. A machine that is lost costs a batch, which is drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minigen.bench.compare import Job, decoder_of, settle
from minigen.bench.headline import Side, draw_side
from minigen.words import gigabytes, markdown, remaining


@dataclass(frozen=True)
class Plan:
    """A run on some machines: batches of the one that has most, and seconds of all."""

    machines: int
    batches: int
    seconds: float


def measure(
    name: str, batch: int, runs: int, tell: Callable = lambda done: None, **options
) -> Side:
    """Draw `runs` batches of a preset with stand-in weights. Raises InputError.

    options: fields of a `Job`, such as dtype, steps and threads.
    """
    job = settle(Job(name, decoder_of(name), batch=batch, **options))
    return draw_side(job, runs, tell)


def plan(seconds: float, batch: int, count: int, machines: int) -> Plan:
    """Return how long `count` images take; seconds: of a batch.

    >>> plan(seconds=80, batch=4, count=50_000, machines=64)
    Plan(machines=64, batches=196, seconds=15680)
    """
    batches = -(-count // batch)
    most = -(-batches // machines)
    return Plan(machines, most, most * seconds)


def measured(side: Side, cpu: str) -> str:
    """Say what was measured, and on what."""
    job = side.job
    return (
        f"{job.generator}, {job.steps} steps, {job.dtype}, on {job.threads} threads of "
        f"{cpu}, in {gigabytes(side.peak_bytes)} of memory"
    )


def report(what: str, seconds: float, batch: int, count: int, machines: Sequence[int]):
    """Return the plans for batches that take so many seconds, as Markdown."""
    plans = [plan(seconds, batch, count, n) for n in machines]
    hours = f"{-(-count // batch) * seconds / 3600:,.0f}"
    cells = [("machines", "batches each", "time", "machine hours")]
    cells += [(p.machines, p.batches, remaining(p.seconds), hours) for p in plans]
    each = f"{seconds / batch:.1f} s an image in batches of {batch}"
    return f"{what}: {count:,} images, {each}\n\n{markdown(cells, range(4))}"
