"""Load the function that `mine.py:kernel` names, and find out its kind."""

from __future__ import annotations

import linecache
import sys
import traceback
import types
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from minigen.errors import InputError

_CUDA = ("numba.cuda", "numba_cuda.numba.cuda")


@dataclass(frozen=True)
class Subject:
    """What is checked: a kernel for CUDA, an njit function, or a Python function.

    kind: "kernel", "njit" or "python"; function: as it was given; name: its own.
    """

    kind: str
    function: Callable
    name: str

    @property
    def source(self):
        """The Python function beneath whatever compiles it."""
        return getattr(self.function, "py_func", self.function)


def load(where: str, what="--kernel"):
    """Return what FILE:NAME names, or raise InputError with the wrong line.

    what: what it is to be, for messages.

    The file is run as a module that nobody else can import; other files beside it may
    be imported by it. Nothing of that is left: no module and no compiled file.
    """
    file, colon, name = where.rpartition(":")
    if not colon or not file or not name.isidentifier():
        raise InputError(f"{what}: {where} names no function; write FILE.py:NAME")
    path = Path(file)
    if not path.is_file():
        raise InputError(f"file {file} was not found; {what} wants FILE.py:NAME")
    linecache.checkcache(str(path))
    space = _run(path)
    if name in space:
        return space[name]
    own = [n for n, value in space.items() if callable(value) and _home(value) == path]
    close = get_close_matches(name, own, 1)
    hint = (
        f"did you mean {close[0]}?" if close else f"it has {', '.join(own) or 'none'}"
    )
    raise InputError(f"{file} has no function {name!r}; {hint}")


def subject(given, as_kernel=False) -> Subject:
    """Return what kind of thing was given, or raise InputError if it is none.

    as_kernel: a plain Python function is a kernel even if it does not mention `cuda`.
    """
    if not callable(given) and not hasattr(given, "py_func"):
        raise InputError(f"{given!r} cannot be called; give a kernel or a function")
    source = getattr(given, "py_func", given)
    name = getattr(source, "__name__", type(given).__name__)
    if source is not given:
        if not type(given).__module__.startswith(_CUDA):
            return Subject("njit", given, name)
        if given.targetoptions.get("device"):
            raise InputError(
                f"{name} is a device function, which kernels call; give a kernel"
            )
        return Subject("kernel", given, name)
    if isinstance(given, types.FunctionType) and (as_kernel or _speaks_cuda(given)):
        return Subject("kernel", given, name)
    return Subject("python", given, name)


def _speaks_cuda(function):
    module = function.__globals__.get("cuda")
    named = "cuda" in function.__code__.co_names
    return named and getattr(module, "__name__", "") in _CUDA


def _run(path):
    module = types.ModuleType(path.stem)
    # the name as it was given: it is what messages will say
    module.__file__ = str(path)
    before, folder = set(sys.modules), str(path.resolve().parent)
    shadowed, bytecode = sys.modules.get(path.stem), sys.dont_write_bytecode
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    sys.modules[path.stem] = module
    try:
        text = path.read_text(encoding="utf-8")
        code = compile(text, str(path), "exec")
        with _gpu_pretended() if "cuda" in text else nullcontext():
            exec(code, vars(module))
    except SyntaxError as error:
        where = f"{error.filename}:{error.lineno}"
        raise InputError(
            f"{where}: {error.msg}: {(error.text or '').strip()}"
        ) from None
    except Exception as error:
        raise InputError(_complaint(path, error)) from None
    finally:
        sys.path.remove(folder)
        sys.dont_write_bytecode = bytecode
        _forget(path.stem, shadowed, before, folder)
    return vars(module)


def _gpu_pretended():
    # a kernel that was given a signature is compiled at once, for the GPU that is there
    from minigen import simt, target

    return nullcontext() if target.has_gpu() else simt.cuda()


def _forget(name, shadowed, before, folder):
    if shadowed is None:
        del sys.modules[name]
    else:
        sys.modules[name] = shadowed
    for other in set(sys.modules) - before:
        file = getattr(sys.modules[other], "__file__", None) or ""
        if str(Path(file).parent) == folder:
            del sys.modules[other]


def _complaint(path, error):
    lines = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    where = f"{path}:{lines[-1].lineno}: {lines[-1].line}: " if lines else f"{path}: "
    return f"{where}{type(error).__name__}: {error}"


def _home(value):
    code = getattr(getattr(value, "py_func", value), "__code__", None)
    return Path(code.co_filename) if code else None
