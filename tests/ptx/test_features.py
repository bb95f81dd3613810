"""What Numba offers for CUDA, compiled and run: the values are NumPy's."""

import enum
import math

import numpy as np
import pytest
from numba import float32, float64, int32, uint32

from minigen import ptx
from minigen.errors import KernelError
from minigen.target import cuda

pytestmark = pytest.mark.needs("compiler")

RNG = np.random.default_rng(0)
D = RNG.standard_normal(64)
F = D.astype(np.float32)
ALL = 0xFFFFFFFF


def run(kernel, *arguments, grid=2, block=32, **how):
    ptx.launch(kernel, grid, block, *arguments, **how)
    return arguments[-1]


# libdevice promises 1 or 2 units in the last place of each of these
FUNCTIONS = ["sin", "cos", "tan", "exp", "expm1", "sinh", "cosh", "tanh", "atan", "erf"]
POSITIVE = ["sqrt", "log", "log2", "log10", "log1p", "gamma", "lgamma", "asinh"]


@pytest.mark.parametrize("x", [D, F], ids=["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS + POSITIVE)
def test_functions(name, x):
    function, x = getattr(math, name), abs(x) if name in POSITIVE else x

    def kernel(x, y):
        i = cuda.grid(1)
        y[i] = function(x[i])

    found = run(kernel, x, np.zeros_like(x))
    wanted = np.array([function(float(v)) for v in x])
    # of lgamma the absolute error is promised near its zeros
    bound = 8 * np.finfo(x.dtype).eps * np.maximum(abs(wanted), name == "lgamma")
    assert (abs(found - wanted) <= bound).all()


def powers(x, y):
    i = cuda.grid(1)
    y[0, i] = x[i] ** 2.5
    y[1, i] = math.fmod(x[i], 0.3)
    y[2, i] = math.hypot(x[i], 3.0)
    y[3, i] = math.atan2(x[i], -2.0)
    y[4, i] = math.floor(x[i]) + math.ceil(x[i]) + math.trunc(x[i])
    y[5, i] = math.sin(x[i] * 1e9)


def test_doubles():
    x = abs(D)
    wanted = [x**2.5, np.fmod(x, 0.3), np.hypot(x, 3), np.arctan2(x, -2)]
    wanted += [np.floor(x) + np.ceil(x) + np.trunc(x), np.sin(x * 1e9)]
    found = run(powers, x, np.zeros((6, 64)))
    assert np.allclose(found, wanted, rtol=8 * np.finfo(float).eps, atol=0)


def exact(a, b, c, y):
    i = cuda.grid(1)
    y[0, i] = cuda.fma(a[i], b[i], c[i])
    y[1, i] = cuda.libdevice.dadd_ru(a[i], b[i])
    y[2, i] = cuda.libdevice.dmul_rd(a[i], b[i])
    y[3, i] = cuda.libdevice.ddiv_rz(a[i], b[i])
    y[4, i] = cuda.libdevice.dsqrt_ru(abs(a[i]))


def test_float64_is_rounded_once_and_in_all_directions():
    from fractions import Fraction

    a, b = D, RNG.permutation(D) * 2.0 ** RNG.integers(-520, 520, 64)
    c = -a * b * (1 + RNG.integers(-2, 3, 64) * 2.0**-52)
    y = run(exact, a, b, c, np.zeros((5, 64)))
    for n in range(64):
        p, q, r = map(Fraction, (float(a[n]), float(b[n]), float(c[n])))
        assert y[0, n] == float(p * q + r)
        assert math.nextafter(y[1, n], -math.inf) < p + q <= Fraction(y[1, n])
        assert Fraction(y[2, n]) <= p * q
        assert abs(Fraction(y[3, n])) <= abs(p / q)
        assert Fraction(y[4, n]) ** 2 >= abs(p)


def widths(a, b, c, d, y):
    i = cuda.grid(1)
    y[0, i] = a[i] + a[i]
    y[1, i] = b[i] * b[i]
    y[2, i] = c[i] * c[i] - c[i] // 7 + c[i] % 5
    y[3, i] = d[i] >> 3
    y[4, i] = (a[i] > 0) + (b[i] > 0)


@pytest.mark.parametrize("signs", "ui")
def test_integers_have_the_widths_that_numba_gives_them(signs):
    a, b, c, d = (RNG.integers(0, 256, (64, n), np.uint8) for n in (1, 2, 4, 8))
    a, b, c, d = (
        v.view(f"{signs}{n}")[:, 0]
        for v, n in zip((a, b, c, d), (1, 2, 4, 8), strict=True)
    )
    y = run(widths, a, b, c, d, np.zeros((5, 64), np.int64))
    wide = np.int64 if signs == "i" else np.uint64
    p, q, r = (v.astype(wide) for v in (a, b, c))
    wanted = [p + p, q * q, r * r - r // wide(7) + r % wide(5), d >> np.array(3, wide)]
    wanted = [v.view(np.int64) for v in wanted]
    wanted += [(a > 0) + (b > 0).astype(int)]
    assert (y == wanted).all()


def atomics(i, u, f, d):
    t = cuda.grid(1)
    cuda.atomic.add(i, 0, int32(t))
    cuda.atomic.sub(i, 1, int32(2))
    cuda.atomic.max(i, 2, int32(t))
    cuda.atomic.min(i, 3, int32(-t))
    cuda.atomic.cas(i, 4, int32(0), int32(t + 5))
    cuda.atomic.or_(u, 0, uint32(t))
    cuda.atomic.and_(u, 1, uint32(t | 64))
    cuda.atomic.xor(u, 2, uint32(t))
    cuda.atomic.inc(u, 3, uint32(9))
    cuda.atomic.dec(u, 4, uint32(9))
    cuda.atomic.exch(u, 5, uint32(t))
    cuda.atomic.add(f, 0, float32(0.5))
    cuda.atomic.max(f, 1, float32(t))
    cuda.atomic.add(d, 0, 0.25)
    cuda.atomic.min(d, 1, -float64(t))
    cuda.atomic.nanmax(d, 2, float64(t))


def test_atomics():
    i, u = np.zeros(8, np.int32), np.full(8, 127, np.uint32)
    f, d = np.zeros(8, np.float32), np.zeros(8)
    u[[0, 2, 3, 4]], d[2] = 0, np.nan
    run(atomics, i, u, f, d)
    assert i.tolist() == [2016, -128, 63, -63, 5, 0, 0, 0]
    assert u.tolist() == [63, 64, 0, 4, 6, 63, 127, 127]
    assert f[:2].tolist() == [32, 63] and d[:3].tolist() == [16, -63, 63]


def counted(y):
    s = cuda.shared.array(4, int32)
    t = cuda.threadIdx.x
    if t < 4:
        s[t] = 0
    cuda.syncthreads()
    cuda.atomic.add(s, t % 4, t)
    cuda.syncthreads()
    y[cuda.grid(1)] = s[t % 4]


def test_atomics_in_shared_memory():
    wanted = [sum(range(k, 32, 4)) for k in range(4)] * 16
    assert run(counted, np.zeros(64, np.int32)).tolist() == wanted


def warps(x, y):
    i = cuda.grid(1)
    y[0, i] = cuda.shfl_sync(ALL, x[i], 3)
    y[1, i] = cuda.shfl_up_sync(ALL, x[i], 1)
    y[2, i] = cuda.ballot_sync(ALL, x[i] > 0)
    y[3, i] = cuda.all_sync(ALL, x[i] > -9) + cuda.any_sync(ALL, x[i] > 9)
    y[4, i] = cuda.match_any_sync(ALL, int32(x[i] > 0))
    y[5, i] = cuda.popc(cuda.activemask()) + cuda.laneid
    y[6, i] = cuda.syncthreads_count(int32(x[i] > 0))
    y[7, i] = cuda.syncthreads_or(int32(x[i] > 9)) + cuda.popc(cuda.lanemask_lt())
    if x[i] > 0:
        y[8, i] = cuda.popc(cuda.activemask())


def test_warps():
    y = run(warps, D, np.zeros((9, 64)))
    lane, warp = np.arange(64) % 32, D.reshape(2, 32)
    yes = (warp > 0) @ 2.0 ** np.arange(32)
    assert (y[0] == np.repeat(warp[:, 3], 32)).all()
    assert (y[1] == np.where(lane == 0, D, np.roll(D, 1))).all()
    assert (y[2] % 2.0**32 == np.repeat(yes, 32)).all() and (y[3] == 1).all()
    yes = np.repeat(yes, 32)
    # int32 in Numba
    assert (y[4] % 2.0**32 == np.where(D > 0, yes, 2.0**32 - 1 - yes)).all()
    assert (y[5] == 32 + lane).all() and (y[7] == lane).all()
    count = np.repeat((warp > 0).sum(axis=1), 32)
    assert (y[6] == count).all() and (y[8] == np.where(D > 0, count, 0)).all()


def bits(a, b, y):
    i = cuda.grid(1)
    y[0, i] = cuda.popc(a[i]) + cuda.popc(b[i])
    y[1, i] = cuda.clz(a[i]) + cuda.clz(b[i])
    y[2, i] = cuda.ffs(a[i]) + cuda.ffs(b[i])
    y[3, i] = cuda.brev(a[i])


def test_bits():
    a = RNG.integers(1, 2**31, 64).astype(np.int32)
    b = RNG.integers(1, 2**62, 64) >> RNG.integers(0, 60, 64)
    y = run(bits, a, b, np.zeros((4, 64), np.int64))
    pairs = [*zip(map(int, a), map(int, b), strict=True)]
    assert y[0].tolist() == [p.bit_count() + q.bit_count() for p, q in pairs]
    assert y[1].tolist() == [96 - p.bit_length() - q.bit_length() for p, q in pairs]
    first = [(p & -p).bit_length() + (q & -q).bit_length() for p, q in pairs]
    assert y[2].tolist() == first
    back = [int(f"{p:032b}"[::-1], 2) for p, _ in pairs]
    assert y[3].astype(np.uint32).tolist() == back


def local(x, n, y):
    a = cuda.local.array(8, float32)
    b = cuda.local.array((3, 3), float64)
    i = cuda.grid(1)
    for j in range(8):
        a[j] = x[i] * j
    for j in range(9):
        b[j // 3, j % 3] = j
    y[i] = a[(n + i) % 8] + b[n % 3, i % 3]


def test_local_arrays():
    i = np.arange(64)
    wanted = F * ((3 + i) % 8).astype(np.float32) + i % 3
    assert np.allclose(run(local, F, 3, np.zeros(64)), wanted)


def dynamic(y):
    s = cuda.shared.array(0, float64)
    u = cuda.shared.array(0, int32)
    t = cuda.threadIdx.x
    s[t] = t
    u[64 + t] = 7
    cuda.syncthreads()
    y[t] = s[31 - t] + u[64 + t]


def test_dynamic_shared_memory():
    wanted = [38.0 - t for t in range(32)]
    assert run(dynamic, np.zeros(32), grid=1, dynamic=384).tolist() == wanted
    with pytest.raises(KernelError, match="bounds: .* shared"):
        run(dynamic, np.zeros(32), grid=1, dynamic=380)


def halves(x, y, z):
    t = cuda.grid(1)
    a, b = x[t], x[t + 1]
    y[0, t] = a + b
    y[1, t] = a - b
    y[2, t] = a * b
    y[3, t] = a / b
    y[4, t] = -abs(a)
    y[5, t] = cuda.fp16.hfma(a, b, a)
    y[6, t] = cuda.fp16.hmax(a, b)
    y[7, t] = cuda.fp16.hexp(a)
    z[0, t] = a < b
    z[1, t] = a != b
    z[2, t] = np.float32(a)


def test_float16():
    x = RNG.standard_normal(65).astype(np.float16)
    y, z = np.zeros((8, 64), np.float16), np.zeros((3, 64))
    run(halves, x, y, z)
    a, b = x[:-1], x[1:]
    wanted = [a + b, a - b, a * b, a / b, -abs(a)]
    wanted += [(a.astype(float) * b + a).astype(np.float16), np.maximum(a, b)]
    assert (y[:7] == wanted).all() and (z == [a < b, a != b, a]).all()
    assert (y[7] == np.exp(a.astype(float)).astype(np.float16)).all()


TABLE = np.arange(64, dtype=np.float32) ** 2


def constants(y):
    c = cuda.const.array_like(TABLE)
    i = cuda.grid(1)
    y[i] = c[63 - i]


def together(y):
    y[cuda.grid(1)] = 1
    cuda.cg.this_grid().sync()
    y[63 - cuda.grid(1)] += 1


def views(x, y):
    i = cuda.grid(1)
    s = x[2:40:2]
    y[i] = s[-1] + len(s) + x.strides[0]
    for v in s:
        y[i] += v


def given(arrays, z, y):
    i = cuda.grid(1)
    product = z * complex(arrays[0][i], 1.0)
    y[i] = product.real + arrays[1][i]


def test_what_else_there_is():
    assert (run(constants, np.zeros(64)) == TABLE[::-1]).all()
    assert (run(together, np.zeros(64)) == 2).all()
    s = D[2:40:2]
    assert np.allclose(run(views, D, np.zeros(64)), s[-1] + 27 + s.sum())
    wanted = 2 * D - 3 + F
    assert np.allclose(run(given, (D, F), 2 + 3j, np.zeros(64)), wanted)


class Way(enum.Enum):
    UP = 1
    DOWN = 2


def odds(half, way, nothing, x, y):
    table = x.reshape(4, 16)
    i = cuda.grid(1)
    y[0, i] = half
    y[1, i] = way == Way.DOWN
    y[2, i] = cuda.warpsize + len(nothing)
    y[3, i] = table[i // 16, i % 16]
    y[4, i] = math.hypot(x[i], np.inf)


def test_arguments_and_results_that_few_kernels_have():
    given = np.float16(3.5), Way.DOWN, ((), ())
    y = run(odds, *given, D, np.zeros((5, 64)))
    assert (y == [[3.5] * 64, [1] * 64, [34] * 64, D, [np.inf] * 64]).all()


def backwards(x, y):
    i = cuda.grid(1)
    own = x[::-1].copy()
    own[0] += i
    y[i] = own[0] + own[i]


def test_memory_that_a_kernel_allocates(monkeypatch):
    monkeypatch.setattr(cuda.config, "CUDA_ENABLE_NRT", True)
    wanted = D[-1] + np.arange(64) + D[::-1]
    wanted[0] = 2 * D[-1]
    assert np.allclose(run(backwards, D, np.zeros(64)), wanted)


def gaps(x, y):
    table = x.reshape(2, 8)
    y[0] = table[1, 3]


def test_an_array_is_reshaped_only_where_no_element_moves():
    x = np.arange(16.0).reshape(4, 4)
    assert run(gaps, x, np.zeros(1), grid=1, block=1)[0] == 11
    # Numba raises, which without debug ends the thread
    assert run(gaps, np.asfortranarray(x), np.zeros(1), grid=1, block=1)[0] == 0


@cuda.jit(device=True, inline="never")
def halves_of(x, y):
    if x > 0:
        return x * y, x
    return x - y, y


def calls(x, y):
    i = cuda.grid(1)
    a, b = halves_of(x[i], 2.0)
    y[i] = a + b


def test_calls_are_inlined():
    wanted = np.where(D > 0, D * 2 + D, D - 2 + 2)
    assert np.allclose(run(calls, D, np.zeros(64)), wanted)


def prints(x):
    i = cuda.grid(1)
    if i > 61:
        print("x is", i, x[i])


def test_print(capsys):
    run(prints, np.arange(64.0))
    assert capsys.readouterr().out == "x is 62 62.000000\nx is 63 63.000000\n"


def test_all_that_is_run_has_a_class():
    y = np.zeros((9, 64))
    for kernel, given in ((warps, (D, y)), (together, (D,)), (prints, (D,))):
        program = ptx.program(kernel, given)
        counts = ptx.Counts(program)
        program.launch((2, 1, 1), (32, 1, 1), given, counts)
        assert sum(counts.classes().values()) > 0


def test_what_is_not_known_is_refused_by_name():
    text = """.version 8.0
.target sm_80
.visible .entry k() { .reg .b32 %r<3>; vadd4.u32.u32.u32 %r1, %r2, %r2, %r2; ret; }"""
    with pytest.raises(KernelError, match="unsupported: line 3 .*vadd4"):
        ptx.Program(text)
