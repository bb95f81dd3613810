"""The innermost loops of attention: four scores, and rows added up with weights.

Each holds up to four sums of sixteen numbers, which fit into the registers of any
processor with vectors: sixteen of eight numbers, or thirty-two of four. What meets them
is read from the first cache, where it lies for all the queries of a group.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minigen.cpu import tile
from minigen.cpu.tile import LANES

KEYS = 4
"""Keys whose scores are computed together."""

_FOUR = ir.VectorType(ir.FloatType(), KEYS)


@intrinsic
def score(context, q, i, k, keys, scores, n):
    """score(q, i, k, keys, scores, n) computes four scores of a query.

    It writes scores[i, n + c] = q[i] . k[keys[c]]. All are float32 of two axes, in C
    order; the rows of q and k are a multiple of sixteen long.
    """

    def build(context, builder, signature, args):
        q, k, scores = _arrays(context, builder, signature, args, 0, 2, 4)
        i, keys, n = args[1], args[3], args[5]
        size = cgutils.unpack_tuple(builder, q.shape)[1]
        query, rows = (
            _place(builder, q, i, n.type(0)),
            tile.row_pointers(builder, k.data, keys, size),
        )
        found = _FOUR(ir.Undefined)
        for c, number in enumerate(
            tile.totals(builder, dots(builder, query, rows, size))
        ):
            found = builder.insert_element(found, number, ir.IntType(32)(c))
        pointer = builder.bitcast(_place(builder, scores, i, n), _FOUR.as_pointer())
        builder.store(found, pointer, align=4)
        return context.get_dummy_value()

    return types.void(q, i, k, keys, scores, n), build


def dots(builder, query, keys, size):
    """Build the loop of `score`: sixteen running sums of a query with each key."""

    def step(k, sums):
        a = tile.load(builder, builder.gep(query, [k]))
        b = [tile.load(builder, builder.gep(key, [k])) for key in keys]
        return [tile.fma(builder, a, *pair) for pair in zip(b, sums, strict=True)]

    zeros = [tile.FLOATS([0.0] * LANES)] * len(keys)
    return tile.loop(builder, size, LANES, zeros, step)


def blend(vectors):
    """Return an intrinsic that adds up rows, each times a weight.

    mix(weights, i, n, count, rows, start, step, p, sums, j, c) adds to sums[j, c + l]
    the sum over k < count of weights[i, n + k] rows[start + k step, p + l], for l below
    `vectors` times sixteen, added up one after the other from zero. All are float32 of
    two axes, in C order.
    """

    @intrinsic
    def mix(context, weights, i, n, count, rows, start, step, p, sums, j, c):
        def build(context, builder, signature, args):
            weights, rows, sums = _arrays(context, builder, signature, args, 0, 4, 8)
            i, n, count, start, step, p, j, c = (
                args[k] for k in (1, 2, 3, 5, 6, 7, 9, 10)
            )
            width = cgutils.unpack_tuple(builder, rows.shape)[1]
            weight, row = (
                _place(builder, weights, i, n),
                _place(builder, rows, start, p),
            )
            stride = builder.mul(step, width)
            found = blended(builder, weight, row, stride, count, vectors)
            place = _place(builder, sums, j, c)
            for l, vector in enumerate(found):
                pointer = builder.gep(place, [c.type(LANES * l)])
                vector = builder.fadd(tile.load(builder, pointer), vector)
                _store(builder, vector, pointer)
            return context.get_dummy_value()

        given = weights, i, n, count, rows, start, step, p, sums, j, c
        return types.void(*given), build

    return mix


def blended(builder, weight, row, stride, count, vectors):
    """Build that loop: sums over rows that lie `stride` numbers apart."""

    def step(n, sums):
        at = builder.gep(row, [builder.mul(n, stride)])
        w = tile.spread(builder, builder.load(builder.gep(weight, [n])))
        v = [
            tile.load(builder, builder.gep(at, [n.type(LANES * c)]))
            for c in range(vectors)
        ]
        return [tile.fma(builder, w, *pair) for pair in zip(v, sums, strict=True)]

    zeros = [tile.FLOATS([0.0] * LANES)] * vectors
    return tile.loop(builder, count, 1, zeros, step)


@intrinsic
def fetch(context, array, row):
    """fetch(array, row) brings a row of an array of two axes into the second cache."""

    def build(context, builder, signature, args):
        (array,) = _arrays(context, builder, signature, args, 0)
        start = _place(builder, array, args[1], args[1].type(0))
        width = cgutils.unpack_tuple(builder, array.shape)[1]

        def step(k, none):
            tile.prefetch(builder, builder.gep(start, [k]))
            return none

        tile.loop(builder, width, LANES, [], step)
        return context.get_dummy_value()

    return types.void(array, row), build


@intrinsic
def copy(context, rows, i, p, count, part, n):
    """copy(rows, i, p, count, part, n) copies rows[i, p : p + count] to part[n].

    count is a multiple of sixteen; both are float32 of two axes, in C order.
    """

    def build(context, builder, signature, args):
        rows, part = _arrays(context, builder, signature, args, 0, 4)
        i, p, count, n = (args[k] for k in (1, 2, 3, 5))
        source = _place(builder, rows, i, p)
        target = _place(builder, part, n, n.type(0))

        def step(c, none):
            vector = tile.load(builder, builder.gep(source, [c]))
            _store(builder, vector, builder.gep(target, [c]))
            return none

        tile.loop(builder, count, LANES, [], step)
        return context.get_dummy_value()

    return types.void(rows, i, p, count, part, n), build


def _store(builder, vector, pointer):
    pointer = builder.bitcast(pointer, tile.FLOATS.as_pointer())
    builder.store(vector, pointer, align=4)


def _arrays(context, builder, signature, args, *places):
    return [
        context.make_array(signature.args[n])(context, builder, args[n]) for n in places
    ]


def _place(builder, array, row, column):
    width = cgutils.unpack_tuple(builder, array.shape)[1]
    return builder.gep(array.data, [builder.add(builder.mul(row, width), column)])
