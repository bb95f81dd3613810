"""The only file that decides how kernels are compiled, and the only one that knows
which package the CUDA target is. Where they are kept, `kernel_cache.py` decides.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import os
import re
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

from minigen import extras, threads
from minigen.errors import BackendError
from minigen.kernel_cache import keep, kept_text

ADDED = threads.settings(os.environ)
"""Variables of the environment that are set here: other programs wait as they like."""

os.environ.update(ADDED)

import numba  # noqa: E402
from numba import get_num_threads as get_num_threads  # noqa: E402
from numba import prange as prange  # noqa: E402
from numba import set_num_threads  # noqa: E402

# no flag lets a compiler reorder or fuse what stands there: it would do so in another
# way for every width of a vector. Sums that have to be fast say their order themselves:
# `cpu/sums.py`, `cpu/tile.py`
_compile = numba.njit(error_model="numpy")
_compile_parallel = numba.njit(parallel=True, error_model="numpy")

inline = numba.njit(error_model="numpy", inline="always")
"""Compile a helper into the kernels that call it."""


def kernel(function):
    """Compile a CPU kernel whose `prange` loops run on one thread or all.

    BackendError if compiling is disabled in Numba.
    """
    if numba.config.DISABLE_JIT:
        raise BackendError(
            f"NUMBA_DISABLE_JIT={numba.config.DISABLE_JIT} is set, and the kernels of "
            "backend numba need Numba's compiler; unset it, or choose backend numpy"
        )
    return threads.Parallel(keep(_compile_parallel(function)), _use)


def serial(function):
    """Compile a CPU kernel that runs on one thread."""
    return keep(_compile(function))


@serial
def _use(threads):
    # for `threads.Parallel`
    before = get_num_threads()
    if threads:
        set_num_threads(threads)
    return before


def __getattr__(name):
    # what only CUDA needs is imported when the first kernel of a cuda.py asks for it
    if name == "cuda":
        return importlib.import_module("numba.cuda")
    if name == "gpu_intrinsic":
        return importlib.import_module("numba.cuda.extending").intrinsic
    if name == "core":
        return importlib.import_module("cuda.core")
    raise AttributeError(f"module 'minigen.target' has no attribute {name!r}")


def gpu_kernel(function=None, *, threads=None, blocks=1):
    """Declare a CUDA kernel. It is compiled when it is first launched, never before.

    threads: the most that a block of it may have; blocks: how many of those must fit on
    a multiprocessor. Without that, `@gpu_kernel(threads=128, blocks=4)`, the compiler
    may give a thread more registers than are left for so many.

    None of its indices may be negative: that Python counts those from an array's end
    would cost three instructions for each of them.
    """
    if function is None:
        return functools.partial(gpu_kernel, threads=threads, blocks=blocks)
    bounds = (threads, blocks) if threads else None
    kernel = keep(__getattr__("cuda").jit(function, launch_bounds=bounds), "cuda")
    return _with_plain_indices(kernel, "compile")


def gpu_inline(function):
    """Declare a helper that is compiled into the CUDA kernels that call it.

    It becomes part of them when they are optimised, not before: so it is translated
    once for all its callers, in a third of the time that inline="always" takes.
    """
    helper = __getattr__("cuda").jit(device=True, forceinline=True)(function)
    return _with_plain_indices(helper, "compile_device")


def _with_plain_indices(dispatcher, name):
    # a dispatcher whose method of this name compiles indices as they are
    def compile_plainly(*arguments, **options):
        # the method is looked up now: within `simt.cuda()` its class has another
        compile_as_python = getattr(type(dispatcher), name)
        with _plain_indices(dispatcher):
            return compile_as_python(dispatcher, *arguments, **options)

    setattr(dispatcher, name, compile_plainly)
    dispatcher.plain_indices = True
    return dispatcher


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
    return tuple(
        kind.copy(readonly=False) if isinstance(kind, numba.types.Array) else kind
        for kind in map(numba.typeof, arguments)
    )


def compile_ptx(kernel, types, cc, lines=False) -> str:
    """Return the PTX of a kernel for `argument_types` and a compute capability.

    cc: a pair such as (8, 0). lines: name the line of the source that each instruction
    comes from. Needs no GPU. BackendError without the compiler.
    """
    function = getattr(kernel, "py_func", kernel)
    bounds = getattr(kernel, "targetoptions", {}).get("launch_bounds")

    def make():
        _demand_compiler()
        compile_now = __getattr__("cuda").compile_ptx
        options = {"cc": cc, "lineinfo": lines, "launch_bounds": bounds}
        with _pretended(cc), _plain_indices(kernel), warnings.catch_warnings():
            # of a kernel without a file the lines are not known, and that is all
            warnings.filterwarnings("ignore", "Could not find source")
            return compile_now(function, types, **options)[0]

    about = types, cc, lines, bounds, getattr(kernel, "plain_indices", False)
    return kept_text(function, about, make)


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

    def number(pattern):
        return max(map(int, re.findall(pattern, log.decode())), default=0)

    return Resources(
        registers=number(r"Used (\d+) registers"),
        spills=number(r"(\d+) bytes spill stores"),
        stack=number(r"(\d+) bytes stack frame"),
        shared=number(r"(\d+) bytes smem"),
    )


def understood(kernel, types, cc):
    """Return what Numba understood of a kernel: its blocks, and all types in them.

    It is `type_annotation` of what Numba makes before it generates PTX. Needs no GPU.
    BackendError without the compiler; Numba's own errors for what does not compile.
    """
    _demand_compiler()
    compiler = importlib.import_module("numba.cuda.compiler")
    function = getattr(kernel, "py_func", kernel)
    with _pretended(cc), _plain_indices(kernel):
        compiled = compiler.compile_cuda(function, numba.types.void, types, cc=cc)
    return compiled.type_annotation


def float64_lines(kernel, types) -> list[tuple[str, int]]:
    """Return (file, line) of everything in a kernel that computes in float64.

    In Numba a plain literal such as 0.5 is float64, and so are an int64 times a
    float32 and a quotient of integers. A GPU computes in float64 at 1/2 to 1/64 of its
    speed. Helpers that are compiled into the kernel are looked at too.
    """
    lines = set()
    _gather_float64(understood(kernel, types, (8, 0)), lines)
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
    # imported here, since it brings all of asyncio
    from unittest import mock

    # without a driver Numba has no current device to ask which target to compile for
    device = mock.Mock(compute_capability=cc)
    return mock.patch("numba.cuda.dispatcher.get_current_device", lambda: device)


@contextmanager
def _plain_indices(kernel):
    # within: indices of a `gpu_kernel` are compiled as they are. Numba has no option
    # for it; where another numba-cuda does it elsewhere, they are counted as in Python
    arrayobj = importlib.import_module("numba.cuda.np.arrayobj")
    lock = importlib.import_module("numba.cuda.core.compiler_lock").global_compiler_lock
    with lock:
        as_in_python = getattr(arrayobj, "fix_integer_index", None)
        if as_in_python and getattr(kernel, "plain_indices", False):
            arrayobj.fix_integer_index = _as_it_is
        try:
            yield
        finally:
            if as_in_python:
                arrayobj.fix_integer_index = as_in_python


def _as_it_is(context, builder, kind, index, size):
    return context.cast(builder, index, kind, numba.types.intp)


def _demand_compiler():
    if not has_compiler():
        raise BackendError(
            "CUDA kernels cannot be compiled here: numba-cuda or NVIDIA's compiler "
            f"libraries are missing; run `{extras.install('cuda13')}`"
        )
