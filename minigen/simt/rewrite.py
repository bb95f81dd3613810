"""Copies of functions that see our `cuda` where the original saw Numba's.

A Python function looks its globals up in a dictionary when it runs. So a kernel is
interpreted by making a second function of the same code and another dictionary, in
which `cuda` is minigen.simt's, `math` computes in float32, compiled functions are plain
ones, and intrinsics are their Python twins. The kernel itself is not changed.
"""

from __future__ import annotations

import math
import types
import weakref

from minigen.errors import KernelError
from minigen.simt import faults, twins
from minigen.simt.half import halves
from minigen.simt.language import cuda
from minigen.simt.libdevice import table
from minigen.simt.maths import maths

_CUDA = ("numba.cuda", "numba_cuda.numba.cuda")
_OF_A_THREAD = ("threadIdx", "blockIdx", "blockDim", "gridDim")
_NOTHING = object()
_copies = weakref.WeakKeyDictionary()


def interpretable(kernel):
    """Return a kernel's copy, whether it syncs the grid, and a dict for its programs.

    kernel: a plain function, or a compiled one that has `.py_func`. The dict is a new
    one as soon as a value that the kernel names is another one (see typed.py).
    """
    function = getattr(kernel, "py_func", kernel)
    if not isinstance(function, types.FunctionType):
        raise KernelError("type", f"{kernel!r} is no kernel; give a Python function")
    known = _copies.get(function)
    if known is None or not _still(known[2]):
        origins = []
        copy = _copy(function, {}, origins)
        together = mentions(copy, "this_grid")
        known = _copies[function] = copy, together, origins, {}
    return known[0], known[1], known[3]


def replacement(value):
    """Return what the interpreter has in place of one value that a kernel names."""
    return _replace(value, {}, [])


def names_in(code):
    """Return all global and attribute names that a code object mentions."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= names_in(constant)
    return names


def mentions(function, name, seen=None) -> bool:
    """Return whether a function, or one that it calls by a global name, uses `name`."""
    seen = set() if seen is None else seen
    if function in seen:
        return False
    seen.add(function)
    names = names_in(function.__code__)
    values = [function.__globals__.get(n) for n in names]
    values += [_contents(cell) for cell in function.__closure__ or ()]
    return name in names or any(
        mentions(value, name, seen)
        for value in values
        if isinstance(value, types.FunctionType)
    )


def _still(origins):
    """Return whether the copied values are still the current ones."""
    for holder, name, value in origins:
        now = _contents(holder) if name is None else holder.get(name, _NOTHING)
        if now is not value:
            return False
    return True


def _contents(cell):
    try:
        return cell.cell_contents
    except ValueError:
        # a name that its function has not come to yet
        return _NOTHING


def _copy(function, made, origins):
    if function in made:
        return made[function]
    names, values = function.__globals__, function.__closure__ or ()
    space = {"__builtins__": __builtins__, "__name__": function.__module__}
    cells = tuple(types.CellType() for _ in values)
    copy = types.FunctionType(
        function.__code__, space, function.__name__, function.__defaults__, cells
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    made[function] = copy
    for name in names_in(function.__code__):
        value = names.get(name, _NOTHING)
        origins.append((names, name, value))
        if value is not _NOTHING:
            space[name] = _replace(value, made, origins)
    for cell, original in zip(cells, values, strict=True):
        value = _contents(original)
        origins.append((original, None, value))
        if value is not _NOTHING:
            cell.cell_contents = _replace(value, made, origins)
    return copy


def _replace(value, made, origins):
    if isinstance(value, types.ModuleType):
        return _replace_module(value, made, origins)
    if type(value).__name__ == "_Intrinsic" or _is_numba_cuda(value):
        return _replace_intrinsic(value)
    if hasattr(value, "py_func"):
        return _copy(value.py_func, made, origins)
    if isinstance(value, types.FunctionType) and not _is_plain(value.__module__):
        return _copy(value, made, origins)
    if isinstance(value, types.BuiltinFunctionType) and value.__module__ == "math":
        return getattr(maths, value.__name__)
    return value


def _is_plain(module):
    # what needs no other `cuda`: NumPy, and the interpreter itself
    return (module or "").startswith(("numpy.", "minigen.simt."))


def _is_numba_cuda(value):
    home = getattr(value, "__module__", None) or ""
    is_theirs = home.startswith(_CUDA) and ".tests." not in home
    return isinstance(value, (type, types.FunctionType)) and is_theirs


def _replace_module(module, made, origins):
    if module is math:
        return maths
    if module.__name__ in _CUDA:
        return cuda
    if module.__name__.startswith(_CUDA):
        return getattr(cuda, module.__name__.rpartition(".")[2])
    if _is_plain(module.__name__ + "."):
        return module
    return Module(module, made, origins)


def _replace_intrinsic(value):
    twin = getattr(twins, value.__name__, None)
    if twin is not None:
        return twin
    if getattr(value, "__module__", "").endswith("libdevice"):
        return getattr(table, value.__name__, value)
    half = getattr(halves, value.__name__.lstrip("_"), None)
    if half is not None:
        return half
    if value.__name__ == "this_grid":
        return cuda.cg.this_grid
    path = getattr(value, "__qualname__", value.__name__).split(".")
    if path[0] in _OF_A_THREAD:
        return Later(path[0])
    found = cuda
    for name in path:
        found = getattr(found, name, None)
    return _without_twin(value.__name__) if found is None else found


def _without_twin(name):
    def call(*values):
        faults.stop(
            "unsupported",
            f"{name} is known to the compiler only; the interpreter needs a function "
            f"of that name in minigen/simt/twins.py or language.py",
        )

    return call


class Later:
    """threadIdx and its like, imported by name: another one in each thread."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, axis):
        return getattr(getattr(cuda, self._name), axis)


class Module:
    """A module whose functions are copied when a kernel asks for them."""

    def __init__(self, module, made, origins):
        self._source = module, made, origins

    def __getattr__(self, name):
        module, made, origins = self._source
        value = getattr(module, name)
        origins.append((vars(module), name, vars(module).get(name, _NOTHING)))
        value = _replace(value, made, origins)
        setattr(self, name, value)
        return value
