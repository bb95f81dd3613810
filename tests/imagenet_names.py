"""Make `minigen/imagenet.tsv` again: names of ImageNet's classes out of WordNet 3.0.

python -m tests.imagenet_names data.noun synsets.txt > minigen/imagenet.tsv

data.noun: of WordNet 3.0 (https://wordnet.princeton.edu, Debian's wordnet-base; its
format is told in wndb(5WN)), where an identifier such as n02099601 is n for noun and
the byte at which it stands; synsets.txt: the 1000 identifiers of ImageNet's challenge
of 2012, in the order of its classes, one a line.
"""

from __future__ import annotations

import sys
from pathlib import Path

TOP = ("entity", "physical entity", "object", "whole", "matter", "abstraction")
"""Kinds that say nothing of a class."""


def read(content: bytes, at: int) -> tuple[list[str], list[int]]:
    """Return the names of the synset at a byte, and where those above it stand."""
    fields = content[at : content.index(b"\n", at)].decode().split(" ")
    if int(fields[0]) != at:
        raise ValueError(f"no synset stands at {at}: is this WordNet 3.0?")
    count = int(fields[3], 16)
    names = [name.replace("_", " ") for name in fields[4 : 4 + 2 * count : 2]]
    rest = fields[5 + 2 * count :]
    pointers = zip(rest[0::4], rest[1::4], strict=False)
    return names, [int(where) for kind, where in pointers if kind in ("@", "@i")]


def kinds(content: bytes, above: list[int]) -> list[str]:
    """Return the first name of every synset above some, the nearest first."""
    found, left = {}, list(above)
    while left:
        (name, *_), further = read(content, left.pop(0))
        found[name] = None
        left += further
    return [name for name in found if name not in TOP]


def main(nouns: str, synsets: str) -> None:
    """Print a line for each class: its identifier, its names, its kinds."""
    content = Path(nouns).read_bytes()
    for identifier in Path(synsets).read_text().split():
        names, above = read(content, int(identifier[1:]))
        line = identifier, ", ".join(names), ", ".join(kinds(content, above))
        print("\t".join(line))


if __name__ == "__main__":
    main(*sys.argv[1:])
