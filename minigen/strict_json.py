"""JSON that strangers wrote: read only where it says one thing."""

from __future__ import annotations

import json
import math

DIGITS = 40
"""The most digits of an integer: one of very many takes long to read."""


def parse(text: str, finite: bool = True):
    """Return the value of a JSON text, or raise ValueError with the reason.

    Beside what is no JSON, refused are: a name that stands in one table twice, of which
    readers take one or the other; integers of more than DIGITS digits; what is nested
    too deep; and NaN and infinity, unless finite=False: then a later check names them.

    >>> parse('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    >>> parse('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: the name 'a' stands in it twice
    """

    def number(text):
        if finite and not math.isfinite(float(text)):
            raise ValueError(f"{text[:DIGITS]} is no finite number")
        return float(text)

    numbers = {"parse_float": number, "parse_constant": number, "parse_int": _integer}
    try:
        return json.loads(text, object_pairs_hook=_once, **numbers)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _once(pairs):
    table = dict(pairs)
    if len(table) < len(pairs):
        seen = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"the name {twice[:80]!r} stands in it twice")
    return table


def _integer(text):
    if len(text) > DIGITS:
        raise ValueError(f"it holds a number of {len(text)} digits")
    return int(text)
