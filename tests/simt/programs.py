"""Random programs of numbers, run as Numba compiles them and as the interpreter does.

    python -m tests.simt.programs --count 1000 --seed 0

A program reads numbers of all types, computes with them, assigns variables of one type
in one branch and of another type in the other, loops, converts and stores. Numba's CPU
compiler follows the same rules of typing as its CUDA one, and needs no GPU. Every value
must have the same bits. What is undefined on one of the two is left out: shifts by more
than the width, floats out of an integer's range made integers.
"""

from __future__ import annotations

import argparse
import linecache
import random

import numpy as np

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float32", "float64")
ALL = (*INTEGERS, *FLOATS, "bool")

TOGETHER = 25
"""Programs in one function: compiling a function takes longer than a line of it."""


class Writer:
    """One program: its lines, and the variables that it has so far with their types."""

    def __init__(self, dice, number):
        self.dice, self.number, self.lines = dice, number, []
        self.variables = {f"x_{name}[{dice.randrange(4)}]": name for name in ALL}

    def pick(self, kinds):
        """Return (text, type) of a variable or a literal of one of some kinds."""
        dice = self.dice
        if "i" in kinds and dice.random() < 0.2:
            return str(dice.choice((0, 1, 2, 3, 7, 10, 127, 255, 1000))), "int64"
        if "f" in kinds and dice.random() < 0.2:
            return dice.choice(("0.5", "2.0", "1e-3", "3.25")), "float64"
        found = [item for item in self.variables.items() if kind(item[1]) in kinds]
        return dice.choice(found)

    def expression(self, depth, kinds="ifb"):
        """Return (text, type) of an expression of one of some kinds."""
        dice = self.dice
        if depth == 0 or dice.random() < 0.15:
            return self.pick(kinds)
        what = dice.choice(kinds)
        if what == "b":
            return self.compared(depth)
        if what == "f":
            return self.floating(depth)
        return self.integral(depth)

    def compared(self, depth):
        """Return a comparison, or a combination of booleans."""
        a, b = self.expression(depth - 1), self.expression(depth - 1)
        if self.dice.random() < 0.3:
            return f"(not {a[0]})", "bool"
        symbol = self.dice.choice(("<", "<=", ">", ">=", "==", "!="))
        return f"({a[0]} {symbol} {b[0]})", "bool"

    def integral(self, depth):
        """Return an expression that is an integer."""
        dice = self.dice
        choice = dice.random()
        a, s = self.expression(depth - 1, "ib")
        b, t = self.expression(depth - 1, "i")
        if choice < 0.55:
            symbol = dice.choice(["+", "-", "*", "//", "%", "&", "|", "^"])
            return f"({a} {symbol} {b})", integer_of(s, t)
        if choice < 0.65:
            a, s = self.expression(depth - 1, "i")
            return f"({a} {dice.choice(('<<', '>>'))} {dice.randrange(20)})", widened(s)
        if choice < 0.75:
            a, s = self.expression(depth - 1, "i")
            return f"({dice.choice('-~+')}{a})", widened(s)
        if choice < 0.8:
            return f"({b} ** {dice.choice((2, 3))})", widened(t)
        if choice < 0.9:
            to = dice.choice(INTEGERS)
            return f"np.{to}({a})", to
        f, _ = self.expression(depth - 1, "f")
        to = dice.choice(INTEGERS)
        name = self.assign(f)
        low = "0.0" if to.startswith("u") else "-100.0"
        return f"(np.{to}({name}) if {low} <= {name} < 100.0 else np.{to}(7))", to

    def floating(self, depth):
        """Return an expression that is a float."""
        dice = self.dice
        choice = dice.random()
        a, s = self.expression(depth - 1)
        b, t = self.expression(depth - 1, "f")
        if choice < 0.55:
            symbol = dice.choice(("+", "-", "*", "/"))
            single = s == t == "float32"
            return f"({a} {symbol} {b})", "float32" if single else "float64"
        if choice < 0.7:
            a, _ = self.expression(depth - 1, "i")
            b, _ = self.expression(depth - 1, "i")
            return f"({a} / {b})", "float64"
        if choice < 0.8:
            to = dice.choice(FLOATS)
            return f"np.{to}({a})", to
        if choice < 0.9:
            return f"math.sqrt(abs({b}))", t
        return f"(-{b})", t

    def assign(self, text, name=None):
        """Assign an expression to a new variable; return its name."""
        name = name or f"v{self.number}_{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return name

    def statement(self):
        """Write one statement, or a branch or a loop."""
        dice = self.dice
        name = f"v{self.number}_{len(self.lines)}"
        choice = dice.random()
        if choice < 0.5:
            text, t = self.expression(2)
            self.assign(text, name)
        elif choice < 0.8:
            condition, _ = self.expression(2, "b")
            one, s = self.expression(1)
            other, t = self.expression(1)
            self.lines += [f"if {condition}:", f"    {name} = {one}", "else:"]
            self.lines.append(f"    {name} = {other}")
            t = unified(s, t)
        else:
            start, s = self.expression(1, "if")
            step, t = self.expression(1, "if")
            symbol = dice.choice("+-*")
            self.assign(start, name)
            self.lines.append(f"for i{name} in range({dice.randrange(1, 5)}):")
            self.lines.append(f"    {name} = {name} {symbol} {step}")
            both = kind(s) == kind(t) == "i"
            t = unified(s, integer_of(s, t)) if both else "float64"
        self.variables[name] = t

    def store(self, slot):
        """Store what the last variable holds, in an array of some type."""
        name, t = [*self.variables.items()][-1]
        to = self.dice.choice(FLOATS if kind(t) == "f" else ALL[:-1])
        self.lines.append(f"y_{to}[{slot}] = {name}")


def kind(name) -> str:
    """Return "i", "f" or "b" for a type's name."""
    return "b" if name == "bool" else "f" if name.startswith("float") else "i"


def widened(name) -> str:
    """Return the type that arithmetic makes of one integer."""
    return "uint64" if name.startswith("u") else "int64"


def integer_of(one, other) -> str:
    """Return the type of two integers' sum: unsigned if both are."""
    return "uint64" if one.startswith("u") and other.startswith("u") else "int64"


def unified(one, other) -> str:
    """Return the type of a variable that is now of one type and now of another."""
    if one == other:
        return one
    kinds = {kind(one), kind(other)}
    if "f" in kinds or {one, other} & {"uint64"} and not all(
        t.startswith("u") or t == "bool" for t in (one, other)
    ):  # fmt: skip
        return "float64"
    return integer_of(one, other) if kinds == {"i"} else widened(max(one, other))


def write(seed, count=TOGETHER):
    """Return the text of a function of `count` programs, and its arguments' names."""
    dice = random.Random(seed)
    lines = []
    for number in range(count):
        writer = Writer(dice, number)
        for _ in range(dice.randrange(1, 4)):
            writer.statement()
        writer.store(number)
        lines += writer.lines
    names = [f"x_{name}" for name in ALL] + [f"y_{name}" for name in ALL[:-1]]
    body = "\n".join("    " + line for line in lines)
    return f"def programs({', '.join(names)}):\n{body}\n", names


def values(seed, count=TOGETHER):
    """Return arguments of a function of `write`: numbers near the ends of types."""
    dice = np.random.default_rng(seed)
    arguments = []
    for name in INTEGERS:
        ends = np.iinfo(name)
        some = [ends.min, ends.max, 0, 1, 3, 100, ends.max // 2, ends.min // 3]
        arguments.append(dice.choice(np.array(some, name), 4))
    for name in FLOATS:
        arguments.append((dice.standard_normal(4) * [1, 10, 1e4, 1e-3]).astype(name))
    arguments.append(np.array([True, False, True, False]))
    return arguments + [np.zeros(count, name) for name in ALL[:-1]]


def function_of(text, seed):
    """Return the function that a text defines."""
    import math

    name = f"<programs {seed}>"
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    space = {"np": np, "math": math}
    exec(compile(text, name, "exec"), space)
    return space["programs"]


def differences(seed, count=TOGETHER) -> list[str]:
    """Return what a function's programs store in another way than Numba's do."""
    import numba

    from minigen import simt

    text, names = write(seed, count)
    function = function_of(text, seed)
    given, wanted = values(seed, count), values(seed, count)
    with np.errstate(all="ignore"):
        numba.njit(error_model="numpy")(function)(*wanted)
    simt.launch(function, 1, 1, *given, typed=True)
    found = []
    for name, one, other in zip(names, given, wanted, strict=True):
        bits = [a.view(f"u{a.itemsize}") for a in (one, other)]
        equal = (bits[0] == bits[1]) | ((one != one) & (other != other))
        for i in np.flatnonzero(~equal):
            found.append(f"seed {seed}, {name}[{i}]: {one[i]}, and Numba {other[i]}")
    return found


def main():
    """Run programs, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ran, found = 0, []
    for seed in range(options.seed, options.seed + -(-options.count // TOGETHER)):
        found += differences(seed)
        ran += TOGETHER
    for line in found:
        print(line)
    print(f"{ran} programs, {len(found)} values that differ")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
