"""Whole programs that use numba.cuda, as they stand, without a GPU or its driver."""

import numpy as np
import pytest

from minigen import simt, target
from minigen.errors import KernelError

cuda = pytest.importorskip("numba.cuda")


@cuda.jit
def add_one(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = x[i] + np.float32(1)


@pytest.fixture
def gpu():
    """Let numba.cuda be a pretended GPU; return the list of launches."""
    told = []
    with simt.cuda(tell=lambda name, report: told.append((name, report.threads))):
        yield told


def test_a_program_runs_as_it_stands(gpu):
    assert cuda.is_available() and len(cuda.gpus) == 1
    x = np.arange(40, dtype=np.float32)
    stream, start, end = cuda.stream(), cuda.event(), cuda.event()
    with stream.auto_synchronize():
        d_x = cuda.to_device(x, stream)
        d_y = cuda.device_array_like(d_x)
        start.record(stream)
        add_one[2, 32, stream](d_x, d_y)
        end.record(stream)
    end.synchronize()
    assert cuda.event_elapsed_time(start, end) >= 0
    add_one.forall(40)(d_y, d_y)
    out = np.empty(40, np.float32)
    d_y.copy_to_host(out, stream)
    cuda.synchronize()
    assert (out == x + 2).all() and gpu == [("add_one", 64), ("add_one", 128)]
    with cuda.gpus[0], cuda.defer_cleanup(), cuda.pinned(x):
        add_one[2, 32](x, out)
    assert (out == x + 1).all()
    assert cuda.current_context().get_memory_info().free > 0
    assert cuda.get_current_device().MAX_THREADS_PER_BLOCK == 1024


def test_a_signature_gives_numbers_their_types(gpu):
    @cuda.jit("void(float32[:], float32, int32)")
    def put(y, a, n):
        y[0] = a
        y[1] = n

    @cuda.jit(["void(int64[:], int64)", "void(float32[:], float32)"])
    def set_all(y, a):
        y[cuda.grid(1)] = a

    y = np.zeros(2, np.float32)
    put[1, 1](y, 0.1, 2.9)
    assert y[0] == np.float32(0.1) and y[1] == 2
    set_all[1, 2](y, 1.5)
    n = np.zeros(2, np.int64)
    set_all[1, 2](n, 1.5)
    assert y.tolist() == [1.5, 1.5] and n.tolist() == [1, 1]
    with pytest.raises(TypeError, match="No matching definition"):
        set_all[1, 2](np.zeros(2, np.int8), 1)


def test_arrays_of_the_device_are_numbas_in_what_programs_ask(gpu):
    a = np.arange(12, dtype=np.int32).reshape(3, 4)
    d = cuda.to_device(a)
    assert (d.shape, d.dtype, d.ndim, d.size, d.nbytes) == ((3, 4), a.dtype, 2, 12, 48)
    assert d[1, 2] == 6 and d[1].copy_to_host().tolist() == [4, 5, 6, 7]
    assert (d.T.copy_to_host() == a.T).all() and d.is_c_contiguous()
    assert d.ravel().reshape(2, 6).shape == (2, 6) and len(d.ravel().split(6)) == 2
    d[0] = 7
    assert a[0, 0] == 0 and (d.copy_to_host()[0] == 7).all()
    with pytest.raises(TypeError):
        d + 1
    with pytest.raises(TypeError, match="incompatible dtype"):
        d.copy_to_device(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="non-contiguous"):
        cuda.to_device(a[:, ::2])
    with pytest.raises(AttributeError, match="copy_to_host"):
        d.sum()
    wide = cuda.to_device(np.broadcast_to(a[:, None], (3, 2, 4)))
    wide.copy_to_device(np.ones((3, 2, 4), np.int32))
    assert wide.copy_to_host().sum() == 24 and cuda.to_device(a.T).is_f_contiguous()
    assert cuda.as_cuda_array(d)[0, 0] == 7 and cuda.is_cuda_array(d)
    new = cuda.device_array((2, 3), np.float32)
    assert simt.is_poison(new.copy_to_host()).all()


@cuda.jit(device=True)
def twice(a):
    return a + a


@pytest.mark.needs("compiler")
def test_what_the_compiler_makes_runs_too_with_the_functions_it_calls():
    with simt.cuda(backend="ptx"):

        @cuda.jit("float32(float32)", device=True)
        def four_times(a):
            return twice(twice(a))

        @cuda.jit("void(float32[:], float32[:])")
        def each(x, y):
            i = cuda.grid(1)
            if i < x.size:
                y[i] = four_times(x[i])

        x, y = np.arange(40, dtype=np.float32), np.zeros(40, np.float32)
        each[2, 32](x, y)
        assert (y == 4 * x).all()
        (text,) = each.inspect_asm().values()
        assert ".entry" in text


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("way", ["interpreter", "ptx"])
def test_a_helper_with_a_signature_converts_what_it_is_given(way):
    with simt.cuda(backend=way):

        @cuda.jit("int8(int8)", device=True)
        def same(a):
            return a

        @cuda.jit
        def each(x, y):
            i = cuda.grid(1)
            y[i] = same(x[i])

        y = np.zeros(2, np.int64)
        each[1, 2](np.array([300, 7]), y)
        assert y.tolist() == [44, 7]
        with pytest.raises(KernelError, match="Invalid use of type"):
            each[1, 2](np.array([1j, 2]), y)


def test_numbers_that_a_signature_has_no_room_for_keep_their_lower_bits(gpu):
    @cuda.jit("void(int32[:], int32)")
    def put(y, a):
        y[0] = a

    y = np.zeros(1, np.int32)
    put[1, 1](y, 0xFFFFFFFE)
    assert y[0] == -2


@pytest.mark.needs("compiler")
def test_an_array_that_begins_anywhere_is_copied_to_where_the_device_can_read_it():
    x = np.frombuffer(bytearray(36), np.float64, 4, offset=4)
    assert not x.flags.aligned
    with simt.cuda(backend="ptx"):

        @cuda.jit
        def count(x):
            x[cuda.grid(1)] = cuda.grid(1)

        count[1, 4](x)
    assert x.tolist() == [0, 1, 2, 3]


@pytest.mark.needs("compiler")
def test_what_is_declared_meanwhile_is_compiled_afterwards():
    # `minigen check` loads the files of a kernel so
    with simt.cuda():

        @target.gpu_inline
        def thrice(a):
            return a + a + a

        @target.gpu_inline
        def misspelt(a):
            return a.shapes

        @target.gpu_kernel
        def each(x, y):
            i = cuda.grid(1)
            y[i] = thrice(x[i])

        @target.gpu_kernel
        def wrong(x, y):
            y[0] = misspelt(x)

    x, y = np.arange(32, dtype=np.float32), np.zeros(32, np.float32)
    assert simt.launch(each, 1, 32, x, y).untyped == ""
    assert (y == 3 * x).all()
    with pytest.raises(KernelError, match="shapes") as caught:
        simt.launch(wrong, 1, 32, x, y)
    assert caught.value.kind == "compile"


def test_arguments_say_which_way_they_are_copied(gpu):
    @cuda.jit
    def change(a, b, c):
        a[0] = b[0] = c[0] = 5

    a, b, c = np.zeros((3, 2), np.float32)
    change[1, 1](cuda.In(a), cuda.Out(b), c)
    assert a[0] == 0 and b[0] == c[0] == 5
    # what the kernel did not write is not what was there before
    assert np.isnan(b[1]) and c[1] == 0


class Held:
    """An extension of Numba's that copies no array back."""

    def prepare_args(self, kind, value, **how):
        return kind, cuda.In(value) if isinstance(value, np.ndarray) else value


def test_an_extension_may_say_which_way_arguments_are_copied(gpu):
    @cuda.jit(extensions=[Held()])
    def put(y, a):
        y[0] = a

    y = np.zeros(1)
    put[1, 1](y, 3.0)
    assert y[0] == 0


def test_one_array_given_twice_is_two_arrays_of_the_device(gpu):
    @cuda.jit
    def shift(a, b):
        i = cuda.threadIdx.x
        b[i] = a[i ^ 1]

    a = np.arange(2, dtype=np.float32)
    shift[1, 2](a, a)
    assert a.tolist() == [1, 0]


def test_a_fault_is_raised_where_the_kernel_is_launched(gpu):
    @cuda.jit
    def race(y):
        y[0] = cuda.threadIdx.x

    with pytest.raises(KernelError, match=r"race: on y\[0\]"):
        race[1, 2](np.zeros(1, np.float32))

    @cuda.jit(debug=True, opt=False)
    def refuse(y):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        refuse[1, 1](np.zeros(1))


def test_a_launch_without_a_grid_is_numbas_error(gpu):
    with pytest.raises(ValueError):
        add_one(np.zeros(1), np.zeros(1))
    with pytest.raises(ValueError):
        add_one[1,](np.zeros(1), np.zeros(1))


def test_numbas_own_reduction_runs(gpu):
    total = cuda.reduce(lambda a, b: a + b)
    assert total(np.arange(70.0)) == 70 * 69 / 2


def test_shared_memory_of_the_launch_and_three_dimensions(gpu):
    @cuda.jit
    def number(y):
        s = cuda.shared.array(0, np.int32)
        i, j, k = cuda.grid(3)
        if i == j == k == 0:
            s[15] = 3
        cuda.syncthreads()
        y[i, j, k] = s[15]

    y = np.zeros((2, 2, 4), np.int32)
    number[1, (2, 2, 4), 0, 64](y)
    assert (y == 3).all()


def test_afterwards_all_is_as_it_was():
    names = ("to_device", "jit", "is_available", "synchronize", "stream")
    before = [getattr(cuda, name) for name in names]
    with simt.cuda():

        @cuda.jit("void(float32[:])")
        def one(y):
            y[0] = 1

        assert one.overloads
        with pytest.raises(RuntimeError), simt.cuda():
            raise RuntimeError
        assert cuda.is_available()
    assert [getattr(cuda, name) for name in names] == before
    assert not one.overloads and one._can_compile
