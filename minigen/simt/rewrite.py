"""Copies of functions that see our `cuda` where the original saw Numba's.

A Python function looks its globals up in a dictionary when it runs. So a kernel is
interpreted by making a second function of the same code and another dictionary, in
which `cuda` is minigen.simt's, `math` computes in float32, compiled functions are plain
ones, and intrinsics are their Python twins. The kernel itself is left as it is.
"""

from __future__ import annotations

import math
import types
import weakref

from minigen.errors import KernelError
from minigen.simt import twins
from minigen.simt.language import cuda
from minigen.simt.libdevice import table
from minigen.simt.maths import maths

_CUDA = ("numba.cuda", "numba_cuda.numba.cuda")
_copies = weakref.WeakKeyDictionary()


def interpretable(kernel):
    """Return a copy of a kernel that runs in the interpreter.

    kernel: a plain function, or a compiled one that has `.py_func`.
    """
    function = getattr(kernel, "py_func", kernel)
    if not isinstance(function, types.FunctionType):
        raise KernelError("type", f"{kernel!r} is no kernel; give a Python function")
    known = _copies.get(function)
    # a global may have been given another value since
    if known is None or not all(space.get(n) is v for space, n, v in known[1]):
        origins = []
        known = _copies[function] = _copy(function, {}, origins), origins
    return known[0]


def names_in(code):
    """Return all global and attribute names that a code object mentions."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= names_in(constant)
    return names


def mentions(function, name, seen=None) -> bool:
    """Tell whether a function, or one that it calls by a global name, says `name`."""
    seen = set() if seen is None else seen
    if function in seen:
        return False
    seen.add(function)
    names = names_in(function.__code__)
    values = [function.__globals__.get(n) for n in names]
    values += [cell.cell_contents for cell in function.__closure__ or ()]
    return name in names or any(
        mentions(value, name, seen)
        for value in values
        if isinstance(value, types.FunctionType)
    )


def _copy(function, made, origins):
    if function in made:
        return made[function]
    space = {"__builtins__": __builtins__, "__name__": function.__module__}
    cells = tuple(types.CellType() for _ in function.__closure__ or ())
    copy = types.FunctionType(
        function.__code__, space, function.__name__, function.__defaults__, cells
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    made[function] = copy
    for name in names_in(function.__code__):
        if name in function.__globals__:
            value = function.__globals__[name]
            origins.append((function.__globals__, name, value))
            space[name] = _replace(value, made, origins)
    for cell, original in zip(cells, function.__closure__ or (), strict=True):
        cell.cell_contents = _replace(original.cell_contents, made, origins)
    return copy


def _replace(value, made, origins):
    if isinstance(value, types.ModuleType):
        return _replace_module(value, made, origins)
    if type(value).__name__ == "_Intrinsic" or _is_numba_cuda(value):
        return _replace_intrinsic(value)
    if hasattr(value, "py_func"):
        return _copy(value.py_func, made, origins)
    if isinstance(value, types.FunctionType):
        return _copy(value, made, origins)
    if isinstance(value, types.BuiltinFunctionType) and value.__module__ == "math":
        return getattr(maths, value.__name__)
    return value


def _is_numba_cuda(value):
    home = getattr(value, "__module__", None) or ""
    return isinstance(value, (type, types.FunctionType)) and home.startswith(_CUDA)


def _replace_module(module, made, origins):
    if module is math:
        return maths
    if module.__name__ in _CUDA:
        return cuda
    if module.__name__.startswith(_CUDA):
        return getattr(cuda, module.__name__.rpartition(".")[2])
    if module.__name__.partition(".")[0] == "numpy":
        return module
    return Module(module, made, origins)


def _replace_intrinsic(value):
    twin = getattr(twins, value.__name__, None)
    if twin is not None:
        return twin
    if getattr(value, "__module__", "").endswith("libdevice"):
        return getattr(table, value.__name__)
    place = cuda
    for name in getattr(value, "__qualname__", value.__name__).split("."):
        place = getattr(place, name)
    return place


class Module:
    """A module whose functions are copied when a kernel asks for them."""

    def __init__(self, module, made, origins):
        self._source = module, made, origins

    def __getattr__(self, name):
        module, made, origins = self._source
        value = _replace(getattr(module, name), made, origins)
        setattr(self, name, value)
        return value
