"""Only finite numbers: what a token or a pixel is made of.

NaN goes through all that is computed of it, and infinity becomes NaN or stays: so it is
enough to look where numbers leave a model.
"""

import numpy as np

from minigen.errors import NotFiniteError


def check_finite(x):
    """(b ...) -> (b ...)

    Return x itself, of any axes, or raise NotFiniteError: it holds NaN or infinity.

    >>> check_finite(np.ones((1, 1, 2))).tolist()
    [[[1.0, 1.0]]]
    """
    if not np.isfinite(x).all():
        place = np.argwhere(~np.isfinite(x))[0]
        raise NotFiniteError(f"the number at {place.tolist()} is {x[tuple(place)]}")
    return x
