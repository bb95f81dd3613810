"""From PTX to Python: each basic block of a kernel becomes a function over lanes."""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass, field

import numpy as np

from minigen.errors import KernelError
from minigen.ptx import numbers
from minigen.ptx.instructions import (
    ATOMICS,
    CARRIED,
    CLOCKS,
    COMPARISONS,
    COUNTS,
    ENDS,
    HALF,
    MODIFIERS,
    NOTHING,
    SIMPLE,
    SPACES,
    SPECIAL,
    SUMS,
    floating,
    plain,
    waits,
)
from minigen.ptx.machine import LANES, PATIENCE, Launch, Machine
from minigen.ptx.memory import arrays_of, lay_out, named_in
from minigen.ptx.numbers import F32, F64, TYPES, U8, U16, U32, U64, B, unsigned
from minigen.ptx.reading import OPERAND, Instruction, flat, read


@dataclass
class Block:
    """A basic block.

    reads, writes: registers its function takes, and gives back; branch: (predicate, its
    value that jumps, to which block); next: the block after it, None where the kernel
    ends. waits: of a block that is one barrier, shuffle, vote or product, what lanes
    wait for: "grid" or "block" for all of theirs, "warp" for those that `mask` names at
    any instruction of this opcode, "aligned" for a whole warp at this one; gives: the
    registers that it fills, and their types.
    """

    instructions: list[Instruction]
    next: int | None = None
    branch: tuple | None = None
    waits: str | None = None
    mask: str = "ALL"
    gives: dict = field(default_factory=dict)
    reads: tuple = ()
    writes: tuple = ()
    run: object = None

    @property
    def last(self):
        """Its last instruction."""
        return self.instructions[-1]


class Program:
    """A kernel, translated.

    registers: {name: type}; parameters: types; variables: those of the module;
    names: of the kernel's arguments, where they are known; grain: the fewest bytes that
    one instruction loads or stores.

    >>> program = Program('''.visible .entry k(.param .u32 n) {
    ... .reg .b32 %r<3>;
    ... ld.param.u32 %r1, [n];
    ... add.u32 %r2, %r1, 1;
    ... ret;
    ... }''')
    >>> [one.opcode for one in program.blocks[0].instructions]
    ['ld.param.u32', 'add.u32', 'ret']
    """

    def __init__(self, text, names=()):
        module = read(text)
        self.files, self.variables, self.names = module.files, module.variables, names
        function = flat(module)
        self.registers, self.grain = dict(function.registers), 4
        self.registers |= {"%CC": U32}
        self._parameters = list(function.parameters)
        self.parameters = list(function.parameters.values())
        self.namespace = dict(FUNCTIONS)
        self.addresses = lay_out(self.variables)
        self.blocks = self._divide(function.instructions, function.labels)
        bodies = [self._translate(block) for block in self.blocks]
        self._find_live()
        self.source = "\n".join(map(self._function, range(len(bodies)), bodies))
        exec(compile(self.source, "<ptx>", "exec"), self.namespace)
        for n, block in enumerate(self.blocks):
            block.run = self.namespace[f"block_{n}"]

    def launch(
        self, grid, block, arguments, counts=None, lanes=LANES, *, dynamic=0,
        watch=False, patience=PATIENCE,
    ):  # fmt: skip
        """Run the kernel on a grid of blocks of threads, each (x, y, z).

        arguments: arrays, which are changed in place, numbers, and tuples of these.
        counts: a `Counts` to count in; lanes: how many run together, at most; dynamic:
        bytes of dynamic shared memory; watch: look for races and for memory that
        nobody wrote; patience: how many basic blocks may be run until the kernel is
        taken for one that never ends. Raises KernelError.
        """
        memory = arrays_of(arguments, self.names) + named_in(self.variables)
        values, total = self._lay_out(arguments), math.prod(grid)
        launch = Launch(self, grid, block, memory, counts, dynamic, watch, patience)
        together = max(1, lanes // math.prod(block))
        # blocks that wait for each other run together
        if any(one.waits == "grid" for one in self.blocks):
            together = total
        with np.errstate(all="ignore"):
            for first in range(0, total, together):
                blocks = range(first, min(first + together, total))
                Machine(launch, blocks, values).run()
        for region in memory:
            if region.constant and region.written:
                said = f"ld.global.nc reads {region.name}, which the launch writes"
                raise KernelError("read-only", said)

    def _lay_out(self, arguments):
        # the parameters, as Numba has them: an array is its size, address, shape, ...
        flat = [*_flat(arguments)]
        if len(flat) != len(self.parameters):
            said = f"{len(self.parameters)} parameters of the PTX, {len(flat)} values"
            raise KernelError("type", said)
        pairs = zip(flat, self.parameters, strict=True)
        return {f"param_{n}": _number(v, t) for n, (v, t) in enumerate(pairs)}

    def _divide(self, instructions, labels):
        firsts = {0, *labels.values()}
        for n, instruction in enumerate(instructions):
            if instruction.root in ENDS:
                firsts.add(n + 1)
            elif waits(instruction):
                firsts |= {n, n + 1}
        firsts = sorted(n for n in firsts if n < len(instructions))
        number, blocks = {first: n for n, first in enumerate(firsts)}, []
        for first, end in zip(firsts, [*firsts[1:], len(instructions)], strict=True):
            block = Block(instructions[first:end], number.get(end))
            last = block.last
            block.waits = waits(last)
            if last.root == "bra":
                target = number.get(labels[last.operands[0]])
                if last.guard:
                    guard = _variable(last.guard.lstrip("!"))
                    block.branch = guard, last.guard[0] != "!", target
                else:
                    block.next = target
            elif last.root in ENDS:
                block.next = None
                if last.guard:
                    guard = _variable(last.guard.lstrip("!"))
                    block.branch = guard, last.guard[0] != "!", None
                    block.next = number.get(end)
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
            except (KeyError, ValueError, AttributeError, IndexError):
                said = f"line {i.line} of the PTX: {i.text}: not known here"
                if i.place:
                    said += f"\n  {self.files.get(i.place[0], '')}:{i.place[1]}"
                raise KernelError("unsupported", said) from None
        if block.branch and block.branch[0] not in self._defines:
            self._uses[block.branch[0]] = None
        block.reads, block.writes = tuple(self._uses), tuple(self._defines)
        return body

    def _find_live(self):
        # of what a block writes only what is read after it need be given back
        live, changed = [set() for _ in self.blocks], True
        while changed:
            changed = False
            for n, block in reversed(list(enumerate(self.blocks))):
                before = set(block.reads) | (self._after(block, live) - {*block.writes})
                changed, live[n] = changed or before != live[n], before
        for block in self.blocks:
            after = self._after(block, live)
            block.writes = tuple(name for name in block.writes if name in after)

    def _after(self, block, live):
        targets = [block.next, *(block.branch or ())[2:]]
        return set().union(*(live[n] for n in targets if n is not None))

    def _function(self, n, body):
        block = self.blocks[n]
        lines = [f"def block_{n}({', '.join(['m', *block.reads])}):", *body]
        if not block.waits:
            results = [*block.writes, *(block.branch or ())[:1]]
            lines.append(f"return {', '.join(results)}," if results else "return ()")
        return "\n    ".join(lines) + "\n"

    def place_of(self, line):
        """Return (file, line) of the kernel's source for a line of the PTX, or None."""
        place = self.instruction(line).place
        return place and (self.files.get(place[0]), place[1])

    def instruction(self, line):
        """Return the instruction that stands at a line of the PTX."""
        found = (i for block in self.blocks for i in block.instructions)
        return next(i for i in found if i.line == line)

    # operands

    def _read(self, operand, dtype):
        # the Python expression of an operand as a type
        if operand[0] in "!-" and operand[1] == "%":
            sign = "~" if operand[0] == "!" else "-"
            return f"({sign}{self._read(operand[1:], dtype)})"
        if operand in self.registers:
            stored = self.registers[operand]
        elif operand in SPECIAL:
            stored = U32
        else:
            return self._constant(operand, dtype)
        name = _variable(operand)
        if name not in self._defines:
            self._uses[name] = None
        return _as(name, stored, dtype)

    def _constant(self, operand, dtype):
        if operand in self.addresses:
            value = self.addresses[operand]
        elif operand == "WARP_SZ":
            value = 32
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
        stored, name = self.registers[operand], _variable(operand)
        self._defines[name] = None
        if dtype != stored:
            expression = _as(f"({expression})", dtype, stored)
        return f"{name} = {expression}"

    def _apply(self, i, template, dtype, result=None, words=()):
        # a template of operands that all have one type
        inputs = [self._read(operand, dtype) for operand in i.operands[1:]]
        if "ftz" in words:
            inputs = [f"flush({value})" for value in inputs]
        rounding = next((w for w in words if w in ("rz", "rm", "rp")), None)
        operands = dict(zip("abcd", inputs, strict=False))
        text = template.format(**operands, rounding=rounding)
        if "sat" in words:
            text = f"convert({text}, F32, None, True)"
        text = f"flush({text})" if "ftz" in words else text
        return self._write(i.operands[0], text, result or dtype)

    # instructions

    def _statement(self, i, root, words):
        if root in NOTHING:
            return "m.fence()" if root in ("membar", "fence") else "pass"
        if root in CARRIED and ("cc" in words or root.endswith("c")):
            return self._carry(i, root, words)
        own = getattr(self, f"_{root}", None)
        if own is not None:
            return own(i, *words)
        dtype = TYPES[words[-1]]
        if root in COUNTS:
            return self._apply(i, COUNTS[root], dtype, U32)
        if root == "mad" and ("wide" in words or "hi" in words):
            return self._wide_sum(i, dtype, words)
        if dtype.kind == "f":
            return self._apply(i, floating(root, words, dtype), dtype, words=words)
        if "sat" in words:
            raise KeyError("sat")
        if root in ("add", "sub", "mad") or root == "mul" and "lo" in words:
            template = SUMS[root][0] if root in SUMS else SIMPLE[root]
            return self._apply(i, template, unsigned(dtype))
        if root == "mul" and "hi" in words:
            return self._apply(i, "high({a}, {b})", dtype)
        if root == "mul":
            wide = np.dtype(f"{dtype.kind}{2 * dtype.itemsize}")
            template = f"{{a}}.astype({_name(wide)}) * {{b}}"
            return self._apply(i, template, dtype, wide)
        if root == "neg":
            dtype = unsigned(dtype)
        template = SIMPLE.get(root) or SIMPLE[f"{root}.i"]
        return self._apply(i, template, dtype)

    def _wide_sum(self, i, dtype, words):
        # the sum has the width of the product that it is of
        a, b = (self._read(operand, dtype) for operand in i.operands[1:3])
        wide = (
            np.dtype(f"{dtype.kind}{2 * dtype.itemsize}") if "wide" in words else dtype
        )
        text = (
            f"{a}.astype({_name(wide)}) * {b}" if wide != dtype else f"high({a}, {b})"
        )
        total = f"{text} + {self._read(i.operands[3], wide)}"
        return self._write(i.operands[0], total, wide)

    def _carry(self, i, root, words):
        dtype = unsigned(TYPES[words[-1]])
        inputs = [self._read(operand, dtype) for operand in i.operands[1:]]
        if root.startswith("mad"):
            product = "{} * {}" if "lo" in words else "high({}, {})"
            inputs = [product.format(*inputs[:2]), inputs[2]]
        into = self._read("%CC", U32) if root.endswith("c") else "nothing"
        way = "borrowed" if root.startswith("sub") else "carried"
        text = f"t, k = {way}({inputs[0]}, {inputs[1]}, {into})"
        parts = [text, self._write(i.operands[0], "t", dtype)]
        if "cc" in words:
            parts.append(self._write("%CC", "k", U32))
        return "; ".join(parts)

    def _mov(self, i, kind):
        target, source = i.operands
        bits = 8 * TYPES[kind].itemsize
        if target[0] == "{":
            names = OPERAND.findall(target.strip("{}"))
            part, whole = np.dtype(f"u{bits // 8 // len(names)}"), unsigned(TYPES[kind])
            word = f"{self._read(source, whole)} >> {_name(whole)}.type({{}})"
            shifts = range(0, bits, bits // len(names))
            parts = [
                self._write(name, f"({word.format(k)}).astype({_name(part)})", part)
                for name, k in zip(names, shifts, strict=True)
                if name != "_"
            ]
            return "; ".join(parts)
        if source[0] == "{":
            names, whole = OPERAND.findall(source.strip("{}")), unsigned(TYPES[kind])
            part, word = np.dtype(f"u{bits // 8 // len(names)}"), _name(whole)
            text = " | ".join(
                f"{self._read(name, part)}.astype({word}) << {word}.type({k})"
                for name, k in zip(
                    names, range(0, bits, bits // len(names)), strict=True
                )
            )
            return self._write(target, text, whole)
        if source in CLOCKS:
            return self._write(target, "m.clock()", U64)
        dtype = self.registers[target]
        return self._write(target, self._read(source, dtype), dtype)

    def _selp(self, i, *words):
        dtype = self.registers[i.operands[0]]
        _, a, b, condition = i.operands
        a, b, condition = (
            self._read(*o) for o in ((a, dtype), (b, dtype), (condition, B))
        )
        return self._write(i.operands[0], f"where({condition}, {a}, {b})", dtype)

    def _slct(self, i, kind, condition):
        dtype = self.registers[i.operands[0]]
        a, b = (self._read(operand, dtype) for operand in i.operands[1:3])
        c = self._read(i.operands[3], TYPES[condition])
        return self._write(i.operands[0], f"where({c} >= 0, {a}, {b})", dtype)

    def _setp(self, i, comparison, *words):
        *words, kind = words
        dtype, ftz = TYPES[kind], "ftz" in words
        template = COMPARISONS[comparison]
        if comparison == "ne" and dtype.kind != "f":
            template = "{a} != {b}"
        if comparison in ("eq", "ne") or kind[0] == "b":
            dtype = unsigned(dtype)
        if [word for word in words if word != "ftz"]:
            raise KeyError(words)
        inputs = [self._read(operand, dtype) for operand in i.operands[1:3]]
        inputs = [f"flush({value})" if ftz else value for value in inputs]
        text = template.format(**dict(zip("ab", inputs, strict=True)))
        names = i.operands[0].split("|")
        parts = [self._write(names[0], text, B)] if names[0] != "_" else []
        if names[1:]:
            parts.append(self._write(names[1], f"~({text})", B))
        return "; ".join(parts)

    def _testp(self, i, kind, dtype):
        text = {"finite": "np.isfinite({a})", "infinite": "np.isinf({a})",
                "notanumber": "np.isnan({a})", "number": "~np.isnan({a})",
                "normal": "np.isfinite({a}) & (flush({a}) != 0)",
                "subnormal": "(flush({a}) == 0) & ({a} != 0)"}[kind]  # fmt: skip
        if "flush" in text and dtype != "f32":
            raise KeyError(dtype)
        return self._apply(i, text, TYPES[dtype], B)

    def _shl(self, i, kind):
        return self._shift(i, unsigned(TYPES[kind]), "<<", True)

    def _shr(self, i, kind):
        return self._shift(i, TYPES[kind], ">>", False)

    def _shift(self, i, dtype, sign, left):
        a, n = self._read(i.operands[1], dtype), i.operands[2]
        if (
            n not in self.registers
            and n not in SPECIAL
            and int(n, 0) < dtype.itemsize * 8
        ):
            text = f"{a} {sign} {self._constant(n, dtype)}"
        else:
            text = f"shift({a}, {self._read(n, U32)}, {left})"
        return self._write(i.operands[0], text, dtype)

    def _shf(self, i, way, mode, kind):
        a, b, n = (self._read(operand, U32) for operand in i.operands[1:])
        left, wrap = {"l": True, "r": False}[way], {"wrap": True, "clamp": False}[mode]
        return self._write(i.operands[0], f"funnel({a}, {b}, {n}, {left}, {wrap})", U32)

    def _lop3(self, i, kind):
        a, b, c = (self._read(operand, U32) for operand in i.operands[1:4])
        table, terms = int(i.operands[4], 0), []
        for n in range(8):
            if table >> n & 1:
                signs = ("" if n >> k & 1 else "~" for k in (2, 1, 0))
                pairs = zip(signs, (a, b, c), strict=True)
                terms.append(" & ".join(sign + name for sign, name in pairs))
        text = " | ".join(f"({term})" for term in terms) or self._constant("0", U32)
        return self._write(i.operands[0], text, U32)

    def _mul24(self, i, part, kind):
        if part != "lo":
            raise KeyError(part)
        dtype = TYPES[kind]
        cut = f"({{}} << {_name(dtype)}.type(8) >> {_name(dtype)}.type(8))"
        a, b = (cut.format(self._read(operand, dtype)) for operand in i.operands[1:])
        return self._write(i.operands[0], f"{a} * {b}", dtype)

    def _dp4a(self, i, *kinds):
        return self._dot(i, kinds, "four")

    def _dp2a(self, i, half, *kinds):
        return self._dot(i, kinds, half)

    def _dot(self, i, kinds, way):
        signs = tuple(kind[0] == "s" for kind in kinds)
        a, b, c = (self._read(operand, U32) for operand in i.operands[1:])
        return self._write(i.operands[0], f"dot({a}, {b}, {c}, {signs}, {way!r})", U32)

    def _bfind(self, i, *words):
        template = "leading({a})" if words[0] == "shiftamt" else "top({a})"
        return self._apply(i, template, {"u32": U32, "u64": U64}[words[-1]], U32)

    def _bfe(self, i, kind):
        dtype = TYPES[kind]
        a = self._read(i.operands[1], dtype)
        n, length = (self._read(operand, U32) for operand in i.operands[2:])
        return self._write(i.operands[0], f"extract({a}, {n}, {length})", dtype)

    def _cvta(self, i, *words):
        # an address is the same in all spaces
        return self._write(i.operands[0], self._read(i.operands[1], U64), U64)

    def _isspacep(self, i, space):
        address = self._read(i.operands[1], U64)
        return self._write(i.operands[0], f"m.lies_in({space!r}, {address})", B)

    def _cvt(self, i, *words):
        to, source = (TYPES[word] for word in words if word in TYPES)
        rounding = next((word for word in words if word[0] == "r"), None)
        if rounding in ("rz", "rm", "rp"):
            if to == F64 and (
                source == F32 or source.kind != "f" and source.itemsize < 8
            ):
                rounding = None
            elif to != F32 or source.kind != "f" and source.itemsize == 8:
                raise KeyError(rounding)
        text = self._read(i.operands[1], source)
        if to.kind in "iu" and source.kind in "iu" and "sat" not in words:
            text = f"{text}.astype({_name(to)})"
        else:
            text = f"convert({text}, {_name(to)}, {rounding!r}, {'sat' in words})"
        return self._write(
            i.operands[0], f"flush({text})" if "ftz" in words else text, to
        )

    def _ld(self, i, *words):
        space, dtype = self._space(words), TYPES[words[-1]]
        names = OPERAND.findall(i.operands[0].strip("{}"))
        if space == "param":
            return self._load_parameter(i, names, dtype)
        constant, volatile = "nc" in words, bool({"volatile", "relaxed"} & {*words})
        self.grain = min(self.grain, dtype.itemsize)
        text = f"m.load({i.line}, {space!r}, {_name(dtype)}, {len(names)}, "
        text += f"{self._address(i.operands[1])}, {constant}, {volatile})"
        parts = [self._write(name, f"v[{k}]", dtype) for k, name in enumerate(names)]
        return "; ".join([f"v = {text}", *parts])

    def _st(self, i, *words):
        space, dtype = self._space(words), unsigned(TYPES[words[-1]])
        values = OPERAND.findall(i.operands[1].strip("{}"))
        if space == "param":
            cells = self._cells(i.operands[0], dtype, len(values))
            parts = [
                self._write(cell, self._read(value, bits), bits)
                for cell, value in zip(cells, values, strict=True)
                for bits in (_bits(dtype),)
            ]
            return "; ".join(parts)
        volatile = bool({"volatile", "relaxed", "release"} & {*words})
        self.grain = min(self.grain, dtype.itemsize)
        values = ", ".join(self._read(value, dtype) for value in values)
        text = f"m.store({i.line}, {space!r}, {_name(dtype)}, {volatile}, "
        return text + f"{self._address(i.operands[0])}, {values})"

    def _load_parameter(self, i, names, dtype):
        base = i.operands[1].strip("[]").partition("+")
        if base[0] in self._parameters:
            number = self._parameters.index(base[0])
            kind = self.parameters[number]
            if kind is None or base[2] not in ("", "0"):
                raise KeyError(base)
            self._uses[f"param_{number}"] = None
            text = _as(f"param_{number}", kind, dtype)
            return self._write(names[0], text, dtype)
        bits = _bits(dtype)
        cells = self._cells(i.operands[1], bits, len(names))
        pairs = zip(names, cells, strict=True)
        texts = (
            (name, _as(self._read(cell, bits), bits, dtype)) for name, cell in pairs
        )
        return "; ".join(self._write(name, text, dtype) for name, text in texts)

    def _cells(self, operand, dtype, count):
        # what is given to a function, or by it, is kept in registers of its own
        base, _, offset = operand.strip("[]").partition("+")
        first, size = int(offset or 0), dtype.itemsize
        cells = [f"%{base}_at_{first + k * size}" for k in range(count)]
        for cell in cells:
            if self.registers.setdefault(cell, _bits(dtype)) != _bits(dtype):
                raise KeyError(cell)
        return cells

    def _space(self, words):
        space = next((word for word in words if word in SPACES), None)
        others = [word.partition("::")[0] for word in words[:-1] if word not in SPACES]
        if not {*others} <= MODIFIERS:
            raise KeyError(words)
        return space

    def _atom(self, i, *words):
        operation = next(word for word in words if word in ATOMICS)
        *words, kind = (word for word in words if word != operation)
        space, dtype = self._space((*words, kind)), TYPES[kind]
        target = i.operands[0] if i.root == "atom" else None
        address, *values = i.operands[target is not None :]
        values = ", ".join(self._read(value, dtype) for value in values)
        self.grain = min(self.grain, dtype.itemsize)
        text = f"m.atomic({i.line}, {space!r}, {operation!r}, {_name(dtype)}, "
        text += f"{self._address(address)}, {values})"
        if target in (None, "_"):
            return text
        return self._write(target, text, dtype)

    _red = _atom

    def _activemask(self, i, kind):
        return self._write(i.operands[0], "m.active()", U32)

    def _trap(self, i, *words):
        return f"m.stop('exception', {i.line}, 0, 'the kernel traps')"

    def _call(self, i, *words):
        results, name, given = i.operands
        cells = [f"%{one}_at_0" for one in given]
        if name == "vprintf":
            text, values = (self._read(cell, U64) for cell in cells)
            done = f"m.print({i.line}, {text}, {values})"
            return f"{done}; {self._give(results, self._constant('0', U32), U32)}"
        if name in ("NRT_incref", "NRT_decref"):
            # of an argument nobody counts the references
            return "pass"
        if name == "NRT_MemInfo_alloc_aligned":
            size = self._read(cells[0], U64)
            return self._give(results, f"m.allocate({size})", U64)
        if name == "NRT_MemInfo_data_fast":
            place = f"{self._read(cells[0], U64)} + U64.type(24)"
            text = f"m.load({i.line}, None, U64, 1, {place}, False, True)[0]"
            return self._give(results, text, U64)
        if name == "numba_attempt_nocopy_reshape":
            sizes = [U64, U64, U64, U64, U64, U64, U64, U32]
            texts = ", ".join(map(self._read, cells, sizes))
            return self._give(results, f"m.reshaped({i.line}, {texts})", U32)
        if name == "cudaCGGetIntrinsicHandle":
            return self._give(results, self._constant("1", U64), U64)
        result, *operands = (self._read(cell, U64) for cell in cells)
        load = f"m.load({i.line}, None, F16, 1, {{}}, False, False)[0]"
        template = HALF[plain(name)]
        text = template.format(*map(load.format, operands))
        logical = any(sign in template for sign in "<>!=")
        text = f"({text}).view(U8)" if logical else f"({text}).astype(F16).view(U16)"
        kind = "U8" if logical else "U16"
        done = f"m.store({i.line}, None, {kind}, False, {result}, {text})"
        return f"{done}; {self._give(results, self._constant('0', U32), U32)}"

    def _give(self, results, text, dtype):
        (cell,) = self._cells(results[0], dtype, 1)
        return self._write(cell, text, dtype)

    def _bring(self, block, i, root):
        # of what lanes do together the function returns what each of them brings
        if root == "call":
            block.gives = {_variable(self._cells(i.operands[0][0], U32, 1)[0]): U32}
            self._defines |= dict.fromkeys(block.gives)
            return f"return ()  # {i.text}"
        given = i.operands[1:]
        gives = re.split(r"[|,]\s*", i.operands[0].strip("{}"))
        if block.waits == "warp":
            block.mask = self._read(i.operands[-1], U32)
            given = i.operands[1:-1]
        if block.waits == "block":
            number = i.operands[0 if "sync" in i.opcode else 1]
            if number != "0" or len(i.operands) != (1 if "sync" in i.opcode else 3):
                raise KeyError(i.opcode)
            given = i.operands[2:]
        if i.opcode == "bar.warp.sync" or block.waits == "block" and not given:
            gives, given = [], []
        block.gives = {_variable(n): self.registers.get(n, U32) for n in gives}
        self._defines |= dict.fromkeys(block.gives)
        given = [name for text in given for name in OPERAND.findall(text.strip("{}"))]
        kinds = [
            B if name.startswith("!") else self.registers.get(name, U32)
            for name in given
        ]
        values = map(self._read, given, kinds)
        return f"return {''.join(f'{value}, ' for value in values) or '()'}  # {i.text}"


def _flat(arguments):
    # what an array or a tuple is taken apart to
    for a in arguments:
        if isinstance(a, np.ndarray):
            address = a.__array_interface__["data"][0]
            yield from (0, 0, a.size, a.itemsize, address, *a.shape, *a.strides)
        elif isinstance(a, tuple | list):
            yield from _flat(a)
        elif isinstance(a, enum.Enum):
            yield from _flat([a.value])
        elif isinstance(a, complex | np.complexfloating):
            yield from (a.real, a.imag)
        elif isinstance(a, np.datetime64 | np.timedelta64):
            yield a.view(np.int64)
        elif isinstance(a, np.void):
            yield np.asarray(a).__array_interface__["data"][0]
        elif a is not None:
            yield a


def _number(value, dtype):
    # a number that is given to a kernel, in a cell
    if isinstance(value, np.float16) and dtype is not None and dtype.kind == "u":
        # a half is handed over as its bits
        value = value.view(U16)
    return np.array([value]).astype(dtype or U64)


def _variable(operand):
    return re.sub(r"\W", "_", operand.lstrip("%"))


def _bits(dtype):
    return U8 if dtype == B else np.dtype(f"u{dtype.itemsize}")


def _name(dtype):
    letter = {"b": "B", "i": "S", "u": "U", "f": "F"}[dtype.kind]
    return letter if dtype == B else f"{letter}{8 * dtype.itemsize}"


def _as(text, dtype, wanted):
    if dtype == wanted:
        return text
    how = "view" if dtype.itemsize == wanted.itemsize else "astype"
    return f"{text}.{how}({_name(wanted)})"


FUNCTIONS = {"np": np, "where": np.where, "ALL": np.array([0xFFFFFFFF], U32)}
FUNCTIONS |= {"one": np.ones(1, F32), "nothing": np.zeros(1, U32)}
FUNCTIONS |= {_name(dtype): dtype for dtype in TYPES.values()}
FUNCTIONS |= {
    name: function
    for name, function in vars(numbers).items()
    if callable(function) and not isinstance(function, type | np.dtype)
}
