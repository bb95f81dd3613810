"""The four lines under the def of a CUDA kernel: parse them, and compare with a run.

    One block per row of x (n d).
    Threads stride along the row, then add up their sums through shared memory.
    Reads x 2, w n; writes y 1.
    Shared memory: 128 bytes.

Line 1 says what a block is for, and names the axes of arrays: after `x (n d)`, or
`x and y are (n d)`, n and d are the sizes of x. Line 2 says what a thread does. Line 3
says how often each cell of an array is read and written, line 4 how many bytes of
shared memory a block has (`none` for none). A fifth line, if there is one, gives the
reason why a thread keeps registers in memory.

A number may be an expression of integers and names: those of line 1, those of the
kernel's scalar arguments, and constants of its module in capitals; with + - * // % ( )
min and max. Where not all cells are alike, `0..n` gives the least and the most.

An argument `flag` is not counted: a kernel sets it where its arguments are wrong, and
else never touches it (`minigen/gpu/flag.py`).
"""

from __future__ import annotations

import ast
import inspect
import operator
import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from minigen.errors import KernelError

FORM = """expected four lines such as
    One block per row of x (n d).
    Threads stride along the row.
    Reads x 2, w n; writes y 1.
    Shared memory: 128 bytes."""
"""The end of every message about a header."""

_AXES = re.compile(r"(\w+(?:(?:, | and )\w+)*)(?: is| are)? \(([^)]+)\)")
_SIZE = re.compile(r"(?=.)(\d*)([a-z]?)(?:/(\d+))?")
_TRAFFIC = re.compile(r"Reads (.+); writes (.+)\.")
_SHARED = re.compile(r"Shared memory: (?:(none)|(.+) bytes)\.")
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


@dataclass(frozen=True)
class Header:
    """The parsed header of a kernel.

    block, threads: lines 1 and 2; axes: for an array argument the sizes line 1 names;
    reads, writes: for an array argument how often each cell is, as an expression;
    shared: bytes of shared memory, as an expression; reason: line 5, or nothing.
    """

    block: str
    threads: str
    axes: dict[str, tuple[str, ...]]
    reads: dict[str, str]
    writes: dict[str, str]
    shared: str
    reason: str = ""


def parse(kernel) -> Header:
    """Return the header of a kernel: a CUDA dispatcher, or the function itself.

    Raises KernelError of kind "header" if it has none, or none that can be understood.
    """
    function = getattr(kernel, "py_func", kernel)
    arguments = list(inspect.signature(function).parameters)
    lines = inspect.cleandoc(function.__doc__ or "").strip().splitlines()
    if len(lines) not in (4, 5) or not all(lines):
        _complain(kernel, f"has {len(lines)} lines of docstring, {FORM}")
    block, threads, traffic, shared, *reason = lines
    found = _TRAFFIC.fullmatch(traffic)
    if not found:
        _complain(kernel, f"has as its third line {traffic!r}, {FORM}")
    reads, writes = (_counts(kernel, part, arguments) for part in found.groups())
    found = _SHARED.fullmatch(shared)
    if not found:
        _complain(kernel, f"has as its fourth line {shared!r}, {FORM}")
    bytes_ = "0" if found[1] else found[2]
    axes = _axes(kernel, block, arguments)
    letters = {_factor(size)[1] for sizes in axes.values() for size in sizes}
    known = {*arguments, *letters - {""}, *_constants(function)}
    for expression in (*reads.values(), *writes.values(), bytes_):
        _check(kernel, expression, known)
    return Header(block, threads, axes, reads, writes, bytes_, "".join(reason))


def names(kernel, header, arguments) -> dict[str, int]:
    """Return the values of the names in a header, for a launch with `arguments`.

    Raises KernelError of kind "header" if line 1 does not fit the arguments.
    """
    function = getattr(kernel, "py_func", kernel)
    values = dict(zip(inspect.signature(function).parameters, arguments, strict=True))
    bound = _constants(function)
    bound |= {n: int(v) for n, v in values.items() if isinstance(v, int | np.integer)}
    for argument, sizes in header.axes.items():
        shape = tuple(values[argument].shape)
        said = f"says {argument} is ({' '.join(sizes)}), it was launched with {shape}"
        if len(shape) != len(sizes):
            _complain(kernel, said)
        for size, length in zip(sizes, shape, strict=True):
            factor, letter = _factor(size)
            value = length / factor
            if value != (bound.setdefault(letter, int(value)) if letter else 1):
                where = f", where {letter} is {bound[letter]}" if letter else ""
                _complain(kernel, said + where)
    return bound


def verify(header, report, names) -> list[str]:
    """Return the differences between a run and the header, none if all is well.

    report: of `simt.launch` with watch; names: what the names in the header stand for.
    """
    findings = []
    for argument, counts in _counted(report.reads):
        said = header.reads.get(argument)
        findings += _differences(argument, ("read", "read"), said, counts, names)
    for argument, counts in _counted(report.writes):
        said = header.writes.get(argument)
        findings += _differences(argument, ("written", "wrote"), said, counts, names)
    shared = evaluate(header.shared, names)
    if shared != report.shared_bytes:
        findings.append(
            f"header says a block has {shared} bytes of shared memory, the kernel took "
            f"{report.shared_bytes}"
        )
    return findings


def _counted(traffic):
    return ((name, counts) for name, counts in traffic.items() if name != "flag")


def _differences(argument, verbs, said, counts, names):
    least, most = bounds(said or "0", names)
    wrong = np.argwhere((counts < least) | (counts > most))
    if not len(wrong):
        return []
    times = f"{least}" if least == most else f"{least} to {most}"
    claim = f"header says {argument} is {verbs[0]} {times} times a cell"
    if said is None:
        claim = f"header does not say that {argument} is {verbs[0]}"
    elif not said.isdecimal():
        claim += f" ({said})"
    cell = tuple(wrong[0].tolist())
    entry = f"{argument}[{', '.join(map(str, cell))}]"
    more = f", and {len(wrong) - 1} other cells" if len(wrong) > 1 else ""
    done = f"the kernel {verbs[1]} {entry} {counts[cell]} times"
    return [f"{claim}, {done}{more}"]


def bounds(expression, names) -> tuple[int, int]:
    """Return the least and the most that an expression allows.

    >>> bounds("2 * n", {"n": 5}), bounds("0..n", {"n": 5})
    ((10, 10), (0, 5))
    """
    least, _, most = expression.partition("..")
    least = evaluate(least, names)
    return least, evaluate(most, names) if most else least


def evaluate(expression, names) -> int:
    """Return the value of an expression of integers and names.

    Raises KernelError of kind "header" for anything else.

    >>> evaluate("(n + 31) // 32 * min(4, d)", {"n": 33, "d": 5})
    8
    """
    try:
        return _value(_tree(expression), names)
    except ZeroDivisionError:
        raise KernelError("header", f"{expression!r} divides by zero") from None
    except KeyError as error:
        raise KernelError(
            "header", _unknown(expression, error.args[0], names)
        ) from None


def _tree(expression):
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError:
        tree = None
    if tree is None or not _understood(tree):
        raise KernelError(
            "header",
            f"{expression!r} cannot be worked out; use integers, names, "
            "+ - * // % ( ), min and max",
        )
    return tree


def _understood(node):
    match node:
        case ast.Constant(value=value):
            return type(value) is int
        case ast.Name():
            return True
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _understood(operand)
        case ast.BinOp(op=op, left=left, right=right):
            return type(op) in _OPERATORS and _understood(left) and _understood(right)
        case ast.Call(func=ast.Name(id="min" | "max"), args=[_, *_], keywords=[]):
            return all(map(_understood, node.args))
    return False


def _value(node, names):
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return names[name]
        case ast.UnaryOp(operand=operand):
            return -_value(operand, names)
        case ast.BinOp(op=op, left=left, right=right):
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.Call(func=function, args=args):
            pick = min if function.id == "min" else max
            return pick(_value(argument, names) for argument in args)


def _unknown(expression, name, names):
    return (
        f"{expression!r} holds {name}, which stands for nothing; line 1 names the axes "
        f"of an array, as in `x (n d)`; known are {', '.join(sorted(names))}"
    )


def _check(kernel, expression, known):
    for part in expression.split(".."):
        try:
            tree = _tree(part)
        except KernelError as error:
            _complain(kernel, f"cannot be read: {str(error).removeprefix('header: ')}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id not in {*known, "min", "max"}:
                _complain(
                    kernel, f"cannot be read: {_unknown(expression, node.id, known)}"
                )


def _constants(function):
    # of the module a kernel stands in
    return {
        name: value
        for name, value in function.__globals__.items()
        if name.isupper() and type(value) is int
    }


def _counts(kernel, part, arguments):
    if part == "nothing":
        return {}
    counts = {}
    for piece in re.split(r",(?![^(]*\))", part):
        argument, _, expression = piece.strip().partition(" ")
        if argument not in arguments:
            _complain(
                kernel,
                f"counts {argument!r}, which is no argument; those are "
                f"{', '.join(arguments)}",
            )
        if not expression:
            _complain(kernel, f"does not say how often {argument} is, {FORM}")
        if argument in counts:
            _complain(kernel, f"counts {argument} twice")
        counts[argument] = expression
    return counts


def _axes(kernel, block, arguments):
    axes = {}
    for named, inside in _AXES.findall(block):
        sizes = inside.split()
        if not all(map(_SIZE.fullmatch, sizes)):
            # words in brackets, not axes
            continue
        *others, last = re.split(r", | and ", named)
        if last not in arguments:
            _complain(
                kernel,
                f"names the axes ({inside}) of {last!r}, which is no argument; "
                f"those are {', '.join(arguments)}",
            )
        for argument in (*others, last):
            if argument in arguments:
                axes[argument] = tuple(sizes)
    return axes


def _factor(size):
    # 2y is two times y, e/2 is half of e, 3 is three
    factor, letter, divisor = _SIZE.fullmatch(size).groups()
    return Fraction(int(factor or 1), int(divisor or 1)), letter


def _complain(kernel, what):
    function = getattr(kernel, "py_func", kernel)
    raise KernelError("header", f"the header of {function.__name__} {what}")
