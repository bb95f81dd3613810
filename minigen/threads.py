"""How many threads a kernel runs on: all of them if that is faster, else one.

On a quiet machine two threads are nearly twice as fast as one. Where other processes
hold the cores they are much slower: at the end of a kernel each waits for the other to
be given a core. And a small kernel is over before a second thread has woken up. So it
is measured: a kernel runs on one thread and on all, a few times for each set of shapes,
and then in the way that took less; the other way is tried again now and then, the more
seldom the worse it was. Its result has the same bits either way.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

from minigen.errors import BackendError

LEAST = 5e-5
"""Seconds below which a kernel is not worth a second thread."""

LARGE = 1 << 20
"""A kernel with as many numbers in its arrays is tried on all threads first."""

AGAIN = 32
"""Calls until the slower way is tried again, times the factor it was slower by."""

TURNS = 7
"""Calls in the way that was the better one, between two comparisons."""

FORKED = (
    "kernels have run in the process that this one was forked from, and GNU OpenMP "
    "cannot be used in both; start processes by multiprocessing.get_context('spawn'), "
    "or set NUMBA_THREADING_LAYER=workqueue before numba is imported"
)

WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "30000"}
"""Settings that let OpenMP's threads sleep while they wait long: a thread that spins
holds a core that another process may need. They spin for some tenths of a millisecond,
which is what Python takes from one kernel to the next: to wake a thread that sleeps
takes about as long again as a small kernel."""


def cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available() -> int:
    """Return how many threads of this process can run at once, by cores and quota."""
    return max(1, int(min(cores(), quota())))


def quota(groups: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> float:
    """Return how many cores' time the container may take, or infinity.

    groups: the file in which Linux lists the control groups of this process; root: the
    folder of all control groups. The quotas of a group and of all above it are read,
    of version 1 or 2.
    """
    try:
        lines = Path(groups).read_text().splitlines()
    except (OSError, UnicodeError):
        return float("inf")
    found = [float("inf")]
    for line in lines:
        if line.count(":") < 2:
            continue
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = Path(root, "cpu") if controllers else Path(root)
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            found.append(_quota_of(folder))
            if folder == top:
                break
    return min(found)


def _quota_of(folder):
    # version 2 has both numbers in one file, version 1 in two
    names = ("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    for files in names:
        try:
            text = " ".join((folder / name).read_text() for name in files)
            quota, period = map(int, text.split())
        except (OSError, ValueError):
            continue
        if quota > 0 and period > 0:
            return quota / period
    return float("inf")


def settings(given) -> dict[str, str]:
    """Return what is to be added to an environment before Numba is imported."""
    added = {} if any(name in given for name in WAITING) else dict(WAITING)
    if "NUMBA_NUM_THREADS" not in given and available() < cores():
        added["NUMBA_NUM_THREADS"] = str(available())
    return added


def count() -> int:
    """Return how many threads kernels run on.

    The first call starts them. Raises BackendError if the threading layer (the library
    that runs Numba's threads) that the environment asks for cannot be used.
    """
    import numba

    try:
        return numba.get_num_threads()
    except ValueError as error:
        raise BackendError(_explain(error, numba.config)) from None


def _explain(error, config):
    name, value, known = "NUMBA_THREADING_LAYER", config.THREADING_LAYER, "workqueue"
    order = config.THREADING_LAYER_PRIORITY
    if sorted(order) != ["omp", "tbb", "workqueue"]:
        name, value = f"{name}_PRIORITY", " ".join(order)
        known = "'tbb omp workqueue'"
    reason = str(error).splitlines()[0].rstrip(".")
    return (
        f"Numba cannot start its threads with {name}={value!r}: {reason}; set "
        f"{name}={known}, or unset it"
    )


@dataclass
class Ways:
    """The last times of a kernel on one thread and on all, for some shapes.

    better: the way that is taken, of `turns` calls more without a comparison; calls:
    those since both were known, or since the slower way was tried again; pause: after
    how many it is, times how much slower it was. What was measured once, at the start,
    may be wrong, so that the first pauses are short.
    """

    one: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)
    better: list[float] | None = None
    turns: int = 0
    calls: int = 0
    pause: int = 2

    def keep_on(self) -> list[float] | None:
        """Return the better way if it is taken for a call more, which is not timed.

        So it is in most calls: Python's part of a call is short, but what it reads is
        far away, since weights have passed through the caches.
        """
        # two callers may take the last turn at once
        if self.turns <= 0:
            return None
        self.turns -= 1
        return self.better

    def choose(self, arrays: tuple = ()) -> list[float]:
        """Return `one` or `all`: the way to take now. The caller appends its time.

        arrays: the shapes of the kernel's arrays.
        """
        first, second = self.one, self.all
        if sum(map(math.prod, arrays)) >= LARGE:
            first, second = second, first
        # the first call compiles, so that its time tells nothing
        if len(first) < 2:
            return first
        if first is self.one and _middle(first) < LEAST:
            return self._take(first)
        if not second:
            return second
        times = sorted((self.one, self.all), key=_middle)
        better, worse = map(_middle, times)
        self.calls += 1
        if self.calls < self.pause * worse / better:
            self.calls += TURNS
            return self._take(times[0])
        self.calls, self.pause = 0, min(4 * self.pause, AGAIN)
        return times[1]

    def _take(self, way):
        # a comparison takes longer than some kernels
        self.better, self.turns = way, TURNS
        return way


def _middle(times):
    # the median of the last three times, of two times the shorter one
    last = sorted(times[-3:])
    return last[(len(last) - 1) // 2]


class Parallel:
    """A kernel of `prange` loops, as Numba's dispatcher has compiled it.

    use(n): a kernel that lets those after it run on n threads, if n is not 0, and
    returns how many it was before: Numba's own functions take longer than some kernels.
    """

    def __init__(self, dispatcher, use):
        self.dispatcher, self.use, self.ways = dispatcher, use, {}

    def __getattr__(self, name):
        return getattr(self.dispatcher, name)

    def __call__(self, *arguments):
        if _state.forked:
            raise BackendError(FORKED)
        # the first of all starts the threads
        threads = self.use(0) if _state.layer else count()
        if threads == 1 or _state.steady:
            return self._run(arguments)
        shapes = tuple([x.shape for x in arguments if isinstance(x, np.ndarray)])
        ways = self.ways.get(shapes) or self.ways.setdefault(shapes, Ways())
        way, timed = ways.keep_on(), False
        if way is None:
            way, timed = ways.choose(shapes), True
        start = perf_counter()
        if way is ways.one:
            self.use(1)
        try:
            return self._run(arguments)
        finally:
            if way is ways.one:
                self.use(threads)
            if timed:
                way.append(perf_counter() - start)
                del way[:-3]

    def _run(self, arguments):
        if _layer() != "workqueue":
            return self.dispatcher(*arguments)
        # this layer ends the process if two Python threads use it at a time
        with _state.lock:
            return self.dispatcher(*arguments)


@dataclass
class _State:
    # forked: from a process whose threads cannot be used here; steady: see below;
    # layer: the library that runs the threads
    lock: threading.RLock = field(default_factory=threading.RLock)
    layer: str = ""
    forked: bool = False
    steady: bool = False


_state = _State()


@contextmanager
def all_of_them():
    """Let kernels run on all threads in this block, whichever way is faster."""
    before, _state.steady = _state.steady, True
    try:
        yield
    finally:
        _state.steady = before


def _layer():
    # once it runs, it is the same until the process ends
    if not _state.layer:
        import numba

        try:
            _state.layer = numba.threading_layer()
        except ValueError:
            # none has been used so far
            return ""
    return _state.layer


def _after_fork():
    _state.lock = threading.RLock()
    numba = sys.modules.get("numba")
    if numba is not None and sys.platform == "linux" and _layer() == "omp":
        _state.forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
