"""Load a weight file, converted or not: a configuration and a tree of weights."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from minigen import strict_json
from minigen.checkpoints import names
from minigen.checkpoints.hashing import hash_weights
from minigen.checkpoints.reader import (
    Checkpoint,
    at_key,
    first_part,
    naming,
    open_checkpoint,
    release,
)
from minigen.checkpoints.sources import (
    USERS,
    Fields,
    Given,
    Source,
    Telling,
    another,
    read_json,
    telling,
)
from minigen.checkpoints.values import cast, weight_dtype
from minigen.checks import choice
from minigen.errors import CheckpointError, ConfigError, InputError
from minigen.families import (
    FAMILIES,
    PRESETS,
    ArinarConfig,
    Config,
    behaviour,
    family_of,
    from_dict,
    to_dict,
)

if TYPE_CHECKING:
    # Python 3.10 has none of its own
    from typing_extensions import Unpack


Saying: TypeAlias = Config | Mapping[str, Any] | str | os.PathLike[str] | Telling | None
"""What a caller says of a model: a configuration, fields of one by name, a JSON file
with those, in our names or in the original's, or nothing."""


@dataclass(frozen=True, eq=False)
class Model:
    """A model ready to run: its configuration and its weights, mapped from the file.

    config: its sizes, one of the classes in `minigen.families`; weights: nested dicts
    and lists of read-only, C-contiguous arrays, in the names and layout of
    `minigen/checkpoints/names.py`; path: the file; key: the dict in it that was read,
    "" for the whole file; sources: where each field came from that follows from no
    shape; unused: what was told of the model and is not used, in words; metadata: texts
    in the header of a safetensors file. Equal models compute the same: what is compared
    is `hash`.

    >>> from minigen.catalogue import WEIGHTS
    >>> model = load_model(WEIGHTS / "arpg-mnist.safetensors")
    >>> model.name, model.family, model.weights["embeddings"].shape  # 64 + 10 + 3 rows
    ('arpg-mnist', 'arpg', (77, 128))
    """

    config: Config
    weights: dict[str, Any] = field(repr=False)
    path: Path
    key: str = ""
    sources: dict[str, Source] = field(default_factory=dict, repr=False)
    unused: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict, repr=False)

    def __eq__(self, other: object) -> bool:
        return self.hash == other.hash if isinstance(other, Model) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.hash)

    @property
    def family(self) -> str:
        """A name of `minigen.families.FAMILIES`."""
        return family_of(self.config).name

    @property
    def unseen(self) -> tuple[str, ...]:
        """The fields of the configuration that were assumed, by a rule."""
        return tuple(n for n, source in self.sources.items() if source.kind == "rule")

    @property
    def told(self) -> dict[str, Any]:
        """The fields that came from the caller, by name."""
        return {n: s.value for n, s in self.sources.items() if s.kind in USERS}

    @property
    def name(self) -> str:
        """The preset of this configuration, or "custom"."""
        return preset_of(self.config)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of configuration and weights: see `hash_weights`.

        A converted file carries it; else all weights are read when it is first asked
        for.
        """
        stored = self.metadata.get("minigen.hash", "")
        if re.fullmatch("[0-9a-f]{64}", stored):
            return stored
        return hash_weights(self.config, names.flatten(self.weights))


def load_model(
    path: str | os.PathLike[str],
    key: str | None = None,
    config: Saying = None,
    family: str | None = None,
    **options: Unpack[Fields],
) -> Model:
    """Load a model from a converted file or from an original one.

    key: the dict to read, as for `read_checkpoint`; config, options: what no shape
    shows, such as heads=4, where the file does not say it itself (`identify`); family:
    which model of a file that holds several, by default the generator. Weights stay
    mapped, so loading takes no time and no memory; those stored in another layout
    (the convolutions of an original file) or unaligned (legacy files) are copied.
    Raises CheckpointError; also where an original of ARINAR's does not show which
    version of the code it is for.

    >>> from minigen.catalogue import WEIGHTS
    >>> load_model(WEIGHTS / "vq-mnist.safetensors").config.codes
    64
    """
    told = telling(config, options)
    checkpoint = open_model(path, key, told, family)
    found = identify(checkpoint, told, family)
    weights = {}
    with naming(checkpoint.path):
        _refuse_to_guess(checkpoint.path, found.unseen)
        for name, array in found.weights.items():
            kept = cast(name, array, weight_dtype(name, array.dtype))
            weights[name] = np.require(kept, None, ["C", "A"])
            weights[name].flags.writeable = False
            if weights[name] is not array:
                release(checkpoint)
    metadata = checkpoint.metadata
    if not found.is_own:
        # its hash is that of what it says itself
        metadata = {n: v for n, v in metadata.items() if n != "minigen.hash"}
    return Model(
        found.config, names.unflatten(weights), checkpoint.path, checkpoint.key,
        found.sources, found.unused, metadata,
    )  # fmt: skip


def open_model(
    path: str | os.PathLike[str],
    key: str | None = None,
    config: Saying = None,
    family: str | None = None,
) -> Checkpoint:
    """Open a weight file where a model lies in it; `key` of the result says where.

    A model may lie under a prefix of names, as Lightning and latent diffusion write
    it, and where the weights that `open_checkpoint` prefers are none of a model's, the
    others are tried. Where there is no model anywhere, the file is returned as it is.
    Arguments as for `load_model`. Raises CheckpointError.
    """
    first, family = open_checkpoint(path, key), family or telling(config, {}).family
    if "minigen.config" in first.metadata or _holds(first.state, family):
        return first
    others = () if key is not None else first.keys
    for place in (None, *others):
        try:
            found = first if place is None else at_key(first, place)
        except CheckpointError:
            continue
        if place is not None and _holds(found.state, family):
            return found
        inside = {}
        for prefix, state in names.places(found.state):
            within = any(prefix.startswith(f"{other}.") for other in inside)
            if not within and _holds(state, family):
                inside[prefix] = state
        if inside:
            keys = [".".join(filter(None, (found.key, prefix))) for prefix in inside]
            state = next(iter(inside.values()))
            prefix = next(iter(inside))
            return replace(
                found, key=keys[0], keys=(*keys[1:], *found.keys), state=state,
                beside={**found.beside, **_outside(found, prefix)},
            )  # fmt: skip
    return first


def _outside(checkpoint, prefix):
    # how many arrays have names without the prefix, by the first part of their names
    names = (n for n in checkpoint.state if f".{prefix}." not in f".{n}")
    firsts = Counter(map(first_part, names))
    return {".".join(filter(None, (checkpoint.key, n))): c for n, c in firsts.items()}


def left_out(checkpoint: Checkpoint, config: Config) -> dict[str, int]:
    """Return how many arrays of a file were not read as weights, by where they lie."""
    here = names.left_out(config, checkpoint.state)
    return {**here, **checkpoint.beside}


def _holds(state, family):
    # whether a model's names and shapes, all of them, are those of the arrays
    try:
        found, _ = names.recognise(_state_of(state, family))
    except CheckpointError:
        return False
    return family in (None, family_of(found).name)


@dataclass(frozen=True, eq=False)
class Identified:
    """What a weight file holds.

    weights: {our name: view in our layout}; sources, unused: as of a `Model`; is_own:
    whether it is a converted file, and its configuration the one that it says.
    """

    config: Config
    weights: dict[str, NDArray[Any]]
    sources: dict[str, Source] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    is_own: bool = False

    @property
    def unseen(self) -> tuple[str, ...]:
        """The fields of the configuration that were assumed, by a rule."""
        return tuple(n for n, source in self.sources.items() if source.kind == "rule")


def identify(
    checkpoint: Checkpoint, config: Saying = None, family: str | None = None
) -> Identified:
    """Return what a file holds, and where each field came from that no shape shows.

    In the order in which they are believed: config; what a converted file says itself,
    or the arguments of a training that lie beside the weights; a config.json beside the
    file; a preset of these shapes; a rule. A converted file must hold what it says, and
    what is told must be what shapes show. family: as in `load_model`. Raises
    CheckpointError; InputError where `config` makes no sense.
    """
    told = telling(config, {})
    given, family = list(told.given), family or told.family
    stored = checkpoint.metadata.get("minigen.config")
    with naming(checkpoint.path):
        if stored is not None:
            return _own(checkpoint, _parse_config(stored), given, family)
        if checkpoint.arguments:
            words = "from the file's training arguments"
            given.append(Given("training", words, checkpoint.arguments))
        beside, unused = _beside(checkpoint.path)
        state = _state_of(checkpoint.state, family)
        found = names.settled(state, (*given, *beside), checkpoint.path.name)
        _check_family(found.config, family)
        ours = names.to_ours(found.config, checkpoint.state)
    return Identified(found.config, ours, found.sources, (*found.unused, *unused))


def _own(checkpoint, config, given, family):
    # a converted file: what it says, but for what it is told
    _check_family(config, family)
    names.check_ours(config, checkpoint.state)
    assumed = checkpoint.metadata.get("minigen.assumed", "").split()
    own = to_dict(config)
    own.pop("family")
    own = Given("own", "from the file's own configuration", own)
    found = names.settled(names.stand_in(config), (*given, own))
    sources = {}
    for name, source in found.sources.items():
        if name in assumed and source.kind == "own":
            words = f"a rule's, when it was converted; {another(name, source.value)}"
            source = replace(source, kind="rule", words=words)
        sources[name] = source
    is_own = found.config == config
    return Identified(found.config, checkpoint.state, sources, found.unused, is_own)


def _beside(path):
    # what the config.json beside a file says, and words on one that is none
    file = path.parent / "config.json"
    if not file.is_file():
        return (), ()
    try:
        values = read_json(file)
    except InputError as error:
        return (), (str(error),)
    return (Given("beside", "from config.json beside it", values),), ()


def preset_of(config: Config) -> str:
    """Return the name of the preset that equals `config`, or "custom"."""
    return next((name for name, c in PRESETS.items() if c == config), "custom")


def _state_of(state, family):
    # what a file holds of one family, None for the generator or the only one
    if family is None:
        return state
    choice("family", family, FAMILIES, error=CheckpointError)
    found = names.parts(state)
    if len(found) > 1 and family not in found:
        raise CheckpointError(
            f"it holds no {family} model among others; it holds {', '.join(found)}"
        )
    # what the only model is will be seen, and held against the family
    return found.get(family, state)


def _check_family(config, family):
    found = family_of(config).name
    if family is not None and found != family:
        raise CheckpointError(
            f"it holds no {family} model, but one of the family {found}; "
            "leave the family out"
        )


def _refuse_to_guess(path, unseen):
    if "behaviour" in unseen:
        raise CheckpointError(
            "nothing in it shows which version of ARINAR's code it is for, and a wrong "
            f"one gives wrong pictures; run `minigen convert {path} OUT.safetensors "
            f"--behaviour NAME` and load what it writes: {behaviour.MEANING}"
        )


def _parse_config(text):
    try:
        values = strict_json.parse(text, finite=False)
        config = from_dict(values)
    except (ConfigError, ValueError, TypeError, RecursionError, ArithmeticError) as e:
        raise CheckpointError(
            f"its configuration is none ({str(e)[:200]}); convert the original again"
        ) from None
    if type(config) is ArinarConfig and "behaviour" not in values:
        raise CheckpointError(
            "its configuration names no behaviour; convert the original again with "
            f"--behaviour: {behaviour.MEANING}"
        )
    return config
