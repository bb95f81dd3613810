"""How long a GPU takes: events on its stream, graphs against the cost of launching."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from minigen import target

STALE = 1 << 28
"""Bytes of the arrays that calls take in turn, so that none is in a cache: more than
four times the 50 MB of an H100 or H200."""

MOST = 64
"""The most sets of arrays: small arrays are in a cache in real runs too, and a graph of
so many launches is long enough to be timed."""


@dataclass(frozen=True)
class Clock:
    """A clock. gpu(run) returns the seconds between the first and the last
    thing that run() had the GPU do; host() returns the seconds of the host's clock."""

    gpu: Callable
    host: Callable = time.perf_counter


def gpu_clock(device) -> Clock:
    """Return the clock of a GPU: CUDA events on its stream."""
    stream = target.cuda.external_stream(device.stream)
    start, end = target.cuda.event(), target.cuda.event()

    def seconds(run):
        start.record(stream)
        run()
        end.record(stream)
        end.synchronize()
        return target.cuda.event_elapsed_time(start, end) / 1000

    return Clock(seconds)


def repeat(measure: Callable, least: int = 3, most: int = 20, budget: float = 1.0):
    """Return measurements (in seconds): `least`, and more until `budget` is used up."""
    found = [measure() for _ in range(least)]
    while len(found) < most and sum(found) < budget:
        found.append(measure())
    return found


def rounds(size: int) -> int:
    """Return the number of sets, of `size` bytes each, that calls take in turn.

    >>> rounds(1 << 30), rounds(1 << 27), rounds(4096)
    (1, 2, 64)
    """
    return max(1, min(MOST, math.ceil(STALE / max(size, 1))))


def replayed(device, clock: Clock, calls: list[Callable], again: int = 1) -> float:
    """Return the median seconds of one of `calls`, recorded as a graph and replayed.

    All of them are recorded, `again` times over. Launching from Python takes longer
    than a short kernel runs; in a graph a launch costs about a microsecond.
    """
    for call in calls:
        call()
    with device.record() as recording:
        for _ in range(again):
            for call in calls:
                call()
    recording.replay()
    found = repeat(lambda: clock.gpu(recording.replay))
    return median(found) / (again * len(calls))
