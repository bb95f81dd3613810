"""Cross entropy in nats: each row's maximum, its sum, and the target's logit."""

from __future__ import annotations

import math

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import exp
from minigen.cpu.sums import total
from minigen.target import serial


@serial
def _cross_entropy(logits, targets, losses):
    n, v = logits.shape
    powers = np.empty(v, np.float32)
    for i in range(n):
        highest = logits[i, 0]
        for k in range(1, v):
            highest = max(highest, logits[i, k])
        for k in range(v):
            powers[k] = exp(logits[i, k] - highest)
        chosen = highest - logits[i, targets[i]]
        losses[i] = np.float64(chosen) + math.log(np.float64(total(powers)))


def cross_entropy(logits, targets):
    """(b n v), (b n) -> ()

    The mean is a float64.
    """
    v = logits.shape[-1]
    losses = buffers.empty(targets.size, np.float64)
    _cross_entropy(
        buffers.floats(logits).reshape(-1, v),
        buffers.integers(targets).reshape(-1),
        losses,
    )
    return losses.mean()
