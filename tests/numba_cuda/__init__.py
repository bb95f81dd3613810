"""Run numba-cuda's own tests on the interpreter or ptx, beside Numba's simulator."""
