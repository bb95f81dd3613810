"""Only finite numbers, on a GPU: a thread looks at one, and may set the flag."""

from __future__ import annotations

from minigen.gpu import flag as flags
from minigen.target import cuda, gpu_kernel

THREADS = 256


@gpu_kernel
def _check_finite(x, flag):
    """One block per THREADS numbers of x (n).
    A thread looks at one; nobody writes anything if all is well.
    Reads x 1; writes nothing.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < x.shape[0]:
        flags.finite(x[i], flag)


def check_finite(device, x):
    """(b ...) -> (b ...)

    Return x itself, of any axes; NaN or infinity in it sets the device's flag.
    """
    blocks = -(-x.size // THREADS)
    device.launch(_check_finite, blocks, THREADS, x.reshape(-1), device.flag)
    return x
