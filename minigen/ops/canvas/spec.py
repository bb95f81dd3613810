"""Specifications of canvas: exact."""

import numpy as np

from minigen.checking.spec import Spec, integers


def draw_full(draw):
    """Draw a shape (b, n) and a value."""
    value = draw.among(-1, 0, 2**40)
    return {"shape": draw.sizes("bn"), "value": value}


def draw_zeros(draw):
    """Draw a shape of one to four axes."""
    return {"shape": draw.sizes("bhpw")[: draw.between(1, 4)]}


def draw_twice(draw):
    """Draw x (b m) of int64."""
    return {"x": integers(draw.seed(), 2**40, *draw.sizes("bm"))}


def draw_place(draw):
    """Draw a canvas (b n), tokens (b m) and m of its positions."""
    b, n, seed = *draw.sizes("bn"), draw.seed()
    m = draw.between(1, n)
    return {
        "canvas": integers(seed, 1000, b, n),
        "tokens": integers(seed + 1, 1000, b, m),
        "positions": np.random.default_rng(seed).permutation(n)[:m],
    }


SPECS = (
    Spec("full", draw_full),
    Spec("zeros", draw_zeros),
    Spec("twice", draw_twice),
    Spec("place", draw_place, batched=("canvas", "tokens"), changes=("canvas",)),
)
