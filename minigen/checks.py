"""Checks of the values that a user gives, each kind once.

Python calls, the command line and the recipes in pictures all go through these. A check
is a function of the name and the value of an option. It returns the value in the type
that is used from there on, or raises an InputError that names the value, what was
expected, and the remedy. It runs before anything is loaded or expanded.
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches

from minigen.errors import InputError, ShapeError

LAST_IMAGE = 2**32 - 2
"""The highest number of an image: a counter has 32 bits, and the number after this one
belongs to the random order (`rng.ORDER_IMAGE`)."""

NO_CLASS = -1
"""The label of an image that is asked for without a class."""

MOST_STEPS = 2**16
"""Steps of a plan, and positions of its grid."""

MOST_PIXELS = 2**29
"""Pixels of a picture: three bytes of memory each, and as many again to write it."""

LARGEST = (2 - 2**-23) * 2.0**127
"""The largest float32."""


def integer(name: str, value, least: int = 0, most: int | None = None, hint="") -> int:
    """Return an integer of `least` .. `most` as an int; it may be one of NumPy's."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"of {least} .. {most}"
        raise InputError(f"{name} {shown(value)} is not an integer {span}{hint}")
    return int(value)


def number(
    name: str, value, least: float = -LARGEST, most: float = LARGEST, hint=""
) -> float:
    """Return a finite number, one that a float32 can hold, of `least` .. `most`."""
    x = math.nan
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        with suppress(OverflowError):
            x = float(value)
    if not (least <= x <= most and abs(x) <= LARGEST):
        span = f" of at least {least:g}" if least > -LARGEST else ""
        span = f" of {least:g} .. {most:g}" if most < LARGEST else span
        raise InputError(f"{name} {shown(value)} is not a finite number{span}{hint}")
    return x


def choice(name: str, value, known: Iterable[str], hint="", error=InputError) -> str:
    """Return a name that is among the known ones.

    >>> choice("order", "halten", ["raster", "halton"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigen.errors.InputError: order 'halten' is not known; did you mean halton? ...
    """
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise error(
            f"{name} {shown(value)} is not known; {near(value, known)}choose from "
            f"{', '.join(known)}{hint}"
        )
    return str(value)


def near(value, known: Iterable[str]) -> str:
    """Return "did you mean ...? " with the known name that is nearest, if one is."""
    if not isinstance(value, str) or len(value) > 100:
        return ""
    close = get_close_matches(value.lower(), list(known), 1)
    return f"did you mean {close[0]}? " if close else ""


def text(name: str, value, most: int = 4096, least: int = 1, error=InputError) -> str:
    """Return a text of `least` .. `most` characters, none of them NUL."""
    if not isinstance(value, str) or not least <= len(value) <= most or "\0" in value:
        raise error(
            f"{name} {shown(value)} is not a text of {least} .. {most} characters, "
            "none of them NUL"
        )
    return value


def path(name: str, value, error=InputError) -> str:
    """Return a path, a text or what Python takes for one, as a text without NUL."""
    if not isinstance(value, str | os.PathLike):
        raise error(f"{name} {shown(value)} is neither a name nor a path; give a text")
    return text(name, os.fsdecode(value), error=error)


def optional(check: Callable, name: str, value):
    """Return None if the value is None, else the result of the check."""
    return None if value is None else check(name, value)


def integers(
    name: str, value, least=0, most=None, longest=LAST_IMAGE, hint=""
) -> tuple:
    """Return a tuple of integers, given as a sequence or an array of one axis.

    longest: how many there may be.
    """
    if hasattr(value, "__array__"):
        import numpy as np

        value = np.asarray(value)
        value = value.tolist() if value.ndim == 1 and value.size <= longest else value
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray):
        raise InputError(
            f"{name} {shown(value)} is not a list of integers{hint}; give a list, "
            "a tuple or an array of one axis"
        )
    if len(value) > longest:
        raise InputError(
            f"{name} has {len(value)} numbers; there may be {longest} at most{hint}"
        )
    return tuple(integer(name, x, least, most, hint) for x in value)


def labels(given, classes: int) -> tuple[int, ...]:
    """Return class numbers, at least one, each of 0 .. classes - 1, or NO_CLASS.

    given: one, or a sequence of them.

    >>> labels(7, classes=10), labels(range(3), classes=10)
    ((7,), (0, 1, 2))
    """
    if getattr(given, "ndim", 1) == 0 and hasattr(given, "item"):
        given = given.item()
    if isinstance(given, range):
        # a range is as good as its ends, however long it is
        given = (given[0], given[-1]) if outside(given, classes) else given
    hint = f"; this model's classes are 0 .. {classes - 1}, and {NO_CLASS} is none"
    given = [given] if isinstance(given, numbers.Number | str) else given
    found = integers("class", given, NO_CLASS, hint=hint)
    if not found:
        raise InputError("no labels were given; give at least one class")
    for label in found:
        if label >= classes:
            raise InputError(
                f"class {shown(label)} is not one of this model's {classes} classes, "
                f"0 .. {classes - 1}"
            )
    return found


def outside(given: range, classes: int) -> bool:
    """Return whether a range contains a number that is neither a class nor NO_CLASS."""
    return any(not NO_CLASS <= end < classes for end in (*given[:1], *given[-1:]))


def images(first, count: int) -> int:
    """Return the number of the first of `count` images, all of 0 .. LAST_IMAGE."""
    first = integer("first", first, 0, LAST_IMAGE)
    if first + count - 1 > LAST_IMAGE:
        raise InputError(
            f"first {first} and {count} images reach image {first + count - 1}; the "
            f"numbers of images are 0 .. {LAST_IMAGE}: begin earlier, or take fewer"
        )
    return first


def picture(pixels: int, remedy: str) -> None:
    """Raise InputError if a picture, or several kept together, have too many pixels."""
    if pixels > MOST_PIXELS:
        raise InputError(
            f"{shown(pixels)} pixels are more than the {MOST_PIXELS} that one picture, "
            f"or one run's, may have; {remedy}"
        )


def integer_array(name: str, value):
    """Return an array of integers as a new one of int64, or raise ShapeError."""
    array = _array(name, value)
    if array.dtype.kind not in "iu" and array.size:
        raise ShapeError(
            f"{name} of dtype {array.dtype}; expected integers, such as int64"
        )
    if array.size and not -(2**63) <= int(array.max()) < 2**63:
        raise InputError(f"{name} reach {array.max()}; expected int64")
    return array.astype("int64")


def number_array(name: str, value, finite: bool = True):
    """Return an array of finite numbers as a new one of float32.

    finite: whether they must be finite. Raises ShapeError, InputError.
    """
    import numpy as np

    array = _array(name, value)
    if array.dtype.kind not in "iuf" and array.dtype.name != "bfloat16":
        raise ShapeError(
            f"{name} of dtype {array.dtype}; expected numbers, such as float32"
        )
    with np.errstate(over="ignore"):
        array = array.astype("float32")
    if finite and not np.isfinite(array).all():
        raise InputError(f"{name} hold numbers that are not finite")
    return array


def shown(value, most: int = 60) -> str:
    """Return a value as a message shows it: on one line, and short.

    >>> shown("a\\nb"), shown(10**100, most=12)
    ("'a\\\\nb'", '10000000 ...')
    """
    try:
        said = " ".join(repr(value).split())
    except ValueError:
        said = f"({type(value).__name__} of very many digits)"
    return said if len(said) <= most else f"{said[: most - 4]} ..."


def _array(name, value):
    import numpy as np

    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        raise ShapeError(f"{name} {shown(value)} are no array of numbers") from None
