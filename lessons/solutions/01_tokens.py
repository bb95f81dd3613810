"""Exercises of lesson 01; `python lessons/check.py 01` says which are solved."""

import numpy as np  # noqa: F401


def nearest(vectors, codebook):
    """Return the number of the nearest code of each vector: an int array (n).

    vectors: float32 (n d); codebook: float32 (v d), a row for each code. Near means a
    small sum of squared differences; of several codes that are as near, the first.
    """
    apart = ((vectors[:, None] - codebook) ** 2).sum(axis=2)
    return apart.argmin(axis=1)


def bits_by_frequency(tokens, codes):
    """Return the mean of log2(1 / p) over all tokens (a float), in bits.

    tokens: int64 (b n), from 0 to codes - 1; p: the share of all b n tokens that are
    the same as the token.
    """
    p = np.bincount(tokens.ravel(), minlength=codes) / tokens.size
    return float(-np.log2(p[tokens]).mean())


def bits_by_place(tokens, codes):
    """Return the same, where p is the share among the b tokens at the same place.

    tokens: int64 (b n), of b images, from 0 to codes - 1.
    """
    places = tokens.shape[1]
    return sum(bits_by_frequency(tokens[:, [i]], codes) for i in range(places)) / places
