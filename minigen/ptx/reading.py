"""Read PTX: the variables of a module and the instructions of its functions.

A call is replaced by the body of what it calls, with registers of its own, so that a
kernel becomes one list of instructions.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from minigen.errors import KernelError
from minigen.ptx.numbers import TYPES, U8, unsigned


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
class Variable:
    """Memory that a module names; space: shared, local, const or global.

    data: its bytes at first, or None; dynamic: its size is told at the launch.
    """

    space: str
    size: int
    data: np.ndarray | None = None
    dynamic: bool = False


@dataclass
class Function:
    """A kernel or a function; labels: {name: number of the instruction after it}.

    parameters: {name: type, None of an array of bytes}; names: of all that is its own.
    """

    name: str
    parameters: dict
    results: list
    entry: bool = False
    registers: dict = field(default_factory=dict)
    instructions: list = field(default_factory=list)
    labels: dict = field(default_factory=dict)
    names: set = field(default_factory=set)


@dataclass
class Module:
    """What a PTX text holds. kernel: the name of its entry; files: {number: name}."""

    functions: dict = field(default_factory=dict)
    variables: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)
    kernel: str = ""


TOKEN = re.compile(
    r"(?P<blank>\s+)"
    r"|(?P<directive>\.(?:version|target|address_size|file|loc)\b[^\n]*)"
    r"|(?P<section>\.section[^{]*\{[^}]*\})"
    r"|(?P<label>[$%\w]+:(?!:))"
    r"|(?P<head>(?:\.\w+\s+)*\.(?:entry|func)\b[^{;]*)"
    r"|(?P<open>\{)|(?P<close>\})"
    r"|(?P<statement>(?:[^;{}]|\{[^}]*\})*;)"
)
VARIABLE = re.compile(
    r"(?:\.\w+\s+)*?\.(shared|local|const|global)\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+"
    r"([\w$]+)\s*(\[\d*\])?\s*(?:=\s*\{?([^}]*)\}?)?$"
)
HEAD = re.compile(
    r"(.*\.(?:entry|func))\s*(?:\(([^)]*)\))?\s*([\w$]+)\s*(?:\((.*)\))?", re.S
)
PARAMETER = re.compile(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+([\w$]+)\s*(\[)?")
GUARDED = re.compile(r"(?:@(!?[%\w$]+)\s+)?([a-z][\w.:]*)\s*(.*)$", re.S)
CALL = re.compile(
    r"(?:\(([^)]*)\)\s*,)?\s*([%\w$]+)\s*(?:,\s*\(([^)]*)\))?\s*(,.*)?$", re.S
)
OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+")
NAME = re.compile(r"[%$A-Za-z_][\w$]*")


def read(text) -> Module:
    """Return the module of a PTX text."""
    module, scopes, function, place, number = Module(), [], None, None, 0
    # comments end a token nowhere
    text = re.sub(r"//[^\n]*", "", text)
    ends = [match.start() for match in re.finditer("\n", text)]
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        line = bisect_right(ends, at) + 1
        if match is None:
            raise KernelError("unsupported", f"line {line} of the PTX cannot be read")
        at, kind, token = match.end(), match.lastgroup, match[0].strip()
        if kind == "directive":
            place = _direct(module, token, place)
        elif kind == "head":
            function, scopes = _head(token), []
        elif kind == "open":
            scopes.append({})
            if len(scopes) == 1:
                module.functions[function.name] = function
                if function.entry:
                    module.kernel = function.name
        elif kind == "close":
            scopes.pop()
        elif kind == "label":
            function.labels[token[:-1]] = len(function.instructions)
        elif kind == "statement" and len(token) > 1:
            number += 1
            token = " ".join(token[:-1].split())
            _note(module, function, scopes, token, (line, place, number))
    if not module.kernel:
        raise KernelError("unsupported", "the PTX has no kernel")
    return module


def _direct(module, token, place):
    # of code that was compiled into another function, where that stands is told too
    if match := re.match(r"\.file\s+(\d+)\s+\"(.*)\"", token):
        module.files[match[1]] = match[2]
    elif match := re.match(r"\.loc\s+(\d+)\s+(\d+)", token):
        places = [(match[1], int(match[2]))]
        outer = re.search(r"inlined_at\s+(\d+)\s+(\d+)", token)
        if outer:
            places.append((outer[1], int(outer[2])))
        # functions of Numba itself are no place to look at
        theirs = [p for p in places if "numba_cuda" not in module.files.get(p[0], "")]
        return (theirs or places)[0] if places[0][1] else place
    return place


def _head(token):
    kind, results, name, parameters = HEAD.match(token).groups()
    results, parameters = (
        {name: None if array else unsigned(TYPES[t]) for t, name, array in found}
        for found in (PARAMETER.findall(part or "") for part in (results, parameters))
    )
    return Function(name, parameters, [*results], kind.endswith("entry"))


def _note(module, function, scopes, token, where):
    # a declaration or an instruction
    if match := VARIABLE.match(token):
        space, kind, name, array, values = match.groups()
        element = TYPES[kind]
        size = int((array or "[1]").strip("[]") or 0) * element.itemsize
        data = None
        if values:
            numbers = [int(value, 0) for value in values.split(",")]
            data = np.zeros(size, U8)
            bits = unsigned(element) if element.kind != "f" else element
            data[: len(numbers) * element.itemsize] = np.array(numbers, bits).view(U8)
        module.variables[name] = Variable(space, size, data, array == "[]")
    elif match := re.match(r"\.reg\s+\.(\w+)\s+(.*)$", token):
        kind = unsigned(TYPES[match[1]])
        for name in match[2].split(","):
            stem, _, count = name.strip().partition("<")
            names = [f"{stem}{n}" for n in range(int(count[:-1]))] if count else [stem]
            for one in names:
                function.registers[_scoped(scopes, one, where[2])] = kind
    elif match := re.match(r"\.param\s+.*?\.(\w+)\s+([\w$]+)(\[\d+\])?$", token):
        function.names.add(_scoped(scopes, match[2], where[2]))
    elif not token.startswith("."):
        _instruct(function, scopes, token, where)


def _scoped(scopes, name, number):
    # what is declared inside of braces is another one in each pair of them
    if len(scopes) == 1:
        return name
    scopes[-1][name] = f"{name}_{number}"
    return scopes[-1][name]


def _instruct(function, scopes, token, where):
    line, place, _ = where
    inner = {}
    for scope in scopes[1:]:
        inner |= scope
    text = token
    if inner:
        token = NAME.sub(lambda match: inner.get(match[0], match[0]), token)
    guard, opcode, rest = GUARDED.match(token).groups()
    if guard and opcode.partition(".")[0] not in ("bra", "ret", "exit"):
        # jump over the one instruction instead
        label, jump = f"$over{line}_{len(function.instructions)}", guard.lstrip("!")
        jump = jump if guard[0] == "!" else "!" + jump
        function.labels[label] = len(function.instructions) + 2
        function.instructions.append(
            Instruction(line, "bra", [label], text, jump, place)
        )
        guard = None
    if opcode.startswith("call"):
        results, name, given, _ = CALL.match(rest).groups()
        operands = [OPERAND.findall(results or ""), name, OPERAND.findall(given or "")]
    else:
        operands = OPERAND.findall(rest)
    function.instructions.append(
        Instruction(line, opcode, operands, text, guard, place)
    )


DEEPEST = 16
"""Calls within calls, from which on a function is taken for one that calls itself."""


def flat(module) -> Function:
    """Return the kernel with each call replaced by what it calls."""
    kernel = module.functions[module.kernel]
    found = Function(kernel.name, kernel.parameters, [])
    _expand(module, kernel, {}, found, [0], 0)
    return found


def _expand(module, function, names, found, counter, depth):
    # append a function's instructions; names: what its own are called in the kernel;
    # counter: how many calls there were so far
    found.registers |= {names.get(n, n): t for n, t in function.registers.items()}
    starts, end = [], f"$end{counter[0]}"
    for i in function.instructions:
        starts.append(len(found.instructions))
        if i.root == "call" and i.operands[1] in module.functions:
            _call(module, i, names, found, counter, depth)
            continue
        operands = [_renamed(operand, names) for operand in i.operands]
        guard = i.guard and _renamed(i.guard, names)
        opcode = i.opcode
        if depth and i.root == "ret":
            opcode, operands = "bra", [end]
        found.instructions.append(
            Instruction(i.line, opcode, operands, i.text, guard, i.place)
        )
    starts.append(len(found.instructions))
    for label, n in function.labels.items():
        found.labels[names.get(label, label)] = starts[n]
    found.labels[end] = len(found.instructions)


def _call(module, i, names, found, counter, depth):
    if depth == DEEPEST:
        said = f"line {i.line}: {i.text}: calls itself"
        raise KernelError("unsupported", said)
    callee = module.functions[i.operands[1]]
    counter[0] += 1
    own = {*callee.registers, *callee.labels, *callee.names}
    inner = {name: f"{name}_c{counter[0]}" for name in own}
    given = [_renamed(operand, names) for operand in i.operands[2]]
    inner |= dict(zip(callee.parameters, given, strict=True))
    results = [_renamed(operand, names) for operand in i.operands[0]]
    inner |= dict(zip(callee.results, results, strict=False))
    _expand(module, callee, inner, found, counter, depth + 1)


def _renamed(operand, names):
    if isinstance(operand, list):
        return [_renamed(one, names) for one in operand]
    return NAME.sub(lambda match: names.get(match[0], match[0]), operand)
