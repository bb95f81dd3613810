"""Small matrix products in vector registers: the innermost loops.

`tile(rows, columns)` makes a function that returns rows x columns dot products from one
loop. A step of it loads sixteen numbers of each row once, and multiplies every pair of
rows; the sums stay in registers. `blend(rows, vectors)` adds up weighted rows likewise.

They are written in LLVM's own language, which has vectors of sixteen numbers, and so
leave nothing to a vectoriser's judgement. A dot product is sixteen running sums, added
up at the end in a fixed order: the same bits in a tile of any size, at any place in it.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minigen.cpu.half import widen_half
from minigen.cpu.registers import LANES

_BYTE, _SHORT, _WORD = ir.IntType(8), ir.IntType(16), ir.IntType(32)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_SHORTS = ir.VectorType(_SHORT, LANES)
_WORDS = ir.VectorType(_WORD, LANES)


def tile(rows, columns):
    """Return an intrinsic that computes rows x columns dot products.

    dots(x, i, w, j, ahead) takes two C-ordered arrays of two axes and the numbers of
    some of their rows, as tuples: `rows` of x, `columns` of w. x is float32; w is
    float32, or the bits of a bfloat16 as uint16, or of a float16 as int16. It returns
    the tuple of x[i[r]] . w[j[c]] in float32, r by r. On the way, the rows `ahead` of w
    are brought into the second cache.
    """

    @intrinsic
    def dots(context, x, i, w, j, ahead):
        result = types.UniTuple(types.float32, rows * columns)

        def build(context, builder, signature, args):
            x_type, _, w_type, _, _ = signature.args
            x = context.make_array(x_type)(context, builder, args[0])
            w = context.make_array(w_type)(context, builder, args[2])
            size = cgutils.unpack_tuple(builder, x.shape)[1]
            x_rows = _rows(builder, x.data, args[1], size)
            w_rows = _rows(builder, w.data, args[3], size)
            next_rows = _rows(builder, w.data, args[4], size)
            zeros = [_FLOATS([0.0] * LANES)] * (rows * columns)

            def step(k, sums):
                for row in next_rows:
                    _prefetch(builder, builder.gep(row, [k]))
                a = [_load(builder, builder.gep(p, [k]), x_type.dtype) for p in x_rows]
                b = [_load(builder, builder.gep(p, [k]), w_type.dtype) for p in w_rows]
                pairs = [(left, right) for left in a for right in b]
                return [_fma(builder, *p, s) for p, s in zip(pairs, sums, strict=True)]

            sums = _loop(builder, size, LANES, zeros, step)
            totals = _totals(builder, sums)
            return context.make_tuple(builder, signature.return_type, totals)

        return result(x, i, w, j, ahead), build

    return dots


def blend(rows, vectors):
    """Return an intrinsic that adds up rows of v, each with `rows` weights.

    mix(weights, v, start, step, count, p, y) takes weights (rows, n) and v, float32, C
    order, and writes, for `vectors` times sixteen columns from p on, y[r] = the sum
    over n < count of weights[r, n] v[start + n step].
    """

    @intrinsic
    def mix(context, weights, v, start, step, count, p, y):
        def build(context, builder, signature, args):
            kinds = signature.args
            weights, v, y = (
                context.make_array(kinds[n])(context, builder, args[n])
                for n in (0, 1, 6)
            )
            start, step, count, p = args[2:6]
            room = cgutils.unpack_tuple(builder, weights.shape)[1]
            width = cgutils.unpack_tuple(builder, v.shape)[1]
            zeros = [_FLOATS([0.0] * LANES)] * (rows * vectors)
            first = builder.add(builder.mul(start, width), p)
            stride = builder.mul(step, width)
            number = first.type

            def one(n, sums):
                row = builder.add(first, builder.mul(n, stride))
                b = [
                    _load(builder, _at(builder, v, builder.add(row, number(LANES * c))))
                    for c in range(vectors)
                ]
                a = []
                for r in range(rows):
                    place = builder.add(builder.mul(room, number(r)), n)
                    weight = builder.load(_at(builder, weights, place))
                    a.append(_spread(builder, weight))
                pairs = [(left, right) for left in a for right in b]
                return [_fma(builder, *q, s) for q, s in zip(pairs, sums, strict=True)]

            sums = _loop(builder, count, 1, zeros, one)
            for r in range(rows):
                for c in range(vectors):
                    place = builder.add(builder.mul(width, number(r)), p)
                    place = builder.add(place, number(LANES * c))
                    pointer = _at(builder, y, place)
                    pointer = builder.bitcast(pointer, _FLOATS.as_pointer())
                    builder.store(sums[r * vectors + c], pointer, align=4)
            return context.get_dummy_value()

        return types.void(weights, v, start, step, count, p, y), build

    return mix


def pour(rows, vectors):
    """Return an intrinsic that multiplies rows of x by a panel, and adds that to sums.

    step(x, count, panel, sums, i) takes x (n rows), panel (n columns) and sums, of
    `vectors` times sixteen columns, float32, C order. It adds to sums[i + r, c] the sum
    over n < count of x[n, r] panel[n, c], added up one after the other from zero.
    """

    @intrinsic
    def step(context, x, count, panel, sums, i):
        def build(context, builder, signature, args):
            kinds = signature.args
            x, panel, sums = (
                context.make_array(kinds[n])(context, builder, args[n])
                for n in (0, 2, 3)
            )
            count, i = args[1], args[4]
            number, width = count.type, vectors * LANES

            def one(n, totals):
                row = builder.mul(n, number(width))
                column = builder.mul(n, number(rows))
                b = [
                    _load(
                        builder,
                        _at(builder, panel, builder.add(row, number(LANES * c))),
                    )
                    for c in range(vectors)
                ]
                a = [
                    _spread(
                        builder,
                        builder.load(_at(builder, x, builder.add(column, number(r)))),
                    )
                    for r in range(rows)
                ]
                pairs = [(left, right) for left in a for right in b]
                return [
                    _fma(builder, *q, s) for q, s in zip(pairs, totals, strict=True)
                ]

            zeros = [_FLOATS([0.0] * LANES)] * (rows * vectors)
            totals = _loop(builder, count, 1, zeros, one)
            first = builder.mul(i, number(width))
            for n, total in enumerate(totals):
                pointer = _at(builder, sums, builder.add(first, number(LANES * n)))
                pointer = builder.bitcast(pointer, _FLOATS.as_pointer())
                before = builder.load(pointer, align=4)
                builder.store(builder.fadd(before, total), pointer, align=4)
            return context.get_dummy_value()

        return types.void(x, count, panel, sums, i), build

    return step


def meet(tile):
    """Return an intrinsic that multiplies rows of x by a part of a panel of weights.

    tile: a `registers.Tile`, of which the rows are the most that meet a panel together.
    step(x, at, rows, w, panel, k, count, ahead, sums, i) takes x, rows side by side:
    x[at + n rows + r] is input k + n of row r < rows; panels w (u d 32), float32 or the
    bits of a bfloat16 or a float16; and sums (.. 32). It adds to sums[i + r, c] the sum
    over n < count of that times w[panel, k + n, c], added up one after the other, in
    fused steps, from zero. On the way, it fetches numbers of w into the second cache:
    from `ahead[0]` after the part's first on, of each input `ahead[1]` after those of
    the one before.
    """

    @intrinsic
    def step(context, x, at, rows, w, panel, k, count, ahead, sums, i):
        def build(context, builder, signature, args):
            kinds = signature.args
            x, w, sums = (
                context.make_array(kinds[n])(context, builder, args[n])
                for n in (0, 3, 8)
            )
            at, rows, panel, k, count, i = (args[n] for n in (1, 2, 4, 5, 6, 9))
            offset, stride = cgutils.unpack_tuple(builder, args[7])
            number, dtype = k.type, kinds[3].dtype
            depth = cgutils.unpack_tuple(builder, w.shape)[1]
            start = builder.add(builder.mul(panel, depth), k)
            weights = _at(builder, w, builder.mul(start, number(2 * LANES)))
            part = _at(builder, x, at), weights, count, offset, stride
            end = builder.append_basic_block("meet.end")
            switch = builder.switch(rows, end)
            for r in range(1, tile.rows + 1):
                block = builder.append_basic_block(f"meet.{r}")
                switch.add_case(number(r), block)
                builder.position_at_end(block)
                vectors = tile.vectors_of(r)
                for first in range(0, 2, vectors):
                    totals = dot(
                        builder, *part, dtype, r, range(first, first + vectors)
                    )
                    for n, total in enumerate(totals):
                        row = builder.add(i, number(n // vectors))
                        place = builder.mul(row, number(2 * LANES))
                        column = LANES * (first + n % vectors)
                        place = builder.add(place, number(column))
                        pointer = _at(builder, sums, place)
                        pointer = builder.bitcast(pointer, _FLOATS.as_pointer())
                        before = builder.load(pointer, align=4)
                        total = builder.fadd(before, total)
                        builder.store(total, pointer, align=4)
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        taken = x, at, rows, w, panel, k, count, ahead, sums, i
        return types.void(*taken), build

    return step


def dot(builder, x, w, count, offset, stride, dtype, rows, vectors):
    """Build the innermost loop of `meet`, and return its sums: rows times vectors.

    x, w: pointers to `rows` numbers an input and to 32; vectors: which of the two
    vectors of each 32 are read.
    """
    number = count.type

    def one(n, sums):
        line = builder.mul(n, number(2 * LANES))
        fetched = builder.add(offset, builder.mul(n, stride))
        b = []
        for v in vectors:
            b.append(_load(builder, _gep(builder, w, line, LANES * v), dtype))
            # sixteen numbers of four bytes are a line of the cache, of two bytes half
            if dtype == types.float32 or v % 2 == 0:
                _prefetch(builder, _gep(builder, w, fetched, LANES * v))
        column = builder.mul(n, number(rows))
        a = [
            _spread(builder, builder.load(_gep(builder, x, column, r)))
            for r in range(rows)
        ]
        pairs = [(left, right) for left in a for right in b]
        return [_fma(builder, *q, s) for q, s in zip(pairs, sums, strict=True)]

    zeros = [_FLOATS([0.0] * LANES)] * (rows * len(vectors))
    return _loop(builder, count, 1, zeros, one)


def _gep(builder, pointer, place, more):
    return builder.gep(pointer, [builder.add(place, place.type(more))])


@intrinsic
def add_three(context, a, i, b, k, c, y, j):
    """add_three(a, i, b, k, c, y, j) adds two vectors of three arrays.

    It writes y[i, j + n] = a[i, n] + (b[k, j + n] + c[j + n]) for n < 32, which is the
    width of a. All are float32, in C order.
    """

    def build(context, builder, signature, args):
        kinds = signature.args
        a, b, c, y = (
            context.make_array(kinds[n])(context, builder, args[n])
            for n in (0, 2, 4, 5)
        )
        i, k, j = args[1], args[3], args[6]
        number = i.type
        across = cgutils.unpack_tuple(builder, y.shape)[1]
        one = builder.mul(i, number(2 * LANES))
        other = builder.add(builder.mul(k, across), j)
        place = builder.add(builder.mul(i, across), j)
        for n in (number(0), number(LANES)):
            parts = [
                _load(builder, _at(builder, array, builder.add(start, n)))
                for array, start in ((a, one), (b, other), (c, j))
            ]
            total = builder.fadd(parts[0], builder.fadd(parts[1], parts[2]))
            pointer = _at(builder, y, builder.add(place, n))
            pointer = builder.bitcast(pointer, _FLOATS.as_pointer())
            builder.store(total, pointer, align=4)
        return context.get_dummy_value()

    return types.void(a, i, b, k, c, y, j), build


def turn(rows):
    """Return an intrinsic that turns `rows` rows of sixteen numbers into columns.

    lay(w, first, stride, count, k, out, n, r) writes out[n + c, r + i] = the number in
    column k + c of row r + i, for c < 16 and i < rows. Row i of `count` is
    w[first + i stride]; beyond the last, that one again. w: float32, or the bits of a
    bfloat16 as uint16, or of a float16 as int16; out: float32. Both in C order.
    """

    @intrinsic
    def lay(context, w, first, stride, count, k, out, n, r):
        def build(context, builder, signature, args):
            kinds = signature.args
            w, out = (
                context.make_array(kinds[i])(context, builder, args[i]) for i in (0, 5)
            )
            first, stride, count, k = args[1:5]
            n, r = args[6:]
            number = first.type
            width = cgutils.unpack_tuple(builder, w.shape)[1]
            last = builder.sub(count, number(1))
            vectors = [None] * LANES
            for i in range(rows):
                row = builder.add(r, number(i))
                inside = builder.icmp_signed("<", row, last)
                row = builder.select(inside, row, last)
                row = builder.add(first, builder.mul(row, stride))
                place = builder.add(builder.mul(row, width), k)
                vectors[i] = _load(builder, _at(builder, w, place), kinds[0].dtype)
            across = cgutils.unpack_tuple(builder, out.shape)[1]
            lanes = ir.VectorType(_WORD, rows)(list(range(rows)))
            for c, column in enumerate(_transpose(builder, vectors)):
                row = builder.add(n, number(c))
                place = builder.add(builder.mul(row, across), r)
                pointer = _at(builder, out, place)
                column = builder.shuffle_vector(column, column, lanes)
                pointer = builder.bitcast(pointer, column.type.as_pointer())
                builder.store(column, pointer, align=4)
            return context.get_dummy_value()

        return types.void(w, first, stride, count, k, out, n, r), build

    return lay


def _at(builder, array, place):
    return builder.gep(array.data, [place])


def _spread(builder, number):
    lane = builder.insert_element(_FLOATS(ir.Undefined), number, _WORD(0))
    return builder.shuffle_vector(lane, lane, _WORDS([0] * LANES))


def _loop(builder, size, stride, values, step):
    # values = step(k, values) for k in range(0, size, stride), with at least one round
    before = builder.block
    loop = builder.append_basic_block("tile.loop")
    done = builder.append_basic_block("tile.done")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(size.type)
    carried = [builder.phi(value.type) for value in values]
    results = step(k, carried)
    following = builder.add(k, size.type(stride))
    starts, ends = [size.type(0), *values], [following, *results]
    for phi, start, end in zip([k, *carried], starts, ends, strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(end, loop)
    builder.cbranch(builder.icmp_signed("<", following, size), loop, done)
    builder.position_at_end(done)
    return results


def _rows(builder, data, numbers, size):
    numbers = cgutils.unpack_tuple(builder, numbers)
    return [builder.gep(data, [builder.mul(number, size)]) for number in numbers]


def _load(builder, pointer, dtype=types.float32):
    if dtype == types.float32:
        pointer = builder.bitcast(pointer, _FLOATS.as_pointer())
        return builder.load(pointer, align=4)
    if dtype == types.int16:
        pointer = builder.bitcast(pointer, _SHORTS.as_pointer())
        return widen_half(builder, builder.load(pointer, align=2))
    # a bfloat16 is the upper half of a float32
    pointer = builder.bitcast(pointer, _SHORTS.as_pointer())
    wide = builder.zext(builder.load(pointer, align=2), _WORDS)
    return builder.bitcast(builder.shl(wide, _WORDS([16] * LANES)), _FLOATS)


def _fma(builder, a, b, c):
    kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    name = f"llvm.fma.v{LANES}f32"
    fma = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(fma, [a, b, c])


def _totals(builder, vectors):
    # of each vector its sixteen numbers added up: the upper half onto the lower, which
    # leaves eight sums, then four, two, one. Two vectors share what would be half empty
    count, width = len(vectors), LANES
    places = [[n] for n in range(count)]
    while width > 1:
        pairs = range(0, len(vectors), 2)
        low, high, order = _halves(width)
        halved, placed = [], []
        for n in pairs:
            alone = n + 1 == len(vectors)
            one, other = vectors[n], _FLOATS(ir.Undefined) if alone else vectors[n + 1]
            halved.append(
                builder.fadd(
                    builder.shuffle_vector(one, other, _WORDS(low)),
                    builder.shuffle_vector(one, other, _WORDS(high)),
                )
            )
            both = places[n] + ([None] * len(places[n]) if alone else places[n + 1])
            placed.append([both[group] for group in order])
        vectors, places, width = halved, placed, width // 2
    totals = [None] * count
    for vector, order in zip(vectors, places, strict=True):
        for lane, n in enumerate(order):
            if n is not None:
                totals[n] = builder.extract_element(vector, _WORD(lane))
    return totals


def _transpose(builder, vectors):
    # row i of sixteen becomes column i; a vector may be None, which leaves its column
    # undefined. Each step swaps squares: first of one number, last of eight by eight
    vectors = [_FLOATS(ir.Undefined) if each is None else each for each in vectors]
    for size in (1, 2, 4, 8):
        low = [
            lane if not lane & size else lane - size + LANES for lane in range(LANES)
        ]
        high = [lane + size for lane in low]
        for i in range(LANES):
            if not i & size:
                one, other = vectors[i], vectors[i + size]
                vectors[i] = builder.shuffle_vector(one, other, _WORDS(low))
                vectors[i + size] = builder.shuffle_vector(one, other, _WORDS(high))
    return vectors


def _halves(width):
    # lanes of two vectors that hold the lower, and the upper halves of their groups of
    # `width` numbers; and which group the halves stand for. No half of less than four
    # leaves its four lanes: on x86 each of these is a single instruction
    half = width // 2
    order = [
        (vector * LANES + start) // width
        for lanes in ([range(LANES)] if half >= 4 else _fours())
        for vector in (0, 1)
        for start in lanes
        if start % width == 0
    ]
    low = [group * width + k for group in order for k in range(half)]
    return low, [lane + half for lane in low], order


def _fours():
    return [range(start, start + 4) for start in range(0, LANES, 4)]


def _prefetch(builder, pointer):
    kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _WORD, _WORD, _WORD])
    name = "llvm.prefetch.p0i8"
    prefetch = cgutils.get_or_insert_function(builder.module, kind, name)
    # for reading, into the second cache, as data
    pointer = builder.bitcast(pointer, _BYTE.as_pointer())
    builder.call(prefetch, [pointer, _WORD(0), _WORD(2), _WORD(1)])
