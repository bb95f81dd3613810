"""How fast kernels run without a GPU: on Numba's simulator, interpreted, and as PTX."""
