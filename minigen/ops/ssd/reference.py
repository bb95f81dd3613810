"""State space duality: one linear map, as a recurrence and as attention with decay.

h_t = exp(delta_t A) h_{t-1} + delta_t x_t B_t,  y_t = h_t C_t + D x_t,  A = -e^A_log

A head has one A, so the state at token l holds the input of token m times a single
number, exp(delta_{m+1} A + ... + delta_l A). Written as a matrix over l and m, this
makes the recurrence attention with C as queries, B as keys and delta x as values.

Source: Dao and Gu, arXiv 2405.21060, section 6 and listing 1; state-spaces/mamba
ops/triton/ssd_combined.py, modules/ssd_minimal.py.
"""

from __future__ import annotations

import numpy as np


def ssd(x, delta, A_log, B, C, D, state):
    """(b n h p), (b n h), (h), (b n r s), (b n r s), (h), (b h p s)
    -> (b n h p), (b h p s)
    where A_log and D are weights, state is changed, r divides h

    Return y of every token, one after the other, and the state, updated in place.

    delta: step sizes, not negative. Each of the r groups of consecutive heads shares
    its B and C. A sequence may be cut anywhere if the state is passed on; a decode step
    is a sequence of one token.

    >>> one, state = np.ones((1, 2, 1, 1)), np.zeros((1, 1, 1, 1))
    >>> y, _ = ssd(one, one[..., 0], np.zeros(1), one, one, np.zeros(1), state)
    >>> y.ravel().round(4).tolist()  # 1, then e^-1 + 1
    [1.0, 1.3679]
    """
    A, D = -np.exp(A_log.astype(x.dtype)), D.astype(x.dtype)
    B, C = _of_heads(B, x), _of_heads(C, x)
    y, h = np.empty_like(x), state
    for t in range(x.shape[1]):
        step, u = delta[:, t, :, None], x[:, t]
        decay = np.exp(step * A[:, None])
        h = decay[..., None] * h + (step * u)[..., None] * B[:, t, :, None]
        y[:, t] = (h * C[:, t, :, None]).sum(-1) + D[:, None] * u
    state[...] = h
    return y, state


def ssd_chunked(x, delta, A_log, B, C, D, state, chunk):
    """(b n h p), (b n h), (h), (b n r s), (b n r s), (h), (b h p s)
    -> (b n h p), (b h p s)
    where A_log and D are weights, state is changed, r divides h,
    1 <= chunk < 2147483648

    Return the same as `ssd`, computed in chunks of `chunk` tokens.

    Inside a chunk this is attention; only the state goes from one chunk to the next.

    >>> one, state = np.ones((1, 3, 1, 1)), np.zeros((1, 1, 1, 1))
    >>> given = one, one[..., 0], np.zeros(1), one, one, np.zeros(1)
    >>> ssd_chunked(*given, state, 2)[0].ravel().round(4).tolist()
    [1.0, 1.3679, 1.5032]
    """
    A, D = -np.exp(A_log.astype(x.dtype)), D.astype(x.dtype)
    B, C = _of_heads(B, x), _of_heads(C, x)
    y = np.empty_like(x)
    for first in range(0, x.shape[1], chunk):
        part = slice(first, first + chunk)
        u, Bs, Cs = x[:, part] * delta[:, part, :, None], B[:, part], C[:, part]
        exponents = (delta[:, part] * A).swapaxes(1, 2)  # (b n h) -> (b h n)
        # decay of each earlier token (b h n n), and of the state at the start (b h n)
        decay, of_state = np.exp(segment_sums(exponents)), np.exp(exponents.cumsum(-1))
        scores = np.einsum("blhs,bmhs->bhlm", Cs, Bs) * decay
        y[:, part] = np.einsum("bhlm,bmhp->blhp", scores, u)
        y[:, part] += np.einsum("blhs,bhps,bhl->blhp", Cs, state, of_state)
        y[:, part] += D[:, None] * x[:, part]
        left = np.einsum("bhm,bmhp,bmhs->bhps", decay[:, :, -1], u, Bs)
        state[...] = of_state[:, :, -1, None, None] * state + left
    return y, state


def segment_sums(exponents):
    """(b h n) -> (b h n n)

    Return [l, m] = the sum of exponents m+1 .. l, and -inf where m > l.

    Each segment is summed by itself: a difference of two cumulative sums would lose
    the digits that both have in common.

    >>> segment_sums(np.array([[[1.0, 2.0, 4.0]]]))[0, 0].tolist()
    [[0.0, -inf, -inf], [2.0, 0.0, -inf], [6.0, 4.0, 0.0]]
    """
    n = exponents.shape[-1]
    rows, columns = np.arange(n)[:, None], np.arange(n)
    terms = np.where(rows > columns, exponents[..., None], 0)
    sums = np.cumsum(terms, axis=-2, dtype=exponents.dtype)
    return np.where(rows < columns, -np.inf, sums).astype(exponents.dtype)


def _of_heads(each, x):
    return np.repeat(each, x.shape[2] // each.shape[2], axis=2)
