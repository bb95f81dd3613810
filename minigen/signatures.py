"""Signatures: how an op's docstring begins, as data that calls are checked against.

    (b n h e), (t e/2 2), (b n) -> (b n h e)
    where 0 <= rows < t

The grammar is described in `minigen/ops/README.md`. The lines are read from the source,
when an op table is built, at the start of the docstring or in a comment before it: so
they are there under `python -OO` too. `minigen/calls.py` checks the calls.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import re
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from minigen.errors import ConfigError

KINDS = ("number", "fraction", "weight", "integer", "byte", "entry", "shape")
"""What an argument may be. An array is one of numbers unless a rule says otherwise."""

_UNDER = re.compile(
    r"(?:.*\n)*?[^#\n]*:\n(?P<comments>(?:[ \t]*#.*\n)*)"
    r"(?:\s*[rR]?(?P<quotes>\"{3}|'{3})(?P<paragraph>(?s:.*?))(?:\n\s*\n|(?P=quotes)))?"
)
_ITEM = re.compile(r"(?:([^\W\d]\w*)\s*)?\(([^()]*)\)(\?)?|([^\W\d]\w*)")
_COMMA = re.compile(r"\s*,\s*(?![^(]*\))")
_SIZE = re.compile(r"(\d*)([a-z]?)(?:/([1-9]\d*))?(?:\+([a-z]))?")
_KIND = re.compile(rf"([\w ]+?) (?:is an?|are) ({'|'.join(KINDS)}|entrie)s?")
_LIKE = re.compile(r"(\w+) is like (\w+)")
_CHANGED = re.compile(r"([\w ]+?) (?:is|are) changed")
_DIVIDES = re.compile(r"(.+) divides (.+)")
_ORDER = re.compile(r"\s*(<=|>=|<|>|=)\s*")
_TERM = re.compile(r"(\d*)((?: ?[^\W\d]\w*)*)")


@dataclass(frozen=True)
class Size:
    """The size of an axis: times / over of a letter, or `times` alone.

    plus: a second letter, of a result, whose size is added.

    >>> str(Size(2, "d")), str(Size(1, "e", over=2)), str(Size(3))
    ('2d', 'e/2', '3')
    """

    times: int
    letter: str = ""
    over: int = 1
    plus: str = ""

    def __str__(self):
        text = f"{'' if self.times == 1 and self.letter else self.times}{self.letter}"
        text = text if self.over == 1 else f"{text}/{self.over}"
        return f"{text}+{self.plus}" if self.plus else text


@dataclass(frozen=True)
class Argument:
    """One argument: an array with `sizes`, or a number or a shape, which has none.

    more: how many of the sizes stand before `...`, which is any further axes, the same
    ones in all arrays of the call that have it; None where there is no `...`. kind: one
    of KINDS; optional: None may stand for it; changed: the function writes into it;
    like: the argument whose dtype it must fit into.

    >>> one = parse("embed", ("w", "ids"), "(v d), (b n) -> (b n d) where 0 <= ids < v")
    >>> [(argument.name, argument.kind) for argument in one.arguments]
    [('w', 'number'), ('ids', 'integer')]
    """

    name: str
    sizes: tuple[Size, ...] | None = None
    more: int | None = None
    kind: str = "number"
    optional: bool = False
    changed: bool = False
    like: str = ""


@dataclass(frozen=True)
class Rule:
    """What holds between sizes and numbers, such as 1 <= length <= n.

    sums: what stands between the `signs`: tuples of terms (factor, names), each the
    product of its factor and of what the names mean; "divides" is a sign too. names:
    the sizes and arguments that it speaks of; array: the one among them whose entries
    lie in a range, low <= array < high.

    >>> one = parse("embed", ("w", "ids"), "(v d), (b n) -> (b n d) where 0 <= ids < v")
    >>> one.rules[0].text, one.rules[0].signs, one.rules[0].array
    ('0 <= ids < v', ('<=', '<'), 'ids')
    """

    text: str
    sums: tuple
    signs: tuple[str, ...]
    names: tuple[str, ...]
    array: str = ""


@dataclass(frozen=True)
class Signature:
    """What is known of a function: its arguments, its results and its rules.

    doc: the docstring of which it is the beginning.

    >>> one = parse("embed", ("w", "ids"), "(v d), (b n) -> (b n d) where 0 <= ids < v")
    >>> one.line, one.is_ruled("ids"), one.is_ruled("w")
    ('(v d), (b n) -> (b n d)', True, False)
    """

    name: str
    text: str
    arguments: tuple[Argument, ...]
    results: tuple[Argument, ...]
    rules: tuple[Rule, ...]
    doc: str | None = field(default=None, compare=False, repr=False)

    @property
    def line(self) -> str:
        """The text without its rules."""
        return self.text.partition(" where ")[0]

    def is_ruled(self, name) -> bool:
        """Say whether a number stands in a rule."""
        return any(name in rule.names for rule in self.rules)


@functools.cache
def of(function) -> Signature:
    """Return the signature that the docstring of a Python function begins with.

    A first argument `device`, as a launcher of CUDA kernels has, is none of its
    arguments. Raises ConfigError where there is no signature, or none to be read.

    >>> from minigen.ops.rms_norm.reference import rms_norm
    >>> of(rms_norm).line
    '(b n d), (d) -> (b n d)'
    """
    source = inspect.unwrap(getattr(function, "py_func", function))
    code = source.__code__
    names = code.co_varnames[: code.co_argcount]
    text = _written(source, code)
    if text is None:
        raise ConfigError(
            f"{source.__qualname__} has no signature, such as `(b n d) -> (b n d)`: "
            f"its docstring begins with it, in {code.co_filename}"
        )
    found = parse(source.__name__, names[names[:1] == ("device",) :], text)
    return replace(found, doc=source.__doc__)


def parse(name, arguments, text) -> Signature:
    """Return the signature of a function from its text and the names of its arguments.

    >>> one = parse("rms_norm", ("x", "w", "eps"), "(n d), w (d), eps -> (n d)")
    >>> [(a.name, a.sizes is not None) for a in one.arguments]
    [('x', True), ('w', True), ('eps', False)]
    """
    try:
        return _parse(name, arguments, text)
    except ValueError as error:
        raise ConfigError(f"{name}: signature `{text}`: {error}") from None


def names(text, arguments=()) -> tuple[str, ...]:
    """Return the names of a signature's arguments: its own, else those of `arguments`.

    >>> names("x (n d), (d) -> (n d)", ("a", "b", "eps"))
    ('x', 'b', 'eps')
    """
    try:
        items = _items(text.partition(" where ")[0].split("->")[0])
    except ValueError as error:
        raise ConfigError(f"signature `{text}`: {error}") from None
    given = [item["name"] for item in items]
    pairs = zip_longest(given, arguments, fillvalue="")
    return tuple(
        own or other or f"argument_{i}" for i, (own, other) in enumerate(pairs)
    )


def _parse(name, arguments, text):
    line, _, rest = text.partition(" where ")
    if line.count("->") != 1:
        raise ValueError("expected one ->")
    before, after = (_items(side) for side in line.split("->"))
    before, rules = _named(arguments, before), []
    for clause in filter(None, _COMMA.split(rest)):
        subjects, said = _said(clause)
        for one in subjects:
            if one not in before or said.get("like", one) not in before:
                raise ValueError(f"`{clause}` names what is no argument")
            before[one] |= said
        if not subjects:
            rules.append(_rule(clause))
    sizes = [size for one in before.values() for size in one.get("sizes", ())]
    if any(size.plus for size in sizes):
        raise ValueError("only a size of a result is a sum")
    letters = {size.letter for size in sizes}
    for n, rule in enumerate(rules):
        arrays = {one for one in before if "sizes" in before[one]}
        if len({*rule.names}) > 1 and not {*rule.names} & (letters | arrays):
            raise ValueError(
                f"`{rule.text}` compares numbers with each other, not with a size; a "
                "rule would make integers of them"
            )
        for one in rule.names:
            if one in letters:
                continue
            if one not in before:
                raise ValueError(f"{one!r} is no size and no argument")
            # indices, and numbers that sizes are compared with
            before[one]["kind"] = "integer"
            if "sizes" in before[one]:
                if rule.signs != ("<=", "<") or rule.sums[1] != ((1, (one,)),):
                    raise ValueError(f"`{rule.text}` is not low <= {one} < high")
                rules[n] = replace(rule, array=one)
    given = tuple(Argument(**one) for one in before.values())
    return Signature(
        name, text, given, tuple(Argument(**a) for a in after), tuple(rules)
    )


def _written(function, code):
    # the comments under a def, or the first paragraph of its docstring
    lines = linecache.getlines(code.co_filename, function.__globals__)
    under = _UNDER.match("".join(lines[code.co_firstlineno - 1 :]))
    for said in under.group("comments", "paragraph") if under else ():
        words = re.sub(r"^\s*#?", "", said or "", flags=re.MULTILINE).split()
        if "->" in words:
            return " ".join(words)
    return None


def _items(side):
    # the arguments, or results, of one side of a line
    found, side = [], side.strip()
    for text in _COMMA.split(side) if side else ():
        match = _ITEM.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not one argument; commas separate them")
        called, sizes, optional, number = match.groups()
        item = {"name": called or number or ""}
        if number is None:
            sizes = sizes.split()
            more = sizes.index("...") if "..." in sizes else None
            if more is not None:
                sizes.pop(more)
            item["sizes"] = tuple(map(_size, sizes))
            item |= {"more": more, "optional": bool(optional)}
        found.append(item)
    return found


def _named(arguments, items):
    # each argument by its name; those of the def that the line leaves out are numbers
    if len(items) > len(arguments):
        raise ValueError(f"the function takes {', '.join(arguments)}")
    named = {}
    for name, item in zip_longest(arguments, items, fillvalue={"name": ""}):
        if item["name"] not in ("", name):
            raise ValueError(f"{item['name']!r} stands where the function has {name!r}")
        named[name] = item | {"name": name}
    return named


def _said(clause):
    # what a clause says of which arguments: of none where it is about sizes
    if match := _KIND.fullmatch(clause):
        said = {"kind": match[2].replace("trie", "try")}
    elif match := _LIKE.fullmatch(clause):
        said = {"like": match[2]}
    elif match := _CHANGED.fullmatch(clause):
        said = {"changed": True}
    else:
        return (), {}
    return match[1].split(" and "), said


def _size(size):
    match = _SIZE.fullmatch(size)
    if not match or not (match[1] or match[2]) or not (match[2] or not match[3]):
        raise ValueError(f"{size!r} is no size")
    return Size(int(match[1] or 1), match[2], int(match[3] or 1), match[4] or "")


def _rule(clause):
    divides = _DIVIDES.fullmatch(clause)
    parts = list(divides.groups()) if divides else _ORDER.split(clause)
    signs = ("divides",) if divides else tuple(parts[1::2])
    if not signs:
        raise ValueError(f"{clause!r} is no rule")
    sums = tuple(_sum(part) for part in (parts if divides else parts[::2]))
    names = dict.fromkeys(n for terms in sums for _, each in terms for n in each)
    return Rule(clause, sums, signs, tuple(names))


def _sum(part):
    # d + 2 r s: terms of a factor and names, which are multiplied
    terms = []
    for sign, term in re.findall(r"([+-]?)\s*([^+-]*)", part.strip()):
        match = _TERM.fullmatch(term.strip())
        if match is None:
            raise ValueError(f"{part!r} is no sum")
        if match[0]:
            factor = int(match[1] or 1) * (-1 if sign == "-" else 1)
            terms.append((factor, tuple(match[2].split())))
    if not terms:
        raise ValueError(f"{part!r} is no sum")
    return tuple(terms)
