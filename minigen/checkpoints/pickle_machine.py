"""A pickle interpreter that can build data and nothing else.

A pickle is a program for a small stack machine. Two of its instructions make it
dangerous: one imports whatever it names, the other calls whatever was imported. Here
the first only looks a name up in a table of ours, and the second only calls the
function of ours that stands beside the name; what the table lacks is refused. Nothing
is imported.

Only the instructions that `torch.save` writes at protocols 2 to 5 are known. Each takes
a byte at least and builds one small object at most, never a copy of another, and their
number is bounded: so time and memory are.

Source: CPython's Lib/pickletools.py, which describes every instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from struct import Struct
from struct import error as StructError

from minigen.errors import CheckpointError

MOST_INSTRUCTIONS = 1_000_000
"""More than a training file of five thousand weights and their moments takes."""

LONGEST_NAME = 200
"""Bytes of module and name together that a global may have."""

LARGEST_KEY = 2**61 - 2
"""Integer keys beyond it could be chosen to have equal hashes."""

REFUSED = {
    "\x82": "EXT1", "\x83": "EXT2", "\x84": "EXT4", "i": "INST", "o": "OBJ",
    "\x92": "NEWOBJ_EX", "P": "PERSID",
}  # fmt: skip
"""Instructions that could lead to code, by the names pickletools gives them."""

OPERANDS = {
    code: Struct(layout)
    for layout, codes in {
        # PROTO, LONG1, BININT1, BINPUT, BINGET, SHORT_BINUNICODE, SHORT_BINBYTES
        "<B": "\x80\x8aKqh\x8cC",
        # LONG_BINPUT, LONG_BINGET, BINUNICODE, BINBYTES
        "<I": "rjXB",
        # FRAME, BINUNICODE8, BINBYTES8
        "<Q": "\x95\x8d\x8e",
        # BININT2, BININT, BINFLOAT
        "<H": "M", "<i": "J", ">d": "G",
    }.items()
    for code in codes
}  # fmt: skip
"""What follows an instruction: a number, an index into the memo, or a length."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name that a pickle mentions: never imported, only looked up."""

    name: str


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Inert:
    """An object we do not need: its name, and the states it was given, unused."""

    name: str
    states: list = field(default_factory=list)


def run(
    data, start: int, stop: int, calls: Mapping, persistent: Callable | None = None
):
    """Run the pickle in data[start:stop]; return its value and the offset behind it.

    data: bytes or mmap. calls: {global name: function of ours, or None where the name
    may be mentioned but not called}. persistent: maps a persistent id to a value.
    Raises CheckpointError on anything else than a whole pickle of data.

    >>> run(b"\\x80\\x02}X\\x01\\0\\0\\0aK\\x07s.", 0, 13, {})
    ({'a': 7}, 13)
    """
    at, stack, marks, memo = start, [], [], {}

    def take(count):
        nonlocal at
        if count > stop - at:
            raise CheckpointError(
                f"its pickle ends inside an instruction at byte {at}; the file is cut "
                "short or damaged: download it again"
            )
        at += count
        return data[at - count : at]

    def read_line():
        end = data.find(b"\n", at, min(stop, at + LONGEST_NAME))
        if end < 0:
            raise ValueError("a name without an end")
        return take(end + 1 - at)[:-1].decode()

    def pop_mark():
        mark = marks.pop()
        items = stack[mark:]
        del stack[mark:]
        return items

    try:
        for _ in range(MOST_INSTRUCTIONS):
            code = chr(take(1)[0])
            operand = None
            if code in OPERANDS:
                layout = OPERANDS[code]
                (operand,) = layout.unpack(take(layout.size))
            match code:
                # memo: BINPUT LONG_BINPUT MEMOIZE, BINGET LONG_BINGET
                case "q" | "r":
                    memo[operand] = stack[-1]
                case "\x94":
                    memo[len(memo)] = stack[-1]
                case "h" | "j":
                    stack.append(memo[operand])
                # numbers: BININT1 BININT2 BININT BINFLOAT LONG1
                case "K" | "M" | "J" | "G":
                    stack.append(operand)
                case "\x8a":
                    stack.append(int.from_bytes(take(operand), "little", signed=True))
                # constants: NONE NEWTRUE NEWFALSE
                case "N":
                    stack.append(None)
                case "\x88":
                    stack.append(True)
                case "\x89":
                    stack.append(False)
                # text and bytes, with one, four or eight bytes of length
                case "\x8c" | "X" | "\x8d":
                    stack.append(take(operand).decode())
                case "C" | "B" | "\x8e":
                    stack.append(bytes(take(operand)))
                # MARK, and tuples: EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 TUPLE
                case "(":
                    marks.append(len(stack))
                case ")":
                    stack.append(())
                case "\x85" | "\x86" | "\x87":
                    items = [stack.pop() for _ in range(ord(code) - 0x84)]
                    stack.append(tuple(reversed(items)))
                case "t":
                    stack.append(tuple(pop_mark()))
                # lists and dicts: EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
                case "]":
                    stack.append([])
                case "a":
                    item = stack.pop()
                    _expect(stack[-1], list).append(item)
                case "e":
                    items = pop_mark()
                    _expect(stack[-1], list).extend(items)
                case "}":
                    stack.append({})
                case "s":
                    value, key = stack.pop(), stack.pop()
                    _expect(stack[-1], dict)[_key(key)] = value
                case "u":
                    items = pop_mark()
                    target = _expect(stack[-1], dict)
                    for key, value in zip(items[::2], items[1::2], strict=True):
                        target[_key(key)] = value
                # names: GLOBAL STACK_GLOBAL
                case "c":
                    stack.append(_look_up(calls, read_line(), read_line()))
                case "\x93":
                    name, module = stack.pop(), stack.pop()
                    stack.append(_look_up(calls, module, name))
                # REDUCE and NEWOBJ: call the function of ours that bears the name
                case "R" | "\x81":
                    arguments, function = _expect(stack.pop(), tuple), stack.pop()
                    name = _expect(function, Global).name
                    if calls[name] is None:
                        raise CheckpointError(
                            f"it calls {name}, which is only a name here"
                        )
                    stack.append(calls[name](*arguments))
                # BUILD: attributes of an object; those of a dict hold nothing of use
                case "b":
                    state = stack.pop()
                    if type(stack[-1]) is Inert:
                        stack[-1].states.append(state)
                    else:
                        _expect(stack[-1], dict)
                # BINPERSID
                case "Q" if persistent is not None:
                    stack.append(persistent(_expect(stack.pop(), tuple)))
                # PROTO, FRAME
                case "\x80" if 2 <= operand <= 5:
                    pass
                case "\x95" if operand <= stop - at:
                    pass
                # POP, POP_MARK
                case "0":
                    stack.pop()
                case "1":
                    pop_mark()
                # STOP
                case ".":
                    (value,) = stack
                    return value, at
                case _:
                    name = REFUSED.get(code, f"{ord(code):#04x}")
                    raise CheckpointError(
                        f"its pickle holds the instruction {name} at byte {at - 1}, "
                        "which no weight file needs; the file is damaged or not to be "
                        "trusted"
                    )
    except (LookupError, TypeError, ValueError, ArithmeticError, StructError) as e:
        raise CheckpointError(
            f"its pickle makes no sense before byte {at} ({type(e).__name__}); the "
            "file is damaged: download it again"
        ) from None
    raise CheckpointError(
        f"its pickle has more than {MOST_INSTRUCTIONS} instructions, too many for "
        "weights; save the state dict alone"
    )


def _look_up(calls, module, name):
    full = f"{_expect(module, str)}.{_expect(name, str)}"[:LONGEST_NAME]
    if full not in calls:
        raise CheckpointError(
            f"it asks for {full!r}, which is not among the names that weight files "
            "need, so it was refused and nothing was run; save the state dict alone "
            "with torch.save"
        )
    return Global(full)


def _expect(value, kind):
    # exact types only: a bool is no int here
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected")
    return value


def _key(key):
    # hashing a tuple of tuples can take time exponential in the pickle's length
    if key is None or type(key) in (str, bool, bytes):
        return key
    if abs(_expect(key, int)) > LARGEST_KEY:
        raise ValueError("integer key out of range")
    return key
