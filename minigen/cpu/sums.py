"""Sums of a row in an order that is the same on every processor.

A sum of rounded numbers depends on its order, and no order suits every processor: one
adds up four numbers at once, another sixteen. Here it is always sixteen running sums,
in LLVM's vectors, which a processor with shorter ones takes in several; they are added
up at the end in a fixed order, and then what is left of the row, one after the other.

A row is a float32 array of one axis that lies in one piece.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import intrinsic

from minigen.cpu import buffers, tile
from minigen.cpu.scalar import exp, fma
from minigen.cpu.tile import LANES
from minigen.target import serial


@serial
def dot(x, y):
    """Return the sum of x[k] y[k] over two rows."""
    whole = x.size // LANES * LANES
    found = _dot((x, y), (), whole) if whole else np.float32(0)
    for k in range(whole, x.size):
        found = fma(x[k], y[k], found)
    return found


@serial
def total(x):
    """Return the sum of a row."""
    whole = x.size // LANES * LANES
    found = _total((x,), (), whole) if whole else np.float32(0)
    for k in range(whole, x.size):
        found += x[k]
    return found


@serial
def move_on(h, decay, u, B, C):
    """Let h[k] become decay[k] h[k] + u B[k]; return the sum of h[k] C[k]."""
    whole = h.size // LANES * LANES
    found = _move_on((h, decay, B, C), (u,), whole) if whole else np.float32(0)
    for k in range(whole, h.size):
        h[k] = fma(decay[k], h[k], u * B[k])
        found = fma(h[k], C[k], found)
    return found


@serial
def largest(x):
    """Return the largest number of a row; NaN is not looked at."""
    whole = x.size // LANES * LANES
    found = np.float32(-np.inf)
    if whole:
        found = _largest((x,), (), whole)
    for k in range(whole, x.size):
        found = max(found, x[k])
    return found


def _over(step, start=0.0, join=tile.totals):
    # an intrinsic: sixteen sums over rows of a multiple of sixteen numbers, added up;
    # step: what becomes of them, given sixteen numbers of each row, and the numbers

    @intrinsic
    def sums(context, rows, numbers, size):
        def build(context, builder, signature, args):
            kinds = signature.args[0]
            arrays = [
                context.make_array(kind)(
                    context, builder, builder.extract_value(args[0], n)
                )
                for n, kind in enumerate(kinds)
            ]
            spread = [
                tile.spread(builder, builder.extract_value(args[1], n))
                for n in range(len(signature.args[1]))
            ]

            def one(k, sums):
                places = [builder.gep(array.data, [k]) for array in arrays]
                vectors = [tile.load(builder, place) for place in places]
                return [step(builder, *sums, places, *vectors, *spread)]

            starts = [tile.FLOATS([start] * LANES)]
            found = tile.loop(builder, args[2], LANES, starts, one)
            return join(builder, found)[0]

        return types.float32(rows, numbers, size), build

    return sums


@_over
def _dot(builder, sums, places, x, y):
    return tile.fma(builder, x, y, sums)


@_over
def _total(builder, sums, places, x):
    return builder.fadd(x, sums)


@_over
def _move_on(builder, sums, places, h, decay, B, C, u):
    h = tile.fma(builder, decay, h, builder.fmul(u, B))
    place = builder.bitcast(places[0], tile.FLOATS.as_pointer())
    builder.store(h, place, align=4)
    return tile.fma(builder, h, C, sums)


def _larger(builder, one, other):
    return builder.select(builder.fcmp_ordered(">", one, other), one, other)


def _join_largest(builder, vectors):
    (found,), half = vectors, LANES // 2
    while half:
        lanes = [(lane + half) % LANES for lane in range(LANES)]
        other = builder.shuffle_vector(found, found, tile.WORDS(lanes))
        found, half = _larger(builder, found, other), half // 2
    return [builder.extract_element(found, tile.WORD(0))]


_largest = _over(
    lambda builder, sums, places, x: _larger(builder, x, sums), -np.inf, _join_largest
)


@serial
def _rates(A_log, A):
    for k in range(A.size):
        A[k] = -exp(A_log[k])


def rates(A_log):
    """Return A = -exp(A_log). NumPy's exp has other bits where vectors are wider."""
    A = buffers.empty(A_log.shape)
    _rates(buffers.floats(A_log).reshape(-1), A.reshape(-1))
    return A
