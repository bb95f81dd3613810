"""Run numba-cuda's own tests on the interpreter, beside Numba's simulator of a GPU."""
