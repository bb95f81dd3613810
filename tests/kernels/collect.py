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
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import minigen
from minigen import arrays, simt, target
from minigen.checking import header
from minigen.checking.specs import SPECS
from minigen.checking.specs.spec import each
from minigen.checking.strategies import SMALL, WEIGHT_DTYPES, floats

ROOT = Path(minigen.__file__).parent

SIZES = {
    "b": 2, "n": 5, "m": 3, "d": 33, "f": 34, "v": 65, "k": 35, "t": 5, "h": 2,
    "e": 12, "c": 8, "r": 2, "y": 3, "x": 4, "s": 5, "p": 3, "w": 4, "g": 3,
}  # fmt: skip
"""The sizes of a case where ROUTES names no others."""


def _cache(n, length, e):
    # a case that is drawn has the shortest length, and NaN beyond it
    rest = {"k": floats(1, 2, n, 2, e), "v": floats(2, 2, n, 2, e), "length": length}
    return {"n": n, "e": e} | rest


ROUTES = {
    "attention": [{}, _cache(35, 33, 12), _cache(70, 66, 12), _cache(7, 5, 6)]
    + [_cache(70, 65, 132)],
    "attention_causal": [{}, {"n": 70, "b": 1, "h": 1}, {"e": 6}, {"e": 132}],
    "linear": [{}, {"d": 40}, {"d": 40, "n": 66, "b": 1}, {"residual": None}]
    + [{"d": 40, "bias": None}]
    + [{"d": 40, "n": 66, "b": 1, "bias": None, "residual": None}],
    "conv3x3": [{}, {"f": 3}],
    "probabilities": [{}, {"b": 1, "m": 2, "v": 600, "top_k": 9, "top_p": 0.5}],
    "draw": [{}, {"v": 600}],
    "rms_norm": [{}, {"d": 300}],
    "embed": [{}, {"d": 300}],
    "swiglu": [{}, {"f": 300}],
    "cross_entropy": [{}, {"v": 300}],
    "silu": [{}, {"d": 300}],
    "gated_silu": [{}, {"f": 300}],
    "columns": [{}, {"d": 300, "first": 3, "last": 290}],
    "modulate": [{}, {"d": 300}],
    "gate": [{}, {"d": 300}],
    "add": [{}, {"d": 300}],
    "subtract": [{}, {"d": 300}],
    "multiply": [{}, {"d": 300}],
    "add_rms_norm": [{}, {"d": 300}],
    "gate_rms_norm": [{}, {"c": 300}],
    "rms_norm_gate": [{}, {"c": 300}],
    "causal_conv": [{}, {"n": 1}, {"n": 2, "w": 5}, {"n": 11, "c": 33}],
    "causal_conv_silu": [{}, {"n": 1}, {"n": 11, "c": 33}],
    "step_size": [{}, {"n": 150}],
    "selective_scan": [{}, {"n": 1}, {"b": 1, "n": 67, "c": 1, "s": 2}]
    + [{"b": 1, "n": 259, "r": 1, "c": 1, "s": 1}],
    "ssd": [{}, {"s": 35}],
    "ssd_chunked": [{"chunk": 2}, {"b": 1, "n": 67, "chunk": 66, "h": 1}]
    + [{"b": 1, "n": 2, "h": 1, "p": 65, "s": 66, "chunk": 64}],
    "mamba2_step": [{}, {"b": 8, "h": 1, "p": 2, "s": 3}],
    "layer_norm": [{}, {"d": 300}],
    "standardise": [{}, {"d": 300}],
    "gelu": [{}, {"d": 300}],
    "gelu_tanh": [{}, {"d": 300}],
    "gather": [{}, {"d": 300}],
    "scatter": [{}, {"d": 300}],
    "append": [{}, {"d": 300}],
    "concat": [{}, {"d": 300}],
    "repeat": [{}, {"d": 300}],
    "uniforms_at": [{}, {"m": 130}],
    "normals_at": [{}, {"m": 130}],
    "split_moments": [{}, {"c": 33}],
    "sample_normal": [{}, {"n": 33, "c": 33}],
    "normal_kl": [{}, {"n": 33, "c": 33}],
    "normal_nll": [{}, {"n": 33, "c": 33}],
    "scale": [{}, {"d": 300}],
    "sqrt": [{}, {"d": 300}],
    "reverse_step": [{}, {"n": 33, "c": 33}],
    "to_rounded_pixels": [{}, {"c": 33}],
    "candidate_probabilities": [{}, {"m": 300}],
    "group_norm": [{}, {"r": 130, "y": 6, "x": 7, "b": 1}],
}
"""For launchers that choose among kernels, or whose threads take several turns: sizes
and arguments of cases that lead everywhere."""


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


def _served(name):
    # the function of the op table that is all, or the beginning, of a launcher's name
    op, _, function = name.partition(".")
    names = [
        n for n in SPECS if SPECS[n].op == op and f"{function}_".startswith(f"{n}_")
    ]
    return SPECS[max(names, key=len)] if names else None


LAUNCHERS = {name: _served(name) for name in _launchers() if _served(name)}
"""Every launcher as OP.FUNCTION, and the specification of what it must return."""


def case(spec, route, dtype) -> dict:
    """Return a case of a specification, always the same, with weights of a dtype."""
    sizes = SIZES | {name: n for name, n in route.items() if name in SIZES}
    others = {name: value for name, value in route.items() if name not in SIZES}
    letters = {letter: st.just(size) for letter, size in sizes.items()}
    letters |= {"dtypes": st.just(dtype), "given": st.just(True)}
    found = []

    # the first example of hypothesis is the simplest
    @settings(max_examples=1, database=None, derandomize=True, phases=[Phase.generate])
    @given(spec.draw(replace(SMALL, **letters)))
    def note(drawn):
        found.append(drawn | others)

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
    for route in ROUTES.get(name.partition(".")[2], [{}]):
        yield case(LAUNCHERS[name], route, dtype)


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


def interpreted(name):
    """Yield (case, result, launches) of every case of a launcher, interpreted.

    With weights of four bytes and of two: how they are read may differ between these.
    """
    kinds = set()
    for dtype in (WEIGHT_DTYPES[0], WEIGHT_DTYPES[-1]):
        for number, case in enumerate(routes(name, dtype)):
            kind = number, *(getattr(value, "dtype", None) for value in case.values())
            if kind not in kinds:
                kinds.add(kind)
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
