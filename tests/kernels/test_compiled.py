"""Every kernel is compiled and assembled without a GPU: no float64, no spills, it fits.

Each is compiled once a run, for every dtype of its weights: for an A100, with --slow
for the oldest and the newest generation too.
"""

import importlib
from contextlib import nullcontext
from unittest import mock

import numpy as np
import pytest

from minigen import target
from minigen.checking import header
from minigen.checking.strategies import WEIGHT_DTYPES
from minigen.target import cuda
from tests.kernels import collect

pytestmark = pytest.mark.needs("compiler")

OLD, TENSOR, NEW = (7, 5), (8, 0), (9, 0)
"""Compute capabilities: of T4 and RTX 20, of A100, of H100 and H200."""

REGISTERS = 65536
"""Registers of a multiprocessor: a block that needs more cannot be launched."""

SHARED = 48 * 1024
"""Bytes of shared memory that a block may declare."""

RESERVED = 1024
"""Bytes that the system adds to a block's from compute capability 9.0 on."""


@pytest.mark.parametrize(
    "capabilities",
    [
        pytest.param([TENSOR], id="A100"),
        pytest.param(
            [OLD, NEW],
            id="oldest and newest",
            marks=[pytest.mark.slow, pytest.mark.in_parts],
        ),
    ],
)
@pytest.mark.parametrize("name", collect.KERNELS)
def test_a_kernel_computes_in_float32_and_fits_on_a_multiprocessor(name, capabilities):
    # tensor cores for bfloat16 came with 8.0: what needs them is named so
    tensor = name.endswith("_tensor")
    kernel = collect.kernel(name)
    for types, launch in collect.signatures()[name].items():
        with translated_once():
            for cc in (
                capabilities[1:] if tensor and OLD in capabilities else capabilities
            ):
                ptx = target.compile_ptx(kernel, types, cc)
                found = leaks(ptx)
                where = target.float64_lines(kernel, types) if found else []
                assert not found, f"{name}{types} for {cc}: {found[:3]}, from {where}"
                assert not tensor or "mma.sync" in ptx, (types, cc)
                expect_fits(launch, target.link(ptx, cc), cc)


def leaks(ptx):
    """Return the instructions of PTX that work on float64."""
    return [line.strip() for line in ptx.splitlines() if ".f64" in line]


def expect_fits(launch, taken, cc):
    """Assert that a kernel takes no more of a GPU than its header and the GPU say."""
    said = header.parse(launch.kernel)
    # memory for variables that registers do not hold is slow: it takes a reason
    assert (taken.spills, taken.stack) == (0, 0) or said.reason, (cc, taken)
    # registers are given out to whole warps, eight at a time
    warps, each = -(-launch.threads // 32), -(-taken.registers // 8) * 8
    assert 0 < taken.registers <= 255
    assert warps * 32 * each <= REGISTERS, (cc, taken)
    names = header.names(launch.kernel, said, launch.arguments)
    shared = header.evaluate(said.shared, names)
    assert shared <= SHARED
    assert taken.shared == shared + (RESERVED if shared and cc >= NEW else 0), cc


def translated_once():
    """Keep, for a `with`, what comes before PTX: it does not depend on the capability.

    Most of the time goes into it. Where another numba-cuda has no such function to keep
    the result of, it takes that time.
    """
    compiler = importlib.import_module("numba.cuda.compiler")
    name, kept = "_compile_pyfunc_with_fixup", []
    translate = getattr(compiler, name, None)
    if translate is None:
        return nullcontext()

    def once(*arguments, **options):
        kept.extend([] if kept else [translate(*arguments, **options)])
        return kept[0]

    return mock.patch.object(compiler, name, once)


def test_kernels_with_weights_are_compiled_for_each_dtype_of_them():
    for name in ("embed.cuda._embed", "linear.cuda._linear_skinny"):
        assert len(collect.signatures()[name]) == len(WEIGHT_DTYPES), name


def test_a_leak_is_seen_and_its_line_named():
    def halve(x):
        i = cuda.grid(1)
        total = 0.5
        for k in range(i):
            total += x[k]
        x[i] = total

    types = target.argument_types((np.zeros(3, np.float32),))
    assert leaks(target.compile_ptx(halve, types, (8, 0)))
    lines = {line for _, line in target.float64_lines(halve, types)}
    start = halve.__code__.co_firstlineno
    assert {start + 2, start + 4} <= lines


def test_no_index_of_ours_is_counted_from_the_end():
    def shift(x, n):
        x[cuda.threadIdx.x - n] = x[n]

    # the sign of an index, 64 times over, chooses what to add to it
    types = target.argument_types((np.zeros(3, np.float32), np.int64(1)))
    python = target.compile_ptx(cuda.jit(shift), types, (8, 0))
    ours = target.compile_ptx(target.gpu_kernel(shift), types, (8, 0))
    assert ", 63;" in python and ", 63;" not in ours
    # and a kernel of somebody else is compiled after that as before
    assert ", 63;" in target.compile_ptx(cuda.jit(shift), types, (8, 0))


def test_a_kernel_may_say_how_many_threads_must_fit():
    def wide(x):
        values = cuda.local.array(160, np.float32)
        for k in range(160):
            values[k] = x[k, cuda.threadIdx.x]
        for k in range(160):
            x[k, cuda.threadIdx.x] = values[159 - k]

    types = target.argument_types((np.zeros((160, 512), np.float32),))
    free, bound = (
        target.link(target.compile_ptx(one, types, (8, 0)), (8, 0)).registers
        for one in (target.gpu_kernel(wide), target.gpu_kernel(threads=512)(wide))
    )
    assert free > 128 >= bound


def test_a_local_array_with_indices_is_seen():
    def shuffle(x):
        local = cuda.local.array(64, np.float32)
        for k in range(64):
            local[k] = x[k]
        for k in range(64):
            x[k] = local[int(x[k])]

    types = target.argument_types((np.zeros(64, np.float32),))
    taken = target.link(target.compile_ptx(shuffle, types, (8, 0)), (8, 0))
    assert taken.stack >= 256
