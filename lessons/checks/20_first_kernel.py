"""How the exercises of lesson 20 are checked: kernels run in the interpreter."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, rounding, shaped
from minigen import simt
from minigen.errors import KernelError
from minigen.ops.rms_norm import reference

ORDERS = range(3)
"""Orders of the threads in which every kernel is run."""


def runs(kernel, grid, block, *arguments):
    """Return what the interpreter finds wrong with a kernel in any order, or None."""
    for seed in ORDERS:
        copies = [np.copy(a) if np.ndim(a) else a for a in arguments]
        try:
            simt.launch(kernel, grid, block, *copies, seed=seed, patience=100_000)
        except KernelError as error:
            return str(error)


def reverses(function, x):
    """In every order of the threads, x ends up reversed."""
    expected = x[::-1].copy()
    if said := runs(function(), 1, x.size, x):
        return said
    simt.launch(function(), 1, x.size, x, watch=False)
    if not (x == expected).all():
        return f"x became {x}, and {expected} was expected"


def norms(function, x, w, threads):
    """The kernel has no race, and gives what the reference gives."""
    y, eps = simt.poison(np.empty_like(x)), np.float32(1e-5)
    if said := runs(function(), len(x), threads, x, w, eps, y):
        return said
    simt.launch(function(), len(x), threads, x, w, eps, y, watch=False)
    expected = reference.rms_norm(x[None].astype(np.float64), w, 1e-5)[0]
    allowed = rounding(lambda: abs(expected))()
    if not (abs(y - expected) <= allowed).all():
        return f"y became\n{y}\nand expected was\n{expected}"


EXERCISES = [
    Exercise(
        "blocks_needed",
        {"cells": st.integers(1, 300), "threads": st.integers(1, 64)},
        expected=lambda cells, threads: len(range(0, cells, threads)),
    ),
    Exercise("reverse", shaped({"x": "n"}), law=reverses, examples=12),
    Exercise(
        "one_adder",
        shaped({"x": "n d", "w": "d", "threads": st.sampled_from((1, 2, 8, 33))}),
        law=norms,
        examples=12,
    ),
]
