"""A check that numbers are finite, before they become a token or a pixel.

NaN stays NaN in all that is computed from it, and infinity stays or becomes NaN: so it
is enough to check the output of a model.
"""

import numpy as np

from minigen.errors import NotFiniteError


def check_finite(x):
    """(b ...) -> (b ...)

    Return x itself, of any axes; raise NotFiniteError if it holds NaN or infinity.

    >>> check_finite(np.ones((1, 1, 2))).tolist()
    [[[1.0, 1.0]]]
    """
    if not np.isfinite(x).all():
        cell = np.argwhere(~np.isfinite(x))[0]
        raise NotFiniteError(f"the number at {cell.tolist()} is {x[tuple(cell)]}")
    return x
