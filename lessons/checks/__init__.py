"""What an exercise is, and the strategies that its arguments are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from minigen.checking.spec import floats
from minigen.checking.strategies import SMALL, seeds
from minigen.checking.tolerance import EPS, FACTOR


@dataclass(frozen=True)
class Exercise:
    """One function that a student writes, and how its results are judged.

    name: the function in `lessons/exercises`. arguments: a strategy for each of its
    arguments, or one strategy of all of them (`shaped`). expected(**arguments): the
    right result, which is an array, a number, a string or a tuple of these.
    tolerance: how far a number may be off: 0 if it must be equal, a number, or a
    function of the same arguments (`rounding`).

    law: in place of `expected`: law(function, **arguments) calls the student's function
    and returns in words what is wrong, or None. examples: how many cases are tried.
    """

    name: str
    arguments: Mapping | st.SearchStrategy
    expected: Callable | None = None
    tolerance: float | Callable = 0
    law: Callable | None = None
    examples: int = 60


def rounding(magnitude: Callable) -> Callable:
    """Return the tolerance of a sum in float32, as `minigen check` has it.

    magnitude(**arguments): the sum of the absolute values of all terms, an array that
    broadcasts with the result.
    """
    return lambda **arguments: FACTOR * EPS * magnitude(**arguments)


def shaped(arguments: Mapping, scale: float = 1.0, **sizes):
    """Return a strategy of all arguments, in which arrays share the sizes of letters.

    arguments: for each name a strategy, or a shape in words such as "n d" or "2 d":
    then it is a float32 array of normal numbers times `scale`, rounded to two digits so
    that a student can read them. Sizes are those that `minigen check` draws for small
    cases; sizes: strategies for letters that need others, such as n=st.integers(2, 9).

    >>> case = shaped({"x": "n d", "w": "d"})
    """

    @st.composite
    def case(draw):
        known, drawn = {}, {}
        for i, (name, shape) in enumerate(arguments.items()):
            if not isinstance(shape, str):
                drawn[name] = draw(shape)
                continue
            for letter in shape.split():
                if letter not in known:
                    usual = getattr(SMALL, letter, None)
                    fixed = st.just(int(letter)) if letter.isdigit() else usual
                    known[letter] = draw(sizes.get(letter, fixed))
            size = [known[letter] for letter in shape.split()]
            # two arrays of one shape and seed must not be equal
            drawn[name] = floats(draw(seeds) + i, *size, scale=scale).round(2)
        return drawn

    return case()
