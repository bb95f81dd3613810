"""How the exercises of lesson 24 are checked: against NumPy, and by counting."""

import collections
import io
import pickle
import re
from itertools import product

import numpy as np
from hypothesis import strategies as st

from checks import Exercise

IMPORTED = (len, str, int, re.sub, collections.OrderedDict, np.sum)
"""Functions that pickles may name: none does harm, even where it is called."""

numbers = st.one_of(st.integers(0, 9), st.text("abc", max_size=3))
pieces = st.one_of(numbers, st.lists(numbers, max_size=3), st.sampled_from(IMPORTED))
programs = st.lists(pieces, max_size=5).map(lambda value: pickle.dumps(value, 2))

sizes = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=3)


@st.composite
def tensors(draw):
    """Draw a storage and a tensor that may leave it."""
    axes = draw(sizes)
    shape, strides = (tuple(axis[i] for axis in axes) for i in (0, 1))
    counts = {"count": draw(st.integers(0, 30)), "first": draw(st.integers(0, 9))}
    return counts | {"shape": shape, "strides": strides}


def imported(program):
    """Return what a reader of Python's own is asked for, which imports nothing."""
    asked = []

    class Listening(pickle.Unpickler):
        def find_class(self, module, name):
            asked.append(f"{module}.{name}")
            return str

    Listening(io.BytesIO(program)).load()
    return tuple(asked)


def inside(count, first, shape, strides):
    """Say whether each element lies in the storage, one after the other."""
    places = product(*map(range, shape))
    return all(
        first + sum(i * s for i, s in zip(place, strides, strict=True)) < count
        for place in places
    )


EXERCISES = [
    Exercise("names_in", {"program": programs}, expected=imported),
    Exercise(
        "strides_of",
        {"shape": st.lists(st.integers(1, 5), max_size=4).map(tuple)},
        expected=lambda shape: tuple(
            stride // 8 for stride in np.empty(shape, np.float64).strides
        ),
    ),
    Exercise("fits", tensors(), expected=inside),
]
