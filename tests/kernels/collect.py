"""Every CUDA kernel there is, and real launches of each: nothing escapes.

A kernel is found by the words `@gpu_kernel` in the files of `minigen/ops`. It is known
by its launches: every launcher of the op table is called with cases of fixed sizes, for
every dtype of weights, on a device that notes what it is asked to launch. Kernels that
no launcher uses, the rungs of a lesson, are launched by the table DIRECT.
"""

from __future__ import annotations

import ast
import functools
import importlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import minigen
from minigen import arrays, simt, target
from minigen.checking import header
from minigen.checking.specs import SPECS
from minigen.checking.strategies import SMALL, WEIGHT_DTYPES

ROOT = Path(minigen.__file__).parent

SIZES = {
    "b": 2, "n": 5, "m": 3, "d": 33, "f": 34, "v": 65, "k": 35, "t": 5, "h": 2,
    "e": 12, "c": 8, "r": 2, "y": 3, "x": 4,
}  # fmt: skip
"""The sizes of a case where ROUTES names no others."""

ROUTES = {}
"""For functions that choose among kernels: sizes that lead to each of them."""

HALF = np.int64(2**30)

DIRECT = {
    "draw.cuda._probabilities_top_k": lambda dtype: (2, 64, np.int64(9), _rows()),
    "draw.cuda._probabilities_top_p": lambda dtype: (2, 64, HALF, _rows(), _rows()),
}
"""For kernels without a launcher: (grid, block, arguments) for a dtype of weights."""


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
    launches: list = field(default_factory=list)

    def __post_init__(self):
        device = arrays.Interpreter()
        self.empty, self.put = device.empty, device.put
        self.get, self.write = device.get, device.write

    def launch(self, kernel, grid, block, *arguments):
        """Note a launch, with what the interpreter says about it."""
        report = None
        if self.interpret:
            report = simt.launch(kernel, grid, block, *arguments, seed=self.seed)
        self.launches.append(Launch(kernel, grid, block, arguments, report))


def _rows():
    # logits, some of them equal
    return np.random.default_rng(0).integers(-40, 40, (2, 130)).astype(np.float32) / 8


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


def case(spec, sizes, dtype) -> dict:
    """Return a case of a specification, always the same: these sizes, this dtype."""
    letters = {letter: st.just(size) for letter, size in (SIZES | sizes).items()}
    found = []

    # the first example of hypothesis is the simplest
    @settings(max_examples=1, database=None, derandomize=True, phases=[Phase.generate])
    @given(spec.draw(replace(SMALL, dtypes=st.just(dtype), **letters)))
    def note(drawn):
        found.append(drawn)

    note()
    return found[0]


def routes(name) -> list[dict]:
    """Return the sizes that lead to all kernels of a function of the op table."""
    return ROUTES.get(name, [{}])


def run(spec, case, device):
    """Return what a function of the op table makes of a case on a device."""
    module = importlib.import_module(f"minigen.ops.{spec.op}.cuda")
    moved = {
        name: device.put(value) if isinstance(value, np.ndarray) else value
        for name, value in case.items()
    }
    return device.get(getattr(module, spec.name)(device, **moved))


def launches(dtype, interpret) -> list[Launch]:
    """Return all launches of all cases with weights of a dtype."""
    found = []
    for spec in SPECS.values():
        # that every op has kernels is a matter of test_letters
        if (ROOT / "ops" / spec.op / "cuda.py").exists():
            for sizes in routes(spec.name):
                device = Recorder(interpret=interpret)
                run(spec, case(spec, sizes, dtype), device)
                found += device.launches
    for name, direct in DIRECT.items():
        device = Recorder(interpret=interpret)
        grid, block, *arguments = direct(dtype)
        arguments = [device.put(a) if a.shape else a for a in arguments]
        device.launch(kernel(name), grid, block, *arguments)
        found += device.launches
    return found


@functools.cache
def signatures() -> dict[str, dict]:
    """Return, for each kernel that is launched, {types of its arguments: a launch}."""
    found = {}
    for dtype in WEIGHT_DTYPES:
        for launch in launches(dtype, interpret=False):
            types = target.argument_types(launch.arguments)
            found.setdefault(launch.name, {}).setdefault(types, launch)
    return found


@functools.cache
def interpreted() -> dict[str, list]:
    """Return all launches of each kernel, with what the interpreter says of them.

    Of weights of four bytes and of two: how they are read may differ between these.
    """
    found = {}
    for dtype in (WEIGHT_DTYPES[0], WEIGHT_DTYPES[-1]):
        for launch in launches(dtype, interpret=True):
            found.setdefault(launch.name, []).append(launch)
    return found
