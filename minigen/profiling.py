"""What a CUDA kernel does and how fast it can be at best, counted without a GPU.

    print(minigen.profile("rms_norm"))
    minigen.profile("linear", {"n": 1, "d": 1024, "f": 4096}, weights="bfloat16")
    minigen.profile("mine.py:rms_norm", {"d": 300})
    minigen.profile("mine.py:scale", {"n": 1000}, signature="x (n) -> y (n)",
                    grid="(n + 127) // 128", block=128)

A kernel is compiled, and what the compiler made of it is run on the CPU, by
`minigen/ptx`. Counted are instructions of PTX, once for each warp that runs them; of
these a GPU's own assembler may make a few more or less. Moves are left out, since it
drops most of them.

From the counts follow three times that no launch can beat on a GPU of known peaks:

- memory: every byte that is touched comes from memory, or goes there, once;
- arithmetic: float32 at the peak rate, tensor cores at theirs;
- issue: a multiprocessor begins at most four warp-instructions a cycle. Where there
  are fewer blocks than multiprocessors, the others have nothing to do.

The bound is the longest of the three. A launch itself takes a few microseconds, and
waiting for memory is not counted: a kernel is slower than its bound, never faster.
"""

from __future__ import annotations

import html
import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from minigen import signatures, words
from minigen.checks import integer, near, optional
from minigen.errors import BackendError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Gpu:
    """The published peaks of a GPU.

    multiprocessors; clock: cycles a second; lanes: float32 units of a multiprocessor;
    tensor: operations a second of tensor cores with bfloat16 (float16 on the T4);
    bandwidth: bytes a second of its memory; source: where that stands.

    >>> t4 = GPUS[0]
    >>> teraflops = 2 * t4.lanes * t4.multiprocessors * t4.clock / 1e12
    >>> t4.name, round(teraflops, 1)
    ('T4', 8.1)
    """

    name: str
    multiprocessors: int
    clock: float
    lanes: int
    tensor: float
    bandwidth: float
    source: str


ISSUED = 4
"""Warp-instructions that a multiprocessor begins in a cycle: one a scheduler."""

GPUS = (
    Gpu("T4", 40, 1.59e9, 64, 65e12, 320e9,
        "NVIDIA T4 data sheet (8.1 TFLOPS, 320 GB/s), Turing architecture white paper"),
    Gpu("A100", 108, 1.41e9, 64, 312e12, 2039e9,
        "NVIDIA A100 80GB SXM data sheet (19.5 TFLOPS, 2,039 GB/s)"),
    Gpu("H100", 132, 1.98e9, 128, 989e12, 3350e9,
        "NVIDIA H100 SXM data sheet (67 TFLOPS, 3.35 TB/s)"),
)  # fmt: skip
"""Peaks by the makers' data sheets: lanes x 2 x multiprocessors x clock is the TFLOPS
that stand there."""

SIZES = {
    "b": 2, "n": 64, "m": 64, "d": 256, "f": 512, "v": 1024, "k": 512, "t": 64, "h": 4,
    "e": 64, "c": 128, "r": 1, "y": 8, "x": 8, "s": 64, "p": 64, "w": 4, "g": 4,
}  # fmt: skip
"""The size of a letter that is not given, where no shipped model calls the function."""

SHIPPED = ("arpg-mnist", "aim-mnist", "arinar-mnist", "mar-mnist")
"""Models whose largest call of a function is profiled, where no size is given."""

WEIGHTS = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Counted:
    """What one kernel did, in all of its launches together.

    grid, block: of the first launch; instructions: warp-instructions by class; moves:
    those left out of them; lanes: the share of a warp's lanes that took part;
    divergent: branches that parted a warp; apart: shuffles and products that lanes met
    from several instructions, of which there should be none. loads, stores: sectors of
    32 bytes a request of a warp touched, and the least that would do; banks: rounds a
    request of shared memory took, and the least. read, written: bytes of global memory
    that were touched; bounds: {GPU: (seconds, what they are spent on)}.

    >>> one = profile("silu", {"b": 1, "n": 1, "d": 32}).kernels[0]
    >>> one.launches, one.read, one.written  # 32 floats each way
    (1, 128, 128)
    """

    kernel: str
    launches: int
    grid: tuple[int, ...]
    block: tuple[int, ...]
    instructions: dict[str, int]
    moves: int
    lanes: float
    divergent: int
    apart: int
    loads: tuple[float, float]
    stores: tuple[float, float]
    banks: tuple[float, float]
    read: int
    written: int
    bounds: dict[str, tuple[float, str]]

    @property
    def total(self) -> int:
        """All warp-instructions, without moves."""
        return sum(self.instructions.values())

    @property
    def intensity(self) -> float:
        """Float32 operations for each byte of global memory; a multiply-add is two."""
        return _operations(self.instructions) / max(self.read + self.written, 1)


@dataclass(frozen=True)
class Profile:
    """What the kernels of a function did. Print it, or look at `profile.kernels`.

    function, case: what was called, and with what; kernels: a `Counted` each.

    >>> found = profile("silu", {"b": 1, "n": 1, "d": 32})
    >>> found.function, found.case
    ('silu', 'x (1 1 32) float32')
    """

    function: str
    case: str
    kernels: tuple[Counted, ...]

    def __str__(self) -> str:
        rows = _rows(self.kernels)
        right = range(1, len(self.kernels) + 1)
        return "\n\n".join((f"{self.function}: {self.case}", words.table(rows, right)))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cell = "<td style='text-align: right'>{}</td>"
        lines = [
            "<tr><th>{}</th>{}</tr>".format(
                html.escape(name), "".join(cell.format(html.escape(v)) for v in values)
            )
            for name, *values in _rows(self.kernels)
        ]
        caption = html.escape(f"{self.function}: {self.case}")
        return f"<table><caption>{caption}</caption>{''.join(lines)}</table>"


def profile(
    subject: str | Callable[..., Any],
    sizes: Mapping[str, Any] | None = None,
    *,
    op: str | None = None,
    instead_of: str | None = None,
    block: int | str | tuple[int, ...] | None = None,
    weights: str = "float32",
    signature: str | None = None,
    grid: int | str | tuple[int, ...] | None = None,
    dynamic: int | str = 0,
    dtypes: Mapping[str, Any] | None = None,
) -> Profile:
    """Count what the CUDA kernels of a function do; return a Profile. Needs no GPU.

    subject: a function of the op table such as "linear", or a kernel that replaces one
    of ours there: a function, or "FILE.py:NAME". op: which function that kernel is for,
    where its name does not say it; instead_of: which of our kernels it replaces; block:
    its threads a block. sizes: {letter: size} of the function's signature, and any of
    its arguments by name; what is not given has a usual size. Without them: the largest
    call that a shipped model makes. weights: their dtype, where sizes are given.

    Of a kernel that is no op's, signature: its arrays, which are drawn, such as
    "x (n d), w (d) -> y (n d)"; grid, block, dynamic: numbers, or expressions of
    letters, as `minigen.check` takes them; dtypes: of arguments by name, float32 where
    nothing is said.

    Raises InputError for what is not known, BackendError without the compiler,
    KernelError for a kernel that cannot be run here.

    >>> found = profile("rms_norm", {"b": 1, "n": 1, "d": 32})
    >>> [(one.kernel, one.grid, one.read) for one in found.kernels]  # a row and w
    [('_rms_norm', (1, 1, 1), 256)]
    """
    _demand()
    if signature is not None or grid is not None:
        if op is not None or instead_of is not None:
            raise InputError(
                "op and instead_of are about a kernel in the place of one of ours, "
                "signature and grid about any other; leave out one of both"
            )
        return _anybody(subject, sizes or {}, signature, grid, block, dynamic, dtypes)
    optional(partial(integer, least=1, most=1024), "block", block)
    if dynamic or dtypes:
        raise InputError(
            "dynamic and dtypes are about a kernel with a signature: say it"
        )
    from minigen.checking import kernels, loading
    from minigen.checking.specs import SPECS

    given = None
    name = op or subject
    if not isinstance(subject, str) or ":" in subject:
        function = loading.load(subject) if isinstance(subject, str) else subject
        given = loading.subject(function, as_kernel=True)
        name = op or given.name.lstrip("_")
    if name not in SPECS:
        raise InputError(_unknown(name, given, SPECS))
    if weights not in WEIGHTS:
        raise InputError(f"weights {weights!r} are not one of {', '.join(WEIGHTS)}")
    spec = SPECS[name]
    stand_in = given and kernels.stand_in(spec, given, instead_of, block)
    case, whose = _case(spec, sizes, weights)
    device = Device(stand_in)
    launcher = kernels._launcher(spec, stand_in)
    moved = {n: device.put(v) if _is_array(v) else v for n, v in case.items()}
    launcher(device, **moved)
    if not device.launches:
        raise InputError(f"{name} launches no kernel for {_described(case)}")
    return Profile(name, whose + _described(case), _counted(device.launches))


def _anybody(subject, sizes, signature, grid, block, dynamic, dtypes):
    from minigen.checking import anybody, loading, once

    if signature is None or grid is None:
        missing = "grid" if grid is None else "signature"
        raise InputError(
            f"the {missing} is missing; a kernel that is no op's is profiled with a "
            'signature, such as "x (n d) -> y (n d)", a grid, "n", and a block, 32'
        )
    function = loading.load(subject, "profile") if isinstance(subject, str) else subject
    given = loading.subject(function, as_kernel=True)
    if given.kind != "kernel":
        raise InputError(f"{given.name} is compiled for a CPU; profile takes a kernel")
    # numbers by name, all else are letters
    names = signatures.names(" ".join(signature.split()))
    values = {name: (value,) for name, value in sizes.items() if name in names}
    letters = {name: value for name, value in sizes.items() if name not in names}
    ready = once.prepare(
        given, grid, 32 if block is None else block, signature=signature,
        dynamic=dynamic, choices=anybody.choices(dtypes, letters, values),
    )  # fmt: skip
    case = ready.arguments
    found = count(
        function, ready.grid, ready.block, *case.values(), dynamic=ready.dynamic
    )
    return Profile(given.name, _described(case), (found,))


def count(kernel, grid, block, *arguments, dynamic=0) -> Counted:
    """Return what one launch of any kernel does, on copies of its NumPy arrays.

    As on a GPU, each of them begins where a sector does.
    grid, block: a number, or a tuple of up to three; dynamic: bytes of dynamic shared
    memory. Raises as `profile` does.

    >>> from numba import cuda
    >>> def double(x, y):
    ...     i = cuda.grid(1)
    ...     if i < x.size:
    ...         y[i] = 2 * x[i]
    >>> x, y = np.ones(20, np.float32), np.zeros(20, np.float32)
    >>> counted = count(double, 1, 32, x, y)
    >>> counted.read, counted.written, counted.divergent  # 12 lanes have nothing to do
    (80, 80, 1)
    """
    _demand()
    device = Device()
    moved = [device.put(a) if _is_array(a) else a for a in arguments]
    device.launch(kernel, grid, block, *moved, dynamic=dynamic)
    return _counted(device.launches)[0]


@dataclass(frozen=True, eq=False)
class Launched:
    """A launch of a kernel, and what was counted of it.

    >>> from minigen.ops.silu.cuda import silu
    >>> device = Device()
    >>> y = silu(device, device.put(np.zeros((1, 2, 32), np.float32)))
    >>> launched = device.launches[0]
    >>> launched.block, launched.counts.classes()["load.global"]  # two warps load
    ((256, 1, 1), 2)
    """

    kernel: Callable[..., Any]
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[Any, ...]
    counts: Any


@dataclass
class Device:
    """A device that runs what the compiler made of each kernel, and counts.

    stand_in: a kernel that replaces one of ours (`minigen.checking.kernels`), or None.

    >>> from minigen.ops.silu.cuda import silu
    >>> device = Device()
    >>> y = silu(device, device.put(np.zeros((1, 2, 32), np.float32)))
    >>> len(device.launches), y.shape
    (1, (1, 2, 32))
    """

    stand_in: Any = None
    launches: list[Launched] = field(default_factory=list)

    def __post_init__(self) -> None:
        from minigen.arrays import Interpreter

        self._memory = Interpreter()

    def __getattr__(self, name):
        # whatever else is asked of a device
        return getattr(self._memory, name)

    def launch(self, kernel, grid, block, *arguments, dynamic=0) -> None:
        """Run a kernel, or its stand-in, and count what it does."""
        from minigen import ptx
        from minigen.arrays import dimensions

        grid, block = dimensions(grid, block)
        if 0 in grid:
            return
        other = self.stand_in
        if other and other.replaced == _name(kernel):
            kernel, arguments = other.subject.function, arguments[: other.count]
            block = (other.block, 1, 1) if other.block else block
        program = ptx.program(kernel, arguments)
        named = zip(_names(kernel), arguments, strict=False)
        counts = ptx.Counts(program, {n: a for n, a in named if _is_array(a)})
        program.launch(grid, block, arguments, counts, dynamic=dynamic)
        self.launches.append(Launched(kernel, grid, block, arguments, counts))


@dataclass(frozen=True, eq=False)
class Chosen:
    """What a specification draws a case with: sizes by letter, and the first of all
    else that it may draw.

    >>> case = Chosen({"n": 4, "d": 8}, np.dtype("float32"))
    >>> case.sizes("nd"), case.among("first", "second"), case.between(1, 9)
    ((4, 8), 'first', 9)
    """

    of: Mapping[str, int]
    weights: Any

    def sizes(self, letters) -> tuple[int, ...]:
        """Return a size for each letter of a word."""
        return tuple(self.of[letter] for letter in letters)

    def dtype(self):
        """Return the dtype of weights."""
        return self.weights

    def given(self) -> bool:
        """Say that all optional arguments are given."""
        return True

    def seed(self) -> int:
        """Return a seed."""
        return 0

    def among(self, *values):
        """Return the first of the values, which is the simplest."""
        return values[0]

    def between(self, least, most) -> int:
        """Return the most."""
        return most


def _case(spec, sizes, weights):
    # (a case, whose it is)
    import ml_dtypes

    if not sizes:
        found = largest_call(spec.name)
        if found is not None:
            return found[1], f"the largest call of {found[0]}, "
    letters = {n: v for n, v in (sizes or {}).items() if n in SIZES}
    others = {n: v for n, v in (sizes or {}).items() if n not in SIZES}
    for name, size in letters.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise InputError(f"size {name} = {size!r} is not an integer of 1 or more")
    dtype = np.dtype(getattr(ml_dtypes, weights, None) or weights)
    case = spec.draw(Chosen(SIZES | letters, dtype))
    wrong = [name for name in others if name not in case]
    if wrong:
        raise InputError(
            f"{spec.name} has no size or argument {wrong[0]!r}; sizes are letters "
            f"({', '.join(SIZES)}), arguments {', '.join(case)}"
        )
    return case | others, ""


def largest_call(function) -> tuple[str, dict[str, Any]] | None:
    """Return the first shipped model that calls a function, and its largest call.

    That is (model, {argument: value}); the largest has the most bytes of arrays. A
    model is run for one step, and encodes and decodes an image. None if none calls it.

    >>> model, case = largest_call("rms_norm")
    >>> model, case["x"].shape  # the class, with it and without
    ('arpg-mnist', (2, 1, 128))
    """
    for model in SHIPPED:
        calls = _calls(model).get(function)
        if calls:
            return model, max(calls, key=_bytes)
    return None


def _calls(model):
    # {function: its calls of different sizes} of a step of a model, by argument
    import inspect

    from minigen import pipeline

    pipe = pipeline.load(model, backend="numpy")
    calls: dict[str, dict[Any, dict[str, Any]]] = {}

    def noting(name, function):
        names = [*inspect.signature(inspect.unwrap(function)).parameters]

        def run(*values, **more):
            case = dict(zip(names, values, strict=False)) | more
            shape = tuple(getattr(value, "shape", None) for value in case.values())
            known = calls.setdefault(name, {})
            if shape not in known:
                known[shape] = {
                    n: v.copy() if _is_array(v) else v for n, v in case.items()
                }
            return function(*values, **more)

        return run

    from minigen.checking.specs import SPECS

    table = vars(pipe.ops)
    noted = {name: noting(name, table[name]) for name in table if name in SPECS}
    pipe = replace(pipe, ops=SimpleNamespace(**table | noted))
    for _ in pipe.steps([7]):
        break
    side = pipe.grid[0] * pipe.tokenizer_config.factor
    pipe.images(pipe.encode(np.zeros((1, side, side, 3), np.uint8)))
    return {name: [*known.values()] for name, known in calls.items()}


def _counted(launches):
    # a Counted for each kernel, in the order of their first launches
    by_kernel: dict[str, list[Launched]] = {}
    for launch in launches:
        by_kernel.setdefault(_name(launch.kernel), []).append(launch)
    return tuple(_sum(name, group) for name, group in by_kernel.items())


def _sum(name, launches):
    classes: dict[str, int] = {}
    for launch in launches:
        for kind, number in launch.counts.classes().items():
            classes[kind] = classes.get(kind, 0) + number
    moves = classes.pop("move", 0)
    counts = [launch.counts for launch in launches]
    read, written = (
        sum(
            _touched(of(one), launch)
            for one, launch in zip(counts, launches, strict=True)
        )
        for of in (lambda c: c.reads, lambda c: c.writes)
    )
    ordered = {
        kind: number
        for kind, number in sorted(classes.items(), key=lambda pair: -pair[1])
        if number
    }
    mmas = sum(_mma_operations(one) for one in counts)
    blocks = max(math.prod(launch.grid) for launch in launches)
    return Counted(
        kernel=name,
        launches=len(launches),
        grid=launches[0].grid,
        block=launches[0].block,
        instructions=ordered,
        moves=moves,
        lanes=float(np.mean([one.utilisation() for one in counts])),
        divergent=sum(sum(one.divergent.values()) for one in counts),
        apart=sum(sum(one.met.values()) for one in counts),
        loads=_requests(counts, "global", False),
        stores=_requests(counts, "global", True),
        banks=_requests(counts, "shared", None),
        read=read,
        written=written,
        bounds={g.name: bound(g, ordered, mmas, read + written, blocks) for g in GPUS},
    )


def bound(gpu, instructions, tensor, size, blocks) -> tuple[float, str]:
    """Return the least seconds a GPU can take, and for what: see the module.

    instructions: warp-instructions by class; tensor: operations of tensor cores; size:
    bytes of memory; blocks: of the largest launch.

    >>> bound(GPUS[1], {"fma": 10}, 0, 2039, 1000)
    (1e-09, 'memory')
    """
    busy = min(gpu.multiprocessors, blocks)
    floats = instructions.get("fma", 0) + instructions.get("fp32", 0)
    tensor_peak = gpu.tensor / gpu.multiprocessors * busy
    times = {
        "memory": size / gpu.bandwidth,
        "arithmetic": 32 * floats / (gpu.lanes * busy * gpu.clock)
        + tensor / tensor_peak,
        "issue": sum(instructions.values()) / (ISSUED * busy * gpu.clock),
    }
    longest = max(times, key=times.__getitem__)
    return times[longest], longest


def _rows(kernels):
    # a row for each property, a column for each kernel
    def row(name, of):
        return (name, *(str(of(one)) for one in kernels))

    classes = dict.fromkeys(kind for one in kernels for kind in one.instructions)
    rows = [
        row("", lambda one: one.kernel),
        row("grid", lambda one: _by(one.grid)),
        row("block", lambda one: _by(one.block)),
        row("launches", lambda one: one.launches),
        row("warp-instructions", lambda one: f"{one.total:,}"),
    ]
    for kind in classes:
        rows.append(row(f"  {kind}", lambda one, kind=kind: _share(one, kind)))
    rows += [
        row("lanes that take part", lambda one: f"{one.lanes:.0%}"),
        row("branches that part a warp", lambda one: f"{one.divergent:,}"),
        row("shuffles met apart", lambda one: f"{one.apart:,}"),
        row("sectors a load (least)", lambda one: _pair(one.loads)),
        row("sectors a store (least)", lambda one: _pair(one.stores)),
        row("rounds of shared memory (least)", lambda one: _pair(one.banks)),
        row("bytes read", lambda one: words.gigabytes(one.read)),
        row("bytes written", lambda one: words.gigabytes(one.written)),
        row("operations a byte", lambda one: f"{one.intensity:.2f}"),
    ]
    for gpu in GPUS:
        rows.append(
            row(f"{gpu.name}, at best", lambda one, g=gpu: _time(*one.bounds[g.name]))
        )
    return rows


def _share(one, kind):
    number = one.instructions.get(kind, 0)
    return f"{number:,} {number / max(one.total, 1):4.0%}"


def _pair(numbers):
    return "-" if not numbers[1] else f"{numbers[0]:.1f} ({numbers[1]:.1f})"


def _time(seconds, reason):
    return f"{seconds * 1e6:.2f} us, {reason}"


def _by(sizes):
    return " x ".join(str(size) for size in sizes[: 1 + max(
        (i for i, size in enumerate(sizes) if size > 1), default=0
    )])  # fmt: skip


def _requests(counts, space, store):
    # (parts, least) a request, over all accesses of a kind
    found = [
        access
        for one in counts
        for access in one.accesses.values()
        if access.space == space and store in (None, access.store)
    ]
    requests = sum(access.requests for access in found)
    if not requests:
        return 0.0, 0.0
    return tuple(
        sum(getattr(access, name) for access in found) / requests
        for name in ("parts", "least")
    )


def _touched(cells, launch):
    # bytes of all cells that are counted at least once
    names = dict(zip(_names(launch.kernel), launch.arguments, strict=False))
    return sum(
        int((count > 0).sum()) * names[name].itemsize for name, count in cells.items()
    )


def _mma_operations(counts):
    # a product of 16 x 16 and 16 x 8 matrices is 4096 operations
    return 4096 * counts.classes().get("mma", 0)


def _operations(instructions):
    fma, other = instructions.get("fma", 0), instructions.get("fp32", 0)
    return 32 * (2 * fma + other) + 4096 * instructions.get("mma", 0)


def _names(kernel):
    import inspect

    return [*inspect.signature(getattr(kernel, "py_func", kernel)).parameters]


def _name(kernel):
    return getattr(kernel, "py_func", kernel).__name__


def _bytes(case):
    return sum(value.nbytes for value in case.values() if _is_array(value))


def _is_array(value):
    return isinstance(value, np.ndarray)


def _described(case):
    said = [
        f"{name} ({' '.join(map(str, value.shape))}) {value.dtype}"
        if _is_array(value)
        else f"{name} {value}"
        for name, value in case.items()
    ]
    return ", ".join(said)


def _unknown(name, given, specs):
    if given is not None:
        return (
            f"the name of kernel {given.name} does not say which op it is for; say it "
            "with --op NAME, such as --op rms_norm, or, if it is for none, what its "
            'arrays are: --signature "x (n d) -> y (n d)" --grid n'
        )
    hint = near(name, specs).strip() or f"one is rms_norm, of {len(specs)}"
    return f"there is no op function {name!r}; {hint}"


def _demand():
    from minigen import target
    from minigen.extras import install

    if importlib.util.find_spec("numba") is None or not target.has_compiler():
        raise BackendError(
            "profiles are of what the compiler makes of a kernel, and numba-cuda or "
            f"NVIDIA's compiler libraries are missing; run `{install('cuda13')}`"
        )
