"""A pickle interpreter that can build data and nothing else.

A pickle is a program for a small stack machine. Two of its instructions make it
dangerous: one imports whatever it names, the other calls whatever was imported. Here
the first makes a `Global`, which is the name and nothing else, and the second looks the
name up in a table of ours: it calls the function of ours that stands there, and of a
name that the table lacks it makes an `Inert`, which remembers the name. Nothing is ever
imported. So training files are read whatever Python objects lie beside their weights.
Names that only an attack has a use for (`HOSTILE`) are refused all the same, for the
user is to know that he was given such a file.

Only the instructions that `torch.save` writes at protocols 2 to 5 are known. Each takes
a byte at least and builds one small object at most, never a copy of another. Calls are
charged for what they look at, for an argument can be used again and again, and the sum
is bounded by the length of the pickle: so time and memory are.

Source: CPython's Lib/pickletools.py, which describes every instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from struct import Struct
from struct import error as StructError

from minigen.errors import CheckpointError

MOST_INSTRUCTIONS = 1_000_000
"""More than a training file of five thousand weights and their moments takes."""

LONGEST_NAME = 200
"""Bytes of module and name together that a global may have."""

LARGEST_KEY = 2**61 - 2
"""Integer keys beyond it could be chosen to have equal hashes."""

WORK, SPARE = 2, 10_000
"""What the calls of a pickle may be charged: so much a byte, and so much in all."""

REFUSED = {
    "\x82": "EXT1", "\x83": "EXT2", "\x84": "EXT4", "i": "INST", "o": "OBJ",
    "P": "PERSID", "\x97": "NEXT_BUFFER",
}  # fmt: skip
"""Instructions that could lead to code, by the names pickletools gives them."""

HOSTILE = {
    *("os", "posix", "nt", "subprocess", "sys", "importlib", "imp", "runpy", "pkgutil"),
    *("pty", "socket", "shutil", "ctypes", "_ctypes", "pickle", "_pickle", "cPickle"),
    *("marshal", "codeop", "pdb", "bdb", "timeit", "cProfile", "webbrowser", "pip"),
    *("popen2", "minigen", "code.interact", "code.InteractiveInterpreter"),
    *("torch.load", "torch.hub", "torch.jit.load", "torch.serialization.load"),
    *("numpy.load", "numpy.testing", "joblib.load", "types.FunctionType"),
    *("types.CodeType", "operator.attrgetter", "operator.methodcaller"),
    *(
        f"{module}.{name}"
        for module in ("builtins", "__builtin__")
        for name in (
            *("eval", "exec", "execfile", "compile", "open", "file", "input"),
            *("breakpoint", "setattr", "delattr", "globals", "locals"),
            *("vars", "apply", "reload", "help", "exit", "quit"),
        )
    ),
}
"""Modules, and names in others, that no data needs: they do things."""

MOST_PARTS = max(name.count(".") + 1 for name in HOSTILE)

OPERANDS = {
    code: Struct(layout)
    for layout, codes in {
        # PROTO, LONG1, BININT1, BINPUT, BINGET, SHORT_BINUNICODE, SHORT_BINBYTES, and
        # of Python 2 SHORT_BINSTRING
        "<B": "\x80\x8aKqh\x8cCU",
        # LONG_BINPUT, LONG_BINGET, BINUNICODE, BINBYTES, BINSTRING, LONG4
        "<I": "rjXBT\x8b",
        # FRAME, BINUNICODE8, BINBYTES8, BYTEARRAY8
        "<Q": "\x95\x8d\x8e\x96",
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
    """What stands for a Python object: it says what that was, and can do nothing.

    name: of the class or function that would have made it; states: what it was given
    as attributes; items: what it was given as the items of a dict.
    """

    name: str
    states: list = field(default_factory=list)
    items: dict = field(default_factory=dict)

    def __str__(self):
        return self.name


def run(
    data, start: int, stop: int, calls: Mapping, persistent: Callable | None = None
):
    """Run the pickle in data[start:stop]; return its value and the offset behind it.

    data: bytes or mmap. calls: {global name: function of ours, or None where the name
    may be mentioned but not called}; the call of any other name gives an `Inert`.
    persistent: maps a persistent id to a value.
    Raises CheckpointError on anything else than a whole pickle of data.

    >>> run(b"\\x80\\x02}X\\x01\\0\\0\\0aK\\x07s.", 0, 13, {})
    ({'a': 7}, 13)
    """
    at, stack, marks, memo = start, [], [], {}
    left = WORK * (stop - start) + SPARE

    def charge(arguments):
        nonlocal left
        left -= 6 + len(arguments)
        left -= sum(len(a) for a in arguments if type(a) in (tuple, list, dict))
        if left < 0:
            raise CheckpointError(
                f"its pickle asks for more work than its {stop - start} bytes of data "
                "can need; the file is not to be trusted"
            )

    def expect_left(count):
        if count > stop - at:
            raise CheckpointError(
                f"its pickle ends inside an instruction at byte {at}; the file is cut "
                "short or damaged: download it again"
            )

    def take(count):
        nonlocal at
        expect_left(count)
        at += count
        return data[at - count : at]

    def read_line():
        end = data.find(b"\n", at, min(stop, at + LONGEST_NAME))
        if end < 0:
            expect_left(LONGEST_NAME)
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
                # LONG4: an integer that no weights need, and that is slow to print
                case "\x8b":
                    take(operand)
                    stack.append(Inert("builtins.int"))
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
                case "U" | "T":
                    stack.append(_text_of_python2(bytes(take(operand))))
                case "\x96":
                    take(operand)
                    stack.append(Inert("builtins.bytearray"))
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
                    if type(stack[-1]) is not Inert:
                        _expect(stack[-1], list).append(item)
                case "e":
                    items = pop_mark()
                    if type(stack[-1]) is not Inert:
                        _expect(stack[-1], list).extend(items)
                case "}":
                    stack.append({})
                case "s":
                    value, key = stack.pop(), stack.pop()
                    _items(stack[-1])[_key(key)] = value
                case "u":
                    items = pop_mark()
                    target = _items(stack[-1])
                    for key, value in zip(items[::2], items[1::2], strict=True):
                        target[_key(key)] = value
                # sets: EMPTY_SET ADDITEMS FROZENSET
                case "\x8f":
                    stack.append(Inert("builtins.set"))
                case "\x90":
                    pop_mark()
                    _expect(stack[-1], Inert)
                case "\x91":
                    pop_mark()
                    stack.append(Inert("builtins.frozenset"))
                # names: GLOBAL STACK_GLOBAL
                case "c":
                    stack.append(name_global(read_line(), read_line()))
                case "\x93":
                    name, module = stack.pop(), stack.pop()
                    stack.append(name_global(module, name))
                # REDUCE, NEWOBJ, NEWOBJ_EX: call the function of ours of that name
                case "R" | "\x81" | "\x92":
                    options = _expect(stack.pop(), dict) if code == "\x92" else {}
                    arguments, function = _expect(stack.pop(), tuple), stack.pop()
                    name = _expect(function, Global).name
                    charge(arguments)
                    if options or name not in calls:
                        stack.append(Inert(name))
                        continue
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
                    identity = _expect(stack.pop(), tuple)
                    charge(identity)
                    stack.append(persistent(identity))
                # PROTO, FRAME
                case "\x80" if 2 <= operand <= 5:
                    pass
                case "\x95":
                    expect_left(operand)
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
        "weights; take a file of the weights alone"
    )


def name_global(module, name) -> Global:
    """Return the name of a module's member, or raise CheckpointError if it is hostile.

    >>> name_global("torch", "Size").name, name_global("__main__", "Config").name
    ('torch.Size', '__main__.Config')
    """
    # a text of the memo can be used again and again, so it is not looked at if long
    if len(_expect(module, str)) + len(_expect(name, str)) >= LONGEST_NAME:
        raise ValueError("a name without an end")
    full = f"{module}.{name}"
    starts = {*accumulate(full.split(".", MOST_PARTS)[:MOST_PARTS], "{}.{}".format)}
    inside = any(part.startswith("__") for part in name.split("."))
    if (inside and full not in HARMLESS) or starts & HOSTILE:
        raise CheckpointError(
            f"it asks for {full!r}, which no weights need: it was refused and nothing "
            "was run; do not open this file with anything that runs what it says, and "
            "take the weights from a source that you trust"
        )
    return Global(full)


HARMLESS = {
    *("copyreg.__newobj__", "copyreg.__newobj_ex__", "copy_reg.__newobj__"),
    *("numpy.random._pickle.__generator_ctor", "numpy.random.__generator_ctor"),
    *("numpy.random._pickle.__bit_generator_ctor", "numpy.random.__RandomState_ctor"),
    "numpy.random._pickle.__randomstate_ctor",
    "numpy.random.bit_generator.__pyx_unpickle_SeedSequence",
}
"""How pickles of old protocols, and of NumPy, say that an object is made."""


def _expect(value, kind):
    # exact types only: a bool is no int here
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected")
    return value


def _items(value):
    return value.items if type(value) is Inert else _expect(value, dict)


def _text_of_python2(raw):
    # what is no text is bytes there, which torch takes for latin-1
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _key(key):
    if key is None or type(key) in (str, bool, bytes, float, Global):
        return key
    if type(key) in (list, dict):
        raise TypeError("a key that has no hash")
    if type(key) is not int:
        # hashing a tuple of tuples can take time exponential in the pickle's length,
        # and many tuples of one hash can be chosen: this stands for it, never equal
        return Inert(_words(key))
    if abs(key) > LARGEST_KEY:
        raise ValueError("integer key out of range")
    return key


def _words(key):
    if type(key) is Inert:
        return key.name
    if type(key) is tuple and len(key) <= 8 and sum(map(_length, key)) <= LONGEST_NAME:
        return str(key)
    return type(key).__name__


def _length(value):
    # characters that a part of a key takes, about
    if type(value) is str:
        return len(value)
    small = type(value) is int and abs(value) <= LARGEST_KEY
    plain = value is None or type(value) in (float, bool)
    return 20 if small or plain else LONGEST_NAME + 1
