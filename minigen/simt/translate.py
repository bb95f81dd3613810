"""A kernel as Numba's compiler understood it, written out as Python again.

Numba turns a function's bytecode into blocks of simple statements and finds the type of
every variable. Here each statement becomes a line of Python in which every conversion
that a compiler adds in silence is spelled out (see numbers.py):

    y[i] = x[i] + 1          x: uint8, y: float32

    t1 = int(x[i])
    y[i] = _to_float32((_v if -2**63 <= (_v := t1 + 1) < 2**63 else _wrap(...)))

Blocks that several others jump to are branches of one loop, `_at` says which is next;
all others stand where they are jumped to. A jump backwards costs one of `patience`, so
no loop is endless. Each line keeps the number of the line it was made of: a fault names
the source, and a debugger shows it.
"""

from __future__ import annotations

import ast
import enum
import inspect
import operator
import re
from collections import Counter

import numpy as np

from minigen.errors import KernelError
from minigen.simt import allocate, faults, numbers
from minigen.simt.language import cuda
from minigen.simt.maths import maths
from minigen.simt.numbers import bits, fitter, giver, holder, kind, limits, scalar
from minigen.simt.running import running


def unknown(what):
    """Return the error for something in a compiled function that is not translated."""
    return KernelError("untyped", f"the interpreter knows no types for {what}")


DEEPEST = 12
"""How deep blocks stand in one another before one becomes a branch of the loop."""

_SYMBOLS = {
    operator.add: "+", operator.sub: "-", operator.mul: "*", operator.and_: "&",
    operator.or_: "|", operator.xor: "^", operator.lshift: "<<", operator.rshift: ">>",
    operator.truediv: "/", operator.floordiv: "//", operator.mod: "%",
    operator.pow: "**", operator.lt: "<", operator.le: "<=", operator.gt: ">",
    operator.ge: ">=", operator.eq: "==", operator.ne: "!=", operator.is_: "is",
    operator.is_not: "is not", operator.neg: "-", operator.pos: "+",
    operator.invert: "~", operator.not_: "not ",
}  # fmt: skip
_NOTED = {("float", "float"), ("int", "float")}
_COMPARED = {"<", "<=", ">", ">=", "==", "!="}
_AXES = {
    "threadIdx": "_thread.index", "blockIdx": "_thread.block.index",
    "blockDim": "_machine.block", "gridDim": "_machine.grid",
}  # fmt: skip
# values that a variable may hold, unlike functions and types
_HELD = (str, tuple, slice, type(...), enum.Enum)
# they pass numbers on as they are, so they may be given Python's
_MASKS = {"ballot_sync", "match_any_sync", "match_all_sync", "activemask"}
_MASKS |= {"lanemask_lt"}
_PLAIN = ("minigen.simt.warps", "minigen.simt.language", "minigen.simt.allocate")


_SPACE = {
    "np": np, "_running": running, "_endless": faults.endless, "_wrap": numbers.wrap,
    "_to_float32": numbers.to_float32, "_truncated": numbers.truncated,
    "_floor_divide": numbers.floor_divide, "_modulo": numbers.modulo,
    "_shift_left": numbers.shift_left, "_shift_right": numbers.shift_right,
    "_float_divmod": numbers.float_divmod, "_largest": numbers.largest,
    "_smallest": numbers.smallest, "_rounded": numbers.rounded,
    "_integer_power": numbers.integer_power,
    "_float_power": numbers.float_power, "_pow": maths.pow, "_cuda": cuda,
    "_constant": allocate.constant_array, "_END": object(),
}  # fmt: skip


def translated(annotation, function, counterpart, called):
    """Return a Python function that computes what a compiled one does, and its text.

    annotation: what Numba says of the compiled function (`.type_annotation`): blocks,
    typemap and calltypes. function: the Python function it was made of.
    counterpart(value): what stands for a global value in the interpreter.
    called(dispatcher, types): the translation of a device function. Raises KernelError
    of kind "untyped" for what is not translated.
    """
    program = Program(annotation, function, counterpart, called)
    program.write()
    return program.compiled(), "\n".join(text for text, _ in program.lines)


class Program:
    """The text of one function while it is written."""

    def __init__(self, annotation, function, counterpart, called):
        self.blocks, self.types = annotation.blocks, annotation.typemap
        self.signatures, self.function = annotation.calltypes, function
        self.counterpart, self.called = counterpart, called
        self.space, self.lines, self.names = dict(_SPACE), [], {}
        self.taken = {*_SPACE, "_v", "_m", "_at", "_machine", "_thread"}
        # values known now (functions, modules, types), and texts that stand for names
        self.static, self.texts = {}, {}
        self.uses, self.places = Counter(), {}
        self.sources, self.ranges = Counter(), set()
        self._survey()

    # what is there

    def _survey(self):
        for label, block in self.blocks.items():
            for statement in block.body:
                what = type(statement).__name__
                if what == "Assign":
                    name = statement.target.name
                    self.places.setdefault(name, []).append(label)
                    value = statement.value
                    twice = 2 if getattr(value, "op", None) == "phi" else 1
                    for other in _variables(value):
                        self.uses[other.name] += twice
                elif what != "Del":
                    for other in _variables(statement):
                        self.uses[other.name] += 1
            for target in _targets(block.body[-1]):
                self.sources[target] += 1

    # text

    def write(self):
        """Write all lines."""
        first = min(self.blocks)
        line = self.function.__code__.co_firstlineno
        names = [self.name(n) for n in _arguments(self.function)]
        if rest := _rest(self.function):
            names.append(f"*{self.name(rest)}")
        names = ", ".join(names)
        self.put(0, f"def {self._called()}({names}):", line)
        self.put(1, "_machine = _running.machine", line)
        self.put(1, "_thread = _machine.current", line)
        self.branches, self.pending = [first], [first]
        bodies = {}
        while self.pending:
            label = self.pending.pop()
            before, self.lines = self.lines, []
            self.branch = label
            self.block(label, 0, frozenset())
            bodies[label], self.lines = self.lines, before
        if len(bodies) == 1 and not self.sources[first]:
            self.lines += [("    " + text, n) for text, n in bodies[first]]
            return
        self.put(1, f"_at = {first}", line)
        self.put(1, "while True:", line)
        self._choose(sorted(bodies), bodies, 2, line)

    def _called(self):
        name = self.function.__name__
        return name if name.isidentifier() else "kernel"

    def _choose(self, labels, bodies, depth, line):
        if len(labels) == 1:
            self.put(depth, "while True:", line)
            indent = "    " * (depth + 1)
            self.lines += [(indent + text, n) for text, n in bodies[labels[0]]]
            return
        middle = len(labels) // 2
        self.put(depth, f"if _at < {labels[middle]}:", line)
        self._choose(labels[:middle], bodies, depth + 1, line)
        self.put(depth, "else:", line)
        self._choose(labels[middle:], bodies, depth + 1, line)

    def put(self, depth, text, line):
        """Add a line."""
        self.lines.append(("    " * depth + text, line))

    def compiled(self):
        """Return the function that the lines define."""
        tree = ast.parse("\n".join(text for text, _ in self.lines))
        for node in ast.walk(tree):
            if hasattr(node, "lineno"):
                node.lineno = node.end_lineno = self.lines[node.lineno - 1][1]
                node.col_offset = node.end_col_offset = 0
        exec(compile(tree, self.function.__code__.co_filename, "exec"), self.space)
        made = self.space[self._called()]
        made.__module__, made.__doc__ = self.function.__module__, self.function.__doc__
        defaults = self.function.__defaults__
        if defaults:
            made.__defaults__ = tuple(
                np.float64(v) if type(v) is float else v for v in defaults
            )
        return made

    def name(self, name):
        """Return a variable's name in Python."""
        known = self.names.get(name)
        if known is None:
            known = re.sub(r"\W", "_", name.replace("$", "t"))
            known = f"t{known}" if not known.isidentifier() else known
            while known in self.taken:
                known += "_"
            self.taken.add(known)
            self.names[name] = known
        return known

    def constant(self, value, hint="c"):
        """Return a name for a value that the program keeps."""
        for name, other in self.space.items():
            if other is value:
                return name
        name = f"_{hint}{len(self.space)}"
        self.space[name] = value
        return name

    def use(self, variable):
        """Return the text of a variable's value."""
        name = variable.name
        if name in self.texts:
            return self.texts[name]
        if name in self.static:
            return self.constant(self.counterpart(self.static[name]))
        return self.name(name)

    def type(self, variable):
        """Return a variable's type."""
        return self.types[variable.name]

    # blocks

    def block(self, label, depth, inside):
        """Write a block, and those that only it leads to."""
        inside = inside | {label}
        for statement in self.blocks[label].body:
            write = getattr(self, "_" + type(statement).__name__, None)
            if write is None:
                raise unknown(type(statement).__name__)
            line = statement.loc.line
            if type(statement).__name__ in ("Jump", "Branch"):
                write(statement, label, depth, line, inside)
            else:
                write(statement, depth, line)

    def go(self, label, source, depth, line, inside):
        """Write what leads from a block to another."""
        for statement in self.blocks[label].body:
            value = getattr(statement, "value", None)
            if getattr(value, "op", None) == "phi":
                self._arrive(statement, value, source, depth, line)
        alone = self.sources[label] == 1 and label not in inside
        if alone and depth < DEEPEST and label not in self.branches:
            self.block(label, depth, inside)
            return
        if label <= source:
            self.put(depth, "_machine.patience -= 1", line)
            self.put(depth, "if _machine.patience < 0: _endless()", line)
        if label == self.branch:
            self.put(depth, "continue", line)
            return
        if label not in self.branches:
            self.branches.append(label)
            self.pending.append(label)
        self.put(depth, f"_at = {label}", line)
        self.put(depth, "break", line)

    def _arrive(self, statement, phi, source, depth, line):
        target = statement.target
        pairs = zip(phi.incoming_blocks, phi.incoming_values, strict=True)
        value = next(value for block, value in pairs if block == source)
        if not hasattr(value, "name"):
            text = self.zero(self.type(target))
        elif value.name in self.static:
            known = self.static.setdefault(target.name, self.static[value.name])
            if known is not self.static[value.name]:
                raise unknown("a name that is one of two functions")
            return
        else:
            text = self.cast(self.use(value), self.type(value), self.type(target))
        self.put(depth, f"{self.name(target.name)} = {text}", line)

    def zero(self, t):
        """Return the text of what stands in for a value that nobody set."""
        what = scalar(t)
        if what is None:
            return "None"
        return (
            str(holder(t)(0))
            if kind(t) in ("int", "bool")
            else f"np.{what.__name__}(0)"
        )

    def _Jump(self, statement, label, depth, line, inside):
        self.go(statement.target, label, depth, line, inside)

    def _Branch(self, statement, label, depth, line, inside):
        self.put(depth, f"if {_bare(self.use(statement.cond))}:", line)
        self.go(statement.truebr, label, depth + 1, line, inside)
        self.put(depth, "else:", line)
        self.go(statement.falsebr, label, depth + 1, line, inside)

    def _Return(self, statement, depth, line):
        self.put(depth, f"return {self.use(statement.value)}", line)

    def _Del(self, statement, depth, line):
        pass

    def _StaticRaise(self, statement, depth, line):
        known, given = statement.exc_class, statement.exc_args or ()
        error = self.constant(known or RuntimeError)
        self.put(depth, f"raise {error}{tuple(given)!r}", line)

    def _DynamicRaise(self, statement, depth, line):
        error = self.constant(statement.exc_class)
        self.put(depth, f"raise {error}", line)

    def _Raise(self, statement, depth, line):
        self.put(depth, "raise AssertionError", line)

    def _Print(self, statement, depth, line):
        texts = ", ".join(self.use(variable) for variable in statement.args)
        self.put(depth, f"print({texts})", line)

    def _SetItem(self, statement, depth, line):
        self._store(statement, self.use(statement.index), depth, line)

    def _StaticSetItem(self, statement, depth, line):
        self._store(statement, self._index(statement), depth, line)

    def _store(self, statement, index, depth, line):
        array, value = self.type(statement.target), self.type(statement.value)
        text, kept = self.use(statement.value), getattr(array, "dtype", None)
        # these the array itself converts, and takes note of it
        if kind(kept) and kind(value) and (kind(kept), kind(value)) not in _NOTED:
            text = self.cast(text, value, kept)
        self.put(
            depth, f"{self.use(statement.target)}[{_bare(index)}] = {_bare(text)}", line
        )

    def _SetAttr(self, statement, depth, line):
        text, value = self.use(statement.value), self.type(statement.value)
        record = self.type(statement.target)
        kept = record.typeof(statement.attr)
        text = self.cast(text, value, kept)
        target = f'{self.use(statement.target)}["{statement.attr}"]'
        self.put(depth, f"{target} = {_bare(text)}", line)

    def _index(self, value):
        # Numba takes the x of threadIdx.x for a constant of its class
        index, variable = value.index, value.index_var
        if type(index) in (int, str):
            return f'"{index}"' if type(index) is str else str(index)
        return self.use(variable) if variable is not None else self.constant(index)

    def _Assign(self, statement, depth, line):
        target, value = statement.target, statement.value
        name, t = target.name, self.type(target)
        what = type(value).__name__
        if getattr(value, "op", None) == "phi":
            return
        if what in ("Global", "FreeVar", "Const"):
            self._known(name, t, value.value, depth, line)
            return
        if what == "Arg":
            text = self.name(value.name)
            if text != self.name(name):
                self.put(depth, f"{self.name(name)} = {text}", line)
            return
        if what == "Var":
            if value.name in self.static:
                self.static[name] = self.static[value.name]
                return
            text, pure = self.cast(self.use(value), self.type(value), t), True
        else:
            write = getattr(self, "_" + value.op, None)
            if write is None:
                raise unknown(value.op)
            result = write(value, t, name)
            if result is None:
                return
            text, pure = result
        if pure and self._once(name):
            self.texts[name] = closed(text)
            return
        self.put(depth, f"{self.name(name)} = {_bare(text)}", line)

    def _once(self, name):
        # a temporary of one block that is used once can stand where it is used
        if not name.startswith("$") or self.uses[name] != 1:
            return False
        return len(self.places[name]) == 1 and name in self._of_one_block()

    def _of_one_block(self):
        if not hasattr(self, "_alone"):
            used = {}
            for label, block in self.blocks.items():
                for statement in block.body:
                    for variable in _variables(statement):
                        used.setdefault(variable.name, set()).add(label)
            self._alone = {n for n, labels in used.items() if len(labels) == 1}
        return self._alone

    def _known(self, name, t, value, depth, line):
        if isinstance(value, np.ndarray):
            text = f"_constant({self.constant(value)})"
            self.put(depth, f"{self.name(name)} = {text}", line)
        elif kind(t):
            text = self._number(value, t)
            if name.startswith("$") or len(self.places[name]) == 1:
                self.texts[name] = text
            else:
                self.put(depth, f"{self.name(name)} = {text}", line)
        elif value is None or isinstance(value, _HELD):
            held = holder(t)
            self.texts[name] = self.constant(held(value) if held else value)
            if not name.startswith("$"):
                self.put(depth, f"{self.name(name)} = {self.texts.pop(name)}", line)
        else:
            self.static[name] = value

    def _number(self, value, t):
        if kind(t) == "int":
            return closed(str(wrapped(value, t)))
        return str(bool(value)) if kind(t) == "bool" else self._kept(scalar(t)(value))

    def _kept(self, value):
        # numbers are kept by value, and by their sign
        for name, other in self.space.items():
            if type(other) is type(value) and repr(other) == repr(value):
                return name
        return self.constant(value, "n")

    # conversions

    def cast(self, text, source, target):
        """Return the text of a value of one type as another."""
        one, other = kind(source), kind(target)
        if not one or not other:
            return self._members(text, source, target)
        if other == "int":
            width, signed = bits(target)
            if one == "int":
                if _holds(target, source):
                    return text
                if not signed:
                    return f"({text} & {(1 << width) - 1})"
                half = 1 << width - 1
                return f"(({text} + {half} & {2 * half - 1}) - {half})"
            if one == "bool":
                return f"int({text})"
            return f"_truncated({text}, {width}, {signed})"
        if other == "bool":
            return text if one == "bool" else f"bool({text} != 0)"
        if one == other and source.bitwidth == target.bitwidth:
            return text
        number = one == "int" and re.fullmatch(r"\(?(-?\d+)\)?", text)
        if number:
            return self._kept(scalar(target)(int(number[1])))
        if one == "int" and other == "float" and target.bitwidth == 32:
            return f"_to_float32({text})"
        if one == "complex" and other == "float":
            text += ".real"
        return f"np.{scalar(target).__name__}({text})"

    def _members(self, text, source, target):
        ours, theirs = (getattr(t, "types", None) for t in (source, target))
        if not ours or not theirs or len(ours) != len(theirs):
            return text
        pairs = [*zip(ours, theirs, strict=True)]
        if all(str(a) == str(b) for a, b in pairs):
            return text
        made = [self.cast(f"_m[{i}]", a, b) for i, (a, b) in enumerate(pairs)]
        return f"(lambda _m: ({', '.join(made)},))({text})"

    def converted(self, text, t):
        """Return the text of NumPy's or Python's value as it is held here."""
        held = holder(t)
        return text if held is None else f"{self._function(held)}({text})"

    def _function(self, held):
        if held in (int, bool):
            return held.__name__
        if isinstance(held, type):
            return f"np.{held.__name__}"
        return self.constant(held)

    # operators

    def _binop(self, value, t, name):
        return self._operate(value.fn, value, [value.lhs, value.rhs], t)

    def _inplace_binop(self, value, t, name):
        return self._operate(value.immutable_fn, value, [value.lhs, value.rhs], t)

    def _unary(self, value, t, name):
        return self._operate(value.fn, value, [value.value], t)

    def _operate(self, function, value, operands, t):
        signature = self.signatures.get(value)
        types = [self.type(v) for v in operands]
        texts = [self.use(v) for v in operands]
        symbol = _SYMBOLS.get(function)
        if symbol is None and function is not operator.contains:
            raise unknown(str(function))
        if function is operator.contains:
            return f"({texts[1]} in {texts[0]})", False
        if symbol == "not ":
            return f"not {texts[0]}", True
        if signature is None or not all(map(kind, types)):
            return (
                f"{f' {symbol} '.join(texts) if len(texts) > 1 else symbol + texts[0]}",
                False,
            )
        result = signature.return_type
        if symbol in _COMPARED:
            sides = zip(texts, types, signature.args, strict=True)
            a, b = (self.cast(*side) for side in sides)
            compared = f"{a} {symbol} {b}"
            return self.cast(compared, signature.return_type, t), True
        if len(operands) == 1:
            text = self._alone_operand(symbol, texts[0], types[0], signature)
        elif symbol == "**":
            text = self._power(texts, types, signature)
        else:
            a, b = (self.cast(x, s, result) for x, s in zip(texts, types, strict=True))
            text = self._combined(symbol, a, b, result)
        return self.cast(text, result, t), True

    def _alone_operand(self, symbol, text, t, signature):
        result, of = signature.return_type, signature.args[0]
        text = self.cast(text, t, of)
        if kind(of) == "int" and symbol in "-~":
            # before it is widened
            width, signed = bits(of)
            return self.cast(f"_wrap({symbol}{text}, {width}, {signed})", of, result)
        if kind(of) == "bool" and kind(result) == "int":
            return f"({symbol}int({text}))"
        return self.cast(f"({symbol}{text})", of, result)

    def _combined(self, symbol, a, b, t):
        if kind(t) == "bool":
            return f"bool({a} {symbol} {b})"
        if kind(t) == "float":
            if symbol in ("//", "%"):
                return f"_float_divmod({a}, {b})[{int(symbol == '%')}]"
            return f"({a} {symbol} {b})"
        if kind(t) != "int":
            return f"({a} {symbol} {b})"
        (width, signed), (low, high) = bits(t), limits(t)
        if symbol in "&|^":
            return f"({a} {symbol} {b})"
        number = re.fullmatch(r"\(?(\d+)\)?", b)
        if symbol == ">>":
            if number and int(number[1]) < width:
                return f"({a} >> {b})"
            return f"_shift_right({a}, {b}, {width})"
        if symbol == "<<":
            return f"_shift_left({a}, {b}, {width}, {signed})"
        if symbol in ("//", "%"):
            if number and int(number[1]):
                return f"({a} {symbol} {b})"
            called = "_floor_divide" if symbol == "//" else "_modulo"
            text = f"{called}({a}, {b})"
            if symbol == "//" and signed:
                # the lowest number by -1 does not fit
                return f"(_v if (_v := {text}) <= {high} else 0)"
            return text
        if not signed:
            return f"({a} {symbol} {b} & {high})"
        return (
            f"(_v if {low} <= (_v := {a} {symbol} {b}) <= {high} "
            f"else _wrap(_v, {width}, True))"
        )

    def _power(self, texts, types, signature):
        result, (base, power) = signature.return_type, signature.args
        a = self.cast(texts[0], types[0], result)
        if kind(base) == "int" and kind(power) == "int" and kind(result) == "int":
            return f"_integer_power({a}, {texts[1]}, {bits(result)})"
        if kind(power) == "int" and kind(result) == "float":
            return f"_float_power({a}, {texts[1]})"
        if kind(result) == "complex":
            return f"({a} ** {texts[1]})"
        b = self.cast(texts[1], types[1], result)
        return self.converted(f"_pow({a}, {b})", result)

    # parts of values

    def _getattr(self, value, t, name):
        of, attribute = value.value, value.attr
        if of.name in self.static:
            return self._static(self.static[of.name], attribute, t, name)
        text = self.use(of)
        if type(self.type(of)).__name__ == "Module":
            raise unknown(f"{text}.{attribute}")
        if type(t).__name__ == "BoundFunction":
            self.texts[name] = f"{text}.{attribute}"
            return None
        if type(self.type(of)).__name__ == "DType":
            return self._static(self.type(of).dtype, attribute, t, name)
        if type(self.type(of)).__name__ == "Record":
            return self.converted(f'{text}["{attribute}"]', t), False
        plain = attribute in ("shape", "size", "ndim", "strides", "itemsize", "nbytes")
        text = f"{text}.{attribute}"
        if plain or kind(t) == "int" and kind(self.type(of)) == "int":
            return text, True
        return self.converted(text, t), False

    def _static(self, value, attribute, t, name):
        axes = _AXES.get(_word(value))
        if axes and kind(t):
            return f"{axes}.{attribute}", True
        if kind(t) and _of_cuda(value):
            return f"_cuda.{attribute}", True
        found = getattr(value, attribute, self)
        if found is self:
            raise unknown(f"{value}.{attribute}")
        if kind(t):
            self.texts[name] = self._number(found, t)
        elif isinstance(found, enum.Enum):
            self.texts[name] = self.constant(found)
        else:
            self.static[name] = found
        return None

    def _getitem(self, value, t, name):
        return self._item(value.value, self.use(value.index), t)

    def _typed_getitem(self, value, t, name):
        return self._item(value.value, self.use(value.index), t)

    def _static_getitem(self, value, t, name):
        return self._item(value.value, self._index(value), t)

    def _item(self, array, index, t):
        if array.name in self.static:
            raise unknown("an item of a value of the compiler's own")
        text = f"{self.use(array)}[{_bare(index)}]"
        tuples = type(self.type(array)).__name__ in ("Tuple", "UniTuple")
        if tuples:
            return text, True
        if kind(t) in ("int", "bool"):
            return f"{holder(t).__name__}({text})", False
        return text, False

    def _build_tuple(self, value, t, name):
        texts = [self.use(item) for item in value.items]
        return f"({', '.join(texts)}{',' * (len(texts) == 1)})", True

    def _exhaust_iter(self, value, t, name):
        text = f"tuple({self.use(value.value)})"
        tuples = type(self.type(value.value)).__name__ in ("Tuple", "UniTuple")
        return (self.use(value.value) if tuples else self.converted(text, t)), False

    def _getiter(self, value, t, name):
        return f"iter({self.use(value.value)})", False

    def _iternext(self, value, t, name):
        if "range" in str(self.type(value.value)):
            self.ranges.add(name)
        return f"next({self.use(value.value)}, _END)", False

    def _pair_first(self, value, t, name):
        text = self.use(value.value)
        held = holder(t)
        if held is None or value.value.name in self.ranges:
            return text, True
        return f"None if {text} is _END else {self._function(held)}({text})", True

    def _pair_second(self, value, t, name):
        return f"{self.use(value.value)} is not _END", True

    def _cast(self, value, t, name):
        if value.value.name in self.static:
            self.static[name] = self.static[value.value.name]
            return None
        return self.cast(self.use(value.value), self.type(value.value), t), True

    def _null(self, value, t, name):
        return self.zero(t), False

    _undef = _null

    # calls

    def _call(self, value, t, name):
        function, signature = value.func, self.signatures[value]
        kind_of = type(self.type(function)).__name__
        if value.vararg is not None:
            raise unknown("a call with *arguments")
        if kind_of == "BoundFunction":
            if function.name not in self.texts:
                raise unknown(str(self.type(function)))
            text = self.texts[function.name]
            return self._asked(text, None, value, signature, t), False
        found = self._callee(function)
        if hasattr(found, "py_func") and not _of_cuda(found.py_func):
            return self._device(found, value, signature, t), False
        number = kind_of == "NumberClass" or found in (int, float, bool, complex)
        if number and len(value.args) == 1 and kind(self.type(value.args[0])):
            (argument,), result = value.args, signature.return_type
            text = self.cast(self.use(argument), self.type(argument), result)
            return self.cast(text, result, t), True
        special = _SPECIAL.get(found) if _hashable(found) else None
        if special is not None and not value.kws:
            text = special(self, value, signature)
            if text is not None:
                return self.cast(text, signature.return_type, t), False
        if found in _SYMBOLS and not value.kws:
            return self._operate(found, value, value.args, t)
        replaced = self.counterpart(found)
        return self._asked(
            self.constant(replaced), replaced, value, signature, t
        ), False

    def _callee(self, function):
        if function.name in self.static:
            return self.static[function.name]
        t = self.type(function)
        for where in ("dispatcher", "typing_key", "instance_type"):
            found = getattr(t, where, None)
            if found is not None:
                return found
        raise unknown(str(t))

    def _given(self, argument, t, plain):
        """Return an argument's text: as the function was compiled for, in NumPy."""
        if argument.name in self.static:
            return self.use(argument)
        text = self.cast(self.use(argument), self.type(argument), t)
        give = None if plain else giver(t)
        return f"np.{give.__name__}({text})" if give else text

    def _asked(self, text, replaced, value, signature, t):
        plain = getattr(replaced, "__module__", "") in _PLAIN or isinstance(
            getattr(replaced, "__self__", None), type(cuda)
        )
        types = signature.args
        if len(types) != len(value.args) + len(value.kws or ()):
            types = [self.type(v) for v in value.args]
        else:
            types = types[: len(value.args)]
        of_atomic = "atomic" in getattr(replaced, "__module__", "")
        if of_atomic:
            types = self._atomic(value, types)
        given = [
            self._given(argument, one, plain)
            for argument, one in zip(value.args, types, strict=True)
        ]
        if of_atomic and len(given) > 2:
            given[1] = _whole(given[1], types[1])
        for key, argument in value.kws or ():
            given.append(f"{key}={self._given(argument, self.type(argument), plain)}")
        text = f"{text}({', '.join(given)})"
        result = signature.return_type
        if getattr(replaced, "__name__", "") in _MASKS:
            text = f"{self.constant(fitter(result))}({text})"
        else:
            text = self.converted(text, result)
        return self.cast(text, result, t)

    def _atomic(self, value, types):
        # what is added is first made a number of the array's own type
        kept = self.type(value.args[0]).dtype
        return [kept if i > 0 and kind(one) and (
            i == len(types) - 1 or i == len(types) - 2 and len(types) == 4
        ) else one for i, one in enumerate(types)]  # fmt: skip

    def _device(self, dispatcher, value, signature, t):
        made = self.called(dispatcher, signature)
        texts, types = [], signature.args
        if _rest(dispatcher.py_func):
            types = (*types[:-1], *types[-1].types)
        for argument, one in zip(value.args, types, strict=False):
            texts.append(self._given(argument, one, True))
        for key, argument in value.kws or ():
            texts.append(f"{key}={self.use(argument)}")
        text = f"{self.constant(made)}({', '.join(texts)})"
        return self.cast(text, signature.return_type, t)


def closed(text):
    """Return a text that stands for one value wherever it is put."""
    return (
        text if re.fullmatch(r"\w[\w.]*", text) or _bare(text) != text else f"({text})"
    )


def _whole(text, t):
    # an index of an atomic becomes an integer, also a float, as uint64 % int64 is
    if "float" not in map(kind, (t, *(getattr(t, "types", None) or ()))):
        return text
    return f"int({text})" if kind(t) else f"tuple(map(int, {text}))"


def _bare(text):
    # without the parentheses around all of it
    while text.startswith("(") and text.endswith(")"):
        depth = 0
        for i, letter in enumerate(text):
            depth += (letter == "(") - (letter == ")")
            if depth == 0 and i < len(text) - 1:
                return text
        if text.endswith(",)") or text == "()":
            return text
        text = text[1:-1]
    return text


def wrapped(value, t):
    """Return an integer as a register of an integer type holds it."""
    return numbers.wrap(int(value), *bits(t))


# builtin functions: each (program, call, signature) -> text, or None for the usual way


def _range(program, value, signature):
    t = signature.return_type.dtype
    texts = [program.cast(program.use(v), program.type(v), t) for v in value.args]
    return f"range({', '.join(texts)})"


def _len(program, value, signature):
    return f"len({program.use(value.args[0])})"


def _extreme(word, choose):
    def write(program, value, signature):
        result = signature.return_type
        types = [program.type(v) for v in value.args]
        if len(value.args) < 2 or not all(map(kind, types)):
            return None
        texts = [
            program.cast(program.use(v), t, result)
            for v, t in zip(value.args, types, strict=True)
        ]
        # libdevice's for two floats, comparisons for all others
        if len(texts) == 2 and all(kind(t) == "float" for t in types):
            return f"{choose}(({', '.join(texts)}))"
        return f"{word}({', '.join(texts)})"

    return write


def _abs(program, value, signature):
    (argument,), (t,), result = value.args, signature.args, signature.return_type
    text = f"abs({program._given(argument, t, True)})"
    if kind(t) == "int":
        width, signed = bits(t)
        text = f"_wrap({text}, {width}, {signed})"
    return text if kind(t) == "complex" else program.cast(text, t, result)


def _divmod(program, value, signature):
    types = [program.type(v) for v in value.args]
    result = signature.return_type.types[0]
    pairs = zip(value.args, types, strict=True)
    a, b = (program.cast(program.use(v), t, result) for v, t in pairs)
    if kind(result) == "float":
        return f"_float_divmod({a}, {b})"
    quotient, rest = (program._combined(s, a, b, result) for s in ("//", "%"))
    return f"({quotient}, {rest})"


def _pow(program, value, signature):
    if len(value.args) != 2:
        return None
    return program._power(
        [program.use(v) for v in value.args],
        [program.type(v) for v in value.args],
        signature,
    )


def _round(program, value, signature):
    types = signature.args
    if len(value.args) != 2 or (kind(types[0]), kind(types[1])) != ("float", "int"):
        return None
    x, digits = map(program.use, value.args)
    return program.converted(f"_rounded({x}, {digits})", signature.return_type)


def _bool(program, value, signature):
    (argument,) = value.args
    return f"bool({program.use(argument)})"


_SPECIAL = {
    range: _range, len: _len, max: _extreme("max", "_largest"), abs: _abs,
    min: _extreme("min", "_smallest"), divmod: _divmod, pow: _pow, bool: _bool,
    round: _round,
}  # fmt: skip


def _holds(target, source):
    (low, high), (lowest, highest) = limits(target), limits(source)
    if type(source).__name__ == "IntegerLiteral":
        lowest = highest = source.literal_value
    return low <= lowest and highest <= high


def _hashable(value):
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _word(value):
    name = getattr(value, "__name__", None) or type(value).__name__
    return name if _of_cuda(value) or _of_cuda(type(value)) else ""


def _of_cuda(value):
    home = getattr(value, "__module__", None) or getattr(value, "__name__", "") or ""
    return isinstance(home, str) and home.startswith(("numba.cuda", "numba_cuda"))


def _arguments(function):
    code = function.__code__
    return code.co_varnames[: code.co_argcount]


def _rest(function):
    # the name of `*arguments`, or None
    code = function.__code__
    takes = code.co_flags & inspect.CO_VARARGS
    return (
        code.co_varnames[code.co_argcount + code.co_kwonlyargcount] if takes else None
    )


def _targets(statement):
    if type(statement).__name__ == "Branch":
        return [statement.truebr, statement.falsebr]
    return [statement.target] if type(statement).__name__ == "Jump" else []


def _variables(value):
    """Return the variables that a statement or a value uses, but for its target."""
    what = type(value).__name__
    if what == "Var":
        return [value]
    if what == "Assign":
        return _variables(value.value)
    if what == "Expr":
        found = []
        for part in value._kws.values():
            found += _flat(part)
        return found
    if what in ("Branch", "Return", "SetItem", "StaticSetItem", "Print", "SetAttr"):
        found = []
        for part in ("cond", "value", "target", "index", "args"):
            if hasattr(value, part):
                found += _flat(getattr(value, part))
        return found
    return []


def _flat(part):
    if type(part).__name__ == "Var":
        return [part]
    if isinstance(part, (list, tuple)):
        return [v for one in part for v in _flat(one)]
    return []
