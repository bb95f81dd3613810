"""The quantiser's training losses and their gradients, in float64 NumPy.

For the tests only. The gradients are exact to rounding without a reverse pass: for an
analytic function, the imaginary part of f(x + i h) over h is its derivative, and
nothing cancels, however small h is.
"""

from __future__ import annotations

import numpy as np

TINY = 1e-30


def losses(z, codes, indices, config, unit):
    """Return the code, commitment and entropy losses of vectors z (n c) on codes (k c).

    Source: FoundationVision/LlamaGen tokenizer/tokenizer_image/vq_model.py
    ::VectorQuantizer.forward. `indices` are the nearest codes; gradients do not pass
    through that choice, nor through the halves that are held still.
    """
    z, codes = widen(z), widen(codes)
    if unit:
        z, codes = normalise(z), normalise(codes)
    chosen = codes[indices]
    vq = ((chosen - hold(z)) ** 2).mean()
    commit = config["beta"] * ((hold(chosen) - z) ** 2).mean()
    distances = (z * z).sum(-1)[:, None] + (codes * codes).sum(-1) - 2 * (z @ codes.T)
    entropy = config["entropy_loss_ratio"] * entropy_loss(-distances / 0.01)
    return vq, commit, entropy


def entropy_loss(affinity):
    """Mean entropy of the choices of a code, less the entropy of the mean choice."""
    affinity = affinity - affinity.real.max(-1, keepdims=True)
    log_p = affinity - np.log(np.exp(affinity).sum(-1, keepdims=True))
    p = np.exp(log_p)
    mean = p.mean(0)
    return (mean * np.log(mean + 1e-5)).sum() - (p * log_p).sum(-1).mean()


def gradients(z, codes, indices, config, unit):
    """Return the gradients of what was trained: of z (b y x c) and of codes (k c).

    That is the three losses and the mean of z_q, (b c y x), times numbers from -1 to 1,
    so that the straight-through gradient is seen: z_q is z plus a part that is held
    still.
    """

    def total(z, codes):
        flat = z.reshape(-1, z.shape[-1])
        vectors, rows = widen(flat), widen(codes)
        if unit:
            vectors, rows = normalise(vectors), normalise(rows)
        passed = vectors + hold(rows[indices] - vectors)
        passed = np.moveaxis(passed.reshape(z.shape), -1, 1).ravel()
        weighted = (passed * np.linspace(-1, 1, passed.size)).mean()
        return sum(losses(flat, codes, indices, config, unit)) + weighted

    def derivative(f, x):
        x = widen(x)
        result = np.empty(x.shape)
        for place in np.ndindex(x.shape):
            moved = x.copy()
            moved[place] += 1j * TINY
            result[place] = f(moved).imag / TINY
        return result

    d_z = derivative(lambda x: total(x, codes), z)
    return d_z, derivative(lambda x: total(z, x), codes)


def widen(x):
    """float32 to complex, through float64."""
    return np.asarray(x).astype(np.complex128)


def normalise(x):
    norm = np.sqrt((x * x).sum(-1, keepdims=True))
    return x / np.where(norm.real > 1e-12, norm, 1e-12)


def hold(x):
    """Stop the gradient: drop the imaginary part."""
    return x.real
