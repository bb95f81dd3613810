"""What is counted: of known kernels by hand, of ours against their headers."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import minigen
from minigen import profiling, ptx, target
from minigen.arrays import dimensions
from minigen.checking import header
from minigen.cli import app
from minigen.commands.profile import parse_sizes
from minigen.errors import InputError
from minigen.profiling import GPUS, Device, count
from minigen.target import cuda, gpu_kernel
from tests.kernels import collect

compiler = pytest.mark.needs("compiler")


@gpu_kernel
def _copy(x, y, stride):
    i = cuda.grid(1)
    y[i] = x[stride * i]


@gpu_kernel
def _turn(y, stride):
    tile = cuda.shared.array(1024, np.float32)
    i = cuda.threadIdx.x
    tile[stride * i] = y[i]
    cuda.syncthreads()
    y[i] = tile[stride * (31 - i)]


@gpu_kernel
def _part(y, n):
    i = cuda.grid(1)
    if y[i] < np.float32(n):
        cuda.syncwarp(0x55555555)
        y[i] = np.float32(7)


@compiler
@pytest.mark.parametrize("stride, sectors", [(1, 4.0), (2, 8.0), (8, 32.0), (64, 32.0)])
def test_sectors_are_what_a_request_touches(stride, sectors):
    x, y = np.zeros(64 * stride, np.float32), np.zeros(64, np.float32)
    found = count(_copy, 2, 32, x, y, stride)
    assert found.loads == (sectors, 4.0) and found.stores == (4.0, 4.0)
    assert (found.read, found.written) == (256, 256)
    assert found.lanes == 1 and found.divergent == found.apart == 0
    assert found.instructions["load.global"] == 2 and found.grid == (2, 1, 1)


@compiler
@pytest.mark.parametrize("stride, rounds", [(1, 1.0), (2, 2.0), (32, 32.0), (31, 1.0)])
def test_banks_that_lanes_share_take_rounds(stride, rounds):
    y = np.arange(32, dtype=np.float32)
    assert count(_turn, 1, 32, y, stride).banks == (rounds, 1.0)
    assert y.tolist() == list(range(32)), "the kernel was given a copy"


@compiler
def test_a_branch_that_parts_a_warp_is_counted():
    y = np.float32(np.arange(64) % 2)
    found = count(_part, 1, 64, y, 1)
    assert found.divergent == 2 and 0.5 < found.lanes < 1
    whole = count(_part, 1, 64, np.full(64, 9, np.float32), 1)
    assert whole.divergent == 0 and whole.lanes == 1


@pytest.mark.parametrize("gpu, teraflops", [*zip(GPUS, (8.1, 19.5, 67), strict=True)])
def test_peaks_are_those_of_the_data_sheets(gpu, teraflops):
    peak = 2 * gpu.lanes * gpu.multiprocessors * gpu.clock
    assert abs(peak / 1e12 / teraflops - 1) < 0.01


def test_the_bound_is_the_longest_of_three():
    gpu = GPUS[1]
    many = 10 * gpu.multiprocessors
    work = {"fma": 108_000, "int64": 108_000}
    assert profiling.bound(gpu, work, 0, 0, many)[1] == "arithmetic"
    assert profiling.bound(gpu, work | {"select": 10**6}, 0, 0, many)[1] == "issue"
    assert profiling.bound(gpu, work, 0, 10**9, many) == (1e9 / 2039e9, "memory")
    alone, _ = profiling.bound(gpu, work, 0, 0, 1)
    assert alone == pytest.approx(profiling.bound(gpu, work, 0, 0, many)[0] * 108)


@compiler
def test_a_profile_by_sizes_and_of_a_shipped_model():
    found = minigen.profile("rms_norm", {"b": 2, "n": 1, "d": 100}, weights="bfloat16")
    assert "x (2 1 100) float32, w (100) bfloat16" in found.case
    (kernel,) = found.kernels
    assert kernel.kernel == "_rms_norm" and kernel.grid == (2, 1, 1)
    assert (kernel.read, kernel.written) == (800 + 200, 800)
    assert kernel.total == sum(kernel.instructions.values()) > 0
    assert f"{kernel.total:,}" in str(found) and "H100" in found._repr_html_()
    assert "arpg-mnist" in minigen.profile("rms_norm").case


@compiler
def test_sums_are_folded_by_one_shuffle_each():
    # of a choice by selp the compiler made a branch, with shuffles in both of its arms
    (skinny,) = minigen.profile("linear", {"n": 1, "d": 64, "f": 8}).kernels
    warps = int(np.prod(skinny.grid) * np.prod(skinny.block)) // 32
    assert skinny.kernel == "_linear_skinny"
    assert skinny.instructions["shuffle"] == 31 * warps and skinny.apart == 0


@compiler
def test_a_kernel_of_a_file_is_profiled_in_the_place_of_ours(tmp_path):
    source = (collect.ROOT / "ops/rms_norm/cuda.py").read_text()
    source = source.replace("@gpu_kernel", "@cuda.jit").replace("_rms_norm(", "mine(")
    (tmp_path / "mine.py").write_text(source)
    asked = ["profile", f"{tmp_path}/mine.py:mine", "--sizes", "n=1,d=64", "--json"]
    assert CliRunner().invoke(app, asked).exit_code == 2
    result = CliRunner().invoke(app, [*asked, "--op", "rms_norm"])
    assert result.exit_code == 0, result.output
    (mine,) = json.loads(result.output)["kernels"]
    (ours,) = minigen.profile("rms_norm", {"n": 1, "d": 64}).kernels
    assert mine["kernel"] == "mine" and mine["read"] == ours.read
    # whose indices may be negative, as those of ours may not
    assert mine["instructions"]["int64"] > ours.instructions["int64"]


MINE = """
from numba import cuda, float32


@cuda.jit
def turned(a, x, y):
    tile = cuda.shared.array(0, float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    if t < x.shape[1]:
        tile[t] = a * x[i, t]
    cuda.syncthreads()
    if t < x.shape[1]:
        y[i, t] = tile[x.shape[1] - 1 - t]
"""
TURNED = ["--signature", "a, x (n d) -> y (n d)", "--grid", "n", "--block", "32",
          "--dynamic", "4 * block", "--sizes", "n=3,d=20,a=2"]  # fmt: skip


@compiler
def test_a_kernel_that_is_no_ops_is_profiled(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    asked = ["profile", f"{tmp_path}/mine.py:turned"]
    refused = CliRunner().invoke(app, asked)
    assert refused.exit_code == 2 and "--signature" in refused.output
    refused = CliRunner().invoke(app, [*asked, *TURNED[:2]])
    assert refused.exit_code == 2 and "the grid is missing" in refused.output
    refused = CliRunner().invoke(app, [*asked, *TURNED, "--op", "rms_norm"])
    assert refused.exit_code == 2 and "leave out one of both" in refused.output
    refused = CliRunner().invoke(app, [*asked, *TURNED[:-1], "q=3"])
    assert refused.exit_code == 2 and "'q'" in refused.output, refused.output
    result = CliRunner().invoke(app, [*asked, *TURNED, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    (turned,) = found["kernels"]
    assert found["case"] == "a 2.0, x (3 20) float32, y (3 20) float32"
    assert (turned["read"], turned["written"]) == (240, 240)
    assert turned["instructions"]["barrier"] == 3 and turned["grid"] == [3, 1, 1]


@pytest.mark.parametrize(
    "text", ["", "n", "n=", "n=x", "=3", "n=2,", "n=2,n=3", "n=[1]", "n=True", "n=1e"]
)
def test_sizes_that_are_none_are_refused(text):
    with pytest.raises(InputError, match="--sizes"):
        parse_sizes(text)


@compiler
@pytest.mark.parametrize(
    "subject, more, said",
    [
        ("rmsnorm", {}, "did you mean rms_norm"),
        ("rms_norm", {"sizes": {"d": 0}}, "size d = 0"),
        ("rms_norm", {"sizes": {"q": 3}}, "no size or argument 'q'"),
        ("rms_norm", {"weights": "int8"}, "int8"),
        ("nowhere.py:f", {}, "not found"),
    ],
)
def test_what_cannot_be_profiled_is_named(subject, more, said):
    with pytest.raises(InputError, match=said):
        minigen.profile(subject, **more)


class OnPtx(Device):
    """A device that holds what each launch touches against the kernel's header."""

    def launch(self, kernel, grid, block, *arguments):
        """Run a kernel, and compare."""
        grid, block = dimensions(grid, block)
        if 0 in grid:
            return
        types = target.argument_types(arguments)
        program = ptx.Program(target.compile_ptx(kernel, types, (8, 0)))
        named = zip(profiling._names(kernel), arguments, strict=True)
        arrays = {n: a for n, a in named if isinstance(a, np.ndarray)}
        counts = ptx.Counts(program, arrays)
        program.launch(grid, block, arguments, counts)
        said = header.parse(kernel)
        names = header.names(kernel, said, arguments)
        for of, told in ((counts.reads, said.reads), (counts.writes, said.writes)):
            for name in arrays.keys() - {"flag"}:
                least, most = header.bounds(told.get(name, "0"), names)
                where = kernel.py_func.__name__, name, told.get(name)
                # what a thread reads twice the compiler may read once, never more often
                assert of[name].max(initial=0) <= most, where
                assert of[name].min(initial=1) >= min(least, 1), where
        # and nothing of that is done by lanes that the compiler has parted
        assert sum(counts.met.values()) == 0, kernel.py_func.__name__


FEW = ("rms_norm.rms_norm", "swiglu.swiglu", "upsample.upsample", "guide.guide")


def expect_header(name):
    for case in collect.routes(name, np.dtype(np.float32)):
        collect.run(name, case, OnPtx())


@compiler
@pytest.mark.parametrize("name", FEW)
def test_headers_hold_for_what_was_compiled(name):
    expect_header(name)


@pytest.mark.in_parts
@compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*collect.LAUNCHERS} - {*FEW}))
def test_all_headers_hold_for_what_was_compiled(name):
    expect_header(name)
