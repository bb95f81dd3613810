"""Every CUDA kernel there is, and real launches of each: nothing escapes.

A kernel is found by the words `@gpu_kernel` in the files of `minigen/ops`. It is known
by its launches: every launcher of every `cuda.py` is called with cases of fixed sizes,
for every dtype of weights, on a device that notes what it is asked to launch. A
launcher that is not in the op table, such as `conv3x3_naive`, takes the cases of the
function whose name its own begins with.
"""

from __future__ import annotations

import ast
import functools
import importlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import Phase, given, settings

import minigen
from minigen import arrays, simt, target
from minigen.checking import header
from minigen.checking.spec import each
from minigen.checking.specs import SPECS
from minigen.checking.strategies import SMALL, WEIGHT_DTYPES, cases

ROOT = Path(minigen.__file__).parent

SIZES = {
    "b": 2, "n": 5, "m": 3, "d": 33, "f": 34, "v": 65, "k": 35, "t": 5, "h": 2,
    "e": 12, "c": 8, "r": 2, "y": 3, "x": 4, "s": 5, "p": 3, "w": 4, "g": 3,
}  # fmt: skip
"""The sizes of a case where a route names no others."""


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel; report: of the interpreter, or None."""

    kernel: object
    grid: object
    block: object
    arguments: tuple
    report: simt.Report | None = None

    @property
    def name(self):
        """FILE.KERNEL, as in KERNELS."""
        function = self.kernel.py_func
        return f"{function.__module__.removeprefix('minigen.ops.')}.{function.__name__}"

    @property
    def threads(self):
        """Threads of a block."""
        return int(np.prod(self.block))

    def findings(self):
        """Return what the launch did otherwise than the kernel's header says."""
        said = header.parse(self.kernel)
        names = header.names(self.kernel, said, self.arguments)
        return header.verify(said, self.report, names)


@dataclass
class Recorder:
    """A device that notes every launch, and interprets it unless told otherwise."""

    seed: int | None = None
    interpret: bool = True
    tensor_cores: bool = True
    launches: list = field(default_factory=list)

    def __post_init__(self):
        device = arrays.Interpreter()
        self.empty, self.put = device.empty, device.put
        self.get, self.write, self.flag = device.get, device.write, device.flag

    def launch(self, kernel, grid, block, *arguments):
        """Note a launch, with what the interpreter says about it; none of no blocks."""
        if 0 in arrays.dimensions(grid, block)[0]:
            return
        report = None
        if self.interpret:
            report = simt.launch(kernel, grid, block, *arguments, seed=self.seed)
        self.launches.append(Launch(kernel, grid, block, arguments, report))


def _declared():
    # without importing anything: only words are looked at
    for path in sorted(ROOT.glob("ops/**/*.py")):
        for node in ast.parse(path.read_text()).body:
            marks = getattr(node, "decorator_list", [])
            if any(ast.unparse(mark).startswith("gpu_kernel") for mark in marks):
                module = ".".join(path.relative_to(ROOT / "ops").with_suffix("").parts)
                yield f"{module}.{node.name}"


KERNELS = tuple(_declared())
"""Every kernel as FILE.KERNEL: "rms_norm.cuda._rms_norm"."""


def kernel(name):
    """Return the kernel of this name."""
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(f"minigen.ops.{module}"), function)


def _launchers():
    for path in sorted(ROOT.glob("ops/*/cuda.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.decorator_list:
                yield f"{path.parent.name}.{node.name}"


def served(name):
    """Return the specification of a launcher OP.FUNCTION, or None.

    It is that of the function that is all, or the beginning, of the launcher's name.
    """
    op, _, function = name.partition(".")
    names = [
        n for n in SPECS if SPECS[n].op == op and f"{function}_".startswith(f"{n}_")
    ]
    return SPECS[max(names, key=len)] if names else None


LAUNCHERS = {name: served(name) for name in _launchers() if served(name)}
"""Every launcher as OP.FUNCTION, and the specification of what it must return."""


def case(spec, route, dtype) -> dict:
    """Return a case of a specification, always the same, with weights of a dtype."""
    found, fixed = [], SIZES | {"dtypes": dtype, "given": True} | route

    # the first example of hypothesis is the simplest
    @settings(max_examples=1, database=None, derandomize=True, phases=[Phase.generate])
    @given(cases(spec, SMALL, fixed))
    def note(drawn):
        found.append(drawn)

    note()
    return found[0]


def run(name, case, device):
    """Return what a launcher makes of a case on a device."""
    op, _, function = name.partition(".")
    module = importlib.import_module(f"minigen.ops.{op}.cuda")
    launcher = getattr(module, function)
    moved = {
        name: device.put(value) if isinstance(value, np.ndarray) else value
        for name, value in case.items()
    }
    return each(device.get, launcher(device, **moved))


def routes(name, dtype):
    """Yield the cases of a launcher with weights of a dtype."""
    spec, function = LAUNCHERS[name], name.partition(".")[2]
    for route in ({}, *(spec.routes if function == spec.name else ())):
        if route.get("dtypes", dtype) == dtype:
            yield case(spec, route, dtype)


@functools.cache
def signatures() -> dict[str, dict]:
    """Return, for each kernel that is launched, {types of its arguments: a launch}."""
    device = Recorder(interpret=False)
    for name in LAUNCHERS:
        for dtype in WEIGHT_DTYPES:
            for case in routes(name, dtype):
                run(name, case, device)
    found = {}
    for launch in device.launches:
        types = target.argument_types(launch.arguments)
        found.setdefault(launch.name, {}).setdefault(types, launch)
    return found


def distinct(name):
    """Yield every case of a launcher, with weights of four bytes and of two.

    How these are read may differ between the two; a case without weights comes once.
    """
    kinds = set()
    for dtype in (WEIGHT_DTYPES[0], WEIGHT_DTYPES[-1]):
        for number, case in enumerate(routes(name, dtype)):
            kind = number, *(getattr(value, "dtype", None) for value in case.values())
            if kind not in kinds:
                kinds.add(kind)
                yield case


def interpreted(name):
    """Yield (case, result, launches) of every case of a launcher, interpreted."""
    for case in distinct(name):
        device = Recorder(seed=0)
        yield case, run(name, case, device), device.launches


def ran(launcher, *arguments, schedule=0):
    """Return what a launcher makes of host arrays: its result, or a tuple of them.

    Every launch is watched, and held against its header.
    """
    device = Recorder(seed=schedule)
    moved = [device.put(a) if isinstance(a, np.ndarray) else a for a in arguments]
    results = launcher(device, *moved)
    for launch in device.launches:
        assert launch.findings() == [], launch.name
    if isinstance(results, tuple):
        return tuple(map(device.get, results))
    return device.get(results)
