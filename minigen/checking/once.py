"""One launch of any kernel: arrays drawn from a signature or given, and what came out.

What `minigen run` does. A size of which nothing is said is 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from minigen import calls, signatures, simt
from minigen.checking.anybody import (
    Choices,
    Pair,
    expect_known,
    in_order,
    launched,
    parameters,
)
from minigen.checking.loading import Subject
from minigen.errors import ConfigError, InputError
from minigen.simt.pattern import fresh, is_poison

SIZE = 8
"""The size of a letter of which nothing is said."""

TRIES = 1000
"""How often numbers are drawn anew until the rules of the signature hold."""


AGAIN = InputError("the numbers that were drawn do not fit the rules")
"""Raised where it is to be drawn again."""


@dataclass
class Plain:
    """Draws for one launch, with the methods of `strategies.Draw`."""

    rng: np.random.Generator

    def size(self, letter):
        """Return a size."""
        return SIZE

    def dtype(self):
        """Return the dtype of weights."""
        return np.dtype(np.float32)

    def given(self):
        """Say whether an argument that may be None is given."""
        return True

    def seed(self):
        """Return a seed."""
        return int(self.rng.integers(2**32))

    def among(self, *values):
        """Return one of the values."""
        return values[self.rng.integers(len(values))]

    def between(self, least, most):
        """Return an integer in least .. most."""
        return int(self.rng.integers(least, most + 1))

    def demand(self, holds):
        """Draw again unless something holds."""
        if not holds:
            raise AGAIN


@dataclass(frozen=True)
class Prepared:
    """A launch that is ready. arguments: by name; dynamic: bytes of shared memory."""

    arguments: dict
    grid: tuple
    block: tuple
    dynamic: int


@dataclass(frozen=True)
class Run:
    """What came of a launch.

    kernel: its name; arguments: by name, as they are afterwards; report: of the launch;
    grid, block: of it; unwritten: for each array the cells that still hold poison.
    """

    kernel: str
    arguments: dict
    report: simt.Report
    grid: tuple
    block: tuple
    unwritten: dict = field(default_factory=dict)

    @property
    def outputs(self) -> dict:
        """The arrays that were written."""
        return {
            name: value
            for name, value in self.arguments.items()
            if isinstance(value, np.ndarray)
            and (name not in self.report.writes or self.report.writes[name].any())
        }


def run(
    subject: Subject, grid, block, *, signature=None, given: Mapping = {}, dynamic=0,
    choices=None, seed=0, schedule=None, schedules=None, watch=True, patience=None,
) -> Run:  # fmt: skip
    """Launch a kernel once on arrays drawn from `seed`; return what came out.

    schedule, schedules: as `seed` and `seeds` of `simt.launch`; others: see `prepare`.
    Raises InputError for what does not fit, KernelError for a fault.
    """
    ready = prepare(
        subject, grid, block, signature=signature, given=given, dynamic=dynamic,
        choices=choices, seed=seed,
    )  # fmt: skip
    arguments = ready.arguments
    report = simt.launch(
        subject.function, ready.grid, ready.block, *arguments.values(), seed=schedule,
        seeds=schedules, dynamic=ready.dynamic, watch=watch, patience=patience,
    )  # fmt: skip
    arrays = {n: v for n, v in arguments.items() if isinstance(v, np.ndarray)}
    left = {n: is_poison(np.ascontiguousarray(v)) for n, v in arrays.items()}
    left = {name: cells for name, cells in left.items() if cells.any()}
    return Run(subject.name, arguments, report, ready.grid, ready.block, left)


def prepare(
    subject: Subject, grid, block, *, signature=None, given: Mapping = {}, dynamic=0,
    choices=None, seed=0,
) -> Prepared:  # fmt: skip
    """Return a launch of a kernel on arrays drawn from `seed`; results hold poison.

    given: arguments by name, which are not drawn. signature: of the others; without one
    all must be given. grid, block, dynamic: numbers, or expressions of letters. Raises
    InputError for what does not fit.
    """
    names = parameters(subject.source)
    for name in given:
        if name not in names:
            raise InputError(
                f"kernel {subject.name} has no argument {name!r}; it takes "
                f"{', '.join(names)}"
            )
    arguments, sizes = dict(given), {}
    if signature is not None:
        drawn, sizes = _drawn(subject, signature, choices or Choices(), given, seed)
        arguments = drawn | arguments
    missing = [name for name in names if name not in arguments]
    if missing:
        raise InputError(
            f"kernel {subject.name}: nothing is given for {', '.join(missing)}; give a "
            'signature such as "x (n d) -> y (n d)", or an array or a number for each'
        )
    block = launched("block", block, sizes)
    threads = {"block": block[0] * block[1] * block[2]}
    grid = launched("grid", grid, sizes | threads)
    dynamic = launched("dynamic", dynamic, sizes | threads)[0]
    return Prepared({name: arguments[name] for name in names}, grid, block, dynamic)


def _drawn(subject, text, choices, given, seed):
    # arguments by the kernel's names, and the size of each letter
    text = " ".join(text.split())
    try:
        names = signatures.names(text)
        found = signatures.parse(subject.name, names, text)
    except ConfigError as error:
        raise InputError(str(error)) from None
    pair = Pair(subject, None, found, choices)
    expect_known(pair)
    own, made = pair.names(), pair.names()[len(found.arguments) :]
    # the signature's name of each argument of the kernel, which may be another
    order = in_order(subject, dict(zip(own, own, strict=True)), made)
    called = dict(zip(order, parameters(subject.source), strict=True))
    fixed = {name: given[its] for name, its in called.items() if its in given}
    shapes = {
        one: fixed[one.name].shape
        for one in found.arguments
        if one.sizes is not None and one.name in fixed
    }
    numbers = {n: v for n, v in fixed.items() if not isinstance(v, np.ndarray)}
    known = calls.sizes_of(shapes, numbers)
    rng = np.random.default_rng(seed)
    for _ in range(TRIES):
        try:
            case = pair.draw(Plain(rng), known)
            break
        except InputError as error:
            if error is not AGAIN:
                raise
    else:
        raise InputError(
            f"no sizes were found for which the rules of `{text}` hold; say some, such "
            "as --size n=32"
        )
    sizes = pair.sizes_of(case | fixed)
    for one, name in zip(pair.results, made, strict=True):
        dtype = choices.dtypes.get(name, np.float32)
        case[name] = fresh(calls.shape_of(one, sizes), np.dtype(dtype))
    numbers = {
        one.name: pair.dtype(one).type(case[one.name])
        for one in found.arguments
        if one.sizes is None and one.name not in fixed
    }
    case |= numbers | fixed
    return {its: case[name] for name, its in called.items()}, sizes
