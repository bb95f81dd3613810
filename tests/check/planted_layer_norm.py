"""Mistakes in layer norm, each planted into a copy of its kernels.

As in `planted.py`: a few words are exchanged, and `minigen check` has to find them.
"""

from tests.check.planted import Bug


def norm(title, function, right, wrong, kind, *words):
    """Return a bug of one of the kernels of layer_norm."""
    return Bug(title, function.removeprefix("_"), function, right, wrong, kind, words)


AFFINE, PLAIN = "_layer_norm", "_standardise"
AWAY = "        away = x[i, k] - mean\n"

BUGS = (
    norm(
        "squares of the numbers, not of their distances from the mean",
        PLAIN,
        AWAY,
        "        away = x[i, k]\n",
        "wrong value",
        "eps, 4 are allowed",
    ),
    norm(
        "the variance of a sample",
        PLAIN,
        "block_sum(squares, partial) / np.float32(d)",
        "block_sum(squares, partial) / np.float32(max(d - 1, 1))",
        "wrong value",
        "eps, 4 are allowed",
    ),
    norm(
        "a mean of one thread's numbers",
        AFFINE,
        "block_sum(total, partial) / np.float32(d)",
        "total / np.float32(d)",
        "wrong value",
        "eps, 4 are allowed",
    ),
    norm(
        "the bias is scaled",
        AFFINE,
        "widen(w[k]) * ((x[i, k] - mean) * scale) + widen(bias[k])",
        "widen(w[k]) * ((x[i, k] - mean) * scale + widen(bias[k]))",
        "wrong value",
        "eps, 4 are allowed",
    ),
)
