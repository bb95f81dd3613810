"""One record for each family of models, which all other rooms read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from minigen.families.checks import renamed


@dataclass(frozen=True, eq=False)
class Family:
    """What minigen knows of a family of models.

    name: of the family, in files and messages. config: the class of its configurations.
    presets: configurations that have a name; those that are not in `released` ship, and
    the first of these is the family's small model.
    model: the module of its forward pass; twin: its class in PyTorch. Both are dotted
    names for `pkgutil.resolve_name`, so neither is imported before it is used.

    repository: on GitHub, of what was released; licence: of the code there, by its SPDX
    name, "" where none was found; released: for each preset, the words that follow the
    repository's name where its origin is printed: the file, or why there is none.
    published: the address of released weights, where {file} stands for such a file;
    to_convert: what else `minigen convert` must be told of them.

    rows(config) yields for each array our dotted name, the original's name and the
    original's shape. guess(shapes, told) takes shapes by the original's names, and the
    values of fields that somebody told. It returns {field: value}, and the fields that
    no shape shows: what was told of them, else what follows from that, else what the
    rule says. Of shapes of another family it raises KeyError, ValueError, IndexError or
    ZeroDivisionError. rules: the words for each rule, by the field, "" where whatever
    fits the shapes computes the same; together: fields of
    which each follows from the others, so that they are all told by one. unsure: fields
    that the shapes of a preset leave open, because models of these shapes were released
    with several values.

    of_arguments(arguments) returns the fields that arguments of the original's
    constructor give; of_training(arguments), those that the arguments of its training
    script give, and {argument: fields} for names of sizes, None for one that is not
    known. Both raise ConfigError, or what Python raises of a wrong type.

    dropped: names in a file that are no weights, `*` stands for anything. tied: a file
    may store the same array under a second name; the first name, by the second. part:
    the prefix of its names in a file that holds several models.

    work: of a generator work(config, counts, size, batch), the least work of each step
    with both halves of guidance, which draw so many tokens; size: bytes of a stored
    weight. Of a tokenizer work(config, grid, size, batch), that of making images of a
    grid of codes or latents.

    Generators alone have tokenizer: the family of their tokenizer, "vq" if a token is a
    code, "kl" if it is a vector; settings: how the authors sample; own: what differs
    for each preset that ships, by its name.

    >>> from minigen.families import FAMILIES
    >>> FAMILIES["arpg"].tokenizer, FAMILIES["mar"].tokenizer, FAMILIES["vq"].tokenizer
    ('vq', 'kl', '')
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
    published: str = ""
    to_convert: str = ""
    rules: Mapping[str, str] = field(default_factory=dict)
    together: tuple[tuple[str, ...], ...] = ()
    unsure: tuple[str, ...] = ()
    of_arguments: Callable = partial(renamed, names={})
    of_training: Callable = lambda arguments: ({}, {})
    dropped: tuple[str, ...] = ()
    tied: Mapping[str, str] = field(default_factory=dict)
    part: str = ""
    work: Callable | None = None
    tokenizer: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
