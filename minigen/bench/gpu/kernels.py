"""Kernels that measure the GPU and the launch itself, not any model."""

from __future__ import annotations

from minigen.target import cuda, gpu_kernel

THREADS = 256
EACH = 8
"""Numbers that each thread copies: so many reads are in flight at once."""


@gpu_kernel
def _copy(x, y):
    """One block per THREADS * EACH numbers of x (n).
    Neighbouring threads copy neighbouring numbers, EACH times; all reads come first.
    Reads x 1; writes y 1.
    Shared memory: none.
    """
    i = cuda.blockIdx.x * (THREADS * EACH) + cuda.threadIdx.x
    if i + (EACH - 1) * THREADS < x.size:
        a, b = x[i], x[i + THREADS]
        c, d = x[i + 2 * THREADS], x[i + 3 * THREADS]
        e, f = x[i + 4 * THREADS], x[i + 5 * THREADS]
        g, h = x[i + 6 * THREADS], x[i + 7 * THREADS]
        y[i], y[i + THREADS] = a, b
        y[i + 2 * THREADS], y[i + 3 * THREADS] = c, d
        y[i + 4 * THREADS], y[i + 5 * THREADS] = e, f
        y[i + 6 * THREADS], y[i + 7 * THREADS] = g, h
    else:
        while i < x.size:
            y[i] = x[i]
            i += THREADS


def copy(device, x):
    # (n) -> (n)
    """Return a copy of a flat float32 array."""
    y = device.empty(x.shape)
    device.launch(_copy, -(-x.size // (THREADS * EACH)), THREADS, x, y)
    return y


@gpu_kernel
def _nothing():
    """Do nothing, given nothing."""


@gpu_kernel
def _nothing_with_1(a):
    """Do nothing, given one array."""


@gpu_kernel
def _nothing_with_4(a, b, c, d):
    """Do nothing, given four arrays."""


@gpu_kernel
def _nothing_with_8(a, b, c, d, e, f, g, h):
    """Do nothing, given eight arrays."""


IDLE = {0: _nothing, 1: _nothing_with_1, 4: _nothing_with_4, 8: _nothing_with_8}
"""Kernels that do nothing, by the number of arrays that they are given."""
