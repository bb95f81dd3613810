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
- a kernel that does not end within `patience` steps.

With `watch=False` arrays are NumPy's own and the kernel runs several times faster.

Where Numba's CUDA compiler is installed (no GPU is needed) a kernel runs with the types
that Numba gives it (typed.py): `uint8 + uint8` is an int64, `x / n` of integers a
float64, integers wrap, and what Numba does not compile is refused. `typed=False`, or a
missing compiler, runs the source with Python's and NumPy's numbers instead, and
`Report.untyped` says so: then `uint8 + uint8` wraps at 256, plain integers never do,
and `patience` does not see a loop that only computes.

Not watched are the bytes of an array that is seen as another dtype by `view`, beyond
the accesses to the same bytes at the same time; which bytes were written is kept for
whole values.
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
    not the same in all of them; cut: the lines that stored a float in a shared or local
    array of integers; untyped: why the kernel ran with Python's and NumPy's types, ""
    if with Numba's; unordered: whether atomics added floats, so that a sum's last bits
    depend on the schedule.

    >>> from numba import cuda
    >>> def total(x):
    ...     cuda.atomic.add(x, 0, 1)
    >>> report = launch(total, 2, 4, np.zeros(1, np.int32))  # 2 blocks of 4 threads
    >>> report.threads, report.blocks, report.writes["x"].tolist()
    (8, 2, [8])
    """

    threads: int
    blocks: int
    barriers: int
    shared_bytes: int
    reads: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    writes: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    float64: tuple[str, ...] = ()
    differs: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    cut: tuple[str, ...] = ()
    untyped: str = ""
    unordered: bool = False

    # equal where all it holds is
    __eq__ = same
    __hash__ = digest


def launch(
    kernel, grid, block, *arguments, seed=None, seeds=None, watch=True, dynamic=0,
    patience=None, note=None, typed=None,
):  # fmt: skip
    """Run a kernel; return a Report, or raise KernelError.

    kernel: a function, compiled for CUDA or not. grid, block: a number or a tuple of up
    to three. seed: which schedule (None: threads and blocks in order). seeds: several
    schedules, each run on the same arguments; they are left as after the first, whose
    Report says where others gave other bits. watch: check every access. dynamic: bytes
    of dynamic shared memory. patience: steps (reads, writes, turns of loops, barriers,
    atomics, exchanges of lanes) after which a kernel is taken for one that never ends
    (None: never). typed: run it with Numba's types; None: where that is possible. note:
    called as note(thread, what, cells, cell, index, frame) when a thread of a watched
    launch "reads", "writes" or "changes" a cell of an array, and with the name of a
    barrier and None when it comes to one.

    >>> from numba import cuda
    >>> def double(x):
    ...     x[cuda.grid(1)] *= 2
    >>> x = np.arange(4.0)
    >>> launch(double, 2, 2, x).threads, x.tolist()
    (4, [0.0, 2.0, 4.0, 6.0])
    >>> launch(double, 2, 3, x)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigen.errors.KernelError: bounds: ...
    """
    if seeds is not None:
        how = {"watch": watch, "dynamic": dynamic, "patience": patience}
        how |= {"note": note, "typed": typed}
        return _several(kernel, grid, block, arguments, tuple(seeds), how)
    try:
        from minigen.simt import memory, numbers, rewrite, sites, threads
        from minigen.simt.running import running
    except ImportError as error:
        if error.name != "greenlet":
            raise
        raise BackendError(
            "the interpreter of CUDA kernels needs greenlet, which is not installed; "
            f"install it with: {install('check')}"
        ) from None
    function, together, programs = rewrite.interpretable(kernel)
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    if len(arguments) != len(names):
        raise KernelError(
            "type",
            f"kernel {function.__name__} takes ({', '.join(names)}) and was given "
            f"{len(arguments)} arguments",
        )
    _demand_arguments(function, names, arguments)
    grid, block = _three("grid", grid), _three("block", block)
    arguments, untyped = numbers.numbered(arguments), "as asked for"
    if typed is None or typed:
        function, untyped = _typed(kernel, function, arguments, programs, typed)
    machine = threads.Machine(function, grid, block)
    machine.watch, machine.dynamic, machine.together = watch, dynamic, together
    machine.note, machine.looped = note, not untyped
    machine.plain = getattr(kernel, "plain_indices", False)
    if patience is not None:
        machine.patience = patience
    if seed is not None:
        machine.shuffle(seed)
    if not untyped:
        arguments = map(numbers.held, arguments)
    seen = dict(zip(names, arguments, strict=True))
    watched = memory.watch_all(machine, seen) if watch else {}
    machine.arguments = tuple(
        memory.put_back(name, value, watched) for name, value in seen.items()
    )
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
        cut=tuple(
            f"{sites.describe(*site)} ({name} is of {dtype})"
            for site, (name, dtype) in machine.cuts.items()
        ),
        untyped=untyped,
        unordered=machine.unordered,
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

    >>> from numba import cuda as gpu
    >>> @gpu.jit
    ... def double(x):
    ...     x[gpu.grid(1)] *= 2
    >>> x = np.arange(4.0)
    >>> with cuda():
    ...     double[2, 2](x)
    >>> x.tolist()
    [0.0, 2.0, 4.0, 6.0]
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
    most = (1024, 1024, 64) if what == "block" else (2**31 - 1, 65535, 65535)
    if any(n > limit for n, limit in zip(size, most, strict=True)):
        raise KernelError(
            "type", f"{what} {size} has too many along an axis; at most {most}"
        )
    return size


def _demand_arguments(function, names, arguments):
    for name, value in zip(names, arguments, strict=True):
        foreign = hasattr(value, "__array__") and not isinstance(
            value, (np.ndarray, np.generic)
        )
        if foreign or isinstance(value, (list, dict, set, str)):
            raise KernelError(
                "type",
                f"a kernel takes no {type(value).__name__}, which argument {name} of "
                f"{function.__name__} is; give a NumPy array, a number or a tuple of "
                "them (of a torch tensor x: x.numpy())",
            )


def _typed(kernel, function, arguments, programs, demanded):
    from minigen.simt import typed

    if not typed.possible():
        return function, "Numba's compiler for CUDA is not installed"
    made, why = typed.typed(kernel, arguments, programs)
    if made is None and demanded:
        raise KernelError("type", f"{function.__name__} has no types here: {why}")
    return (function, why) if made is None else (made, "")


def _explain(error, machine):
    from minigen.simt import sites

    trace = error.__traceback__
    frames = []
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lasti))
        trace = trace.tb_next
    outside = [f for f in frames if f[0].f_code.co_filename not in sites.OURS]
    frame, instruction = (outside or frames)[-1]
    kind = "bounds" if isinstance(error, IndexError) else "exception"
    return KernelError(
        kind,
        f"{machine.current}: {type(error).__name__}: {error}\n"
        f"  at {sites.describe(frame.f_code, instruction)}",
    )
