"""Cross entropy in nats on a GPU: a warp reads each row of logits once.

Every lane keeps the highest logit it has seen and the total of the powers below it, as
a query of attention does: when a higher one comes, the total is scaled down.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.gpu.flag import inside
from minigen.gpu.warps import warp_max, warp_sum
from minigen.target import cuda, gpu_kernel

THREADS = 128
ROWS = THREADS // 32

LOWEST = np.finfo(np.float32).min
"""The initial maximum: finite, because -inf - (-inf) is NaN."""

NONE = np.float32(np.nan)
"""The logit of a target outside 0 .. v - 1."""


@gpu_kernel
def _cross_entropy(logits, targets, losses, flag):
    """One block per 4 rows of logits (n v), a warp for each.
    Lanes stride along the row, then combine their results by shuffles.
    Reads logits 1..2, targets 1; writes losses 1.
    Shared memory: none.
    """
    lane = cuda.threadIdx.x % 32
    i = cuda.blockIdx.x * ROWS + cuda.threadIdx.x // 32
    # all lanes of a warp have the same row, so they leave together
    if i < logits.shape[0]:
        highest, total = LOWEST, np.float32(0)
        for k in range(lane, logits.shape[1], 32):
            logit, before = logits[i, k], highest
            highest = max(before, logit)
            total = total * math.exp(before - highest) + math.exp(logit - highest)
        top = warp_max(highest)
        total = warp_sum(total * math.exp(highest - top))
        if lane == 0:
            target = targets[i]
            chosen = NONE
            if inside(target, logits.shape[1], flag):
                chosen = logits[i, target]
            losses[i] = top - chosen + math.log(total)


def cross_entropy(device, logits, targets):
    """(b n v), (b n) -> ()

    targets are int64 in 0 .. v - 1: any other sets the device's flag. The mean, in
    float64, is taken on the host, which waits for the device.
    """
    rows = targets.size
    losses = device.empty(rows)
    arguments = logits.reshape(rows, logits.shape[-1]), targets.reshape(-1), losses
    arguments = *arguments, device.flag
    device.launch(_cross_entropy, -(-rows // ROWS), THREADS, *arguments)
    return device.get(losses).mean(dtype=np.float64)
