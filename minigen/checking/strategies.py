"""Sizes and arrays that cases are made of, named after the letters.

Sizes are ragged by construction: one, and both sides of every multiple of 32 that a
kernel could have as a block. Arrays come from a drawn seed, which is quick and shrinks
to small shapes, not to pretty numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

import hypothesis
import ml_dtypes
import numpy as np
from hypothesis import strategies as st

RAGGED = (1, 2, 3, 31, 32, 33, 63, 64, 65, 127)

b = st.integers(1, 3)
n = m = st.sampled_from((1, 2, 3, 4, 5, 7, 8, 31, 33))
d = f = v = k = st.sampled_from(RAGGED)
t = st.sampled_from((1, 5, 65))
h = st.integers(1, 3)
e = st.sampled_from((4, 8, 12, 32, 36, 64, 68))
c = st.sampled_from((1, 2, 3, 8, 31, 32, 33))
r = st.sampled_from((1, 2, 32))
y = x = st.integers(1, 9)
s = st.sampled_from((1, 2, 3, 8, 16, 33, 64))
p = st.sampled_from((1, 2, 3, 8, 17))
w = g = st.integers(1, 5)

seeds = st.integers(0, 2**32 - 1)

WEIGHT_DTYPES = (
    np.dtype(np.float32),
    np.dtype(np.float16),
    np.dtype(ml_dtypes.bfloat16),
)
weight_dtypes = st.sampled_from(WEIGHT_DTYPES)


@dataclass(frozen=True)
class Sizes:
    """A strategy for every letter, and for the dtype of weights; given: for whether an
    argument that may be None is given."""

    b: st.SearchStrategy = b
    n: st.SearchStrategy = n
    m: st.SearchStrategy = m
    d: st.SearchStrategy = d
    f: st.SearchStrategy = f
    v: st.SearchStrategy = v
    k: st.SearchStrategy = k
    t: st.SearchStrategy = t
    h: st.SearchStrategy = h
    e: st.SearchStrategy = e
    c: st.SearchStrategy = c
    r: st.SearchStrategy = r
    y: st.SearchStrategy = y
    x: st.SearchStrategy = x
    s: st.SearchStrategy = s
    p: st.SearchStrategy = p
    w: st.SearchStrategy = w
    g: st.SearchStrategy = g
    dtypes: st.SearchStrategy = weight_dtypes
    given: st.SearchStrategy = st.booleans()


KNOWN = frozenset(field.name for field in fields(Sizes))
"""What of a route is a size; anything else is an argument."""


@dataclass(frozen=True)
class Draw:
    """What a specification draws a case with.

    draw: what hypothesis hands to a composite strategy; of: the sizes to draw from.
    """

    draw: Callable
    of: Sizes

    def sizes(self, letters) -> tuple[int, ...]:
        """Return a size for each letter of a word."""
        return tuple(map(self.size, letters))

    def size(self, letter) -> int:
        """Return a size for a letter; one of no meaning here has those of d."""
        return self.draw(getattr(self.of, letter, self.of.d))

    def demand(self, holds) -> None:
        """Leave out this case unless something holds."""
        hypothesis.assume(holds)

    def dtype(self) -> np.dtype:
        """Return a dtype of weights."""
        return self.draw(self.of.dtypes)

    def given(self) -> bool:
        """Say whether an argument that may be None is given."""
        return self.draw(self.of.given)

    def seed(self) -> int:
        """Return a seed for `floats` and `integers`."""
        return self.draw(seeds)

    def among(self, *values):
        """Return one of the values; the first is the simplest."""
        return self.draw(st.sampled_from(values))

    def between(self, least, most) -> int:
        """Return an integer in least .. most."""
        return self.draw(st.integers(least, most))


def cases(spec, sizes: Sizes, route: Mapping = MappingProxyType({})):
    """Return a strategy of a specification's cases, in which a route is fixed.

    route: as in `Spec.routes`, such as {"n": 70, "top_k": 9}.
    """
    letters = {name: st.just(route[name]) for name in route if name in KNOWN}
    others = {name: route[name] for name in route if name not in KNOWN}
    sizes = replace(sizes, **letters)

    @st.composite
    def case(draw):
        return spec.draw(Draw(draw, sizes)) | others

    return case()


FULL = Sizes()
"""Sizes for what is compiled."""

_SUMS = st.sampled_from((31, 33, 65))

SEVERAL = replace(
    FULL,
    b=st.integers(2, 3),
    n=st.sampled_from((2, 3, 5)),
    m=st.sampled_from((7, 31)),
    d=_SUMS,
    f=_SUMS,
    v=_SUMS,
    k=_SUMS,
    c=st.sampled_from((8, 31, 33)),
    s=st.sampled_from((16, 33)),
)
"""Sizes of which every case has several rows, and sums of many numbers: where these are
taken in another order, other bits come out."""

_ROWS = st.sampled_from((1, 2, 3, 5, 9))
_WIDTHS = st.sampled_from((1, 2, 3, 16, 31, 33))
_SIDES = st.integers(1, 4)

SMALL = Sizes(
    b=st.integers(1, 2),
    n=_ROWS,
    m=_ROWS,
    d=_WIDTHS,
    f=_WIDTHS,
    v=_WIDTHS,
    k=_WIDTHS,
    t=st.sampled_from((1, 5)),
    h=st.integers(1, 2),
    e=st.sampled_from((4, 8, 12, 32, 36)),
    c=st.sampled_from((1, 2, 3, 8, 33)),
    r=st.sampled_from((1, 2)),
    y=_SIDES,
    x=_SIDES,
    s=st.sampled_from((1, 2, 3, 8, 16)),
    p=st.sampled_from((1, 2, 3, 8)),
    w=st.integers(1, 4),
    g=st.integers(1, 3),
)
"""Sizes for the interpreter, which takes microseconds for every number it touches."""
