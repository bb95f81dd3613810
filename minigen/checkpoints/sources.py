"""What no shape shows of a model: who says it, in which order, and in which words.

Heads, tokens or the base of the rotation leave no trace in the shapes of weights. They
come from the first that tells them of: options (`--heads 4`); a configuration that is
given (`--config FILE`); the file's own configuration, if minigen wrote it, else the
arguments of its training; a config.json beside it; a preset of these shapes, by the
name of the file where several have them; a rule. Each says so in a line.

What shapes do show may be told too. It must then be what they show: a configuration
that does not fit the weights is an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypedDict

from minigen import strict_json
from minigen.checks import near, path, shown
from minigen.errors import CheckpointError, ConfigError, InputError
from minigen.families import FAMILIES, Config, Family, to_dict
from minigen.families.checks import check_field

LONGEST = 2**20
"""Bytes of a file with a configuration."""

OF_HUB = {
    *("transformers_version", "architectures", "torch_dtype", "dtype", "auto_map"),
    *("_name_or_path", "_class_name", "_diffusers_version", "family"),
}
"""What Hugging Face's libraries, and ours, write beside the fields."""


USERS = "option", "config"
"""Kinds of sources that are the caller's."""


class Fields(TypedDict, total=False):
    """Fields that no shape shows, as the calls that open a model take them."""

    heads: int | None
    key_heads: int | None
    encoder_heads: int | None
    decoder_heads: int | None
    classes: int | None
    no_class: bool | None
    tokens: int | None
    multiple_of: int | None
    hidden_multiplier: float | None
    rope_base: float | None
    norm_eps: float | None
    state_size: int | None
    groups: int | None
    norm_first: bool | None
    step_min: float | None
    step_max: float | None
    channels: int | None
    patch: int | None
    inner_schedule: str | None
    behaviour: str | None
    noise_steps: int | None
    unit_codes: bool | None
    scale: float | None


@dataclass(frozen=True)
class Source:
    """Where a field that no shape shows came from.

    value: of the field; kind: "option", "config", "own", "training", "beside",
    "preset", "shapes" where whatever fits them computes the same, or "rule"; words: the
    same for people.
    """

    value: bool | int | float | str | None
    kind: str
    words: str


@dataclass(frozen=True, eq=False)
class Given:
    """What somebody says of a model, in our names of fields or in the original's.

    kind: as of a `Source`; words: who says it, {} stands for the name of a field.
    """

    kind: str
    words: str
    values: Mapping[str, Any]

    def of(self, name: str) -> str:
        """Return who says the field `name`."""
        return self.words.replace("{}", name.replace("_", "-"))


@dataclass(frozen=True, eq=False)
class Telling:
    """What a user says of a model. family: the one it is to be of, None for any."""

    given: tuple[Given, ...] = ()
    family: str | None = None


@dataclass(frozen=True, eq=False)
class Settled:
    """A configuration, the sources of what no shape shows, and words on what was told
    and is not used."""

    config: Any
    sources: dict[str, Source] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    @property
    def unseen(self) -> tuple[str, ...]:
        """The fields that a rule settled."""
        return tuple(n for n, source in self.sources.items() if source.kind == "rule")


def telling(
    config: Config | Mapping[str, Any] | str | os.PathLike[str] | Telling | None,
    options: Mapping[str, Any],
    words: str = "given",
) -> Telling:
    """Return what a user says of a model. Raises InputError.

    config: a configuration, fields of one by name, or a JSON file with those; options:
    `Fields`, None for what is not said; words: who says an option, as of `Given`.
    """
    if isinstance(config, Telling):
        return config
    classes = {family.config for family in FAMILIES.values()}
    known = {each.name for kind in classes for each in fields(kind)}
    for name in options:
        if name not in known:
            raise InputError(
                f"{shown(name)} is no field of a configuration; "
                f"{near(name, known)}choose from {', '.join(Fields.__annotations__)}"
            )
    told = {name: value for name, value in options.items() if value is not None}
    given = (Given("option", words, told),) if told else ()
    if config is None:
        return Telling(given)
    if type(config) in classes:
        values = to_dict(config)
        return Telling((*given, Given("config", "given", values)), values["family"])
    said, family = "given", None
    if not isinstance(config, Mapping):
        file = path("config", config)
        said, config = f"from --config {file}", read_json(Path(file))
    if "family" in config:
        family = config["family"]
    return Telling((*given, Given("config", said, config)), family)


def read_json(file: Path) -> dict[str, Any]:
    """Return what a JSON file says of a configuration. Raises InputError."""
    try:
        with open(file, "rb") as opened:
            text = opened.read(LONGEST + 1)
        short = len(text) <= LONGEST
        values = strict_json.parse(text.decode(), finite=False) if short else None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(
            f"{file} is no configuration: expected a JSON object of at most "
            f'{LONGEST} bytes, such as {{"heads": 4}}'
        )
    return values


def settle(
    family: Family,
    shapes: Mapping,
    given: Iterable[Given],
    presets: Mapping[str, Any],
    differences: Callable[[Any, Mapping], str],
) -> Settled:
    """Return the configuration of weights of a family, and where it came from.

    shapes: by the original's names; given: what is said of it, the first that tells a
    field is believed; presets: those of these shapes, the preferred first, by name;
    differences(config, shapes): how the shapes of a configuration differ from these.
    Raises CheckpointError where what is told makes no sense or is not what shapes show,
    InputError where a user told it and it makes no sense, and of shapes of another
    family what its `guess` raises.
    """
    seen, names = family.guess(shapes, {})
    told, unused = {}, []
    for each in given:
        values, sizes = _understood(family, each, unused)
        for words, size in sizes.items():
            if size is None or any(
                seen[n] != v for n, v in size.items() if n not in names
            ):
                why = "is not known" if size is None else "is of another size"
                unused.append(f"{words}, {each.of('')}: it {why}")
            else:
                values = size | values
        _add(told, values, each, family)
    name, preset = next(iter(presets.items()), ("", None))
    if preset:
        # what all of them say
        alike = {
            n: getattr(preset, n)
            for n in names
            if n not in family.unsure
            and len({getattr(other, n) for other in presets.values()}) == 1
        }
        _add(told, alike, Given("preset", f"from the preset {name}", alike), family)
    # what a guess leaves out counts for no model of these shapes
    open_ = {n: v for n, (v, _) in told.items() if n in names or n not in seen}
    seen, names = family.guess(shapes, open_)
    if preset:
        seen |= {n: getattr(preset, n) for n in family.unsure}
    for name, (value, each) in told.items():
        if name in open_ or value == seen[name]:
            continue
        if each.kind == "training":
            # of another training, or of names that mean something else there
            unused.append(
                f"{name} {shown(value)}, {each.of(name)}: the weights show "
                f"{shown(seen[name])}"
            )
        else:
            raise CheckpointError(
                f"{name} is {shown(value)}, {each.of(name)}, and the weights show "
                f"{shown(seen[name])}; if the weights are right, tell it that with "
                "--config"
            )
    said = [f"{name} {shown(value)} {each.of(name)}"
            for name, (value, each) in told.items()
            if name in names and each.kind not in ("preset", "own")]  # fmt: skip
    said = f" (as told: {', '.join(said[:8])})" if said else ""
    try:
        config = family.config(**{**seen, **open_})
    except ConfigError as error:
        raise CheckpointError(
            f"it resembles a model of the family {family.name}, but {error}{said}"
        ) from None
    if found := differences(config, shapes):
        raise CheckpointError(f"it resembles {config}{said}, but {found}")
    return Settled(config, _sources(family, config, names, told), tuple(unused))


def _understood(family, given, unused):
    # the fields that were told, in the types of the configuration; sizes by their names
    kind, values, sizes, name = family.config, dict(given.values), {}, ""
    own = {each.name for each in fields(kind)}
    try:
        if given.kind == "training":
            values, sizes = family.of_training(values)
        elif given.kind in ("config", "beside"):
            for name in sorted(OF_HUB & set(values) - {"family"}):
                unused.append(f"{name}, {given.of(name)}: it says nothing of the model")
            values = {n: v for n, v in values.items() if n not in OF_HUB}
            ours = {n: values.pop(n) for n in own & set(values)}
            strict = given.kind == "config"
            values = ours | _renamed(family, values, given, unused, strict)
        for name in values:
            if name not in own:
                raise ConfigError(
                    f"{shown(name)} is no field of a model of the family "
                    f"{family.name}; {near(name, own)}its fields are {', '.join(own)}"
                )
        for name, value in values.items():
            values[name] = check_field(kind, name, value)
    except (ConfigError, ValueError, TypeError, ArithmeticError, LookupError,
            AttributeError, RecursionError) as error:  # fmt: skip
        if given.kind == "training":
            words = f"the arguments of its training are wrong: {error}"
            raise CheckpointError(words) from None
        # of what the user says it is bad usage, of what a file says a bad file
        wrong = InputError if given.kind in USERS else CheckpointError
        raise wrong(f"{error} ({given.of(name)})") from None
    return values, sizes


def _renamed(family, values, given, unused, strict):
    # of a file that nobody named what is unknown may be anybody's, unless it is a slip
    strange = []
    while True:
        try:
            found = family.of_arguments(values)
        except ConfigError as error:
            name = getattr(error, "strange", None)
            if strict or name not in values:
                raise
            if get_close_matches(name, error.known, 1, 0.85):
                raise
            strange.append(name)
            values = {n: v for n, v in values.items() if n != name}
        else:
            break
    if strange and not values:
        unused.append(f"{given.of('')}: it is of no model of the family {family.name}")
    elif strange:
        said = ", ".join(map(shown, strange[:5]))
        unused.append(f"{said}, {given.of('')}: of no argument of the original's")
    return found


def _add(told, values, given, family):
    # each field once, and of fields that follow from each other all from one
    taken = {n for group in family.together if set(group) & set(told) for n in group}
    for name, value in values.items():
        if name not in told and name not in taken:
            told[name] = value, given


def _sources(family, config, names, told):
    found = {}
    for name in names:
        value = getattr(config, name)
        if name in told:
            each = told[name][1]
            found[name] = Source(value, each.kind, each.of(name))
        elif any(set(group) & set(told) for group in family.together if name in group):
            group = next(g for g in family.together if name in g)
            first = next(n for n in group if n in told)
            each = told[first][1]
            found[name] = Source(value, each.kind, f"follows from {first}")
        elif family.rules[name]:
            words = f"a rule of {family.rules[name]}; {another(name, value)}"
            found[name] = Source(value, "rule", words)
        else:
            words = "from the shapes; whatever fits them computes the same"
            found[name] = Source(value, "shapes", words)
    return found


def another(name: str, value: Any) -> str:
    """Return what to do if the value of a field is not this one.

    >>> another("key_heads", 3)
    'say --key-heads N if it is another'
    """
    sign = "NAME" if isinstance(value, str) else "N"
    return f"say --{name.replace('_', '-')} {sign} if it is another"


def lines(sources: Mapping[str, Source], unused: Iterable[str] = ()) -> list[str]:
    """Return a line for each field that no shape shows, and for what is not used.

    >>> lines({"heads": Source(4, "option", "from --heads")}, ["dtype: says nothing"])
    ['heads 4: from --heads', 'not used: dtype: says nothing']
    """
    found = [
        f"{name} {source.value}: {source.words}"
        for name, source in sources.items()
        # a multiplier that there is none of
        if source.value is not None
    ]
    return found + [f"not used: {words}" for words in unused]
