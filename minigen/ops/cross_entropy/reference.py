"""Cross entropy in nats, the training loss of every token model here.

Source: hp-l33/ARPG models/arpg.py::forward (F.cross_entropy, mean over b and n).
"""

from __future__ import annotations

import numpy as np


def cross_entropy(logits, targets):
    """(b n v), (b n) -> ()
    where 0 <= targets < v, b >= 1, n >= 1

    Return the mean over b and n of log(sum exp(logits)) - logits[target].

    >>> loss = cross_entropy(np.zeros((1, 2, 8)), np.array([[0, 7]]))
    >>> round(float(loss), 4)  # log 8
    2.0794
    """
    highest = logits.max(axis=-1, keepdims=True)
    total = np.log(np.sum(np.exp(logits - highest), axis=-1, keepdims=True))
    chosen = np.take_along_axis(logits, targets[..., None], axis=-1)
    return np.mean(highest + total - chosen)
