"""The vector registers of the processor that kernels are compiled for, asked of LLVM.

A tile whose sums fit into them runs fastest. No result depends on it: how many sums are
made at a time changes the order of none.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from llvmlite import binding, ir
from numba.core.registry import cpu_target

LANES = 16
"""Numbers in a vector of our kernels, whatever the width of a register."""


@dataclass(frozen=True)
class Tile:
    """Sums that stay in registers: of `rows` rows of x, `vectors` vectors each.

    ahead: from how many rows on weights are fetched ahead; fewer leave it to the
    processor.
    """

    rows: int
    vectors: int
    ahead: int

    def vectors_of(self, rows: int) -> int:
        """Return how many vectors, 1 or 2, so few rows have at a time."""
        return 2 if rows <= 2 else self.vectors


TILES = {32: Tile(12, 2, 1), 8: Tile(6, 1, 3), 4: Tile(2, 1, 1)}
"""The tile for so many vectors in registers: 24 sums with AVX-512, 6 with AVX2 or NEON,
2 with SSE; the rest is for weights and a number of x. One or two rows wait for memory
alone: a Zen 3 reads faster without being told what comes next, a Xeon with AVX-512
slower."""


def tile() -> Tile:
    """Return the largest tile whose sums stay in registers."""
    lanes, count = vectors()
    return TILES[count * lanes // LANES]


@functools.cache
def vectors() -> tuple[int, int]:
    """Return the float32 numbers in a vector register, and how many such there are."""
    floats = ir.VectorType(ir.FloatType(), 16)
    text = assembly(floats, (floats, floats), lambda builder, x, y: builder.fadd(x, y))
    lanes = 16 // max(1, text.count("addps") + text.count("fadd\t"))
    machine = cpu_target.target_context.codegen()._tm
    return lanes, 16 if lanes < 16 and machine.triple.startswith("x86") else 32


def assembly(result, arguments, body) -> str:
    """Return the assembly of a function, as LLVM makes it for the kernels' processor.

    result, arguments: LLVM types; body: builds what is returned from (builder, *args).
    """
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(result, arguments), "f")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(body(builder, *function.args))
    machine = cpu_target.target_context.codegen()._tm
    module.triple = machine.triple
    return machine.emit_assembly(binding.parse_assembly(str(module)))
