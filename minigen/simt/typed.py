"""The types of a kernel's variables, from Numba's own compiler, for one launch.

A GPU runs what the compiler made of a kernel: `uint8 + uint8` is an int64 there,
`x / n` of integers a float64, and a variable that is an int64 in one branch and a
float32 in the other a float64 in both. All that Numba decides before it generates code,
and that needs no GPU. So a launch asks it, and runs the kernel as it was understood
(translate.py). What Numba does not compile is refused with its own words.
"""

from __future__ import annotations

import re
import types

from minigen.errors import KernelError
from minigen.simt import language, numbers, rewrite
from minigen.simt.translate import translated, unknown

ASSUMED = (8, 0)
"""The compute capability that kernels are typed for."""


def possible() -> bool:
    """Say whether Numba's compiler for CUDA is installed."""
    try:
        from minigen import target
    except ImportError:
        # Numba itself is missing
        return False
    return target.has_compiler()


def typed(kernel, arguments, programs):
    """Return a kernel as Numba types it for arguments, or None, and why not.

    programs: a dict that keeps what was made, {(function, types): (made, text)}. Raises
    KernelError of kind "compile" for what Numba does not compile.
    """
    from minigen import target

    function = getattr(kernel, "py_func", kernel)
    kinds = _types(function, arguments)
    if kinds is None:
        return None, "Numba has no type for one of its arguments"
    known = programs.get((function, kinds))
    if known is None:
        known = programs[function, kinds] = _made(function, kinds, target, programs)
    if isinstance(known, KernelError):
        raise KernelError(known.kind, str(known).removeprefix(f"{known.kind}: "))
    return known


def program(kernel, *arguments) -> str:
    """Return the Python text of a kernel as Numba types it for some arguments."""
    programs = {}
    made, why = typed(kernel, numbers.numbered(arguments), programs)
    if made is None:
        raise KernelError("type", f"the kernel has no types: {why}")
    return programs["text", made]


def _types(function, arguments):
    from minigen import target

    try:
        return target.argument_types(arguments)
    except Exception:
        return None


def _made(function, kinds, target, programs):
    try:
        annotation = target.understood(_for_numba(function), kinds, ASSUMED)
    except Exception as error:
        if not _by_compiler(error):
            return None, f"{type(error).__name__}: {error}".splitlines()[0]
        return KernelError("compile", _words(error, function))
    made = {}
    try:
        return _translate(annotation, function, made, programs), ""
    except KernelError as error:
        if error.kind != "untyped":
            raise
        return None, str(error).removeprefix("untyped: ")


def _translate(annotation, function, made, programs):
    def called(dispatcher, signature):
        key = dispatcher, signature.args
        if key not in made:
            compiled = dispatcher.overloads.get(tuple(signature.args))
            if compiled is None:
                raise unknown(f"a call of {dispatcher.py_func.__name__}")
            about = compiled.type_annotation
            made[key] = _translate(about, dispatcher.py_func, made, programs)
        return made[key]

    result, text = translated(annotation, function, rewrite.replacement, called)
    programs["text", result] = text
    return result


def _for_numba(function):
    """Return a function that sees Numba's `cuda` where it saw the interpreter's."""
    names = rewrite.names_in(function.__code__)
    if all(function.__globals__.get(n) is not language.cuda for n in names):
        return function
    from minigen.target import cuda

    space = {
        name: cuda if value is language.cuda else value
        for name, value in function.__globals__.items()
    }
    copy = types.FunctionType(
        function.__code__, space, function.__name__, function.__defaults__,
        function.__closure__,
    )  # fmt: skip
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy


def _by_compiler(error):
    if isinstance(error, AttributeError) and "'numba.cuda'" in str(error):
        # a name that there is none of
        return True
    homes = "numba.core.errors", "numba.cuda.core.errors", "numba.cuda.errors"
    return any(kind.__module__.startswith(homes) for kind in type(error).__mro__)


def _words(error, function):
    """Return what Numba says in a few lines."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines()]
    lines = [
        line
        for line in lines
        if line
        and not line.startswith(("Failed in", "There are", "- Of which", "During"))
    ]
    said = "\n  ".join(dict.fromkeys(lines[:8]))
    return f"it does not compile: Numba says of {function.__name__}: {said}"
