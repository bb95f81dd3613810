"""The only file that decides how kernels are compiled and where they are kept, and the
only one that knows which package the CUDA target is.

Numba caches a compiled kernel beside the source file it stands in, and does not notice
that a helper in another file has changed. So our kernels are cached in a folder named
after a hash of all our sources: an edit anywhere starts a fresh folder, and a stale
kernel cannot be loaded.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from minigen import extras
from minigen.errors import BackendError


def source_hash() -> str:
    """Return a hash over every source file of the package (twelve hex digits)."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted([*root.glob("*.py"), *root.glob("ops/**/*.py")]):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def cache_folder() -> Path:
    """Return the folder of compiled kernels of exactly these sources.

    MINIGEN_CACHE overrides the user's cache folder.
    """
    base = os.environ.get("MINIGEN_CACHE")
    if base is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        base = Path(home) / "minigen"
    return Path(base) / f"kernels-{source_hash()}"


if "NUMBA_CACHE_DIR" not in os.environ:
    if "numba" in sys.modules:
        import numba.core.config

        numba.core.config.CACHE_DIR = str(cache_folder())
    else:
        os.environ["NUMBA_CACHE_DIR"] = str(cache_folder())

# threads that wait for work soon sleep instead of spinning on: where another process
# holds a core, spinning made a small decode a hundred times slower. But the next kernel
# often comes within a tenth of a millisecond, and to be woken takes half as long
_WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "30000"}
ADDED = () if any(name in os.environ for name in _WAITING) else tuple(_WAITING)
"""Variables of the environment that are set here: other programs wait as they like."""

for _name in ADDED:
    os.environ[_name] = _WAITING[_name]

import numba  # noqa: E402
from numba import prange  # noqa: E402

# ruff: noqa: F822
__all__ = [
    "ADDED",
    "Resources",
    "argument_types",
    "cache_folder",
    "compile_ptx",
    "core",
    "cuda",
    "exact",
    "float64_lines",
    "gpu_inline",
    "gpu_intrinsic",
    "gpu_kernel",
    "has_compiler",
    "has_gpu",
    "inline",
    "kernel",
    "link",
    "prange",
    "serial",
    "source_hash",
]

# sums may be reordered and fused, which lets them run in vector registers; nan and
# infinity keep their meaning, since masks and filters are made of them
_FAST = {"contract", "reassoc", "nsz", "arcp"}

kernel = numba.njit(cache=True, parallel=True, error_model="numpy", fastmath=_FAST)
"""Compile a CPU kernel whose `prange` loops run on all threads."""

serial = numba.njit(cache=True, error_model="numpy", fastmath=_FAST)
"""Compile a CPU kernel that runs on one thread."""

inline = numba.njit(error_model="numpy", fastmath=_FAST, inline="always")
"""Compile a helper into the kernels that call it."""

exact = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})
"""Compile a function whose sums and differences keep the order they are written in."""


def __getattr__(name):
    # what only CUDA needs is imported when the first kernel of a cuda.py asks for it
    if name == "cuda":
        return importlib.import_module("numba.cuda")
    if name == "gpu_intrinsic":
        return importlib.import_module("numba.cuda.extending").intrinsic
    if name == "core":
        return importlib.import_module("cuda.core")
    raise AttributeError(f"module 'minigen.target' has no attribute {name!r}")


def gpu_kernel(function):
    """Declare a CUDA kernel. It is compiled when it is first launched, never before."""
    return __getattr__("cuda").jit(cache=True)(function)


def gpu_inline(function):
    """Declare a helper that is compiled into the CUDA kernels that call it.

    It becomes part of them when they are optimised, not before: so it is translated
    once for all its callers, in a third of the time that inline="always" takes.
    """
    return __getattr__("cuda").jit(device=True, forceinline=True)(function)


def has_gpu() -> bool:
    """Say whether a GPU and its driver are there, and numba-cuda is."""
    if importlib.util.find_spec("numba_cuda") is None or not _has_driver():
        return False
    try:
        return bool(__getattr__("cuda").is_available())
    except Exception:
        # a broken driver may raise anything
        return False


def _has_driver():
    # asked first, since it takes no time: importing numba.cuda takes half a second
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


@functools.cache
def has_compiler() -> bool:
    """Say whether kernels can be compiled here: numba-cuda and NVIDIA's libraries."""
    if importlib.util.find_spec("numba_cuda") is None:
        return False
    try:
        importlib.import_module("cuda.bindings.nvjitlink").version()
        __getattr__("cuda").compile_ptx(_nothing, (), cc=(8, 0))
    except Exception:
        # which part is missing does not matter: one command installs them all
        return False
    return True


def _nothing():
    return


@dataclass(frozen=True)
class Resources:
    """What one thread, or one block, of a linked kernel takes.

    registers: 32-bit registers a thread; spills, stack: bytes a thread keeps in memory
    because it ran out of registers, or indexes a local array; shared: bytes a block.
    """

    registers: int
    spills: int
    stack: int
    shared: int


def argument_types(arguments) -> tuple:
    """Return the types a kernel is compiled for when it is launched with `arguments`.

    arguments: arrays in C order, and NumPy scalars.
    """
    return tuple(_mutable(numba.typeof(argument)) for argument in arguments)


def _mutable(kind):
    return kind.copy(readonly=False) if isinstance(kind, numba.types.Array) else kind


def compile_ptx(kernel, types, cc) -> str:
    """Return the PTX of a kernel for `argument_types` and a compute capability.

    cc: a pair such as (8, 0). Needs no GPU. BackendError without the compiler.
    """
    _demand_compiler()
    function = getattr(kernel, "py_func", kernel)
    with _pretended(cc):
        return __getattr__("cuda").compile_ptx(function, types, cc=cc)[0]


def link(ptx, cc) -> Resources:
    """Assemble PTX for a compute capability and return what the kernel takes."""
    _demand_compiler()
    nvjitlink = importlib.import_module("cuda.bindings.nvjitlink")
    options = [f"-arch=sm_{cc[0]}{cc[1]}", "-Xptxas=-v", "-verbose"]
    handle = nvjitlink.create(len(options), options)
    try:
        data = ptx.encode()
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, data, len(data), "kernel")
        nvjitlink.complete(handle)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
    finally:
        nvjitlink.destroy(handle)
    text = log.decode()

    def number(pattern):
        found = [int(n) for n in re.findall(pattern, text)]
        return max(found, default=0)

    return Resources(
        registers=number(r"Used (\d+) registers"),
        spills=number(r"(\d+) bytes spill stores"),
        stack=number(r"(\d+) bytes stack frame"),
        shared=number(r"(\d+) bytes smem"),
    )


def float64_lines(kernel, types) -> list[tuple[str, int]]:
    """Return (file, line) of everything in a kernel that computes in float64.

    In Numba a plain literal such as 0.5 is float64, and so are an int64 times a
    float32 and a quotient of integers. A GPU computes in float64 at 1/2 to 1/64 of its
    speed. Helpers that are compiled into the kernel are looked at too.
    """
    _demand_compiler()
    compiler = importlib.import_module("numba.cuda.compiler")
    function = getattr(kernel, "py_func", kernel)
    with _pretended((8, 0)):
        compiled = compiler.compile_cuda(function, numba.types.void, types, cc=(8, 0))
    lines = set()
    _gather_float64(compiled.type_annotation, lines)
    return sorted(lines)


def _gather_float64(annotation, lines):
    # (file, line) of every float64 in a function and in the helpers it calls
    for block in annotation.blocks.values():
        for statement in block.body:
            name = getattr(getattr(statement, "target", None), "name", None)
            if annotation.typemap.get(name) == numba.types.float64:
                lines.add((statement.loc.filename, statement.loc.line))
            value = getattr(statement, "value", None)
            if getattr(value, "op", None) == "call":
                helper = annotation.typemap[value.func.name]
                # only helpers of ours are dispatchers, not what Numba itself brings
                called = getattr(getattr(helper, "dispatcher", None), "overloads", {})
                signature = annotation.calltypes[value]
                if signature.args in called:
                    compiled = called[signature.args]
                    _gather_float64(compiled.type_annotation, lines)


def _pretended(cc):
    # without a driver Numba has no current device to ask which target to compile for
    device = mock.Mock(compute_capability=cc)
    return mock.patch("numba.cuda.dispatcher.get_current_device", lambda: device)


def _demand_compiler():
    if not has_compiler():
        raise BackendError(
            "CUDA kernels cannot be compiled here: numba-cuda or NVIDIA's compiler "
            f"libraries are missing; run `{extras.install('cuda13')}`"
        )
