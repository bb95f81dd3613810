"""Group norm as its paper writes it.

Source: Wu and He, "Group Normalization", arXiv 1803.08494, equations 1 to 3.
"""

import numpy as np


def group_norm(x, w, bias, r, eps):
    """(b y x c), (c), (c) -> (b y x c)
    where w and bias are weights, r divides c, y >= 1, x >= 1

    Centre and scale the `r` groups of consecutive channels of every image.

    Mean and biased variance are taken over the positions and the channels of a group,
    in float64; `w` and `bias` then scale and shift each channel. Computes in the dtype
    of `x`, float32 or float64.

    >>> x = np.array([[[[1.0, 2.0, 3.0, 5.0]]]])  # two groups of two channels
    >>> group_norm(x, np.ones(4), np.zeros(4), 2, 0.0)
    array([[[[-1.,  1., -1.,  1.]]]])
    """
    b, height, width, c = x.shape
    # (b y x c): positions together, channels in r groups; statistics are (b 1 r 1)
    groups = x.reshape(b, height * width, r, c // r)
    mean = groups.mean((1, 3), dtype=np.float64, keepdims=True)
    variance = groups.var((1, 3), dtype=np.float64, keepdims=True)
    unit = ((groups - mean) / np.sqrt(variance + eps)).reshape(x.shape)
    return (unit * w.astype(x.dtype) + bias.astype(x.dtype)).astype(x.dtype)


def group_norm_swish(x, w, bias, r, eps):
    """(b y x c), (c), (c) -> (b y x c)
    where w and bias are weights, r divides c, y >= 1, x >= 1

    Return swish(group_norm(x)), where swish(v) = v sigmoid(v).

    >>> x = np.array([[[[-1.0, 1.0]]]])  # normalised as it is
    >>> group_norm_swish(x, np.ones(2), np.zeros(2), 1, 0.0).round(3)
    array([[[[-0.269,  0.731]]]])
    """
    v = group_norm(x, w, bias, r, eps)
    # exp(-v) is infinite for very negative v, and v / infinity is the right answer
    with np.errstate(over="ignore"):
        return v / (1 + np.exp(-v))
