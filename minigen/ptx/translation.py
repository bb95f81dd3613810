"""From PTX to Python: each basic block of a kernel becomes a function over lanes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from minigen.errors import KernelError
from minigen.ptx import numbers
from minigen.ptx.machine import LANES, Machine
from minigen.ptx.memory import APART, Space, memory_of
from minigen.ptx.numbers import F32, F64, S64, TYPES, U8, U32, U64, B, unsigned


@dataclass
class Instruction:
    """One instruction; line: in the PTX; place: (file, line) of the kernel's source."""

    line: int
    opcode: str
    operands: list
    text: str
    guard: str | None = None
    place: tuple | None = None

    @property
    def root(self):
        """The opcode's first word."""
        return self.opcode.partition(".")[0]


@dataclass
class Block:
    """A basic block.

    reads, writes: registers its function takes, and gives back; branch: (predicate, its
    value that jumps, to which block); next: the block after it, None where the kernel
    ends. waits: of a block that is one barrier, shuffle, vote or product, what lanes
    wait for: "block" for all of theirs, "warp" for those that `mask` names at any
    instruction of this opcode, "aligned" for a whole warp at this one; gives: the
    registers that it fills.
    """

    instructions: list
    next: int | None = None
    branch: tuple | None = None
    waits: str | None = None
    mask: str = "ALL"
    gives: tuple = ()
    reads: tuple = ()
    writes: tuple = ()
    run: object = None

    @property
    def last(self):
        """Its last instruction."""
        return self.instructions[-1]


SIMPLE = {
    "and": "{a} & {b}", "or": "{a} | {b}", "xor": "{a} ^ {b}", "not": "~{a}",
    "neg": "-{a}", "abs": "abs({a})", "cvta": "{a}", "rcp": "one / {a}",
    "rem": "np.fmod({a}, {b})", "div.i": "divide({a}, {b})", "div.f": "{a} / {b}",
    "min.i": "np.minimum({a}, {b})", "min.f": "smallest({a}, {b})",
    "max.i": "np.maximum({a}, {b})", "max.f": "largest({a}, {b})",
    "sqrt": "np.sqrt({a})", "ex2": "ex2({a})", "copysign": "np.copysign({b}, {a})",
    "brev": "reverse({a})", "bfi": "insert({a}, {b}, {c}.astype(U32), {d}.astype(U32))",
    "popc": "ones({a})", "mad": "{a} * {b} + {c}",
    "slct": "where({c} >= 0, {a}, {b})",
}  # fmt: skip
"""Instructions whose operands all have the type that their last word names."""

SUMS = {
    "add": ("{a} + {b}", "odd({a}.astype(F64), {b}.astype(F64))"),
    "sub": ("{a} - {b}", "odd({a}.astype(F64), -{b}.astype(F64))"),
    "mul": ("{a} * {b}", "{a}.astype(F64) * {b}"),
    "fma": ("fma({a}, {b}, {c})", "odd({a}.astype(F64) * {b}, {c}.astype(F64))"),
}
"""To the nearest number, and in float64 (rounded to odd) for the other roundings."""

COMPARISONS = {
    "eq": "{a} == {b}", "lt": "{a} < {b}", "le": "{a} <= {b}", "gt": "{a} > {b}",
    "ge": "{a} >= {b}", "ne": "({a} < {b}) | ({a} > {b})", "neu": "{a} != {b}",
    "ltu": "~({a} >= {b})", "leu": "~({a} > {b})", "gtu": "~({a} <= {b})",
    "geu": "~({a} < {b})", "equ": "~(({a} < {b}) | ({a} > {b}))",
}  # fmt: skip
"""What a NaN makes false, and with a u at the end what it makes true."""

WAITS = {"bar.sync": "block", "bar.warp.sync": "warp", "vote.sync.ballot.b32": "warp"}
WAITS |= {f"shfl.sync.{mode}.b32": "warp" for mode in ("up", "down", "bfly", "idx")}
WAITS |= {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32": "aligned"}
"""What lanes do together, and whom they wait for (see Block)."""

ENDS = ("bra", "ret", "exit")

GUARDED = re.compile(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*([^;]*);")
OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+")
SHARED = re.compile(r"(?:\.visible )?\.shared\s+\.align \d+\s+\.b8\s+(\w+)\[(\d+)\]")


class Program:
    """A kernel, translated. registers: {name: type}; shared: {name: (place, size)}."""

    def __init__(self, text):
        self.registers, self.parameters, self.shared, self.files = {}, [], {}, {}
        self.namespace = dict(FUNCTIONS)
        self.blocks = self._divide(*self._parse(text))
        bodies = [self._translate(block) for block in self.blocks]
        self._find_live()
        self.source = "\n".join(map(self._function, range(len(bodies)), bodies))
        exec(compile(self.source, "<ptx>", "exec"), self.namespace)
        for n, block in enumerate(self.blocks):
            block.run = self.namespace[f"block_{n}"]

    def launch(self, grid, block, arguments, counts=None, lanes=LANES):
        """Run the kernel on a grid of blocks of threads, each (x, y, z)."""
        arrays = [a for a in arguments if isinstance(a, np.ndarray)]
        space, values = Space(memory_of(arrays)), self._lay_out(arguments)
        together, total = max(1, lanes // math.prod(block)), math.prod(grid)
        with np.errstate(all="ignore"):
            for first in range(0, total, together):
                blocks = range(first, min(first + together, total))
                Machine(self, grid, block, blocks, space, values, counts).run()
        if space.constant & space.written:
            said = "ld.global.nc reads an array that the launch writes"
            raise KernelError("read-only", said)

    def _lay_out(self, arguments):
        # the parameters, as Numba has them: an array is its size, address, shape, ...
        flat = []
        for a in arguments:
            if isinstance(a, np.ndarray):
                address = a.__array_interface__["data"][0]
                a = (0, 0, a.size, a.itemsize, address, *a.shape, *a.strides)
            flat += a if isinstance(a, tuple) else (a,)
        pairs = zip(flat, self.parameters, strict=True)
        return {f"param_{n}": np.array([v]).astype(t) for n, (v, t) in enumerate(pairs)}

    def _parse(self, text):
        # (instructions, {label: number of the instruction it stands before})
        found, labels, place = [], {}, None
        for number, line in enumerate(text.splitlines(), 1):
            line = line.partition("//")[0].strip()
            line = re.sub(r"\b_Z\w+(_param_\d+)", r"\1", line)
            if match := re.match(r"\.file\s+(\d+)\s+\"(.*)\"", line):
                self.files[match[1]] = match[2]
            elif match := re.match(r"\.loc\s+(\d+)\s+(\d+)", line):
                place = match[1], int(match[2])
            elif match := re.match(r"\.reg\s+\.(\w+)\s+(%\w+)<(\d+)>", line):
                kind = unsigned(TYPES[match[1]])
                self.registers |= {f"{match[2]}{n}": kind for n in range(int(match[3]))}
            elif match := SHARED.match(line):
                at = max((a + size for a, size in self.shared.values()), default=0)
                self.shared[match[1]] = APART * (at // APART + 2), int(match[2])
            elif match := re.match(r"\.param\s+\.(\w+)\s[^()]*,?$", line):
                self.parameters.append(unsigned(TYPES[match[1]]))
            elif match := re.match(r"([$\w]+):$", line):
                labels[match[1]] = len(found)
            elif re.match(r"\.(local|extern|const|func)\b", line):
                raise KernelError("unsupported", f"line {number}: {line}: not emulated")
            elif match := GUARDED.match(line):
                negated, guard, opcode, rest = match.groups()
                if guard and opcode != "bra":
                    # jump over the one instruction instead
                    labels[number] = len(found) + 2
                    jump = guard if negated else "!" + guard
                    found.append(
                        Instruction(number, "bra", [number], line, jump, place)
                    )
                    guard = None
                operands = OPERAND.findall(rest)
                guard = guard and negated + guard
                found.append(Instruction(number, opcode, operands, line, guard, place))
        return found, labels

    def _divide(self, instructions, labels):
        firsts = {0, *labels.values()}
        for n, instruction in enumerate(instructions):
            if instruction.root in ENDS:
                firsts.add(n + 1)
            elif instruction.opcode in WAITS:
                firsts |= {n, n + 1}
        firsts = sorted(n for n in firsts if n < len(instructions))
        number, blocks = {first: n for n, first in enumerate(firsts)}, []
        for first, end in zip(firsts, [*firsts[1:], len(instructions)], strict=True):
            block = Block(instructions[first:end], number.get(end))
            last = block.last
            block.waits = WAITS.get(last.opcode)
            if last.root == "bra":
                target = number[labels[last.operands[0]]]
                if last.guard:
                    guard = last.guard.lstrip("!%")
                    block.branch = guard, last.guard[0] != "!", target
                else:
                    block.next = target
            elif last.root in ENDS:
                block.next = None
            blocks.append(block)
        return blocks

    def _translate(self, block):
        # the lines of a block's function; notes what it uses and defines
        self._uses, self._defines, body = {}, {}, []
        for i in block.instructions:
            root, *words = i.opcode.split(".")
            try:
                if block.waits:
                    body.append(self._bring(block, i, root))
                elif root not in ENDS:
                    statement = self._statement(i, root, words)
                    body.append(f"{statement}  # {i.line}: {i.text}")
            except (KeyError, ValueError, AttributeError):
                said = f"line {i.line}: {i.text}: not emulated"
                raise KernelError("unsupported", said) from None
        if block.branch:
            self._read("%" + block.branch[0], B)
        block.reads, block.writes = tuple(self._uses), tuple(self._defines)
        return body

    def _find_live(self):
        # of what a block writes only what is read after it need be given back
        live, changed = [set() for _ in self.blocks], True
        while changed:
            changed = False
            for n, block in reversed(list(enumerate(self.blocks))):
                after = live[block.next] if block.next is not None else set()
                if block.branch:
                    after = after | live[block.branch[2]]
                before = set(block.reads) | (after - set(block.writes))
                changed, live[n] = changed or before != live[n], before
        for block in self.blocks:
            after = live[block.next] if block.next is not None else set()
            after = after | (live[block.branch[2]] if block.branch else set())
            block.writes = tuple(name for name in block.writes if name in after)

    def _function(self, n, body):
        block = self.blocks[n]
        lines = [f"def block_{n}({', '.join(['m', *block.reads])}):", *body]
        if not block.waits:
            results = [*block.writes, *(block.branch or ())[:1]]
            lines.append(f"return {', '.join(results)}," if results else "return ()")
        return "\n    ".join(lines) + "\n"

    def place_of(self, line):
        """Return (file, line) of the kernel's source for a line of the PTX, or None."""
        found = (i for block in self.blocks for i in block.instructions)
        place = next(i for i in found if i.line == line).place
        return place and (self.files.get(place[0]), place[1])

    # operands

    def _read(self, operand, dtype):
        # the Python expression of an operand as a type
        if not operand.startswith("%"):
            return self._constant(operand, dtype)
        name = operand.lstrip("%").replace(".", "_")
        if name not in self._defines:
            self._uses[name] = None
        return _as(name, self.registers.get(operand, U32), dtype)

    def _constant(self, operand, dtype):
        if operand in self.shared:
            value = self.shared[operand][0]
        elif operand[:2] in ("0f", "0F", "0d", "0D"):
            value = int(operand[2:], 16)
        else:
            value = int(operand.rstrip("U"), 0)
        value = bool(value) if dtype == B else value % (1 << 8 * dtype.itemsize)
        name = f"{_name(dtype)}_{int(value):x}"
        bits = B if dtype == B else np.dtype(f"u{dtype.itemsize}")
        self.namespace[name] = np.array([value], bits).view(dtype)
        return name

    def _address(self, operand):
        base, _, offset = operand.strip("[]").partition("+")
        address = self._read(base, U64)
        return f"{address} + {self._constant(offset, U64)}" if offset else address

    def _write(self, operand, expression, dtype):
        stored, name = self.registers[operand], operand.lstrip("%")
        self._defines[name] = None
        if dtype != stored:
            expression = _as(f"({expression})", dtype, stored)
        return f"{name} = {expression}"

    def _apply(self, i, template, dtype, result=None, words=()):
        # a template of operands that all have one type
        inputs = [self._read(operand, dtype) for operand in i.operands[1:]]
        if "ftz" in words:
            inputs = [f"flush({value})" for value in inputs]
        text = template.format(**dict(zip("abcd", inputs, strict=False)))
        if "sat" in words:
            text = f"convert({text}, F32, None, True)"
        text = f"flush({text})" if "ftz" in words else text
        return self._write(i.operands[0], text, result or dtype)

    # instructions

    def _statement(self, i, root, words):
        own = getattr(self, f"_{root}", None)
        if own is not None:
            return own(i, *words)
        dtype = TYPES[words[-1]]
        if root in SUMS and "wide" not in words and "hi" not in words:
            nearest, exact = SUMS[root]
            rounding = next((w for w in words if w in ("rz", "rm", "rp")), None)
            if dtype == F64 and (rounding or root == "fma"):
                raise KeyError(root)
            if rounding:
                nearest = f"narrow({exact}, {rounding!r})"
            return self._apply(i, nearest, unsigned(dtype), words=words)
        if root == "mul" and "hi" in words:
            return self._apply(i, "high({a}, {b})", dtype)
        if root == "mul":
            wide = np.dtype(f"{dtype.kind}{2 * dtype.itemsize}")
            template = f"{{a}}.astype({_name(wide)}) * {{b}}"
            return self._apply(i, template, dtype, wide)
        if root == "neg":
            dtype = unsigned(dtype)
        template = (
            SIMPLE.get(root) or SIMPLE[f"{root}.{'f' if dtype.kind == 'f' else 'i'}"]
        )
        return self._apply(i, template, dtype, U8 if root == "popc" else None, words)

    def _mov(self, i, kind):
        target, source = i.operands
        if target[0] == "{":
            names = enumerate(OPERAND.findall(target.strip("{}")))
            word = f"{self._read(source, U64)} >> U64.type({{}})"
            parts = [(name, word.format(32 * k)) for k, name in names if name != "_"]
            return "; ".join(self._write(name, text, U64) for name, text in parts)
        if source[0] == "{":
            low, high = (
                self._read(n, U32) for n in OPERAND.findall(source.strip("{}"))
            )
            text = f"{low}.astype(U64) | {high}.astype(U64) << U64.type(32)"
            return self._write(target, text, U64)
        dtype = self.registers[target]
        return self._write(target, self._read(source, dtype), dtype)

    def _selp(self, i, *words):
        dtype = self.registers[i.operands[0]]
        _, a, b, condition = i.operands
        a, b, condition = (
            self._read(*o) for o in ((a, dtype), (b, dtype), (condition, B))
        )
        return self._write(i.operands[0], f"where({condition}, {a}, {b})", dtype)

    def _setp(self, i, comparison, kind):
        dtype = TYPES[kind]
        template = COMPARISONS[comparison]
        if comparison == "ne" and dtype.kind != "f":
            template = "{a} != {b}"
        if comparison in ("eq", "ne"):
            dtype = unsigned(dtype)
        return self._apply(i, template, dtype, B)

    def _shl(self, i, kind):
        return self._shift(i, unsigned(TYPES[kind]), "<<", True)

    def _shr(self, i, kind):
        return self._shift(i, TYPES[kind], ">>", False)

    def _shift(self, i, dtype, sign, left):
        a, n = self._read(i.operands[1], dtype), i.operands[2]
        if not n.startswith("%") and int(n, 0) < 8 * dtype.itemsize:
            text = f"{a} {sign} {self._constant(n, dtype)}"
        else:
            text = f"shift({a}, {self._read(n, U32)}, {left})"
        return self._write(i.operands[0], text, dtype)

    def _bfind(self, i, mode, kind):
        return self._apply(i, {"shiftamt": "leading({a})"}[mode], {"u32": U32}[kind])

    def _cvt(self, i, *words):
        to, source = (TYPES[word] for word in words if word in TYPES)
        rounding = next((word for word in words if word[0] == "r"), None)
        text = self._read(i.operands[1], source)
        if to.kind in "iu" and source.kind in "iu" and "sat" not in words:
            text = f"{text}.astype({_name(to)})"
        else:
            text = f"convert({text}, {_name(to)}, {rounding!r}, {'sat' in words})"
        return self._write(
            i.operands[0], f"flush({text})" if "ftz" in words else text, to
        )

    def _ld(self, i, space, *words):
        dtype = TYPES[words[-1]]
        if space == "param":
            number = int(i.operands[1].strip("[]").rpartition("_param_")[2])
            self._uses[f"param_{number}"] = None
            text = _as(f"param_{number}", self.parameters[number], dtype)
            return self._write(i.operands[0], text, dtype)
        names = OPERAND.findall(i.operands[0].strip("{}"))
        text = f"m.load({i.line}, {self._space(space)}, {_name(dtype)}, {len(names)}, "
        text += f"{self._address(i.operands[1])}, {'nc' in words})"
        parts = [self._write(name, f"v[{k}]", dtype) for k, name in enumerate(names)]
        return "; ".join([f"v = {text}", *parts])

    def _st(self, i, space, *words):
        dtype = unsigned(TYPES[words[-1]])
        values = OPERAND.findall(i.operands[1].strip("{}"))
        values = ", ".join(self._read(value, dtype) for value in values)
        text = f"m.store({i.line}, {self._space(space)}, {_name(dtype)}, "
        return text + f"{self._address(i.operands[0])}, {values})"

    def _space(self, space):
        # a shared array lies elsewhere for each block, whose number is a register
        if space == "global":
            return "'global', zero"
        self._uses[{"shared": "cta"}[space]] = None
        return "'shared', cta"

    def _bring(self, block, i, root):
        # of what lanes do together the function returns what each of them brings
        bar = root == "bar"
        if block.waits == "warp":
            block.mask = self._read(i.operands[-1], U32)
        names = re.split(r"[|,]\s*", i.operands[0].strip("{}"))
        block.gives = () if bar else tuple(name.lstrip("%") for name in names)
        self._defines |= dict.fromkeys(block.gives)
        given = [] if bar else i.operands[1:] if root == "mma" else i.operands[1:-1]
        given = [name for text in given for name in OPERAND.findall(text.strip("{}"))]
        kinds = [self.registers.get(name, U32) for name in given]
        values = map(self._read, given, kinds)
        return f"return {''.join(f'{value}, ' for value in values) or '()'}  # {i.text}"


def _name(dtype):
    letter = {"b": "B", "i": "S", "u": "U", "f": "F"}[dtype.kind]
    return letter if dtype == B else f"{letter}{8 * dtype.itemsize}"


def _as(text, dtype, wanted):
    if dtype == wanted:
        return text
    how = "view" if dtype.itemsize == wanted.itemsize else "astype"
    return f"{text}.{how}({_name(wanted)})"


FUNCTIONS = {"np": np, "where": np.where, "ALL": np.array([0xFFFFFFFF], U32)}
FUNCTIONS |= {"zero": np.zeros(1, S64), "one": np.ones(1, F32)}
FUNCTIONS |= {_name(dtype): dtype for dtype in TYPES.values()}
FUNCTIONS |= {
    name: getattr(numbers, name)
    for name in (
        "odd",
        "narrow",
        "fma",
        "ex2",
        "flush",
        "largest",
        "smallest",
        "divide",
        "high",
        "shift",
        "convert",
        "reverse",
        "leading",
        "insert",
        "ones",
    )
}
