"""Mistakes in the step of Mamba-2, each planted into a copy of its kernels.

As in `planted.py`: a few words are exchanged, and `minigen check` has to find them.
"""

from tests.check.planted import Bug


def step(title, kernel, right, wrong, kind, *words):
    """Return a bug of one of the kernels of mamba2_step."""
    return Bug(title, "mamba2_step", kernel, right, wrong, kind, words)


ONE, HEAD, NORM = "_mamba2_step", "_mamba2_step_head", "_mamba2_step_norm"

BUGS = (
    step(
        "an input is moved before it is read",
        ONE,
        "    for j in range(newest):\n        v = x[i, j + 1, c]\n        if keep:\n",
        "    for j in range(newest):\n        v = x[i, j, c]\n        if keep:\n",
        "wrong value",
        "eps, 4 are allowed",
    ),
    step(
        "what all heads read moves on before all have read it",
        HEAD,
        "c, keep or own)",
        "c, True)",
        "race",
        "x[0, ",
    ),
    step(
        "the norm is over one head only",
        ONE,
        "    _gate_norm(signal, 0, u, norm, i, first, count, eps, partial, y)",
        "    for k in range(0, count, p):\n"
        "        _gate_norm(signal, k, u, norm, i, first + k, p, eps, partial, y)",
        "wrong value",
        "eps, 4 are allowed",
    ),
    step(
        "the norm stops behind the first head",
        ONE,
        "signal, 0, u, norm, i, first, count, eps, partial, y)",
        "signal, 0, u, norm, i, first, p, eps, partial, y)",
        "never written",
        "nobody wrote y[",
    ),
    step(
        "a mean over all groups",
        NORM,
        "np.float32(count)",
        "np.float32(norm.shape[0])",
        "wrong value",
        "eps, 4 are allowed",
    ),
    step(
        "no barrier before the channels are scanned",
        HEAD,
        "    _rates(u, dt, A, D, i, j, 1, heads)\n    cuda.syncthreads()\n",
        "    _rates(u, dt, A, D, i, j, 1, heads)\n",
        "race",
        "signal[",
    ),
    step(
        "B and C of the other group",
        HEAD,
        "g = j // (D.shape[0] // r)",
        "g = j % r",
        "wrong value",
        "eps, 4 are allowed",
    ),
)
