"""A kernel of anybody's and the NumPy function it is to agree with: what joins them.

    x (n d), w (d), eps -> y (n d)
    where 1 <= n <= 64, w is a weight

is a signature as those of our ops (minigen/ops/README.md). The reference takes what
stands before the arrow and returns what stands after it; the kernel takes both, the
arrays of its results last, or in any order if it calls them by the same names. Together
they make a `Spec`, the same as one of an op: so drawn cases, schedules of threads and
shrinking are those of minigen/checking/trials.py.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from minigen import calls, signatures
from minigen.checking import header
from minigen.checking.functions import raised
from minigen.checking.loading import Subject
from minigen.checking.spec import Spec, absolute, several, wide
from minigen.checking.tolerance import EPS, FACTOR
from minigen.checks import integer, near, number, shown
from minigen.errors import ConfigError, InputError, KernelError

SCALES = (1.0, 5.0, 0.1)
"""Scales of the numbers of an array."""

NUMBERS = (1.0, 0.5, 2.0, 1e-5)
"""Values of a number of which nothing is known."""

MOVES = 4
"""How often each input is moved by one eps, to see how far the results follow."""

_BETWEEN_COMMAS = re.compile(r",(?![^(]*\))")


@dataclass(frozen=True)
class Choices:
    """What a caller may say of cases; nothing of it must be said.

    dtypes: of arguments and results by name; sizes: the sizes of a letter; values: of a
    number those to draw from, of an array its (least, most), or a function of a NumPy
    generator and a shape; tolerance: the error that is allowed, in units of the
    magnitude, or a function of the case that returns it for each result.
    """

    dtypes: Mapping = field(default_factory=dict)
    sizes: Mapping = field(default_factory=dict)
    values: Mapping = field(default_factory=dict)
    tolerance: float | Callable | None = None


@dataclass(frozen=True, eq=False)
class Pair:
    """A kernel, the reference it is held to, and the signature of the two.

    grid, block, dynamic: as `launched` takes them; None for a function that is no
    kernel and is called as the reference is.
    """

    subject: Subject
    reference: Callable
    signature: signatures.Signature
    choices: Choices
    grid: object = None
    block: object = None
    dynamic: object = 0

    @property
    def changed(self) -> tuple[str, ...]:
        """Arguments that are written in place, and are the last results."""
        named = {one.name for one in self.signature.results}
        return tuple(
            one.name
            for one in self.signature.arguments
            if one.changed or one.name in named
        )

    @property
    def results(self) -> tuple:
        """The results that have arrays of their own."""
        arguments = {one.name for one in self.signature.arguments}
        return tuple(one for one in self.signature.results if one.name not in arguments)

    def names(self) -> list[str]:
        """Return the names of arguments and results, in the signature's order."""
        own = [one.name or f"result_{i}" for i, one in enumerate(self.results)]
        return [*(one.name for one in self.signature.arguments), *own]

    def specification(self) -> Spec:
        """Return the Spec of the two, whose cases have the choices of the caller."""
        return Spec(
            self.subject.name, self.draw, self.magnitude, changes=self.changed,
            of=self.expected, launcher=self.launch if self.grid is not None else None,
        )  # fmt: skip

    # cases

    def draw(self, draw, known=None):
        """Return a case: sizes that fit the rules, then numbers, then arrays.

        known: sizes and numbers that are not drawn.
        """
        sizes = self._sizes(draw, known or {})
        case = {}
        for one in self.signature.arguments:
            if one.sizes is None:
                case[one.name] = sizes[one.name]
            elif one.optional and not draw.given():
                case[one.name] = None
            else:
                case[one.name] = self._array(draw, one, sizes)
        return case

    def _sizes(self, draw, known):
        # of letters and of numbers, by name
        arguments, rules = self.signature.arguments, self.signature.rules
        axes = [size for one in arguments for size in one.sizes or ()]
        follow = _derived(rules)
        times = _multiples(rules)
        sizes = dict(known)
        for letter in dict.fromkeys(size.letter for size in axes if size.letter):
            if letter in known:
                continue
            if letter in self.choices.sizes:
                sizes[letter] = draw.among(*self.choices.sizes[letter])
            elif letter not in follow:
                sizes[letter] = times.get(letter, 1) * draw.size(letter)
        if any(one.more is not None for one in arguments) and "..." not in known:
            sizes["..."] = draw.among((), (2,), (3, 2))
        for one in arguments:
            if one.sizes is None and one.name not in sizes:
                free = one.name not in follow or one.name in self.choices.values
                if free:
                    sizes[one.name] = self._number(draw, one, sizes)
        for letter, terms in follow.items():
            if letter not in sizes:
                sizes[letter] = calls.sum_of(terms, sizes)
        draw.demand(all(n > 0 for k, n in sizes.items() if k in follow))
        for size in axes:
            whole = size.times * sizes.get(size.letter, 1) % size.over == 0
            draw.demand(whole)
        draw.demand(all(calls.holds(rule, sizes) for rule in rules if not rule.array))
        return sizes

    def _number(self, draw, one, sizes):
        dtype = self.dtype(one, draw)
        values = self.choices.values.get(one.name)
        if values is not None:
            value = draw.among(*values)
        elif dtype.kind in "iu":
            value = draw.between(*_bounds(one.name, self.signature.rules, sizes))
        elif dtype.kind == "b":
            value = draw.among(False, True)
        else:
            value = draw.among(*NUMBERS)
        # as the kernel gets it, so that the reference does too
        return dtype.type(value).item()

    def _array(self, draw, one, sizes):
        shape = calls.shape_of(one, sizes)
        dtype, rng = self.dtype(one, draw), np.random.default_rng(draw.seed())
        asked = self.choices.values.get(one.name)
        if callable(asked):
            values = np.asarray(asked(rng, shape))
        elif asked is not None:
            values = _between(rng, *asked, shape, dtype, one.name)
        else:
            rules = self.signature.rules
            values = _values(draw, rng, shape, one, dtype, rules, sizes)
        if np.shape(values) != shape:
            raise InputError(
                f"values of {one.name} have shape {np.shape(values)}, not {shape}"
            )
        return np.ascontiguousarray(values, dtype).reshape(shape)

    def dtype(self, one, draw=None) -> np.dtype:
        """Return the dtype of an argument; draw: what draws that of a weight."""
        if one.name in self.choices.dtypes:
            return np.dtype(self.choices.dtypes[one.name])
        if one.kind == "weight" and draw is not None:
            return draw.dtype()
        names = {"integer": "i8", "byte": "u1"}
        return np.dtype(names.get(one.kind, "f4"))

    # what is expected

    def expected(self, **case):
        """Return what the reference makes of a case: an array, or a tuple of them.

        In float64 if all arrays are, where a narrower dtype was drawn; else in the
        dtype of the result.
        """
        given = {
            name: value.copy() if name in self.changed else value
            for name, value in case.items()
        }
        try:
            with np.errstate(all="ignore"):
                made = self.reference(*self._of_reference(given))
        except Exception as error:
            file = getattr(inspect.unwrap(self.reference), "__code__", None)
            said = raised(error, file and file.co_filename)
            raise InputError(f"the reference {_name(self.reference)}: {said}") from None
        made = () if made is None else several(made)
        changed = tuple(given[name] for name in self.changed)
        count = len(self.results)
        if len(made) == count:
            made = (*made, *changed)
        if len(made) != count + len(changed):
            raise InputError(
                f"the reference {_name(self.reference)} returned {len(made)} arrays; "
                f"its signature `{self.signature.line}` says {count}"
            )
        if any(np.asarray(one).dtype.kind == "c" for one in made):
            raise InputError(
                f"the reference {_name(self.reference)} returned complex numbers; "
                "return their real and imaginary parts as two results"
            )
        found = tuple(
            self._as_result(one, np.asarray(part), case)
            for one, part in zip(self._outcome(), made, strict=True)
        )
        return found if len(found) != 1 else found[0]

    def _of_reference(self, given):
        # it need not take every number either, if it has names of the signature
        wanted = parameters(getattr(self.reference, "py_func", self.reference))
        if {*wanted} < {*given}:
            return [given[name] for name in wanted]
        return [*given.values()]

    def _outcome(self):
        by_name = {one.name: one for one in self.signature.arguments}
        return (*self.results, *(by_name[name] for name in self.changed))

    def _as_result(self, one, part, case):
        shape = calls.shape_of(one, self.sizes_of(case))
        if part.shape != shape:
            raise InputError(
                f"the reference {_name(self.reference)} returned "
                f"{one.name or 'an array'} of shape {part.shape}, expected "
                f"{shape} by its signature `{self.signature.line}`"
            )
        if self._is_wide(case) and part.dtype.kind == "f":
            return part
        if one.name in self.choices.dtypes:
            return part.astype(self.choices.dtypes[one.name])
        if one.name in self.changed:
            return part.astype(case[one.name].dtype)
        narrow = [_width(v) for v in case.values() if _width(v)]
        if part.dtype == np.float64 and narrow and max(narrow) < 8:
            return part.astype(np.float32)
        return part

    def sizes_of(self, case) -> dict:
        """Return the size of each letter, and each number by name."""
        given = {
            one: case[one.name].shape
            for one in self.signature.arguments
            if one.sizes is not None and case[one.name] is not None
        }
        numbers = {n: v for n, v in case.items() if not isinstance(v, np.ndarray)}
        sizes = calls.sizes_of(given, numbers)
        for letter, terms in _derived(self.signature.rules).items():
            if letter not in sizes:
                sizes[letter] = calls.sum_of(terms, sizes)
        return sizes

    def _is_wide(self, case):
        # float64 where less was drawn: asked for by whoever wants the exact result
        return any(
            _width(case[one.name]) == 8
            and one.sizes is not None
            and self.dtype(one).itemsize < 8
            for one in self.signature.arguments
        )

    def magnitude(self, **case):
        """Return how large rounding errors of each result may be, in units of its eps.

        The largest of three: the result itself; the result for arguments without signs,
        which is the sum of all terms where an argument enters linearly; and how far the
        result moves when every input is moved by one eps.
        """
        asked = self.choices.tolerance
        kinds = [np.asarray(one).dtype for one in several(self.expected(**case))]
        if callable(asked):
            found = [one / (FACTOR * EPS) for one in several(asked(**case))]
            return tuple(found) if len(found) > 1 else found[0]
        exact = several(self.expected(**wide(case)))
        plain = self._or(exact, _without_signs(case))
        moved = [self._or(exact, _moved(wide(case), turn)) for turn in range(MOVES)]
        factor = 1.0 if asked is None else asked / (FACTOR * EPS)
        found = [
            _magnitude(kind, one, sized, follow, factor)
            for kind, one, sized, *follow in zip(
                kinds, exact, plain, *moved, strict=True
            )
        ]
        return tuple(found) if len(found) > 1 else found[0]

    def _or(self, exact, case):
        # a reference may refuse numbers that were not drawn, such as roots of none
        try:
            return several(self.expected(**case))
        except InputError:
            return exact

    # the launch

    def launch(self, device, **case):
        """Allocate the results, launch the kernel, and return them."""
        at_home = {n: _home(device, self, n, v) for n, v in case.items()}
        sizes = self.sizes_of(at_home)
        kinds = several(self.expected(**at_home))
        made = {
            name: device.empty(kind.shape, kind.dtype)
            for name, kind in zip(self.names()[len(case) :], kinds, strict=False)
        }
        given = {
            one.name: self.dtype(one).type(case[one.name])
            if one.sizes is None
            else case[one.name]
            for one in self.signature.arguments
        }
        block = launched("block", self.block, sizes)
        threads = block[0] * block[1] * block[2]
        grid = launched("grid", self.grid, sizes | {"block": threads})
        dynamic = launched("dynamic", self.dynamic, sizes | {"block": threads})[0]
        arguments = in_order(self.subject, given | made, made)
        device.launch(self.subject.function, grid, block, *arguments, dynamic=dynamic)
        results = [*made.values(), *(given[name] for name in self.changed)]
        return results[0] if len(results) == 1 else tuple(results)


def choices(dtypes=None, sizes=None, values=None, tolerance=None) -> Choices:
    """Return Choices, or raise InputError where one is of no use."""
    for what, given in (("dtypes", dtypes), ("sizes", sizes), ("values", values)):
        if given is not None and not isinstance(given, Mapping):
            raise InputError(f"{what} is {shown(given)}, expected a dict by name")
    found = {}
    for letter, each in (sizes or {}).items():
        each = each if isinstance(each, (tuple, list, range)) else (each,)
        found[letter] = tuple(integer(f"sizes: {letter}", n, 1) for n in each)
        if not each:
            raise InputError(f"sizes: {letter} has none to draw from")
    for name, each in (values or {}).items():
        if not callable(each) and not isinstance(each, (tuple, list)):
            raise InputError(
                f"values: {name} is {shown(each)}, expected a tuple or a function"
            )
    if tolerance is not None and not callable(tolerance):
        tolerance = number("tolerance", tolerance, least=0)
    return Choices(dtypes or {}, found, values or {}, tolerance)


def pair(
    subject: Subject, reference, text, grid=None, block=None, dynamic=0, choices=None
) -> Pair:
    """Return a Pair, or raise InputError for what does not go together."""
    if not callable(reference):
        raise InputError(f"the reference is {shown(reference)}, expected a function")
    if not isinstance(text, str) or "->" not in text:
        raise InputError(
            f"the signature is {shown(text)}, expected one such as "
            '"x (n d), w (d), eps -> y (n d)"'
        )
    source = getattr(reference, "py_func", reference)
    known = parameters(source)
    names = signatures.names(" ".join(text.split()), known)
    try:
        signature = signatures.parse(subject.name, names, " ".join(text.split()))
    except ConfigError as error:
        raise InputError(str(error)) from None
    found = Pair(
        subject, reference, signature, choices or Choices(), grid, block, dynamic
    )
    if not found.results and not found.changed:
        raise InputError(
            f"the signature `{text}` names no result, and no argument that is changed: "
            "there would be nothing to compare"
        )
    expect_known(found)
    taken = {*known, *parameters(subject.source)}
    for one in signature.arguments:
        if {*known} < {*names} and one.name not in taken:
            raise InputError(
                f"neither {subject.name} nor {_name(reference)} takes {one.name}, "
                "which the signature names"
            )
    if subject.kind == "kernel":
        if grid is None or block is None:
            raise InputError(
                f"{subject.name} is a kernel: say with grid and block how it is "
                'launched, such as grid="(n + 127) // 128" and block=128'
            )
        names = found.names()
        in_order(subject, dict.fromkeys(names), names[len(signature.arguments) :])
    return found


def launched(what, size, names) -> tuple[int, int, int]:
    """Return a grid or a block for a case, as three numbers.

    size: a number, a tuple, a text such as "(n + 31) // 32, d", or a function whose
    parameters are letters. names: {letter: size}; of a grid also "block", its threads.
    """
    if callable(size):
        wanted = inspect.signature(size).parameters
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise InputError(
                f"{what} is a function of {unknown[0]!r}, which is no size; sizes are "
                f"{', '.join(map(str, names))}"
            )
        size = size(**{name: names[name] for name in wanted})
    if isinstance(size, str):
        size = tuple(_BETWEEN_COMMAS.split(size.strip().removesuffix(",")))
    parts = size if isinstance(size, (tuple, list)) else (size,)
    if not 1 <= len(parts) <= 3:
        raise InputError(f"{what} {shown(size)} is not one to three numbers")
    return tuple(_whole(what, part, names) for part in (*parts, 1, 1)[:3])


def _whole(what, part, names):
    if isinstance(part, str):
        known = {n: v for n, v in names.items() if isinstance(v, (int, np.integer))}
        try:
            return int(header.evaluate(part, known))
        except KernelError as error:
            said = str(error).removeprefix("header: ").partition("; line 1")[0]
            raise InputError(
                f"{what}: {said}; known are {', '.join(sorted(known))}"
            ) from None
    if isinstance(part, bool) or not isinstance(part, (int, np.integer)):
        raise InputError(f"{what}: {shown(part)} is not a whole number")
    return int(part)


# what the signature says


def _derived(rules):
    # letters that follow from others, as n of n = 4 m
    follow = {}
    for rule in rules:
        if rule.signs != ("=",):
            continue
        for one, other in (rule.sums, rule.sums[::-1]):
            alone = len(one) == 1 and one[0][0] == 1 and len(one[0][1]) == 1
            if alone and one[0][1][0] not in follow:
                follow[one[0][1][0]] = other
                break
    return follow


def _multiples(rules):
    # letters that a number divides, as n of 32 divides n
    times = {}
    for rule in rules:
        if rule.signs == ("divides",) and not rule.sums[0][0][1]:
            (factor, names), *more = rule.sums[1]
            if factor == 1 and len(names) == 1 and not more:
                times[names[0]] = rule.sums[0][0][0]
    return times


def _bounds(name, rules, sizes):
    # of a whole number, by the rules in which it stands alone
    least, most = None, None
    for rule in rules:
        for i, terms in enumerate(() if rule.array else rule.sums):
            if terms != ((1, (name,)),) or rule.signs == ("divides",):
                continue
            if i > 0 and rule.signs[i - 1] in ("<", "<="):
                bound = calls.sum_of(rule.sums[i - 1], sizes)
                least = bound + (rule.signs[i - 1] == "<")
            if i < len(rule.signs) and rule.signs[i] in ("<", "<="):
                bound = calls.sum_of(rule.sums[i + 1], sizes)
                most = bound - (rule.signs[i] == "<")
    least = least if least is not None else min(0, most if most is not None else 0)
    return least, max(least, most if most is not None else least + 9)


def _values(draw, rng, shape, one, dtype, rules, sizes):
    for rule in rules:
        if rule.array == one.name:
            low, high = (calls.sum_of(rule.sums[n], sizes) for n in (0, 2))
            draw.demand(low < high)
            return rng.integers(low, high, shape)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "u":
        return rng.integers(0, min(256, np.iinfo(dtype).max + 1), shape)
    if dtype.kind == "i":
        return rng.integers(-100, 100, shape)
    if one.kind == "fraction":
        return rng.random(shape)
    values = rng.standard_normal(shape) * draw.among(*SCALES)
    values = np.where(rng.random(shape) < 0.125, 0.0, values)
    if dtype.kind == "c":
        return values + 1j * rng.standard_normal(shape)
    return values


def expect_known(found: Pair) -> None:
    """Raise InputError for a choice about a name, or a letter, of no argument."""
    letters = {
        size.letter for one in found.signature.arguments for size in one.sizes or ()
    }
    names = found.names()
    for what, given, known in (
        ("dtypes", found.choices.dtypes, names),
        ("sizes", found.choices.sizes, letters - {""}),
        ("values", found.choices.values, names),
    ):
        for name in given:
            if name not in known:
                raise InputError(
                    f"{what}: {name!r} stands nowhere in the signature; "
                    f"{near(name, known)}it is `{found.signature.line}`"
                )
    follow = {*_derived(found.signature.rules), *names}
    for one in found.results:
        for size in one.sizes or ():
            for letter in filter(None, (size.letter, size.plus)):
                if letter not in letters | follow:
                    raise InputError(
                        f"the signature `{found.signature.line}` does not say what "
                        f"{letter} is; name it in an argument, or in a rule such as "
                        f"`where {letter} = 2 n`"
                    )
    for name, dtype in found.choices.dtypes.items():
        dtype_of(f"dtypes: {name}", dtype)


def dtype_of(what, given) -> np.dtype:
    """Return a dtype, or raise InputError for what is none; what: to begin with."""
    try:
        return np.dtype(given)
    except TypeError:
        raise InputError(f"{what}: {shown(given)} is no dtype") from None


def in_order(subject, values, results) -> list:
    """Return what a kernel is launched with, of values by the signature's names.

    By name if the kernel has names of the signature, all `results` among them: it need
    not take every number. Else in the signature's order. Raises InputError where it
    takes more or fewer.
    """
    wanted = parameters(subject.source)
    if {*wanted} <= {*values} and {*results} <= {*wanted}:
        return [values[name] for name in wanted]
    if len(wanted) != len(values):
        raise InputError(
            f"kernel {subject.name} takes {len(wanted)} arguments "
            f"({', '.join(wanted)}), and its signature names {len(values)}: "
            f"({', '.join(values)})"
        )
    return [*values.values()]


def parameters(function) -> list[str]:
    """Return the names of a function's arguments; none if it does not say them."""
    try:
        return [*inspect.signature(function).parameters]
    except (TypeError, ValueError):
        # something built in that does not say what it takes
        return []


def _name(function):
    return getattr(function, "__name__", type(function).__name__)


# numbers


def _width(value):
    floating = isinstance(value, np.ndarray) and (
        value.dtype.kind == "f" or value.dtype.name == "bfloat16"
    )
    return value.dtype.itemsize if floating else 0


def _between(rng, least, most, shape, dtype, name):
    # all 64 bits of an integer, of which a float64 holds 53
    if dtype.kind not in "iu":
        return rng.uniform(least, most, shape)
    limits = np.iinfo(dtype)
    if not limits.min <= least <= most <= limits.max:
        raise InputError(
            f"values of {name} are to be from {least} to {most}; {dtype} goes from "
            f"{limits.min} to {limits.max}"
        )
    least, most = math.ceil(least), math.floor(most)
    return rng.integers(least, most, shape, dtype, endpoint=True)


def _without_signs(case):
    return {
        name: abs(value) if isinstance(value, float) else value
        for name, value in absolute(case).items()
    }


def _moved(case, turn):
    # every input moved by one eps, up or down
    rng = np.random.default_rng(turn)

    def one(value):
        if isinstance(value, np.ndarray) and value.dtype == np.float64:
            return value * (1 + EPS * rng.choice((-1.0, 1.0), value.shape))
        return value * (1 + EPS) if isinstance(value, float) else value

    return {name: one(value) for name, value in case.items()}


def _magnitude(kind, exact, sized, follow, factor):
    # of one result; whole numbers have none, they are exact
    exact = np.asarray(exact)
    if kind.kind != "f":
        return np.zeros(exact.shape)
    with np.errstate(all="ignore"):
        parts = [abs(exact), abs(sized), *(abs(one - exact) / EPS for one in follow)]
    most = np.maximum.reduce([np.where(np.isfinite(one), one, 0.0) for one in parts])
    # of two results in float64 both are rounded, the reference's too
    both = 2.0 if kind.itemsize == 8 else 1.0
    eps, tiny = float(np.finfo(kind).eps), float(np.finfo(kind).tiny)
    return factor * both * eps / EPS * (most + tiny)


def _home(device, found, name, value):
    # what the reference gets of what lies on the device
    if not hasattr(value, "shape") or isinstance(value, np.generic):
        return value
    value = device.get(value)
    one = next(a for a in found.signature.arguments if a.name == name)
    if one.kind == "weight" and value.dtype == np.uint16:
        import ml_dtypes

        return value.view(ml_dtypes.bfloat16)
    return value
