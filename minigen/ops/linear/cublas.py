"""y = x W^T by NVIDIA's cuBLAS, for who wants it: float32 weights and many rows.

Nothing needs this, and nothing imports it. To use it, run `pip install ".[cublas]"` and
swap a row of the op table:

    ops = backends.table("cuda")
    ops.linear = cublas.use(ops.device)

cuBLAS multiplies two matrices of one dtype. So weights of two bytes are left to our own
kernels; few rows too, and what has a bias or a residual. Its calls are on the device's
stream, so a recorded run holds them. How the call is put together is tested; it has not
run on a GPU yet.

Source: cublasSgemm in NVIDIA's cuBLAS documentation; nvmath-python 1.0's bindings.
"""

from __future__ import annotations

import importlib

import numpy as np

from minigen import signatures
from minigen.calls import checked
from minigen.errors import BackendError
from minigen.extras import install
from minigen.ops.linear import cuda, reference

_AS_IT_IS, _TRANSPOSED = 0, 1

# cuBLAS reads alpha and beta through pointers, so these stay where they are
_ONE, _ZERO = np.ones(1, np.float32), np.zeros(1, np.float32)


def use(device, bindings=None):
    """Return a `linear` for an op table, of cuBLAS where it fits.

    device: a `minigen.arrays.Gpu`. bindings: what stands in for
    nvmath.bindings.cublas. BackendError if that is not installed.
    """
    bindings = bindings or _bindings()
    handle = bindings.create()
    bindings.set_stream(handle, device.stream)

    def linear(x, w, bias=None, residual=None):
        f, d = w.shape
        n = x.size // d
        plain = bias is None and residual is None and w.dtype == np.float32
        if not plain or n <= cuda.SKINNY_ROWS:
            return cuda.linear(device, x, w, bias, residual)
        y = device.empty((*x.shape[:-1], f))
        # cuBLAS goes down columns: it takes y (n f) for its transpose (f n) = W x^T,
        # x for (d n), which is x^T, and w for (d f), which it has to transpose
        bindings.sgemm(
            handle, _TRANSPOSED, _AS_IT_IS, f, n, d,
            _ONE.ctypes.data, _address(w), d, _address(x), d,
            _ZERO.ctypes.data, _address(y), f,
        )  # fmt: skip
        return y

    return checked(signatures.of(reference.linear), linear, "cuda")


def _address(array):
    return array.__cuda_array_interface__["data"][0]


def _bindings():
    try:
        return importlib.import_module("nvmath.bindings.cublas")
    except ImportError:
        raise BackendError(
            "cuBLAS was asked for, but nvmath-python is not installed; run "
            f"`{install('cublas')}`, or leave out cublas.use"
        ) from None
