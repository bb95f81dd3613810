"""Causal convolution: each channel of a token reads itself and the tokens just before.

The state is the last w inputs, newest last, and zeros before the first token. A
sequence may be cut anywhere if the state is passed on; a decode step is a sequence of
one token. The oldest of the w inputs is never read: it is there as in the originals.

Source: Dao-AILab/causal-conv1d causal_conv1d_interface.py::causal_conv1d_ref and
::causal_conv1d_update_ref; Gu and Dao, arXiv 2312.00752, figure 3.
"""

from __future__ import annotations

import numpy as np

from minigen.ops.silu.reference import silu


def causal_conv(x, w, bias, state):
    """(b n c), (c w), (c), (b w c) -> (b n c), (b w c)
    where w and bias are weights, state is changed

    Return y[l] = bias + sum over k of w[k] x[l - (w-1) + k], and the state.

    The state, the w inputs before x, becomes the last w of x in place.

    >>> state = np.zeros((1, 2, 1))
    >>> x, w = np.array([[[1.0], [2.0], [4.0]]]), np.array([[10.0, 1.0]])
    >>> causal_conv(x, w, np.zeros(1), state)[0].ravel(), state.ravel()
    (array([ 1., 12., 24.]), array([2., 4.]))
    """
    n, window = x.shape[1], w.shape[1]
    w, bias = w.astype(x.dtype), bias.astype(x.dtype)
    seen = np.concatenate([state, x], axis=1)
    y = bias + sum(w[:, k] * seen[:, k + 1 : k + 1 + n] for k in range(window))
    state[...] = seen[:, n:]
    return y, state


def causal_conv_silu(x, w, bias, state):
    """(b n c), (c w), (c), (b w c) -> (b n c), (b w c)
    where w and bias are weights, state is changed

    Return silu of what `causal_conv` returns, and the state.

    >>> x, state = np.ones((1, 1, 1)), np.zeros((1, 4, 1))
    >>> causal_conv_silu(x, np.ones((1, 4)), np.zeros(1), state)[0].round(4).tolist()
    [[[0.7311]]]
    """
    y, state = causal_conv(x, w, bias, state)
    return silu(y), state
