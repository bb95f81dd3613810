"""No vector leaves its register in an innermost loop, on whichever processor."""

import json
import os
import platform
import re
import subprocess
import sys
from unittest import mock

import pytest

pytest.importorskip("numba")

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types

from minigen.cpu import blend, half, registers, tile

PROCESSORS = {
    "x86-64-v3": ("x86_64-unknown-linux-gnu", (8, 16)),
    "x86-64-v4": ("x86_64-unknown-linux-gnu", (16, 32)),
    # of these LLVM knows more, and would make two or four rounds of a loop one
    "znver3": ("x86_64-unknown-linux-gnu", (8, 16)),
    "znver4": ("x86_64-unknown-linux-gnu", (16, 32)),
    "apple-m1": ("arm64-apple-darwin", (4, 32)),
    "neoverse-n1": ("aarch64-unknown-linux-gnu", (4, 32)),
}
"""LLVM's name of a target, and the numbers in a register and how many there are."""

if llvm.llvm_version_info[0] < 16:
    # LLVM has not heard of it
    del PROCESSORS["znver4"]

NUMBER, FLOAT = ir.IntType(64), ir.FloatType().as_pointer()


def scores(builder, pointers, numbers):
    """Build the loop of four scores of a query."""
    query, *keys = pointers[: 1 + blend.KEYS]
    return blend.dots(builder, query, keys, numbers[0])


def blended(vectors):
    """Return what builds the loop of some vectors of rows with weights."""
    return lambda builder, pointers, numbers: blend.blended(
        builder, *pointers[:2], *numbers[:2], vectors
    )


def product(rows, vectors, dtype):
    """Return what builds the loop of a panel and some rows of a product."""

    def build(builder, pointers, numbers):
        halves = pointers[1 : 1 + vectors]
        return tile.dot(
            builder, pointers[0], halves, numbers[0], numbers[1:3], dtype, rows
        )

    return build


LOOPS = {
    "four scores": (scores, 4),
    "a blend of two vectors": (blended(2), 2),
    "a blend of four vectors": (blended(4), 4),
}
"""What builds an innermost loop, given a builder, pointers to numbers, and integers; it
returns the sums; and how many fused steps of sixteen numbers a round has."""


def registers_of(target):
    """Return what makes loops as for a target's registers, in a `with`."""
    return mock.patch.object(registers, "vectors", lambda: PROCESSORS[target][1])


def tile_of(target) -> registers.Tile:
    """Return the tile of a target's registers."""
    with registers_of(target):
        return registers.tile()


def spilled(build, target) -> tuple[int, int]:
    """Return how many vectors a loop moves to or from the stack, and its fused steps.

    The fused steps are counted in vectors of sixteen numbers.
    """
    half.is_native()  # asks Numba's own compiler, and keeps the answer
    triple, _ = PROCESSORS[target]
    module = ir.Module()
    module.triple = triple
    kinds = [*[FLOAT] * 6, *[NUMBER] * 3]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), "f")
    builder = ir.IRBuilder(function.append_basic_block())
    with registers_of(target):
        totals = build(builder, function.args[1:6], function.args[6:])
    for n, total in enumerate(totals):
        place = builder.gep(function.args[0], [NUMBER(tile.LANES * n)])
        place = builder.bitcast(place, total.type.as_pointer())
        builder.store(total, place, align=4)
    builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=target, opt=3)
    module = llvm.parse_assembly(str(module))
    optimise(module, machine)
    lines = loop(machine.emit_assembly(module))
    fused = [line for line in lines if re.search(r"fmadd|fmla", line)]
    return moves(lines), len(fused) * lanes(lines) // tile.LANES


def optimise(module, machine):
    """Let LLVM's passes run over a module, as Numba does, whichever llvmlite it has."""
    if hasattr(llvm, "create_pass_builder"):
        tuning = llvm.create_pipeline_tuning_options(speed_level=3)
        passes = llvm.create_pass_builder(machine, tuning)
        passes.getModulePassManager().run(module, passes)
    else:
        builder, passes = llvm.PassManagerBuilder(), llvm.ModulePassManager()
        builder.opt_level = 3
        machine.add_analysis_passes(passes)
        builder.populate(passes)
        passes.run(module)


def moves(lines) -> int:
    """Return how many lines name a vector and the stack."""
    vectors = [line for line in lines if re.search(r"[xyz]mm|\b[qv]\d", line)]
    return len([line for line in vectors if re.search(r"\(%rsp\)|\[sp", line)])


def lanes(lines) -> int:
    """Return how many numbers the widest vector of some lines has."""
    wide = {"zmm": 16, "ymm": 8}
    return next((n for name, n in wide.items() if name in "".join(lines)), 4)


def loop(text) -> list[str]:
    """Return the longest run of lines from a label to the branch back to it."""
    return max(loops(text), key=len)


def loops(text) -> list[list[str]]:
    """Return the lines of each loop in which there is no other."""
    lines, labels, found = text.splitlines(), {}, []
    for at, line in enumerate(lines):
        if label := re.match(r"\s*([.\w$]+):", line):
            labels[label[1]] = at
        jump = re.search(r"\b(?:j\w+|b\.\w+|cbn?z\s+\w+,)\s+([.\w$]+)\s*$", line)
        if jump and jump[1] in labels:
            found.append(range(labels[jump[1]], at))
    inner = [one for one in found if not any(is_inside(two, one) for two in found)]
    return [lines[one.start : one.stop] for one in inner]


def is_inside(inner, outer) -> bool:
    return inner != outer and outer.start <= inner.start and inner.stop <= outer.stop


@pytest.mark.parametrize("target", PROCESSORS)
@pytest.mark.parametrize("name", LOOPS)
def test_no_vector_leaves_its_register(name, target):
    build, sums = LOOPS[name]
    assert spilled(build, target) == (0, sums)


@pytest.mark.parametrize("target", PROCESSORS)
def test_nor_in_a_product_of_any_number_of_rows(target):
    """A round of the loop is a round of ours: two of them would need more registers."""
    most = tile_of(target)
    for dtype in (types.float32, types.uint16, types.int16):
        for rows in range(1, most.rows + 1):
            vectors = most.vectors_of(rows)
            found = spilled(product(rows, vectors, dtype), target)
            assert (rows, *found) == (rows, 0, rows * vectors)


COMPILED = """
import json
from numba import boolean, float32, types
from minigen.cpu import products, registers
matrix, weight = float32[:, ::1], getattr(types, {dtype!r})[:, :, :, ::1]
kernel = products._multiply.dispatcher
kernel.compile((matrix, weight, matrix, float32[::1], boolean, matrix))
print(json.dumps([registers.tile().rows, *kernel.inspect_asm().values()]))
"""
"""Prints the most rows that a product takes at a time, and the whole kernel."""


@pytest.mark.in_parts
@pytest.mark.parametrize("dtype", ["float32", "uint16"])
@pytest.mark.parametrize("target", [name for name in PROCESSORS if "znver" in name])
@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="compiled for x86"
)
def test_nor_in_the_kernel_that_numba_makes_of_it(target, dtype, tmp_path):
    """All that surrounds a loop counts there, too, and it is compiled, but not run."""
    environ = os.environ | {
        "NUMBA_CPU_NAME": target,
        "NUMBA_CPU_FEATURES": "",
        "MINIGEN_CACHE": str(tmp_path),
    }
    command = [sys.executable, "-c", COMPILED.format(dtype=dtype)]
    rows, text = json.loads(subprocess.check_output(command, env=environ))
    assert rows == tile_of(target).rows
    found = [lines for lines in loops(text) if "fmadd" in "".join(lines)]
    # each number of rows has a loop of its own
    assert len(found) >= rows
    assert [moves(lines) for lines in found] == [0] * len(found)


def test_what_holds_too_many_sums_is_found():
    """Nine sums of sixteen, which AVX2 and NEON have no room for."""
    for target in ("x86-64-v3", "apple-m1"):
        moved, _ = spilled(blended(9), target)
        assert moved > 0
