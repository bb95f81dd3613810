"""A float16 as a float32, where the processor has no instruction for it.

LLVM then calls a function of its compiler's library, which Numba does not bring.
"""

from __future__ import annotations

import functools

from llvmlite import ir

from minigen.cpu.registers import assembly

_FLOAT, _HALF, _SHORT, _WORD = (
    ir.FloatType(),
    ir.HalfType(),
    ir.IntType(16),
    ir.IntType(32),
)


def widen_half(builder, bits):
    """Build a vector of float32 from one of float16, given as their bits (i16)."""
    count = bits.type.count
    floats = ir.VectorType(_FLOAT, count)
    if is_native():
        halves = builder.bitcast(bits, ir.VectorType(_HALF, count))
        return builder.fpext(halves, floats)
    words = ir.VectorType(_WORD, count)

    def all_(number):
        return words([number] * count)

    bits = builder.zext(bits, words)
    sign = builder.shl(builder.and_(bits, all_(0x8000)), all_(16))
    size = builder.and_(bits, all_(0x7FFF))
    # exponent and mantissa at their places in a float32 are a number that is too small
    # by 2^112, for exponents begin at -14 and not at -126
    placed = builder.shl(size, all_(13))
    scaled = builder.fmul(builder.bitcast(placed, floats), floats([2.0**112] * count))
    # infinity and NaN have the largest exponent
    special = builder.icmp_unsigned(">=", size, all_(0x7C00))
    largest = builder.or_(placed, all_(0x7F800000))
    value = builder.select(special, largest, builder.bitcast(scaled, words))
    return builder.bitcast(builder.or_(value, sign), floats)


@functools.cache
def is_native() -> bool:
    """Say whether the processor that kernels are compiled for widens a float16."""
    halves, floats = ir.VectorType(_HALF, 4), ir.VectorType(_FLOAT, 4)
    return "__extendhfsf2" not in assembly(
        floats, (halves,), lambda builder, x: builder.fpext(x, floats)
    )
