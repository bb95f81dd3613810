"""Kernels whose values, or whose faults, the interpreter once had wrong.

Each of VALUES has the arguments, the last of which is the result, and what a GPU writes
there, by Numba's own lowering. Each of FAULTS has the kind and the words of its fault.
"""

from types import SimpleNamespace

import numpy as np

from minigen.target import cuda


def gray(rgb, y):
    y[0] = (rgb[0] + rgb[1] + rgb[2]) // 3


def count_true(x, y):
    y[0] = (x[0] > 0) + (x[1] > 0) + (x[2] > 0)


def sign(x, y):
    y[0] = (x[0] > 0) - (x[0] < 0)


def total(x, y):
    for i, v in enumerate(x):
        y[0] += v + i


def two_views(y):
    f = cuda.shared.array(0, np.float32)
    f[0] = 1.0
    i = cuda.shared.array(0, np.int32)
    i[1] = 7
    y[0] = f[0]


def last_block(x, partial, count, y):
    b = cuda.blockIdx.x
    partial[b] = x[b]
    cuda.threadfence()
    if cuda.atomic.inc(count, 0, cuda.gridDim.x) == cuda.gridDim.x - 1:
        for i in range(cuda.gridDim.x):
            y[0] += partial[i]
        count[0] = 0


def from_the_end(x, y):
    y[0] = x[-1]
    y[1] = x[-4]


def doubled(y):
    x = 1
    for _ in range(63):
        x = x * 2
    y[0] = x


def djb2(y):
    h = 5381
    for _ in range(40):
        h = h * 33 + 7
    y[0] = h % 1000


def strides(x, y):
    y[0] = x.strides[0]
    y[1] = x.strides[1]


def parts(z, y):
    cuda.atomic.add(z.real, 0, 1.0)
    y[0] = z[0].real + z.imag[0]


def transposed(x, y):
    y[0] = x.T[2, 1]
    y[1] = x[..., 2][1]


def bytes_of(x, y):
    y[0] = x.view(np.uint8)[3]


def in_a_tuple(arrays, y):
    y[0] = arrays[1][0] + arrays[0][1]


def product(x, y):
    # of two uint32 a uint64
    y[0] = (x[0] * x[0]) >> 32


def branch(x, y):
    # an int64 in one branch, a float64 in the other: a float64 in both
    v = 0.5
    if x[0] > 2:
        v = 7
    y[0] = v / 2
    y[1] = v // 2


def quotient(x, y):
    y[0] = x[0] / x[1]


def by_zero(x, y):
    y[0] = x[0] // x[1]
    y[1] = x[0] % x[1]


def kept(x, y):
    y[0] = x[0]


def negated(x, y):
    y[0] = -x[0]
    y[1] = ~x[0]


def of_nan(x, y):
    y[0] = max(x[0], x[1])
    y[1] = max(x[1], x[0])


def atomic_of_nan(x, y):
    cuda.atomic.max(y, 0, x[0])
    cuda.atomic.max(y, 1, x[1])
    cuda.atomic.nanmax(y, 2, x[1])


def helped_twice(x, y):
    y[0] = clamp(x[0], 0) + clamp(x[0], 1.5)


@cuda.jit(device=True)
def clamp(v, low):
    return v if v > low else low


def idle(x, y):
    # lanes that have no cell shuffle what nobody set
    i = cuda.threadIdx.x
    if i < x.shape[0]:
        v = x[i]
    w = cuda.shfl_down_sync(0xFFFFFFFF, v, 1)
    if i < x.shape[0] - 1:
        y[i] = w


def converged(y):
    i = cuda.threadIdx.x
    if i % 2:
        y[i] = cuda.popc(cuda.activemask())
    else:
        y[i] = cuda.shfl_sync(cuda.activemask(), i, 2)


def masks(x, y):
    # a mask is an int32 for Numba, so that of all lanes is -1
    i = cuda.threadIdx.x
    m = cuda.ballot_sync(0xFFFFFFFF, x[i] > 0)
    n, same = cuda.match_all_sync(0xFFFFFFFF, 7)
    y[i] = cuda.ffs(m) + cuda.popc(m) + cuda.popc(n) + same


def array(*values, dtype=np.float64):
    return np.array(values, dtype)


SPREAD = [2.0] * 1 + [1.0]
ONES = np.ones(3, np.float32)
U8, U32 = np.uint8, np.uint32

VALUES = {
    gray: ((array(100, 100, 100, dtype=U8), array(0, dtype=U8)), [100]),
    count_true: ((ONES, array(0, dtype=np.int32)), [3]),
    sign: ((-ONES, array(0, dtype=np.int32)), [-1]),
    total: ((np.arange(4.0), array(0)), [12]),
    two_views: ((array(0),), [1]),
    last_block: ((np.ones(4), np.zeros(4), array(0, dtype=U32), array(0)), [4]),
    from_the_end: ((np.arange(4.0), array(0, 0)), [3, 0]),
    doubled: ((array(0),), [-(2.0**63)]),
    djb2: ((array(0),), [861]),
    strides: ((np.zeros((2, 3)), array(0, 0)), [24, 8]),
    parts: ((array(1 + 2j, dtype=np.complex128), array(0)), [4]),
    transposed: ((np.arange(6.0).reshape(2, 3), array(0, 0)), [5, 5]),
    bytes_of: ((array(1, dtype=np.float32), array(0)), [63]),
    in_a_tuple: (((np.arange(3.0), np.ones(1)), array(0)), [2]),
    product: ((array(2**20, dtype=U32), array(0)), [256]),
    branch: ((array(3), array(0, 0)), [3.5, 3]),
    quotient: ((array(1, 3, dtype=np.int32), array(0)), [1 / 3]),
    by_zero: ((array(5, 0, dtype=np.int64), array(1, 1)), [0, 0]),
    kept: ((array(300, dtype=np.int32), array(0, dtype=U8)), [44]),
    negated: ((array(1, dtype=U8), array(0, 0)), [255, 254]),
    of_nan: ((array(np.nan, 1), array(0, 0)), [1, 1]),
    atomic_of_nan: ((array(np.nan, 3), array(1, np.nan, np.nan)), [1, np.nan, 3]),
    helped_twice: ((array(1, dtype=np.int64), array(0)), [2.5]),
    idle: ((np.arange(3.0), array(0, 0, 0)), [1, 2, 0]),
    masks: ((np.ones(32), np.zeros(32, np.int32)), [1 + 32 + 32 + 1] * 32),
    converged: ((np.zeros(8, np.int64),), [2, 4, 2, 4, 2, 4, 2, 4]),
}

LAUNCH = {last_block: (4, 1), idle: (1, 32), converged: (1, 8), masks: (1, 32)}
"""Blocks and threads of those that are not launched with one of each."""


def race_in_a_tuple(arrays, y):
    arrays[0][cuda.threadIdx.x - 1] += 1


def after_a_shuffle(x, y):
    s = cuda.shared.array(32, np.float32)
    t = cuda.threadIdx.x
    s[t] = x[t]
    z = cuda.shfl_sync(0xFFFFFFFF, t, 0)
    y[t] = s[t ^ 1] + z


def endless(y):
    i = 0
    v = 0
    while i < 10:
        v = v + i * 2
    y[0] = v


def endless_local(y):
    s = cuda.local.array(4, np.float32)
    s[0] = 0
    while s[0] < 1:
        s[1] = s[0]
    y[0] = s[0]


def endless_barrier(y):
    while y.shape[0] > 0:
        cuda.syncthreads()


def endless_atomic(y):
    while cuda.atomic.add(y, 0, 1) > -1:
        pass


T = 16


def not_constant(y):
    s = cuda.shared.array((T, T + 1), np.float32)
    s[0, 0] = 1
    y[0] = s[0, 0]


def comprehension(y):
    y[0] = [i for i in range(3)][1]


def tried(y):
    try:
        y[0] = 1
    except ValueError:
        y[0] = 2


def formatted(y):
    y[0] = len(f"{y[0]}")


def dictionary(y):
    y[0] = {1: 2.0}[1]


def made(y):
    y[0] = np.zeros(3)[1]


def plain_helper(v):
    return v + 1


def helped(y):
    y[0] = plain_helper(y[0])


def imported(y):
    import math

    y[0] = math.sqrt(y[0])


def two_types(y):
    v = y
    if y[0] > 0:
        v = 1.0
    y[0] = v


def bits_of_a_float(y):
    y[0] = y[0] & 1


def no_such_name(y):
    y[0] = cuda.shuffle(y[0])


HERE = SimpleNamespace(one=(np.zeros(1),), tuple=((np.zeros(40), np.zeros(1)), ONES))
LANES = (np.ones(32, np.float32), np.zeros(32, np.float32))

FAULTS = {
    race_in_a_tuple: (HERE.tuple, 2, 32, "race", "on arrays[0]["),
    after_a_shuffle: (LANES, 1, 32, "race", "on shared s["),
    endless: (HERE.one, 1, 1, "endless", "while i < 10"),
    endless_local: (HERE.one, 1, 1, "endless", "kernels.py"),
    endless_barrier: (HERE.one, 1, 2, "endless", "kernels.py"),
    endless_atomic: ((np.zeros(1, np.int64),), 1, 2, "endless", "kernels.py"),
    not_constant: (HERE.one, 1, 1, "compile", "array"),
    comprehension: (HERE.one, 1, 1, "compile", "comprehension"),
    tried: (HERE.one, 1, 1, "compile", "tried"),
    dictionary: (HERE.one, 1, 1, "compile", "dictionary"),
    made: (HERE.one, 1, 1, "compile", "made"),
    imported: (HERE.one, 1, 1, "compile", "IMPORT_NAME"),
    helped: (HERE.one, 1, 1, "compile", "plain_helper"),
    two_types: (HERE.one, 1, 1, "compile", "setitem"),
    bits_of_a_float: (HERE.one, 1, 1, "compile", "and"),
    no_such_name: (HERE.one, 1, 1, "compile", "shuffle"),
}
