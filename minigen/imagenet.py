"""The names of ImageNet's 1000 classes: what `--class "golden retriever"` means.

A class is a synset of WordNet 3.0, and its names are those that WordNet gives it. Of
each class `imagenet.tsv` beside this file has a line, in the order of their numbers:
its identifier, its names, and what it is a kind of, the nearest first. It is made by
`python -m tests.imagenet_names` out of WordNet's own files, whose licence stands in
LICENSE. Some names are those of two classes: "crane" is a bird, and it is a machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minigen.checks import near, shown
from minigen.errors import InputError

FILE = Path(__file__).with_suffix(".tsv")
"""A line for each class: identifier, names, kinds."""

CLASSES = 1000
"""Classes of a model that names are for."""


@dataclass(frozen=True)
class Class:
    """A class: its number, WordNet's identifier, its names, and the kinds it is of.

    >>> dog = classes()[207]
    >>> dog.number, dog.names[0], dog.kinds[0]
    (207, 'golden retriever', 'retriever')
    """

    number: int
    identifier: str
    names: tuple[str, ...]
    kinds: tuple[str, ...]

    @property
    def called(self) -> str:
        """Its first name and the nearest kind, which no other class has both."""
        return f"{self.names[0]} ({self.kinds[0]})"

    def __str__(self) -> str:
        return f"{self.number} {self.called}"


@cache
def classes() -> tuple[Class, ...]:
    """Return all classes, in the order of their numbers.

    >>> str(classes()[207]), len(classes())
    ('207 golden retriever (retriever)', 1000)
    """
    lines = FILE.read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines)
    return tuple(
        Class(number, identifier, tuple(names.split(", ")), tuple(kinds.split(", ")))
        for number, (identifier, names, kinds) in enumerate(rows)
    )


def number_of(name: str) -> int:
    """Return the number of the class of a name, or of an identifier.

    Capitals, hyphens and underscores make no difference. Where two classes have the
    name, a kind of the one that is meant follows in brackets. Raises InputError, with
    the classes that have it, or with the names that are near.

    >>> number_of("Golden_Retriever"), number_of("crane (bird)"), number_of("n03126707")
    (207, 134, 517)
    """
    wanted, _, kind = plain(name).partition(" (")
    kind = kind.removesuffix(")")
    named = _by_name().get(wanted, [])
    found = [each for each in named if not kind or kind in map(plain, each.kinds)]
    if kind and len(found) > 1:
        # of both kinds; what it is called first decides
        found = [each for each in found if plain(each.called) == plain(name)]
    if len(found) == 1:
        return found[0].number
    if named:
        raise InputError(
            f"class {shown(name)} may be {', '.join(map(str, named))}; give the "
            f"number, or a kind too, as {named[0].called!r}"
        )
    of_kind = [each for each in classes() if wanted in map(plain, each.kinds)]
    if of_kind:
        raise InputError(
            f"class {shown(name)} is not one of ImageNet's, but {len(of_kind)} of them "
            f"are of that kind, as {of_kind[0]}; `minigen classes` with that word "
            "lists them"
        )
    raise InputError(
        f"class {shown(name)} is not the name of one of ImageNet's {CLASSES} classes; "
        f"{_near(wanted)}`minigen classes WORD` lists those with a word in their names "
        "or kinds"
    )


def search(words: str) -> list[Class]:
    """Return the classes that have these words, in a row, in a name or in a kind.

    All, if there are none. Raises InputError if no class has them.

    >>> [each.number for each in search("retriever")]
    [205, 206, 207, 208, 209]
    """
    wanted = f" {plain(words)} "
    found = [
        each
        for each in classes()
        if not words
        or any(wanted in f" {plain(name)} " for name in (*each.names, *each.kinds))
    ]
    if not found:
        raise InputError(
            f"no class of ImageNet has {shown(words)} in its names or kinds; "
            f"{_near(plain(words))}give one word, such as dog"
        )
    return found


@cache
def _by_name():
    """Return the classes of each plain name and identifier."""
    found = {}
    for each in classes():
        for name in dict.fromkeys(map(plain, (*each.names, each.identifier))):
            found.setdefault(name, []).append(each)
    return found


def _near(wanted):
    """Say which names have those words, else which one is spelt nearly so."""
    names, words = [name for each in classes() for name in each.names], wanted.split()
    found = [name for name in names if words and {*words} <= {*plain(name).split()}]
    if found:
        return f"did you mean {' or '.join(found[:3])}? "
    return near(wanted, dict.fromkeys(map(plain, names)))


def plain(name: str) -> str:
    """Return a name as names are compared.

    >>> plain(" Black-and-tan_coonhound")
    'black and tan coonhound'
    """
    return " ".join(name.casefold().replace("-", " ").replace("_", " ").split())
