"""Classifier-free guidance: away from the unconditional logits, towards the
conditional ones.

Source: Ho and Salimans, arXiv 2207.12598, equation 6, on logits; hp-l33/ARPG
models/arpg.py::generate.
"""

from __future__ import annotations

import numpy as np


def guide(logits, weight):
    """(2b m v) -> (b m v)

    Return l_u + (l_c - l_u) * weight; the first b rows are the conditional ones.

    >>> guide(np.array([[[3.0]], [[1.0]]]), 4.0).tolist()
    [[[9.0]]]
    """
    conditional, unconditional = np.split(logits, 2)
    weight = logits.dtype.type(weight)
    return unconditional + (conditional - unconditional) * weight
