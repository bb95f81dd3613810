"""Lanes that part and meet, shuffles, accusations, and the tensor core's product."""

import numpy as np
import pytest

from minigen import ptx
from minigen.errors import KernelError
from minigen.ptx.machine import Machine
from minigen.ptx.numbers import F32, U32, U64
from minigen.ptx.together import mma
from minigen.target import cuda

HEAD = """.version 9.5
.target sm_80
.visible .shared .align 4 .b8 cells[256];
.visible .entry k(
 .param .u64 k_param_0
)
{
.reg .pred %p<9>;
.reg .b32 %r<40>;
.reg .f32 %f<40>;
.reg .b64 %rd<20>;
"""


def run(body, threads=32, blocks=1, size=64, dtype=U32, **options):
    y = np.zeros(size, dtype)
    text = (
        HEAD
        + """
ld.param.u64 %rd1, [k_param_0];
mov.u32 %r1, %tid.x;
mul.wide.u32 %rd2, %r1, 4;
add.s64 %rd3, %rd1, %rd2;
"""
        + body
        + "\nret;\n}"
    )
    program = ptx.Program(text)
    # the parameter is an address, and not all that Numba gives of an array
    program._lay_out = lambda a: {"param_0": np.array([a[0].ctypes.data], U64)}
    program.launch((blocks, 1, 1), (threads, 1, 1), (y,), **options)
    return y


def test_lanes_that_parted_meet_again_and_exchange():
    """Half a warp shuffles in one branch, half in another: PTX lets them meet."""
    y = run("""
and.b32 %r2, %r1, 1;
setp.eq.s32 %p1, %r2, 0;
@%p1 bra $L1;
mul.lo.s32 %r3, %r1, 10;
shfl.sync.bfly.b32 %r4|%p2, %r3, 1, 31, -1;
bra.uni $L2;
$L1:
mul.lo.s32 %r3, %r1, 100;
shfl.sync.bfly.b32 %r4|%p2, %r3, 1, 31, -1;
$L2:
st.global.u32 [%rd3], %r4;
""")
    assert y[:4].tolist() == [10, 0, 30, 200]


def test_a_guarded_instruction_is_jumped_over():
    y = run("setp.gt.u32 %p1, %r1, 29;\n@!%p1 st.global.u32 [%rd3], 7;\n")
    assert y[:32].tolist() == [7] * 30 + [0] * 2


@pytest.mark.parametrize(
    "mode, wanted",
    [
        ("up.b32 %r4|%p2, %r1, 3, 0", [0, 1, 2, 0, 1]),
        ("down.b32 %r4|%p2, %r1, 3, 31", [3, 4, 5, 6, 7]),
        ("bfly.b32 %r4|%p2, %r1, 5, 31", [5, 4, 7, 6, 1]),
        ("idx.b32 %r4|%p2, %r1, 7, 31", [7, 7, 7, 7, 7]),
        ("idx.b32 %r4|%p2, %r1, 1, 7199", [1, 1, 1, 1, 5]),  # segments of four: 0x1c1f
    ],
)
def test_shuffles(mode, wanted):
    assert (
        run(f"shfl.sync.{mode}, -1;\nst.global.u32 [%rd3], %r4;")[:5].tolist() == wanted
    )


PAST_SHARED = """
mov.u64 %rd4, cells;
add.s64 %rd5, %rd4, %rd2;
st.shared.u32 [%rd5], %r1;
"""

TWO_BARRIERS = """
setp.eq.s32 %p1, %r1, 0;
@%p1 bra $L1;
bar.sync 0;
bra.uni $L2;
$L1:
bar.sync 0;
$L2:
"""

A_LANE_EXITED = """
setp.eq.s32 %p1, %r1, 0;
@%p1 ret;
shfl.sync.bfly.b32 %r4|%p2, %r1, 1, 31, -1;
"""

CONSTANT = "ld.global.nc.u32 %r5, [%rd3];\nst.global.u32 [%rd3], %r1;"

PUNISHED = [
    ("st.global.u32 [%rd3+132], %r1;", 32, "thread 31 .* in global memory: byte 256"),
    ("st.global.u32 [%rd3+2], %r1;", 32, "not a multiple"),
    ("st.global.u32 [%rd1], %r1;", 32, "another lane"),
    (PAST_SHARED, 65, "thread 64 .* shared"),
    (TWO_BARRIERS, 32, "waits for ever"),
    (A_LANE_EXITED, 32, "not there"),
    (CONSTANT, 32, "nc reads"),
]


@pytest.mark.parametrize("body, threads, message", PUNISHED)
def test_what_a_gpu_would_punish(body, threads, message):
    with pytest.raises(KernelError, match=f"(?s){message}"):
        run(body, threads)


def test_products_of_a_warp():
    """mma with CUTLASS's layouts.

    An offset is row + rows * column, as strides of lane and value.
    """
    rng = np.random.default_rng(1)
    a, b, c = (
        rng.integers(-8, 8, (16, 16)),
        rng.integers(-8, 8, (16, 8)),
        rng.integers(-8, 8, (16, 8)),
    )
    lane = np.arange(32)

    def fragment(matrix, lane_strides, value_shape, value_strides):
        flat = matrix.T.ravel()  # offset = row + rows * column
        values = np.array(
            np.unravel_index(np.arange(np.prod(value_shape)), value_shape[::-1])
        )[::-1]
        offset = (np.array(value_strides)[:, None] * values).sum(axis=0)
        return flat[
            (lane % 4 * lane_strides[0] + lane // 4 * lane_strides[1])[:, None] + offset
        ]

    fa = fragment(a, (32, 1), (2, 2, 2), (16, 8, 128))
    fb = fragment(b.T, (16, 1), (2, 2), (8, 64))
    fc = fragment(c, (32, 1), (2, 2), (16, 8)).astype(F32)
    words = []
    for f in (fa, fb):
        half = f.astype(F32).view(U32) >> 16
        words += [half[:, k] | half[:, k + 1] << 16 for k in range(0, f.shape[1], 2)]
    machine = Machine.__new__(Machine)
    machine.lanes = lane
    d = mma(machine, 0, [], *words, *(fc[:, k] for k in range(4)))
    assert (np.stack(d, 1) == fragment(c + a @ b, (32, 1), (2, 2), (16, 8))).all()


def test_blocks_together_or_one_by_one():
    body = """
mov.u32 %r7, %ctaid.x;
mad.lo.s32 %r8, %r7, 40, %r1;
mov.u64 %rd4, cells;
add.s64 %rd5, %rd4, %rd2;
st.shared.u32 [%rd5], %r8;
bar.sync 0;
xor.b32 %r9, %r1, 1;
mul.wide.u32 %rd6, %r9, 4;
add.s64 %rd7, %rd4, %rd6;
ld.shared.u32 %r10, [%rd7];
mul.wide.u32 %rd8, %r8, 4;
add.s64 %rd9, %rd1, %rd8;
st.global.u32 [%rd9], %r10;
"""
    one, many = (run(body, 40, 5, 200, lanes=lanes) for lanes in (1, 8192))
    assert (one == many).all() and one[:4].tolist() == [1, 0, 3, 2] and one[199] == 198


@pytest.mark.needs("compiler")
def test_a_kernel_is_compiled_and_run():
    x, y = np.arange(5, dtype=F32), np.zeros(5, F32)
    program = ptx.program(_double, (x, y))
    assert ptx.program(_double, (y, x)) is program
    counts = ptx.Counts(program)
    program.launch((1, 1, 1), (32, 1, 1), (x, y), counts)
    assert y.tolist() == [0, 2, 4, 6, 8]
    loads = [a for a in counts.accesses.values() if not a.store]
    assert [(a.requests, a.bytes) for a in loads] == [(1, 20)]
    with pytest.raises(KernelError, match="test_machine.py:"):
        program.launch((1, 1, 1), (32, 1, 1), (x[:4], y))


def _double(x, y):
    i = cuda.threadIdx.x
    if i < y.size:
        y[i] = x[i] * np.float32(2)
