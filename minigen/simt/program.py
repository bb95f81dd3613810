"""Run whole programs that use `numba.cuda`, on a machine without a GPU or its driver.

    with simt.cuda():
        import their_program

Meanwhile `numba.cuda` is a GPU that is pretended. What a program asks of its memory,
streams and devices is answered by host.py, and a kernel that is launched goes to the
interpreter. Kernels stay Numba's own objects: so those that were declared before run
too, and those that are declared meanwhile are compiled as ever once it is over.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np

from minigen.errors import BackendError, KernelError
from minigen.simt import host, numbers
from minigen.simt.allocate import as_dtype
from minigen.simt.pattern import poison

THREADS = 128
"""The threads of a block where a program leaves that open, with `kernel.forall`."""


@dataclass
class Program:
    """What runs within `simt.cuda()`.

    start: runs a kernel, as `simt.launch` does; options: those it is given; tell:
    called with the name of a kernel and its Report after each launch; launches: how
    many there were; compiling: whether a launch compiles what it calls; declared:
    (kernel, types) of signatures that were given; helpers: {function that kernels call:
    [(types, type of its result)] of those that were given for it}.
    """

    start: Callable
    options: dict
    tell: Callable
    launches: int = 0
    compiling: bool = False
    declared: list = field(default_factory=list, repr=False)
    helpers: dict = field(default_factory=dict, repr=False)

    @contextmanager
    def compiled(self):
        """Let functions that a kernel calls be compiled meanwhile."""
        before, self.compiling = self.compiling, True
        try:
            yield
        finally:
            self.compiling = before

    def launch(self, kernel, grid, block, dynamic, arguments):
        """Run a kernel on what a program gave it."""
        after = []
        values = arguments
        for extension in reversed(kernel.extensions or ()):
            values = [
                extension.prepare_args(None, value, stream=0, retr=after)[1]
                for value in values
            ]
        # what an extension returns may say which ways it is to be copied
        values = _converted(kernel, _values(values, after))
        self.launches += 1
        try:
            with self.compiled():
                report = self.start(
                    kernel, grid, block, *values, dynamic=dynamic, **self.options
                )
        except KernelError as error:
            # as a GPU that debugs does: the kernel's own exception, and whose it is
            raised = error.__cause__
            if raised is None or not kernel.targetoptions.get("debug"):
                raise
            where = str(error).split("\n")[0]
            raise type(raised)(where) from error
        for last in after:
            last()
        self.tell(kernel.py_func.__name__, report)


@dataclass(frozen=True, eq=False)
class Launcher:
    """A kernel with its grid and block: call it with the kernel's arguments."""

    program: Program
    dispatcher: object
    griddim: tuple
    blockdim: tuple
    stream: object = 0
    sharedmem: int = 0

    def __call__(self, *arguments):
        self.program.launch(
            self.dispatcher, self.griddim, self.blockdim, self.sharedmem, arguments
        )


@dataclass(frozen=True, eq=False)
class Declared:
    """What stands for the compiled code of a kernel that was given a signature."""

    program: Program
    kernel: object
    argtypes: tuple

    def inspect_asm(self, cc):
        """Return the PTX that the compiler makes of it, which needs no GPU."""
        # target brings numba
        from minigen.target import compile_ptx

        with self.program.compiled():
            return compile_ptx(self.kernel, self.argtypes, cc)

    def max_cooperative_grid_blocks(self, blockdim, dynsmemsize=0):
        """Return how many blocks of a size the device can hold at once."""
        threads = int(np.prod(blockdim))
        return host.LIMITS["MAX_THREADS_PER_MULTI_PROCESSOR"] // threads

    def __getattr__(self, name):
        raise AttributeError(
            f"nothing is compiled within simt.cuda(), so there is no {name!r}"
        )


@contextmanager
def pretended(start, options, tell=host.nothing):
    """Let `numba.cuda` be a GPU that is pretended meanwhile; yield the Program.

    Raises BackendError where Numba cannot be imported, or simulates a GPU itself.
    """
    program = Program(start, options, tell)
    try:
        # brings numba
        from minigen import target

        real = target.cuda
    except ImportError as error:
        raise BackendError(
            f"programs that use numba.cuda need Numba, which cannot be imported: "
            f"{error}"
        ) from None
    if real.config.ENABLE_CUDASIM:
        raise BackendError(
            "NUMBA_ENABLE_CUDASIM is set, so numba.cuda is Numba's own simulator; "
            "unset it"
        )
    with ExitStack() as stack:
        for owner, name, value in _changes(program, real):
            _put(stack, owner, name, value)
        stack.callback(_forget, program)
        yield program


def _changes(program, real):
    # (module or class, name, what stands there meanwhile)
    dispatcher, kind = real.dispatcher, real.dispatcher.CUDADispatcher
    devices, arrays = real.cudadrv.devices, real.cudadrv.devicearray

    def configure(kernel, griddim, blockdim, stream=0, sharedmem=0):
        sizes = real.errors.normalize_kernel_dimensions(griddim, blockdim)
        return Launcher(program, kernel, *sizes, stream, int(sharedmem))

    def declare(kernel, types):
        types = _types(types)
        program.declared.append((kernel, types))
        kernel.overloads[types] = Declared(program, kernel, types)
        return kernel.overloads[types]

    really = kind.compile_device

    def declare_device(function, types, result=None):
        # asked for by a signature there is nothing to do yet, else by the compiler
        if not program.compiling:
            program.helpers.setdefault(function, []).append((types, result))
            return None
        given = program.helpers.pop(function, None)
        if given is None:
            return really(function, types, result)
        # whoever calls it converts to one of these
        for signature in given:
            really(function, *signature)
        function._can_compile = False
        return None

    # the modules in which a program may look for a function
    for module in (real, real.api):
        for name, value in host.FACE.items():
            if hasattr(module, name):
                yield module, name, value
    for module in (devices, dispatcher):
        yield module, "get_context", host.the_device
    yield arrays, "auto_device", host.is_auto_device
    yield devices, "gpus", host.DEVICE
    yield kind, "configure", configure
    yield kind, "specialize", lambda kernel, *arguments: kernel
    yield kind, "compile", declare
    yield kind, "compile_device", declare_device
    # what has a signature is compiled for other types too: for those of a launch
    yield kind, "disable_compile", host.nothing
    yield dispatcher.ForAll, "__call__", _for_all


def _put(stack, owner, name, value):
    there = name in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, value)
    if there:
        stack.callback(setattr, owner, name, before)
    else:
        stack.callback(delattr, owner, name)


def _forget(program):
    # what was declared may be compiled from now on
    for kernel, types in program.declared:
        kernel.overloads.pop(types, None)
        kernel._specialized = False


def _for_all(tasks, *arguments):
    # one thread for each task
    if tasks.ntasks:
        threads = tasks.thread_per_block or THREADS
        kernel, blocks = tasks.dispatcher, -(-tasks.ntasks // threads)
        kernel[blocks, threads, tasks.stream, tasks.sharedmem](*arguments)


def _types(signature):
    # of a signature's arguments: it may be a text, a tuple, or a Signature
    if isinstance(signature, tuple):
        return signature
    from minigen.target import numba

    return numba.core.sigutils.normalize_signature(signature)[0]


def _values(arguments, after):
    # what the kernel gets; what is left to do afterwards is added to `after`
    values, of_host = [], []
    for argument in arguments:
        # cuda.In, cuda.Out and cuda.InOut say which ways an array is to be copied
        hinted = type(argument).__module__.endswith("cuda.args")
        hint = type(argument).__name__ if hinted else ""
        value = argument.value if hinted else argument
        on_device = not isinstance(value, np.ndarray)
        value = host.on_host(value)
        if isinstance(value, np.ndarray) and value.ndim and not on_device:
            value = _moved(value, hint, of_host, after)
        values.append(value)
    return values


def _moved(array, hint, of_host, after):
    # an array of the host is copied to the device, and back: that can be seen where
    # only one of the two is done, or where two arguments share memory
    shared = any(np.may_share_memory(array, other) for other in of_host)
    # the device's memory begins where any number may begin
    shared |= not array.flags.aligned
    of_host.append(array)
    if hint == "Out":
        moved = poison(np.empty_like(array, order="C", subok=False))
    elif hint == "In" or shared:
        moved = array.copy()
    else:
        return array
    if hint != "In":
        after.append(lambda: np.copyto(array, moved))
    return moved


def _converted(kernel, values):
    # a kernel with signatures gets numbers of the types that they say
    declared = [*kernel.overloads]
    if not declared:
        return values
    from minigen.target import numba

    given = [numba.typeof(value) for value in values]
    if len(declared) == 1 and len(given) == len(declared[0]):
        # no other could be meant
        return list(map(_as, declared[0], values))
    fitting = [types for types in declared if _fits(types, given)]
    if not fitting:
        raise TypeError(
            "No matching definition for argument type(s) " + ", ".join(map(str, given))
        )
    best = max(fitting, key=lambda types: sum(map(operator.eq, types, given)))
    return list(map(_as, best, values))


def _as(kind, value):
    # a value as one of a type that was declared
    if _is_number(kind):
        if numbers.kind(kind) == "int" and isinstance(value, int | np.integer):
            # the bits that fit, as C converts it
            value = numbers.wrap(int(value), *numbers.bits(kind))
        return as_dtype(kind).type(value)
    return _reread(value, kind) if hasattr(kind, "layout") else value


def _reread(array, kind):
    # integers that are signed where unsigned ones were declared keep their bits
    wanted = str(kind.dtype)
    given = array.dtype.name
    if given != wanted and given.removeprefix("u") == wanted.removeprefix("u"):
        return array.view(wanted)
    if given != wanted and _is_number(kind.dtype):
        raise TypeError(
            f"No matching definition for argument type(s) array({given}): the kernel "
            f"was declared for {kind}"
        )
    return array


def _fits(types, given):
    return len(types) == len(given) and all(map(_stands_for, types, given))


def _stands_for(kind, given):
    # whether a value of a type may be given where another was declared
    if _is_number(kind):
        return _is_number(given)
    if not hasattr(kind, "layout"):
        return str(kind) == str(given)
    return (
        (getattr(given, "ndim", None), str(getattr(given, "dtype", None)))
        == (kind.ndim, str(kind.dtype))
    ) and kind.layout in ("A", given.layout)


def _is_number(kind):
    return type(kind).__name__ in ("Integer", "Float", "Complex", "Boolean")
