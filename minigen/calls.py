"""Calls: each call of an op is checked against its signature before a kernel runs.

A kernel indexes with sizes that nobody compares again. So here every letter has one
size in a call, every dtype is known and in the byte order of this machine, every index
lies in its range, and what is written in place may be written to. What was right once
is remembered by its shapes and dtypes, so that the same again takes a microsecond;
indices are looked at every time.
"""

from __future__ import annotations

import functools
import math
import numbers
import operator

import numpy as np

from minigen.checks import LARGEST, shown
from minigen.errors import InputError, ShapeError
from minigen.signatures import Signature

WIDTHS = frozenset("dhevkcspgfrw")
"""Letters of sizes that are 1 at least: a model may have no images, but no channels."""

KEPT = 4096
"""Combinations of shapes and dtypes that are remembered of a function."""

INTEGERS = frozenset(f"{sign}int{n}" for sign in ("", "u") for n in (8, 16, 32, 64))
FLOATS = frozenset(("float32", "float64"))
WEIGHTS = frozenset(("float32", "float16", "bfloat16"))


def _kinds(number, weight, integer):
    entry = number | integer | {"uint8"}
    kinds = {"number": number, "weight": weight, "integer": integer, "entry": entry}
    # uniforms may come from elsewhere, with more digits than ours
    return kinds | {"byte": {"uint8"}, "fraction": FLOATS}


DTYPES = {
    "reference": _kinds(FLOATS, FLOATS | WEIGHTS, INTEGERS),
    "cpu": _kinds({"float32"}, WEIGHTS, INTEGERS),
    # a device knows a bfloat16 as its bits
    "cuda": _kinds(
        {"float32"}, {"float32", "float16", "uint16"}, {"int64", "int32", "uint32"}
    ),
    "hosted": _kinds({"float32"}, WEIGHTS | {"uint16"}, {"int64", "int32", "uint32"}),
}
"""The dtypes that an op's file takes for each kind of argument.

hosted: those of "cuda" while they are NumPy's, before they are moved to a device.
"""


def checked(signature: Signature, function, file="cpu", empty=None):
    """Return `function`, with each call checked against a signature first.

    function: takes the signature's arguments. file: a key of DTYPES, whose dtypes they
    have. Values are not looked at where it is "cuda": they are on a device. empty:
    answers instead of `function` where an axis has size 0.

    The result raises ShapeError for a shape, dtype, byte order or number that the
    signature does not allow, InputError for an index outside its range, and TypeError,
    as every function does, where there are too few arguments or too many.
    """
    look, order = _look(signature, file), _order(signature)
    empty, seen = empty or function, {}
    scalars = [
        index
        for index, one in enumerate(signature.arguments)
        if one.sizes is None and one.kind == "number"
    ]

    def call(*arguments, **options):
        if options:
            arguments = order(*arguments, **options)
        try:
            known = seen.get(look(*arguments))
        except (AttributeError, TypeError):
            # too few arguments, or a list where none may stand: refused below
            known = None
        if known is None:
            arguments = order(*arguments)
            known = _examine(signature, arguments, file)
            if len(seen) >= KEPT:
                seen.clear()
            seen[look(*arguments)] = known
        ranges, is_empty = known
        for index in scalars:
            value = arguments[index]
            # infinity is no bound at all, as of a step size
            if not -LARGEST <= value <= LARGEST and abs(value) != math.inf:
                raise ShapeError(
                    f"{signature.name}: {signature.arguments[index].name} is "
                    f"{shown(value)}, expected a number that float32 has room for"
                )
        for index, low, high in ranges:
            least, most = _ends(arguments[index])
            if least < low or most >= high:
                name = signature.arguments[index].name
                raise InputError(
                    f"{signature.name}: {name} go from {least} to {most}, expected "
                    f"{low} .. {high - 1}"
                )
        return (empty if is_empty else function)(*arguments)

    functools.update_wrapper(call, getattr(function, "func", function))
    # what it does is said in the reference
    call.__doc__ = signature.doc
    return call


def _ends(array):
    # the least and the highest entry; one alone is had faster
    if array.size == 1:
        return (array.item(),) * 2
    return np.minimum.reduce(array, None), np.maximum.reduce(array, None)


def _order(signature):
    # a function that returns its arguments in their order, however they are given
    names = [one.name for one in signature.arguments]
    return _written_out(signature, names)


def _look(signature, file):
    # what of the arguments must be the same for a call to be the same again
    parts = []
    for one in signature.arguments:
        if one.sizes is not None:
            look = f"{one.name}.shape, {one.name}.dtype, {one.name}.__class__"
            if one.changed and file != "cuda":
                look += f", {one.name}.flags.writeable"
        elif one.kind == "shape":
            look = f"{one.name}, tuple(map(type, {one.name}))"
        elif signature.is_ruled(one.name):
            # 2, 2.0 and True are one key of a dict
            look = f"{one.name}, {one.name}.__class__"
        else:
            look = f"{one.name}.__class__"
        parts.append(
            f"None if {one.name} is None else ({look})" if one.optional else look
        )
    return _written_out(signature, parts)


def _written_out(signature, parts):
    # as namedtuple does it: a loop over the arguments takes three times as long
    taken = (f"{a.name}=None" if a.optional else a.name for a in signature.arguments)
    return _function(signature.name, ", ".join(taken), ", ".join(parts))


@functools.cache
def _function(name, taken, parts):
    # once for all tables of a process
    function = eval(f"lambda {taken}: ({parts},)")
    function.__qualname__ = name
    return function


def _examine(signature, arguments, file):
    # the ranges of indices, and whether an axis is empty; or raise what is wrong
    sizes, arrays = {}, {}
    for index, (argument, value) in enumerate(
        zip(signature.arguments, arguments, strict=True)
    ):
        if argument.sizes is None:
            _expect_number(signature, argument, value)
            sizes[argument.name] = value
        elif not (value is None and argument.optional):
            _expect_array(signature, argument, value, file)
            arrays[argument.name] = index, value
    given = {signature.arguments[index]: a.shape for index, a in arrays.values()}
    _bind(given, sizes)
    for argument, shape in given.items():
        if shape != _expected(argument, sizes):
            raise _misshapen(signature, argument, shape, sizes)
        if 0 in shape:
            _expect_widths(signature, argument, shape)
        if argument.like:
            _expect_like(signature, argument, arrays)
    ranges = []
    for rule in signature.rules:
        if not rule.array:
            _expect_rule(signature, rule, sizes)
        elif file != "cuda" and rule.array in arrays and arrays[rule.array][1].size:
            low, high = (sum_of(rule.sums[n], sizes) for n in (0, 2))
            ranges.append((arrays[rule.array][0], low, high))
    return tuple(ranges), any(0 in shape for shape in given.values())


def _expect_number(signature, argument, value):
    right = isinstance(value, numbers.Real) and not isinstance(value, bool)
    expected = "a number"
    if argument.kind == "shape":
        expected, right = "a tuple of sizes", isinstance(value, tuple)
        right = right and all(isinstance(n, numbers.Integral) and n >= 0 for n in value)
    elif argument.kind == "integer":
        expected, right = "an integer", right and isinstance(value, numbers.Integral)
    if not right:
        raise ShapeError(
            f"{signature.name}: {argument.name} is {value!r}, expected {expected}"
        )


def _expect_array(signature, argument, value, file):
    name = f"{signature.name}: {argument.name}"
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        raise ShapeError(f"{name} is a {type(value).__name__}, expected an array")
    if isinstance(value, np.ma.MaskedArray):
        raise ShapeError(
            f"{name} is a masked array, and a kernel does not see its mask; fill it "
            "with .filled() first"
        )
    known = DTYPES[file][argument.kind]
    if value.dtype.name not in known or not value.dtype.isnative:
        order = "" if value.dtype.isnative else " in the byte order of other machines"
        raise ShapeError(
            f"{name} has dtype {value.dtype}{order}, expected "
            f"{' or '.join(sorted(known))}; convert it with .astype"
        )
    axes, given = len(argument.sizes), len(value.shape)
    if given < axes or (given > axes and argument.more is None):
        raise _misshapen(signature, argument, value.shape, {})
    if argument.changed and file != "cuda" and not value.flags.writeable:
        raise ShapeError(f"{name} is read-only and is written in place; pass a copy")


def split(argument, shape) -> tuple[tuple, tuple]:
    """Return the axes of a shape that a signature has sizes for, and those of `...`."""
    if argument.more is None:
        return shape, ()
    end = len(shape) - len(argument.sizes) + argument.more
    return (*shape[: argument.more], *shape[end:]), shape[argument.more : end]


def sizes_of(given, numbers) -> dict:
    """Return the size of each letter. given: {Argument: shape}; numbers: by name."""
    found = dict(numbers)
    _bind(given, found)
    return found


def shape_of(argument, sizes) -> tuple[int, ...]:
    """Return the shape that an argument or a result has for sizes by letter."""
    found = [
        size.times * sizes.get(size.letter, 1) // size.over + sizes.get(size.plus, 0)
        for size in argument.sizes
    ]
    if argument.more is not None:
        found[argument.more : argument.more] = sizes.get("...", ())
    return tuple(found)


def holds(rule, sizes) -> bool:
    """Say whether a rule about sizes and numbers is kept."""
    values = [sum_of(terms, sizes) for terms in rule.sums]
    pairs = zip(rule.signs, values, values[1:], strict=False)
    return all(_SIGNS[sign](left, right) for sign, left, right in pairs)


def _expect_widths(signature, argument, shape):
    for size, n in zip(argument.sizes, split(argument, shape)[0], strict=True):
        if n == 0 and size.letter in WIDTHS:
            raise ShapeError(
                f"{signature.name}: {argument.name} has shape {shape}, expected "
                f"{size} to be 1 at least, in its signature {signature.line}"
            )


def _expect_like(signature, argument, arrays):
    # a dtype that the other holds all of, but for float64 in a float32
    mine, its = (arrays[name][1].dtype for name in (argument.name, argument.like))
    whole = mine.kind in "iu" and its.kind in "iu" and np.can_cast(mine, its)
    if mine != its and not whole and not {mine.name, its.name} <= FLOATS:
        raise ShapeError(
            f"{signature.name}: {argument.name} has dtype {mine}, expected {its} as "
            f"{argument.like}"
        )


def _bind(given, sizes):
    # the size of each letter: a number's, an axis's, or that of an axis with a factor
    for alone in (True, False):
        for argument, shape in given.items():
            named, rest = split(argument, shape)
            for size, n in zip(argument.sizes, named, strict=True):
                if size.letter and (size.times == size.over == 1) == alone:
                    sizes.setdefault(size.letter, n * size.over // size.times)
            if argument.more is not None:
                sizes.setdefault("...", rest)


def _expected(argument, sizes):
    # the shape that an array has; a size that is not known, or not whole, is a word
    shape = []
    for size in argument.sizes:
        if size.letter and size.letter not in sizes:
            shape.append(str(size))
            continue
        n = size.times * sizes.get(size.letter, 1)
        shape.append(f"{n}/{size.over}" if n % size.over else n // size.over)
    if argument.more is not None:
        shape[argument.more : argument.more] = sizes.get("...", ("...",))
    return tuple(shape)


def _misshapen(signature, argument, shape, sizes):
    expected = ", ".join(map(str, _expected(argument, sizes)))
    comma = "," if len(argument.sizes) == 1 and argument.more is None else ""
    return ShapeError(
        f"{signature.name}: {argument.name} has shape {tuple(shape)}, expected "
        f"({expected}{comma}), by its signature {signature.line}"
    )


def _expect_rule(signature, rule, sizes):
    values = [sum_of(terms, sizes) for terms in rule.sums]
    for sign, left, right in zip(rule.signs, values, values[1:], strict=False):
        if not _SIGNS[sign](left, right):
            said = ", ".join(f"{n} is {sizes[n]}" for n in rule.names)
            raise ShapeError(f"{signature.name}: {said}, expected {rule.text}")


_SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_SIGNS |= {"=": operator.eq, "divides": lambda r, n: r > 0 and n % r == 0}


def sum_of(terms, sizes):
    """Return the sum of terms (factor, names), for sizes and numbers by name."""
    total = 0
    for factor, names in terms:
        for name in names:
            factor *= sizes[name]
        total += factor
    return total
