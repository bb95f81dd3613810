"""What Numba has no word for: a weight widened, sixteen bytes at once, one of two
numbers without a branch, tensor cores.

Each is a function that kernels call. It is written in LLVM's own language with PTX
inside, and has a twin in plain Python in `minigen/simt/twins.py` that says what it
means, and that the interpreter runs instead.

Source: NVIDIA PTX ISA, sections on `ld.global.nc`, `slct` and `mma.sync`.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types

from minigen.target import gpu_intrinsic

_SHORT, _WORD, _LONG = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_FLOAT = ir.FloatType()


@gpu_intrinsic
def widen(context, value):
    """widen(value) -> float32: of a float32, a float16, or a bfloat16's bits (uint16).

    Kernels read every weight through this, so one kernel serves all three kinds.
    """
    if value not in (types.float32, types.float16, types.uint16):
        return None

    def build(context, builder, signature, arguments):
        return _widen(context, builder, signature.args[0], arguments[0])

    return types.float32(value), build


@gpu_intrinsic
def load16(context, array, index):
    """load16(array, index) -> the 16 bytes from element `index` on, as float32s.

    array: one axis, C order, of four-byte or two-byte numbers as `widen` takes them:
    so it returns a tuple of four or eight. index: a multiple of that. They are read in
    one instruction, through the cache for what nobody writes.
    """
    if not isinstance(array, types.Array) or array.ndim != 1:
        return None
    if array.dtype not in (types.float32, types.float16, types.uint16):
        return None
    two_bytes = array.dtype != types.float32
    result = types.UniTuple(types.float32, 8 if two_bytes else 4)

    def build(context, builder, signature, arguments):
        array_type, index_type = signature.args
        data = context.make_array(array_type)(context, builder, arguments[0]).data
        index = context.cast(builder, arguments[1], index_type, types.int64)
        pointer = builder.gep(data, [index])
        address = builder.ptrtoint(pointer, _LONG)
        four = ir.LiteralStructType([_WORD] * 4)
        load = ir.InlineAsm(
            ir.FunctionType(four, [_LONG]),
            "ld.global.nc.v4.b32 {$0, $1, $2, $3}, [$4];",
            "=r,=r,=r,=r,l",
        )
        loaded = builder.call(load, [address])
        words = [builder.extract_value(loaded, i) for i in range(4)]
        if two_bytes:
            shorts = []
            for word in words:
                shorts.append(builder.trunc(word, _SHORT))
                shorts.append(builder.trunc(builder.lshr(word, _WORD(16)), _SHORT))
            kind = array_type.dtype
            floats = [_widen(context, builder, kind, short) for short in shorts]
        else:
            floats = [builder.bitcast(word, _FLOAT) for word in words]
        return context.make_tuple(builder, signature.return_type, floats)

    return result(array, index), build


@gpu_intrinsic
def slct(context, yes, no, number):
    """slct(yes, no, number) -> `yes` where number is at least 0, else `no`.

    yes, no: float32; number: int32. One instruction in every case: of a `cuda.selp` the
    compiler may make a branch, and put what follows it into both of its arms.
    """
    if (yes, no, number) != (types.float32, types.float32, types.int32):
        return None

    def build(context, builder, signature, arguments):
        choose = ir.InlineAsm(
            ir.FunctionType(_FLOAT, [_FLOAT, _FLOAT, _WORD]),
            "slct.f32.s32 $0, $1, $2, $3;",
            "=f,f,f,r",
        )
        return builder.call(choose, arguments)

    return types.float32(yes, no, number), build


@gpu_intrinsic
def mma_bf16(context, a, b, c):
    """mma_bf16(a, b, c) -> c + A B, on the tensor cores: all 32 lanes together.

    A (16 16), B (16 8) of bfloat16, C (16 8) of float32. Each lane holds a few elements
    of each: a is four uint32 of two bfloat16 each, b two uint32, c four float32. With
    g = lane // 4 and t = lane % 4 and the lower half of a word first,

        a = A[g, 2t:2t+2], A[g+8, 2t:2t+2], A[g, 2t+8:2t+10], A[g+8, 2t+8:2t+10]
        b = B[2t:2t+2, g], B[2t+8:2t+10, g]
        c = C[g, 2t], C[g, 2t+1], C[g+8, 2t], C[g+8, 2t+1]

    Compute capability 8.0 or higher.
    """
    sizes = (
        (a, types.UniTuple(types.uint32, 4)),
        (b, types.UniTuple(types.uint32, 2)),
        (c, types.UniTuple(types.float32, 4)),
    )
    if any(given != expected for given, expected in sizes):
        return None

    def build(context, builder, signature, arguments):
        operands = [
            builder.extract_value(tuple_, i)
            for tuple_, n in zip(arguments, (4, 2, 4), strict=True)
            for i in range(n)
        ]
        four = ir.LiteralStructType([_FLOAT] * 4)
        mma = ir.InlineAsm(
            ir.FunctionType(four, [_WORD] * 6 + [_FLOAT] * 4),
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
            "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};",
            "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f",
            side_effect=True,
        )
        result = builder.call(mma, operands)
        sums = [builder.extract_value(result, i) for i in range(4)]
        return context.make_tuple(builder, signature.return_type, sums)

    return c(a, b, c), build


def _widen(context, builder, kind, value):
    if kind == types.float32:
        return value
    if kind == types.float16:
        return context.cast(builder, value, types.float16, types.float32)
    # a bfloat16 is the upper half of a float32
    word = builder.shl(builder.zext(value, _WORD), _WORD(16))
    return builder.bitcast(word, _FLOAT)
