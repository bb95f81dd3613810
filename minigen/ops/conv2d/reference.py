"""Convolution as a sum over its taps: each tap is a matrix product.

As everywhere in deep learning this is cross-correlation: the kernel is not flipped.
Weights may be float32, float16 or bfloat16; results have the dtype of `x`.
"""

import numpy as np


def conv3x3(x, w, bias):
    """(b y x c), (f 3 3 c), (f) -> (b y x f)
    where w and bias are weights

    Convolve an image padded with zeros: the size does not change.

    >>> x = np.ones((1, 3, 3, 1))  # each output counts its neighbours and itself
    >>> conv3x3(x, np.ones((1, 3, 3, 1)), np.zeros(1))[0, :, :, 0]
    array([[4., 6., 4.],
           [6., 9., 6.],
           [4., 6., 4.]])
    """
    around = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return _sum_of_taps(around, w, 1) + bias.astype(x.dtype)


def conv3x3_add(x, w, bias, residual):
    """(b y x c), (f 3 3 c), (f), (b y x f) -> (b y x f)
    where w and bias are weights

    Return residual + conv3x3(x, w, bias).

    >>> x, w = np.ones((1, 1, 1, 1)), np.ones((1, 3, 3, 1))
    >>> conv3x3_add(x, w, np.zeros(1), residual=10 * x).tolist()
    [[[[11.0]]]]
    """
    return residual + conv3x3(x, w, bias)


def conv3x3_half(x, w, bias):
    """(b y x c), (f 3 3 c), (f) -> (b y/2 x/2 f)
    where w and bias are weights

    Convolve with stride 2: both sides are halved, rounded down.

    The image is padded with one column of zeros on the right and one row at the bottom,
    and with nothing on the other sides.
    Source: FoundationVision/LlamaGen vq_model.py::Downsample.

    >>> x = np.ones((1, 4, 4, 1))  # each output counts what it sees of the image
    >>> conv3x3_half(x, np.ones((1, 3, 3, 1)), np.zeros(1))[0, :, :, 0]
    array([[9., 6.],
           [6., 4.]])
    """
    below = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    return _sum_of_taps(below, w, 2) + bias.astype(x.dtype)


def _sum_of_taps(x, w, step):
    w = w.astype(x.dtype)
    rows, columns = x.shape[1] - 2, x.shape[2] - 2
    return sum(
        x[:, i : i + rows : step, j : j + columns : step] @ w[:, i, j].T
        for i in range(3)
        for j in range(3)
    )
