"""Why a backend does not pass some of numba-cuda's tests that the simulator passes."""

BOTH = ("interpreter", "ptx")

DRIVER = "They ask the driver for memory by its address, or for its contexts"
SIMULATOR = "They are tests of the simulator itself, and skipped elsewhere"
EXPECTED = "Numba expects them to fail on a GPU, and here they do not, or are skipped"
ELSEWHERE = (DRIVER, SIMULATOR, EXPECTED)
"""Reasons of tests that make no sense for either backend."""

SIZE = "The simulator is given a small problem, and all others one for a GPU"
ERROR = "What Numba raises while it compiles is a KernelError here"
FAULT = "The interpreter names a fault that a GPU lets pass, or in other words"
DEBUG = "A kernel with debug=True is compiled, or read, as one without"
RECURSION = "Functions that call themselves are refused by name"

REASONS = {
    (BOTH, DRIVER): """
        cudadrv/test_cuda_memory.py::*
        cudadrv/test_host_alloc.py::*::test_host_alloc_*
        cudadrv/test_reset_device.py::*
    """,
    (BOTH, SIMULATOR): """
        cudapy/test_array.py::*_simulator
        cudapy/test_array_alignment.py::TestCudasimUnsupportedAlignment::*
        cudapy/test_stream_api.py::*_simulator_unavailable
        cudasim/test_cudasim_issues.py::*::test_deadlock_on_exception
    """,
    (BOTH, EXPECTED): "cudapy/test_exception.py::*::test_raise_in_device_function",
    (BOTH, SIZE): "cudapy/test_laplace.py::* cudapy/test_matmul.py::*",
    (BOTH, ERROR): "cudapy/test_dispatcher.py::*::test_explicit_signatures_device",
    (("interpreter",), FAULT): """
        cudapy/test_exception.py::*::test_exception
        cudapy/test_userexc.py::*
    """,
    (("interpreter",), DEBUG): "cudapy/test_exception.py::*::test_zero_division_error*",
    (("ptx",), DEBUG): """
        cudapy/test_exception.py::*::test_exception
        cudapy/test_exception.py::*::test_user_raise
        cudapy/test_exception.py::*::test_zero_division_error*
        cudapy/test_userexc.py::*
    """,
    (("ptx",), RECURSION): "cudapy/test_recursion.py::*",
}
"""{(backends, reason): the tests, as patterns of their names}."""
