"""A process that draws an image whenever it is told to, and says how long it took.

It answers on stdout, a line of JSON each: {"ready": ...} once its weights are loaded
and everything is compiled, then a timing for each line `go` it reads, and for a line
`end` the most memory it ever held. Each side of a comparison is such a process, so that
thread pools do not fight and memory is each one's own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

WARM = 4
"""Steps of the image that is drawn before the first timing."""


@dataclass(frozen=True)
class Job:
    """What is drawn: presets by name, stand-in weights, one batch of images.

    schedule: None for the family's own; tokens: how many of an image are drawn where
    each is a step, None for models that draw several in a step.
    """

    generator: str = "arpg-l"
    tokenizer: str = "vq-16"
    dtype: str = "float32"
    steps: int = 64
    schedule: str | None = None
    guidance: float = 4.5
    batch: int = 1
    threads: int = 2
    backend: str = "auto"
    tokens: int | None = None


def serve(draw: Callable[[int], dict], steps: int, **about) -> None:
    """Answer on stdout as the module says; draw(steps) makes one batch of images,
    or as much of it as is drawn in so many steps."""
    draw(min(WARM, steps))
    _answer({"ready": True, **about})
    for line in iter(sys.stdin.readline, "end\n"):
        if not line:
            return
        _answer(draw(steps))
    _answer({"peak_bytes": peak_bytes()})


def timed(tokens: Callable, pixels: Callable) -> dict:
    """Time the two halves of drawing: tokens(), then pixels(of them)."""
    start = time.perf_counter()
    drawn = tokens()
    middle = time.perf_counter()
    pixels(drawn)
    end = time.perf_counter()
    return {"tokens": middle - start, "pixels": end - middle, "image": end - start}


def peak_bytes() -> int:
    """Return the most memory this process has had resident."""
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
    from itertools import islice

    from minigen.bench import weights
    from minigen.config import PRESETS
    from minigen.pipeline import assemble

    generator, tokenizer = (
        weights.model(PRESETS[name], job.dtype)
        for name in (job.generator, job.tokenizer)
    )
    pipe = assemble(generator, tokenizer, job.backend)
    labels = [i % pipe.config.classes for i in range(job.batch)]

    def draw(count):
        def tokens():
            run = pipe.steps(
                labels, steps=count, schedule=job.schedule, guidance=job.guidance
            )
            for step in islice(run, job.tokens and count):
                canvas = step.canvas
            return canvas

        # what has not been drawn counts as token 0
        return timed(tokens, lambda canvas: pipe.decode(canvas.clip(0)))

    serve(draw, job.tokens or job.steps, backend=pipe.backend)


def _answer(values):
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
