"""Specifications of rows: exact, since they copy."""

import numpy as np

from minigen.checking.spec import LONG_ROWS, Spec, floats, integers


def draw_gather(draw):
    """Draw x (b n d) and rows (b m) of it, some of them named again and again."""
    b, n, m, d, seed = *draw.sizes("bnmd"), draw.seed()
    return {"x": floats(seed, b, n, d), "rows": integers(seed, n, b, m)}


def draw_scatter(draw):
    """Draw x (b n d), new (b m d) and rows (b m) of x, which differ in an image.

    Both hold numbers, or integers.
    """
    b, n, d, seed = *draw.sizes("bnd"), draw.seed()
    m = draw.between(1, n)
    rng = np.random.default_rng(seed)
    fill = draw.among(floats, whole)
    return {
        "x": fill(seed, b, n, d),
        "new": fill(seed + 1, b, m, d),
        "rows": np.stack([rng.permutation(n)[:m] for _ in range(b)]),
    }


def whole(seed, *shape):
    """Return integers that fill more than 32 bits."""
    return integers(seed, 2**40, *shape)


def draw_append(draw):
    """Draw cache (b n d), new (b m d), and a length from which on it fits."""
    b, m, d, seed = *draw.sizes("bmd"), draw.seed()
    length = draw.between(0, 5)
    n = length + m + draw.between(0, 3)
    cache, new = floats(seed, b, n, d), floats(seed + 1, b, m, d)
    return {"cache": cache, "new": new, "length": length}


def draw_concat(draw):
    """Draw x (b n d) and y (b m d), as they are stored."""
    b, n, m, d, seed = *draw.sizes("bnmd"), draw.seed()
    dtype = draw.dtype()
    return {
        "x": floats(seed, b, n, d, dtype=dtype),
        "y": floats(seed + 1, b, m, d, dtype=dtype),
    }


def draw_repeat(draw):
    """Draw x (b d), as it is stored, and n."""
    b, n, d, dtype = draw.sizes(("b", "n", "d", "dtypes"))
    return {"x": floats(draw.seed(), b, d, dtype=dtype), "n": n}


SPECS = (
    Spec("gather", draw_gather, batched=("x", "rows"), routes=LONG_ROWS),
    Spec(
        "scatter",
        draw_scatter,
        batched=("x", "new", "rows"),
        changes=("x",),
        routes=LONG_ROWS,
    ),
    Spec(
        "append",
        draw_append,
        batched=("cache", "new"),
        changes=("cache",),
        routes=LONG_ROWS,
    ),
    Spec("concat", draw_concat, batched=("x", "y"), routes=LONG_ROWS),
    Spec("repeat", draw_repeat, batched=("x",), routes=LONG_ROWS),
)
