"""No vector leaves its register in an innermost loop, on whichever processor."""

import re

import pytest

pytest.importorskip("numba")

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types

from minigen.cpu import blend, registers, tile

PROCESSORS = {
    "x86-64-v3": ("x86_64-unknown-linux-gnu", 8),
    "x86-64-v4": ("x86_64-unknown-linux-gnu", 32),
    "apple-m1": ("arm64-apple-darwin", 8),
    "neoverse-n1": ("aarch64-unknown-linux-gnu", 8),
}
"""LLVM's name of a target, and the vectors of sixteen that its registers hold."""

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
    "four scores": scores,
    "a blend of two vectors": blended(2),
    "a blend of four vectors": blended(4),
}
"""What builds an innermost loop, given a builder, pointers to numbers, and integers; it
returns the sums."""


def spilled(build, target) -> tuple[int, int]:
    """Return how many vectors a loop moves to or from the stack, and all it moves."""
    triple, _ = PROCESSORS[target]
    module = ir.Module()
    module.triple = triple
    kinds = [*[FLOAT] * 6, *[NUMBER] * 3]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), "f")
    builder = ir.IRBuilder(function.append_basic_block())
    for n, total in enumerate(build(builder, function.args[1:6], function.args[6:])):
        place = builder.gep(function.args[0], [NUMBER(tile.LANES * n)])
        place = builder.bitcast(place, total.type.as_pointer())
        builder.store(total, place, align=4)
    builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=target, opt=3)
    lines = loop(machine.emit_assembly(llvm.parse_assembly(str(module))))
    vectors = [line for line in lines if re.search(r"[xyz]mm|\b[qv]\d", line)]
    moved = [line for line in vectors if re.search(r"\(%rsp\)|\[sp", line)]
    return len(moved), len(vectors)


def loop(text) -> list[str]:
    """Return the longest run of lines from a label to the branch back to it."""
    lines, labels, found = text.splitlines(), {}, [[]]
    for at, line in enumerate(lines):
        if label := re.match(r"\s*([.\w$]+):", line):
            labels[label[1]] = at
        jump = re.search(r"\b(?:j\w+|b\.\w+|cbn?z\s+\w+,)\s+([.\w$]+)\s*$", line)
        if jump and jump[1] in labels:
            found.append(lines[labels[jump[1]] : at])
    return max(found, key=len)


@pytest.mark.parametrize("target", PROCESSORS)
@pytest.mark.parametrize("name", LOOPS)
def test_no_vector_leaves_its_register(name, target):
    moved, vectors = spilled(LOOPS[name], target)
    assert moved == 0 and vectors > 1


@pytest.mark.parametrize("target", PROCESSORS)
def test_nor_in_a_product_of_any_number_of_rows(target):
    most = registers.TILES[PROCESSORS[target][1]]
    for dtype in (types.float32, types.uint16, types.int16):
        for rows in range(1, most.rows + 1):
            build = product(rows, most.vectors_of(rows), dtype)
            moved, vectors = spilled(build, target)
            assert (rows, moved) == (rows, 0) and vectors > 1


def test_what_holds_too_many_sums_is_found():
    """Nine sums of sixteen, which AVX2 and NEON have no room for."""
    for target in ("x86-64-v3", "apple-m1"):
        moved, _ = spilled(blended(9), target)
        assert moved > 0
