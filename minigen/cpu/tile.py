"""The innermost loops of products, in vectors of sixteen numbers.

`meet` multiplies rows of x by a part of a panel of weights: its sums stay in registers.
`turn` lays rows out side by side, as `meet` reads them.

They are written in LLVM's own language, which has vectors of sixteen numbers, and so
leave nothing to a vectoriser's judgement. Every sum has its terms one after the other,
in fused steps: the same bits in a tile of any size, in registers of any width.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minigen.cpu import registers
from minigen.cpu.half import widen_half
from minigen.cpu.registers import LANES

_BYTE, _SHORT, WORD = ir.IntType(8), ir.IntType(16), ir.IntType(32)
FLOATS = ir.VectorType(ir.FloatType(), LANES)
_SHORTS = ir.VectorType(_SHORT, LANES)
WORDS = ir.VectorType(WORD, LANES)


def meet(tile):
    """Return an intrinsic that multiplies rows of x by a part of a panel of weights.

    tile: a `registers.Tile`, of which the rows are the most that meet a panel together.
    step(x, at, rows, w, panel, k, count, ahead, sums, i) takes x, rows side by side:
    x[at + n rows + r] is input k + n of row r < rows; panels w (u 2 d 16), float32 or
    the bits of a bfloat16 or a float16; and sums (.. 32). It adds to
    sums[i + r, 16 h + c] the sum over n < count of that times w[panel, h, k + n, c],
    added up one after the other, in fused steps, from zero. On the way, it fetches
    numbers of both halves of w into the second cache: from `ahead[0]` after the part's
    first on, of each input `ahead[1]` after those of the one before.
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
            half = builder.mul(cgutils.unpack_tuple(builder, w.shape)[2], number(LANES))
            start = builder.mul(builder.mul(panel, number(2)), half)
            first = _at(builder, w, builder.add(start, builder.mul(k, number(LANES))))
            halves = first, builder.gep(first, [half])
            left = _at(builder, x, at)
            end = builder.append_basic_block("meet.end")
            switch = builder.switch(rows, end)
            for r in range(1, tile.rows + 1):
                block = builder.append_basic_block(f"meet.{r}")
                switch.add_case(number(r), block)
                builder.position_at_end(block)
                vectors = tile.vectors_of(r)
                ahead = (offset, stride) if r >= tile.ahead else None
                for first in range(0, 2, vectors):
                    some = halves[first : first + vectors]
                    totals = dot(builder, left, some, count, ahead, dtype, r)
                    for n, total in enumerate(totals):
                        row = builder.add(i, number(n // vectors))
                        place = builder.mul(row, number(2 * LANES))
                        column = LANES * (first + n % vectors)
                        place = builder.add(place, number(column))
                        pointer = _at(builder, sums, place)
                        pointer = builder.bitcast(pointer, FLOATS.as_pointer())
                        before = builder.load(pointer, align=4)
                        total = builder.fadd(before, total)
                        builder.store(total, pointer, align=4)
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        taken = x, at, rows, w, panel, k, count, ahead, sums, i
        return types.void(*taken), build

    return step


def dot(builder, x, halves, count, ahead, dtype, rows):
    """Build the innermost loop of `meet`, and return its sums: rows times halves.

    x: a pointer to `rows` numbers an input; halves: pointers to sixteen, one or two;
    ahead: where what is fetched begins, and its stride, or None.
    """
    number = count.type
    # wider registers would need a step more for pairs, and in shorter ones sums would
    # spill; ARM's shift a number into its word as they widen it
    in_pairs = dtype == types.uint16 and registers.vectors()[0] == 8
    widened = _load_pairs if in_pairs else load

    def one(n, sums):
        line, b = builder.mul(n, number(LANES)), []
        if ahead:
            fetched = builder.add(ahead[0], builder.mul(n, ahead[1]))
        for half in halves:
            b.append(widened(builder, builder.gep(half, [line]), dtype))
            if ahead:
                prefetch(builder, builder.gep(half, [fetched]))
        column = builder.mul(n, number(rows))
        a = [
            spread(builder, builder.load(_gep(builder, x, column, r)))
            for r in range(rows)
        ]
        pairs = [(left, right) for left in a for right in b]
        return [fma(builder, *q, s) for q, s in zip(pairs, sums, strict=True)]

    zeros = [FLOATS([0.0] * LANES)] * (rows * len(halves))
    sums = loop(builder, count, 1, zeros, one)
    return [_in_turn(builder, each) for each in sums] if in_pairs else sums


def _gep(builder, pointer, place, more):
    return builder.gep(pointer, [builder.add(place, place.type(more))])


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
                vectors[i] = load(builder, _at(builder, w, place), kinds[0].dtype)
            across = cgutils.unpack_tuple(builder, out.shape)[1]
            lanes = ir.VectorType(WORD, rows)(list(range(rows)))
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


@intrinsic
def widen(context, w, at, out, to):
    """Write sixteen numbers of w, from number `at` on, to out from number `to` on.

    w: as `turn` takes it; out: float32. Both in C order.
    """

    def build(context, builder, signature, args):
        w, out = (
            context.make_array(signature.args[n])(context, builder, args[n])
            for n in (0, 2)
        )
        numbers = load(builder, _at(builder, w, args[1]), signature.args[0].dtype)
        pointer = builder.bitcast(_at(builder, out, args[3]), FLOATS.as_pointer())
        builder.store(numbers, pointer, align=4)
        return context.get_dummy_value()

    return types.void(w, at, out, to), build


def _at(builder, array, place):
    return builder.gep(array.data, [place])


def spread(builder, number):
    """Return a vector of sixteen times the same number."""
    lane = builder.insert_element(FLOATS(ir.Undefined), number, WORD(0))
    return builder.shuffle_vector(lane, lane, WORDS([0] * LANES))


def loop(builder, size, stride, values, step):
    """Build values = step(k, values) for k in range(0, size, stride), once at least.

    Returns the values after the last round. The compiler is told to leave the loop as
    it is: where two rounds become one, what has filled the registers does not fit.
    """
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
    back = builder.cbranch(builder.icmp_signed("<", following, size), loop, done)
    back.set_metadata("llvm.loop", _as_written(builder.module, back))
    builder.position_at_end(done)
    return results


def _as_written(module, back):
    # what LLVM knows a loop by, which names itself first, and what it is not to do
    never = module.add_metadata(["llvm.loop.unroll.disable"])
    node = module.add_metadata([back.function.name + back.parent.name, never])
    node.operands = node, never
    return node


def load(builder, pointer, dtype=types.float32):
    """Return sixteen numbers from a pointer, as float32: see `meet` for dtypes."""
    if dtype == types.float32:
        pointer = builder.bitcast(pointer, FLOATS.as_pointer())
        return builder.load(pointer, align=4)
    if dtype == types.int16:
        pointer = builder.bitcast(pointer, _SHORTS.as_pointer())
        return widen_half(builder, builder.load(pointer, align=2))
    # a bfloat16 is the upper half of a float32
    pointer = builder.bitcast(pointer, _SHORTS.as_pointer())
    wide = builder.zext(builder.load(pointer, align=2), WORDS)
    return builder.bitcast(builder.shl(wide, WORDS([16] * LANES)), FLOATS)


def _load_pairs(builder, pointer, dtype):
    # sixteen bfloat16 as float32: those of even numbers, then the others. Each pair is
    # a word, and takes a shift and a mask; in turn, each number would have to be put
    # into a word of its own before its shift
    pairs = ir.VectorType(WORD, LANES // 2)
    both = builder.load(builder.bitcast(pointer, pairs.as_pointer()), align=2)
    even = builder.shl(both, pairs([16] * (LANES // 2)))
    odd = builder.and_(both, pairs([0xFFFF0000] * (LANES // 2)))
    words = builder.shuffle_vector(even, odd, WORDS(list(range(LANES))))
    return builder.bitcast(words, FLOATS)


def _in_turn(builder, vector):
    # the order of `_load_pairs` undone
    lanes = [n // 2 + LANES // 2 * (n % 2) for n in range(LANES)]
    return builder.shuffle_vector(vector, vector, WORDS(lanes))


def fma(builder, a, b, c):
    """Return a b + c of vectors, each number rounded once."""
    kind = ir.FunctionType(FLOATS, [FLOATS] * 3)
    name = f"llvm.fma.v{LANES}f32"
    fma = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(fma, [a, b, c])


def _transpose(builder, vectors):
    # row i of sixteen becomes column i; a vector may be None, which leaves its column
    # undefined. Each step swaps squares: first of one number, last of eight by eight
    vectors = [FLOATS(ir.Undefined) if each is None else each for each in vectors]
    for size in (1, 2, 4, 8):
        low = [
            lane if not lane & size else lane - size + LANES for lane in range(LANES)
        ]
        high = [lane + size for lane in low]
        for i in range(LANES):
            if not i & size:
                one, other = vectors[i], vectors[i + size]
                vectors[i] = builder.shuffle_vector(one, other, WORDS(low))
                vectors[i + size] = builder.shuffle_vector(one, other, WORDS(high))
    return vectors


def prefetch(builder, pointer):
    """Fetch the line of the cache at a pointer into the second cache."""
    kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), WORD, WORD, WORD])
    name = "llvm.prefetch.p0i8"
    prefetch = cgutils.get_or_insert_function(builder.module, kind, name)
    # for reading, into the second cache, as data
    pointer = builder.bitcast(pointer, _BYTE.as_pointer())
    builder.call(prefetch, [pointer, WORD(0), WORD(2), WORD(1)])


def totals(builder, vectors):
    """Return of each vector its sixteen numbers added up.

    The upper half is added to the lower, which leaves eight sums, then four, two, one.
    Two vectors share what would be half empty.
    """
    count, width = len(vectors), LANES
    places = [[n] for n in range(count)]
    while width > 1:
        pairs = range(0, len(vectors), 2)
        low, high, order = _halves(width)
        halved, placed = [], []
        for n in pairs:
            alone = n + 1 == len(vectors)
            one, other = vectors[n], FLOATS(ir.Undefined) if alone else vectors[n + 1]
            halved.append(
                builder.fadd(
                    builder.shuffle_vector(one, other, WORDS(low)),
                    builder.shuffle_vector(one, other, WORDS(high)),
                )
            )
            both = places[n] + ([None] * len(places[n]) if alone else places[n + 1])
            placed.append([both[group] for group in order])
        vectors, places, width = halved, placed, width // 2
    totals = [None] * count
    for vector, order in zip(vectors, places, strict=True):
        for lane, n in enumerate(order):
            if n is not None:
                totals[n] = builder.extract_element(vector, WORD(lane))
    return totals


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


def row_pointers(builder, data, numbers, size):
    """Return where rows of `size` numbers begin, of a tuple of their numbers."""
    numbers = cgutils.unpack_tuple(builder, numbers)
    return [builder.gep(data, [builder.mul(number, size)]) for number in numbers]
