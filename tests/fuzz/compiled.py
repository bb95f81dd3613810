"""Random typed programs: what `ptx` makes of them is what Numba makes on the CPU.

    python -m tests.fuzz compiled --count 1000 --seed 0

Each program is an expression over numbers of all types, an `if` or a loop, stored in an
array of some type. Many of them make one kernel, since to compile takes long. Bits must
be the same: only what IEEE 754 rounds is drawn, no product that a compiler may fuse
with a sum to another result, nothing that Numba defines differently for CUDA (`min` of
a NaN, `math.floor`, which is an integer on the CPU), and no sum, difference or product
of int64 that overflows: Numba tells both compilers that none does (`nsw`), and each
makes what it likes of one that does.
"""

from __future__ import annotations

import argparse
import random
import traceback
import warnings
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float32", "float64")
TYPES = (*WHOLE, *FLOATS, "bool_")
SMALL = ("int8", "int16", "int32", "uint8", "uint16")
"""Types whose products an int64 has room for."""

LANES = 32
TOGETHER = 25
"""Programs of one kernel."""


class Writer:
    """Draws the text of programs over the arrays a_int8, a_int16, ... of one thread."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def whole(self, depth, signed=None):
        """Return an expression that is a whole number; signed: not of uint64.

        Numba makes a float64 of an int64 and a uint64 together, so they never meet.
        """
        r = self.random
        signed = r.random() < 0.6 if signed is None else signed
        types = WHOLE[:7] if signed else WHOLE[4:]
        kind = r.randrange(14) if depth else 0
        a = b = partial(self.whole, depth - 1, signed)
        cast = f"np.{r.choice(types)}"
        if kind < 2:
            if r.random() < 0.2:
                value = r.choice((0, 1, 2, 3, 7, 100, 255, 65535, 2**31))
                return str(value) if signed else f"np.uint64({value})"
            return f"a_{r.choice(types)}[i]"
        if kind < 6:
            sign = r.choice("+-*&|^")
            if signed and sign in "+-*":
                left, right = (f"np.{r.choice(SMALL)}({x()})" for x in (a, b))
                right = right if sign == "*" else f"({b()} >> 1)"
                return f"({left} {sign} {right})"
            return f"({a()} {sign} {b()})"
        if kind == 6:
            divisor = f"({b()} | {'1' if signed else 'np.uint64(1)'})"
            return f"({a()} {r.choice(('//', '%'))} {divisor})"
        if kind == 7:
            by = f"np.{'int64' if signed else 'uint64'}(a_uint8[i] & np.uint8(7))"
            return f"({a()} {r.choice(('<<', '>>'))} {by})"
        if kind == 8:
            return f"{cast}({self.whole(depth - 1)})"
        if kind == 9:
            return f"{r.choice(('min', 'max'))}({cast}({a()}), {cast}({b()}))"
        if kind == 10:
            least = f"np.{r.choice(SMALL)}({a()})"
            return f"(~{a()})" if r.random() < 0.5 or not signed else f"(-{least})"
        if kind == 11:
            return f"({cast}({a()}) if {self.truth(depth - 1)} else {cast}({b()}))"
        if kind == 12 and signed:
            return f"(({self.truth(depth - 1)}) + ({self.truth(depth - 1)}))"
        # half of it: of the least number there is no absolute value
        return f"{cast}(abs({self.whole(depth - 1, True)} >> 1) % 1000)"

    def floating(self, depth):
        """Return an expression that is a float."""
        r = self.random
        kind = r.randrange(12) if depth else 0
        a, b = (lambda: self.number(depth - 1)), (lambda: self.floating(depth - 1))
        if kind < 2:
            return r.choice((f"a_{r.choice(FLOATS)}[i]", "0.5", "np.float32(1.5)"))
        if kind < 5:
            return f"({a()} {r.choice('+-/')} {b()})"
        if kind == 5:
            # by a power of two: exact, whether or not it is fused with a sum
            return f"({b()} * {r.choice(('0.5', '4.0', 'np.float32(-2)'))})"
        if kind == 6:
            return f"np.{r.choice(FLOATS)}({a()})"
        if kind == 7:
            return f"({a()} if {self.truth(depth - 1)} else {b()})"
        if kind == 8:
            return f"math.sqrt(abs({b()}))"
        if kind == 9:
            return f"math.{r.choice(('fabs', 'sqrt'))}(abs({b()}))"
        if kind == 10:
            return f"math.copysign({b()}, np.float32({a()}))"
        return f"(-{b()})"

    def number(self, depth):
        """Return an expression of any kind."""
        return self.whole(depth) if self.random.random() < 0.5 else self.floating(depth)

    def truth(self, depth):
        """Return a condition."""
        sign = self.random.choice(("<", "<=", ">", ">=", "==", "!="))
        text = f"{self.number(depth)} {sign} {self.number(depth)}"
        joint = self.random.choice((" and ", " or ", ""))
        return f"({text}{joint}{f'a_bool_[i] {sign} True' if joint else ''})"

    def program(self, n):
        """Return the lines of a program that stores in y_TYPE[n, i]."""
        whole = self.random.random() < 0.6
        stored = self.random.choice(WHOLE if whole else FLOATS)
        text = self.whole(3) if whole else self.floating(3)
        kind, other = self.random.randrange(4), self.whole if whole else self.floating
        if kind == 0:
            # the type of a sum of all rounds, from the start
            cast = "np.int64" if whole else "np.float64"
            lines = [f"t = {cast}({text})", "for k in range(3):"]
            half = " >> 2" if whole else ""
            lines += [f"    t = {cast}((t{half}) + ({cast}({other(1)}){half}) + k)"]
            return [*lines, f"y_{stored}[{n}, i] = t"]
        if kind == 1:
            lines = [f"if {self.truth(1)}:", f"    y_{stored}[{n}, i] = {text}"]
            return [*lines, "else:", f"    y_{stored}[{n}, i] = {other(2)}"]
        return [f"y_{stored}[{n}, i] = {text}"]


def source(seed, count):
    """Return the text of two functions, for a GPU and the CPU, and their programs."""
    writer = Writer(seed)
    programs = [writer.program(n) for n in range(count)]
    names = ", ".join([f"a_{t}" for t in TYPES] + [f"y_{t}" for t in TYPES[:-1]])
    lines = ["import math", "import numpy as np", "from minigen.target import cuda"]
    body = ["        " + line for program in programs for line in program]
    lines += [f"def gpu({names}):", "    for i in range(cuda.grid(1), 32, 32):", *body]
    lines += [f"def cpu({names}):", "    for i in range(32):", *body]
    return "\n".join(lines) + "\n", programs


def arrays(seed, count):
    """Return arrays of random numbers, the least and the largest among them, and others
    to fill."""
    rng, given = np.random.default_rng(seed), []
    for name in WHOLE:
        info = np.iinfo(name)
        values = rng.integers(info.min, info.max, LANES, name, endpoint=True)
        values >>= rng.integers(0, info.bits, LANES).astype(name)
        values[:4] = info.min, info.max, 0, 1
        given.append(values)
    for name in FLOATS:
        values = rng.standard_normal(LANES) * 2.0 ** rng.integers(-9, 9, LANES)
        values[:5] = 0, -0.0, np.inf, np.nan, 2.5
        given.append(values.astype(name))
    given.append(rng.random(LANES) < 0.5)
    return given, [np.zeros((count, LANES), name) for name in TYPES[:-1]]


def differences(seed, count=TOGETHER):
    """Return (lines of a program, thread, ptx, njit) for each where the two differ."""
    from minigen import ptx, target
    from minigen.target import numba

    text, programs = source(seed, count)
    with TemporaryDirectory() as folder:
        path = Path(folder, "drawn.py")
        path.write_text(text)
        space = {}
        exec(compile(text, str(path), "exec"), space)
        given, ours = arrays(seed, count)
        theirs = [y.copy() for y in ours]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            numba.njit(error_model="numpy")(space["cpu"])(*given, *theirs)
            types = target.argument_types((*given, *ours))
            with target._pretended((8, 0)):
                made = target.cuda.compile_ptx(space["gpu"], types, cc=(8, 0))
        program = ptx.Program(made[0])
        program.launch((1, 1, 1), (LANES, 1, 1), (*given, *ours))
    found = []
    for n, lines in enumerate(programs):
        for one, other in zip(ours, theirs, strict=True):
            same = (one[n] == other[n]) | ((one[n] != one[n]) & (other[n] != other[n]))
            if not same.all():
                i = int(np.argmin(same))
                found.append((lines, i, one[n, i], other[n, i]))
    return found


def main(arguments) -> int:
    """Draw programs and print those that differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz compiled")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args(arguments)
    wrong, seeds = 0, range(o.seed, o.seed + -(-o.count // TOGETHER))
    for seed in seeds:
        try:
            for lines, i, ours, theirs in differences(seed):
                wrong += 1
                print(f"seed {seed}, thread {i}: ptx {ours!r}, njit {theirs!r}")
                print("\n".join(lines))
        except Exception:
            wrong += 1
            print(f"seed {seed}:\n{traceback.format_exc()}")
    print(f"{len(seeds) * TOGETHER} programs, {wrong} that differ or fail")
    return int(wrong > 0)
