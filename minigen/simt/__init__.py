"""Run a CUDA kernel without a GPU: its Python source, thread by thread.

    from minigen import simt
    report = simt.launch(kernel, grid, block, x, w, y, seed=0)

A CUDA thread is a Python function call that may stop where it has to wait for others
(threads.py). The kernel sees our `cuda` instead of Numba's (language.py, rewrite.py).
With `watch=True` every array checks each access (memory.py). These faults are found,
and reported with thread, cell and source line:

- a race: two threads access one cell, one of them writes, and nothing orders them;
- an index outside of its array (a negative one is outside);
- an uninitialised read: nobody wrote this value;
- a barrier that only some threads of a block reach, or a deadlock;
- a shuffle from a lane that does not take part;
- more shared memory than a block has;
- a kernel that does not end within `patience` reads and writes.

With `watch=False` arrays are NumPy's own and the kernel runs several times faster.

It cannot show types. Numbers are NumPy's and Python's: a compiler makes float64 of some
that are float32 here (`x / n` with an integer n), and 64-bit integers of some products
that wrap at 32 bits here. The compiled kernel shows them (minigen.target).
"""

from __future__ import annotations

import inspect
import threading
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from minigen.checks import choice
from minigen.equality import digest, same
from minigen.errors import BackendError, KernelError, MinigenError
from minigen.extras import install
from minigen.simt.pattern import is_poison, poison

__all__ = ["Report", "cuda", "is_poison", "launch", "poison"]

_one_at_a_time = threading.Lock()


@dataclass(frozen=True, eq=False)
class Report:
    """The result of a launch.

    threads, blocks: how many ran; barriers: how many times a block (or the grid) met;
    shared_bytes: the most that a block took; reads, writes: for each array argument how
    often each cell was (int64 arrays of its shape; empty with watch=False); float64:
    the lines that stored a float64 in a narrower array; differs: after several
    schedules, for each array argument in which it happened, the cells whose bits were
    not the same in all of them.
    """

    threads: int
    blocks: int
    barriers: int
    shared_bytes: int
    reads: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    writes: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    float64: tuple[str, ...] = ()
    differs: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    # equal where all it holds is
    __eq__ = same
    __hash__ = digest


def launch(
    kernel, grid, block, *arguments, seed=None, seeds=None, watch=True, dynamic=0,
    patience=None, note=None,
):  # fmt: skip
    """Run a kernel; return a Report, or raise KernelError.

    kernel: a function, compiled for CUDA or not. grid, block: a number or a tuple of up
    to three. seed: which schedule (None: threads and blocks in order). seeds: several
    schedules, each run on the same arguments; they are left as after the first, whose
    Report says where others gave other bits. watch: check every access. dynamic: bytes
    of dynamic shared memory. patience: reads and writes after which a watched kernel is
    taken for one that never ends (None: never). note: called as note(thread, what,
    cells, cell, index, frame) when a thread of a watched launch "reads", "writes" or
    "changes" a cell of an array, and with the name of a barrier and None when it comes
    to one.
    """
    if seeds is not None:
        how = {"watch": watch, "dynamic": dynamic, "patience": patience, "note": note}
        return _several(kernel, grid, block, arguments, tuple(seeds), how)
    try:
        from minigen.simt import memory, rewrite, sites, threads
        from minigen.simt.running import running
    except ImportError as error:
        if error.name != "greenlet":
            raise
        raise BackendError(
            "the interpreter of CUDA kernels needs greenlet, which is not installed; "
            f"install it with: {install('check')}"
        ) from None
    function, together = rewrite.interpretable(kernel)
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    if len(arguments) != len(names):
        raise KernelError(
            "type",
            f"kernel {function.__name__} takes ({', '.join(names)}) and was given "
            f"{len(arguments)} arguments",
        )
    grid, block = _three("grid", grid), _three("block", block)
    machine = threads.Machine(function, grid, block)
    machine.watch, machine.dynamic, machine.together = watch, dynamic, together
    machine.note = note
    if patience is not None:
        machine.patience = patience
    if seed is not None:
        machine.shuffle(seed)
    seen = dict(zip(names, map(_scalar, arguments), strict=True))
    watched = memory.watch_all(machine, seen) if watch else {}
    machine.arguments = tuple((seen | watched).values())
    with _one_at_a_time, np.errstate(all="ignore"):
        before, running.machine = running.machine, machine
        try:
            machine.run()
        except MinigenError:
            raise
        except Exception as error:
            raise _explain(error, machine) from error
        finally:
            running.machine = before
    blocks = grid[0] * grid[1] * grid[2]
    counts = {name: array.counts() for name, array in watched.items()}
    return Report(
        threads=blocks * block[0] * block[1] * block[2],
        blocks=blocks,
        barriers=machine.barriers,
        shared_bytes=machine.shared_bytes,
        reads={name: reads for name, (reads, _) in counts.items()},
        writes={name: writes for name, (_, writes) in counts.items()},
        float64=tuple(sites.describe(*site) for site in machine.leaks),
    )


def _several(kernel, grid, block, arguments, seeds, how):
    # one launch for each seed, from the same arguments
    names = [*inspect.signature(getattr(kernel, "py_func", kernel)).parameters]
    arrays = {
        name: value
        for name, value in zip(names, arguments, strict=False)
        if isinstance(value, np.ndarray) and value.flags.writeable
    }
    before = {name: array.copy() for name, array in arrays.items()}
    report, first, differs = None, {}, {}
    for seed in seeds:
        for name, array in arrays.items():
            array[...] = before[name]
        try:
            found = launch(kernel, grid, block, *arguments, seed=seed, **how)
        except KernelError as error:
            said = f"{error.message}\n  in schedule {seed}"
            raise KernelError(error.kind, said) from error
        if report is None:
            report, first = found, {name: a.copy() for name, a in arrays.items()}
        for name, array in arrays.items():
            other = _bits(array) != _bits(first[name])
            if other.any():
                cells = other.reshape(array.shape + (-1,)).any(-1)
                differs[name] = differs.get(name, False) | cells
    if report is None:
        raise KernelError("type", "seeds names no schedule; give one number at least")
    for name, array in arrays.items():
        array[...] = first[name]
    return replace(report, differs=differs)


def _bits(array):
    array = np.ascontiguousarray(array)
    return array.view(np.uint8).reshape(-1)


def cuda(*, backend="interpreter", seed=None, watch=True, patience=None, tell=None):
    """Run programs that use `numba.cuda` as they stand, without a GPU or a driver.

        with simt.cuda():
            kernel[grid, block](x, y)

    Meanwhile kernels that are launched are interpreted, and `cuda.to_device`, streams,
    events, `kernel.forall` and the like answer for a GPU that is not there; a kernel
    with a signature gets numbers of the types that this says. seed, watch, patience: as
    of `launch`, for every launch; tell: called as tell(name, report) after each.
    backend: "ptx" runs what the compiler makes of each kernel, where it is installed;
    it knows no seed and gives no report (None).

    A function that a program has imported from numba.cuda by its own name (`from
    numba.cuda import to_device`) is Numba's if that was done before.
    """
    from minigen.simt import host, program

    options = {"seed": seed, "watch": watch, "patience": patience}
    start = launch
    if choice("backend", backend, ("interpreter", "ptx")) == "ptx":
        # brings numba
        from minigen.ptx import launch as start

        del options["seed"]
    return program.pretended(start, options, tell or host.nothing)


def _three(what, size):
    size = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    if not 1 <= len(size) <= 3 or any(int(n) < 1 for n in size):
        raise KernelError("type", f"{what} {size} is not one to three positive numbers")
    size = (*map(int, size), 1, 1)[:3]
    if what == "block" and size[0] * size[1] * size[2] > 1024:
        raise KernelError("type", f"block {size} has more than 1024 threads")
    return size


def _scalar(value):
    # as Numba would type it: a Python float is a float64
    return np.float64(value) if type(value) is float else value


def _explain(error, machine):
    from minigen.simt import sites

    trace = error.__traceback__
    frames = []
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lasti))
        trace = trace.tb_next
    ours = [f for f in frames if not f[0].f_code.co_filename.startswith(sites.HERE)]
    frame, instruction = (ours or frames)[-1]
    kind = "bounds" if isinstance(error, IndexError) else "exception"
    return KernelError(
        kind,
        f"{machine.current}: {type(error).__name__}: {error}\n"
        f"  at {sites.describe(frame.f_code, instruction)}",
    )
