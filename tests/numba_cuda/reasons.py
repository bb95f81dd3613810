"""Why a backend does not pass some of numba-cuda's tests that the simulator passes."""

BOTH = ("interpreter", "ptx")

DRIVER = "They ask the driver for memory by its address, or for its contexts"
SIMULATOR = "They are tests of the simulator itself, and skipped elsewhere"
EXPECTED = "Numba expects them to fail on a GPU, and here they do not"
ELSEWHERE = (DRIVER, SIMULATOR, EXPECTED)
"""Reasons of tests that make no sense for either backend."""

FAULT = "The interpreter names a fault that a GPU lets pass, or names it otherwise"
DEBUG = "A kernel with debug=True is compiled, or read, as one without"

REASONS = {
    (BOTH, DRIVER): """
        cudadrv/test_cuda_memory.py::*
        cudadrv/test_host_alloc.py::*::test_host_alloc_*
        cudadrv/test_reset_device.py::*
    """,
    (BOTH, SIMULATOR): """
        cudapy/test_array.py::*_simulator
        cudapy/test_array_alignment.py::TestCudasimUnsupportedAlignment::*
        cudasim/*
    """,
    (BOTH, EXPECTED): "cudapy/test_exception.py::*::test_raise_in_device_function",
    (("interpreter",), FAULT): "cudapy/test_exception.py::*::test_exception",
    (("interpreter",), DEBUG): "cudapy/test_exception.py::*::test_zero_division_error*",
    (("ptx",), DEBUG): """
        cudapy/test_exception.py::*::test_exception
        cudapy/test_exception.py::*::test_user_raise
        cudapy/test_exception.py::*::test_zero_division_error*
    """,
}
"""{(backends, reason): the tests, as patterns of their names}."""
