"""One case tried on the kernels of an op, with one of them replaced if asked for."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from minigen import simt
from minigen.arrays import Gpu, Ptx, dimensions
from minigen.checking import header
from minigen.checking.functions import order_finding, other_order, raised
from minigen.checking.loading import Subject
from minigen.checking.report import Finding
from minigen.checking.spec import each, several
from minigen.checking.specs import Spec
from minigen.checking.verdict import Label, in_place, judge, labels_of, same_bits
from minigen.errors import InputError, KernelError
from minigen.simt.pattern import poison

PATIENCE = 3_000_000
"""The most steps of a launch of a given kernel; ours are known to end."""

BLOCKS = 20_000
"""The most basic blocks of a launch of a given kernel that is compiled."""

_HEADER = re.compile(r"\s*(Reads .+; writes .+|Shared memory: (none|.+ bytes))\.")


@dataclass(frozen=True)
class StandIn:
    """A kernel that replaces one of ours, given by name.

    count: the arguments that it takes.
    """

    replaced: str
    subject: Subject
    count: int
    block: int | None = None


@dataclass(frozen=True)
class Launch:
    """One launch: the kernel, its arguments, and what the interpreter counted."""

    name: str
    kernel: Callable
    arguments: tuple
    report: simt.Report | None


@dataclass
class Referee:
    """A device that watches its launches, and may launch another kernel than asked.

    device: an Interpreter, Ptx or Gpu; seed: of the schedule on the interpreter; ours:
    whether all its kernels are, and are held to more than that they are right.
    """

    device: object
    seed: int | None = None
    stand_in: StandIn | None = None
    ours: bool = True
    launches: list = field(default_factory=list)
    running: str = ""

    def empty(self, shape, dtype=np.float32):
        """Return a new array full of poison."""
        if not isinstance(self.device, Gpu):
            return self.device.empty(shape, dtype)
        return self.device.put(poison(np.empty(shape, dtype)))

    def __getattr__(self, name):
        # whatever else is asked of a device
        return getattr(self.device, name)

    def launch(self, kernel, grid, block, *arguments, dynamic=0):
        """Run a kernel, or its stand-in, and note what it did.

        dynamic: bytes of dynamic shared memory, of a kernel that is not ours.
        """
        grid, block = dimensions(grid, block)
        if 0 in grid:
            return
        name = name_of(kernel)
        if self.stand_in and self.stand_in.replaced == name:
            kernel = self.stand_in.subject.function
            name = self.stand_in.subject.name
            # who stands in need not know of the flag, which comes last
            arguments = arguments[: self.stand_in.count]
            if self.stand_in.block:
                block = self.stand_in.block, 1, 1
        self.running = name
        report, how, given = None, {"watch": True}, self.stand_in or not self.ours
        if dynamic and isinstance(self.device, Gpu):
            raise InputError(
                f"{name} takes dynamic shared memory, which is not looked at on a GPU; "
                "say --backend interpreter, or ptx"
            )
        if dynamic:
            how["dynamic"] = dynamic
        if isinstance(self.device, Gpu):
            self.device.launch(kernel, grid, block, *arguments)
        elif isinstance(self.device, Ptx):
            how |= {"patience": BLOCKS if given else None}
            self.device.run(kernel, grid, block, *arguments, **how)
        else:
            how |= {"seed": self.seed, "patience": PATIENCE if given else None}
            report = self.device.run(kernel, grid, block, *arguments, **how)
        self.launches.append(Launch(name, kernel, arguments, report))


def kernels_of(spec: Spec) -> dict:
    """Return the CUDA kernels of an op by name: all that its cuda.py declares."""
    module = importlib.import_module(f"minigen.ops.{spec.op}.cuda")
    home = f"minigen.ops.{spec.op}."
    return {
        name: value
        for name, value in vars(module).items()
        if hasattr(value, "py_func")
        and value.py_func.__module__.startswith(home)
        and not value.targetoptions.get("device")
    }


def stand_in(spec: Spec, given: Subject, replaced=None, block=None) -> StandIn:
    """Return which kernel of an op a given one replaces, or raise InputError.

    That is the one called `replaced`; else the one of the same name; else the only one
    that serves the function.
    """
    ours = kernels_of(spec)
    names = ", ".join(ours)
    if replaced is None:
        serving = [n for n in ours if n.lstrip("_").startswith(spec.name)] or [*ours]
        by_name = [n for n in ours if n.lstrip("_") == given.name.lstrip("_")]
        chosen = by_name or serving
        if len(chosen) != 1:
            raise InputError(
                f"{spec.op} has several kernels, none of them called {given.name}; say "
                f"which one it replaces with --as NAME: {names}"
            )
        replaced = chosen[0]
    if replaced not in ours:
        raise InputError(f"{spec.op} has no kernel {replaced!r}; it has {names}")
    wanted = [*inspect.signature(ours[replaced].py_func).parameters]
    got = [*inspect.signature(given.source).parameters]
    if len(got) not in {len(wanted), len(wanted) - wanted.count("flag")}:
        raise InputError(
            f"kernel {given.name} takes {len(got)} arguments ({', '.join(got)}), but "
            f"{replaced} is launched with {len(wanted)}: ({', '.join(wanted)})"
        )
    return StandIn(replaced, given, len(got), block)


def try_kernels(
    spec: Spec, device, case, seed=None, stand_in=None
) -> tuple[Finding | None, float, list[Launch]]:
    """Run an op on a device; return what is wrong or None, the largest error, launches.

    It is run again with its rows in another order: they must not depend on the batch.
    (Sums of floats by atomics have other last bits in every order, so not those.)
    """
    finding, worst, result, launches = _try(spec, device, case, seed, stand_in)
    rows = case[spec.batched[0]].shape[spec.axis] if spec.batched else 1
    if finding is None and launches and rows > 1:
        changed, back = other_order(spec, case)
        finding, _, other, _ = _try(spec, device, changed, seed, stand_in)
        sums = any(getattr(one.report, "unordered", False) for one in launches)
        if finding is None and not sums:
            finding = order_finding(same_bits(result, back(other)))
            name = stand_in.subject.name if stand_in else launches[-1].name
            finding = finding and replace(finding, kernel=name)
    return finding, worst, launches


def name_of(kernel) -> str:
    """Return the name of a kernel, compiled or not."""
    return getattr(kernel, "py_func", kernel).__name__


def _try(spec, device, case, seed, stand_in):
    referee = Referee(device, seed, stand_in, ours=spec.of is None)
    finding, worst, result = _run(spec, device, case, referee)
    if finding is not None and not finding.kernel:
        finding = replace(finding, kernel=referee.running)
    return finding, worst, result, referee.launches


def _run(spec, device, case, referee):
    arrays = {n: v for n, v in case.items() if isinstance(v, np.ndarray)}
    moved = {name: device.put(array) for name, array in arrays.items()}
    before = {name: device.get(array).tobytes() for name, array in moved.items()}
    try:
        launcher = _launcher(spec, referee.stand_in)
        result = launcher(referee, **(case | moved))
    except KernelError as error:
        message = str(error).removeprefix(f"{error.kind}: ")
        return Finding(error.kind, message), np.inf, None
    except InputError:
        # of the reference, or of a grid
        raise
    except Exception as error:
        return Finding("exception", raised(error)), np.inf, None
    labels = [
        _label(referee.launches, one, known)
        for one, known in zip(several(result), labels_of(spec, result), strict=True)
    ]
    result = each(lambda one: device.get(one) if hasattr(one, "shape") else one, result)
    finding, worst = judge(spec, case, result, labels)
    if finding is None:
        after = {name: device.get(array) for name, array in moved.items()}
        finding = in_place(spec, before, after, result, "kernel")
        looked = (counted(launch, spec.of is None) for launch in referee.launches)
        finding = finding or next(filter(None, looked), None)
    return finding, worst, result


def _launcher(spec, stand_in):
    if spec.launcher is not None:
        return spec.launcher
    # some kernels, of lessons, have launchers of their own name
    module = importlib.import_module(f"minigen.ops.{spec.op}.cuda")
    name = stand_in.replaced.lstrip("_") if stand_in else spec.name
    return getattr(module, name, getattr(module, spec.name))


def counted(launch: Launch, ours=True) -> Finding | None:
    """Return the difference between a launch and its kernel's header, or None.

    ours: whether it may compute in float32 only.
    """
    if launch.report is None:
        return None
    if getattr(launch.report, "cut", ()):
        lines = "\n".join(f"at {line}" for line in launch.report.cut)
        said = (
            "a float is kept in an array of integers: what is after the point is lost"
        )
        return Finding("dtype", f"{said}\n{lines}", kernel=launch.name)
    # with types the compiler has been asked, and says where float64 begins
    if launch.report.float64 and ours and getattr(launch.report, "untyped", "yes"):
        lines = "\n".join(f"at {line}" for line in launch.report.float64)
        said = "a float64 is stored where a float32 is kept; write np.float32(...)"
        return Finding("float64", f"{said}\n{lines}", kernel=launch.name)
    if not has_header(launch.kernel):
        return None
    try:
        said = header.parse(launch.kernel)
        names = header.names(launch.kernel, said, launch.arguments)
        differences = header.verify(said, launch.report, names)
    except KernelError as error:
        message = str(error).removeprefix(f"{error.kind}: ")
        return Finding(error.kind, message, kernel=launch.name)
    if not differences:
        return None
    return Finding("traffic", "\n".join(differences), kernel=launch.name)


def has_header(kernel) -> bool:
    """Return whether a kernel's docstring has a line as a header of four lines has."""
    text = getattr(kernel, "py_func", kernel).__doc__ or ""
    return any(map(_HEADER.fullmatch, text.splitlines()))


def traffic(launch: Launch) -> str:
    """Return how often each cell is read and written: the header's words, or counts.

    >>> counts = {"x": np.array([2, 2]), "y": np.array([0, 0])}
    >>> report = simt.Report(1, 1, 0, 0, counts, {"x": 0 * counts["x"]})
    >>> traffic(Launch("_f", lambda x, y: None, (), report))
    'x 2; nothing'
    """
    if launch.report is None:
        return ""
    with suppress(KernelError):
        if has_header(launch.kernel):
            said = header.parse(launch.kernel)
            return f"{_words(said.reads)}; {_words(said.writes)}"
    return f"{_words(launch.report.reads)}; {_words(launch.report.writes)}"


def _words(counts):
    words = []
    for name, count in counts.items():
        if isinstance(count, np.ndarray):
            if not count.any():
                continue
            least, most = count.min(), count.max()
            count = most if least == most else f"{least}..{most}"
        words.append(f"{name} {count}")
    return ", ".join(words) or "nothing"


def _label(launches, result, known):
    # a kernel may know what the launcher returns by another name, in another shape
    for launch in reversed(launches):
        names = inspect.signature(getattr(launch.kernel, "py_func", launch.kernel))
        for name, argument in zip(names.parameters, launch.arguments, strict=True):
            if getattr(argument, "ndim", 0) and _address(argument) == _address(result):
                return Label(name, argument.shape)
    return known


def _address(array):
    for protocol in ("__cuda_array_interface__", "__array_interface__"):
        described = getattr(array, protocol, None)
        if described is not None:
            return described["data"][0]
    return None
