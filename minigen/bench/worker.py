"""A process that draws an image on request and answers with the time it took.

It answers on stdout, a line of JSON each: {"first": ...} when its weights are loaded
and everything is compiled, then a timing for each line `go` that it reads, and for a
line `end` its peak memory.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from minigen import sample as loop
from minigen.models.codes import any_control
from minigen.plans import Plan
from minigen.words import say_json

WARM = 4
"""Steps of the image that is drawn before the first timing."""


@dataclass(frozen=True)
class Job:
    """What is drawn: presets by name, stand-in weights, one batch of images.

    schedule, steps: None for the family's own; tokens: how many tokens of an image are
    drawn, for models of one token a step, else None; every: every N-th step is run, for
    models that read all tokens again in each step; 1 for all, None for models with a KV
    cache or a state.
    """

    generator: str = "arpg-l"
    tokenizer: str = "vq-16"
    dtype: str = "float32"
    steps: int | None = None
    schedule: str | None = None
    guidance: float = 4.5
    batch: int = 1
    threads: int = 2
    backend: str = "auto"
    tokens: int | None = None
    every: int | None = None


def chosen(steps: int, every: int) -> range:
    """Return the steps that are run for all: the middle of each group of equal size.

    >>> list(chosen(64, 8)), list(chosen(3, 1))
    ([4, 12, 20, 28, 36, 44, 52, 60], [0, 1, 2])
    """
    return range(every // 2, steps, every)


def samples(plan: Plan, every: int) -> list[Plan]:
    """Return the `chosen` steps of a plan, each a plan that knows those before it.

    >>> whole = Plan((2, 3), ((4,), (2, 5), (0, 1, 3)))
    >>> [(part.groups, part.known) for part in samples(whole, 2)]
    [(((2, 5),), (4,))]
    """
    return [
        Plan(plan.grid, (plan.groups[i],), plan.order[: sum(plan.counts[:i])])
        for i in chosen(len(plan.groups), every)
    ]


def latents(config, batch: int) -> np.ndarray:
    """Return the stand-ins of tokens that are vectors: (b y x f) float32."""
    grid = config.side, config.side
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, *grid, config.features), np.float32)


def serve(draw: Callable[[int], dict], steps: int, warm: int = WARM, **about) -> None:
    """Answer on stdout as the module says; draw(steps) makes one batch of images,
    or as much of it as is drawn in so many steps.

    warm: steps of the image before the first timing; its seconds are the answer's
    "first".
    """
    start = time.perf_counter()
    draw(min(warm, steps))
    answer({"first": time.perf_counter() - start, **about})
    for line in iter(sys.stdin.readline, "end\n"):
        if not line:
            return
        answer(draw(steps))
    answer({"peak_bytes": peak_bytes()})


def timed(tokens: Callable, pixels: Callable, share: float = 1.0) -> dict:
    """Time the two halves of drawing: tokens(), then pixels(of them).

    share: the share of all steps that tokens() runs; the others are estimated to take
    as long.
    """
    start = time.perf_counter()
    drawn = tokens()
    middle = time.perf_counter()
    pixels(drawn)
    end = time.perf_counter()
    whole = (middle - start) / share
    return {"tokens": whole, "pixels": end - middle, "image": whole + end - middle}


def peak_bytes() -> int:
    """Return the peak of this process's resident memory, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def main(job: Job) -> None:
    """Serve with our own models."""
    from minigen import backends
    from minigen.bench import weights
    from minigen.families import PRESETS
    from minigen.pipeline import assemble

    backend, ops = backends.pick(job.backend)
    models = [
        weights.model(PRESETS[name], job.dtype, ops)
        for name in (job.generator, job.tokenizer)
    ]
    pipe = assemble(*models, backend)
    labels = [i % pipe.config.classes for i in range(job.batch)]
    if job.every in (None, 1):
        draw, steps = _whole(pipe, job, labels)
    else:
        draw, steps = _sampled(pipe, job, labels)
    serve(draw, steps, backend=pipe.backend)


def _whole(pipe, job, labels):
    # draw(steps), and how many steps there are
    def draw(count):
        def tokens():
            # a step for each token is the only way of some
            steps = None if job.tokens else count
            run = pipe.steps(
                labels, steps=steps, schedule=job.schedule, guidance=job.guidance,
                control=any_control(pipe.config, pipe.grid),
            )  # fmt: skip
            for step in islice(run, job.tokens and count):
                canvas = step.canvas
            return canvas

        # what has not been drawn counts as token 0
        vectors = job.every is not None
        return timed(tokens, lambda x: pipe.decode(x if vectors else x.clip(0)))

    return draw, job.tokens or job.steps


def _sampled(pipe, job, labels):
    plan = pipe.plan(None, job.schedule, job.steps)
    parts, canvas = samples(plan, job.every), latents(pipe.config, job.batch)
    given = canvas.reshape(job.batch, -1, pipe.config.features)
    call = pipe.ops, pipe.generator.weights, pipe.config
    options = pipe.options(job.guidance)

    def draw(count):
        def tokens():
            for part in parts[:count]:
                known = given[:, list(part.known)]
                for _ in loop.steps(*call, part, labels, 0, options, known):
                    pass

        share = count / len(plan.groups)
        return timed(tokens, lambda _: pipe.decode(canvas), share)

    return draw, len(parts)


def answer(values: dict) -> None:
    """Print a line of JSON for the process that asked."""
    say_json(values, indent=None)


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
