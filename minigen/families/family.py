"""One record for each family of models, which all other rooms read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False)
class Family:
    """What minigen knows of a family of models.

    name: as messages and files have it; config: the class of its configurations;
    presets: those that have a name, the one that ships last; model: the module of its
    functions over an op table; twin: its class in PyTorch. These two are names, for
    `pkgutil.resolve_name`, since neither is imported before it is used.

    repository: on GitHub, that released it; licence: of the code there, by its SPDX
    name, "" where none was found; released: what of it, by preset: words that follow
    the repository's name.

    rows: of a configuration: yields our dotted name of each array, the original's, and
    the original's shape; guess: of the shapes in a file, by the original's names: the
    configuration they tell of, and the fields they do not show; unsure: fields that the
    shapes of a preset leave open, as models of those shapes were released with several
    values; dropped: names that may stand in a file too, `*` in them for anything; tied:
    names of arrays that stand in a file once more under others, or do not; part: what
    precedes its names where a file holds several models.

    work: what it needs at least (`minigen.bench.limit`). Of generators alone:
    tokenizer: the family of its tokenizer, which says what a token is, a code ("vq") or
    a vector ("kl"); settings: how its authors sample; own: how that differs for what
    ships, by preset.
    """

    name: str
    config: type
    presets: Mapping[str, Any]
    model: str
    twin: str
    rows: Callable
    guess: Callable
    repository: str = ""
    licence: str = ""
    released: Mapping[str, str] = field(default_factory=dict)
    unsure: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    tied: Mapping[str, str] = field(default_factory=dict)
    part: str = ""
    work: Callable | None = None
    tokenizer: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
