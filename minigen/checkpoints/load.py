"""Load a weight file, converted or not: a configuration and a tree of weights."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigen import strict_json
from minigen.checkpoints import behaviour, names
from minigen.checkpoints.hashing import hash_weights
from minigen.checkpoints.reader import (
    Checkpoint,
    at_key,
    first_part,
    naming,
    open_checkpoint,
    release,
)
from minigen.checkpoints.values import cast, weight_dtype
from minigen.checks import choice
from minigen.errors import CheckpointError, ConfigError
from minigen.families import (
    FAMILIES,
    PRESETS,
    ArinarConfig,
    Config,
    family_of,
    from_dict,
)


@dataclass(frozen=True, eq=False)
class Model:
    """A model ready to run: its configuration and its weights, mapped from the file.

    config: its sizes, one of the classes in `minigen.families`; weights: nested dicts
    and lists of read-only, C-contiguous arrays, in the names and layout of
    `minigen/checkpoints/names.py`; path: the file; key: the dict in it that was read,
    "" for the whole file; unseen: fields of the configuration that follow from no shape
    and were assumed; metadata: texts in the header of a safetensors file. Equal models
    compute the same: what is compared is `hash`.
    """

    config: Config
    weights: dict[str, Any] = field(repr=False)
    path: Path
    key: str = ""
    unseen: tuple[str, ...] = ()
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
    config: Config | None = None,
    family: str | None = None,
) -> Model:
    """Load a model from a converted file or from an original one.

    key: the dict to read, as for `read_checkpoint`; config: what the file holds, where
    names and shapes do not tell all (a number of heads that is no preset's); family:
    which model of a file that holds several, by default the generator. Weights stay
    mapped, so loading takes no time and no memory; those stored in another layout
    (the convolutions of an original file) or unaligned (legacy files) are copied.
    Raises CheckpointError; also where an original of ARINAR's does not show which
    version of the code it is for.
    """
    checkpoint = open_model(path, key, config, family)
    config, unseen, ours = identify(checkpoint, config, family)
    weights = {}
    with naming(checkpoint.path):
        _refuse_to_guess(checkpoint.path, unseen)
        for name, array in ours.items():
            kept = cast(name, array, weight_dtype(name, array.dtype))
            weights[name] = np.require(kept, None, ["C", "A"])
            weights[name].flags.writeable = False
            if weights[name] is not array:
                release(checkpoint)
    found = config, names.unflatten(weights), checkpoint.path, checkpoint.key
    return Model(*found, unseen, checkpoint.metadata)


def open_model(
    path: str | os.PathLike[str],
    key: str | None = None,
    config: Config | None = None,
    family: str | None = None,
) -> Checkpoint:
    """Open a weight file where a model lies in it; `key` of the result says where.

    A model may lie under a prefix of names, as Lightning and latent diffusion write
    it, and where the weights that `open_checkpoint` prefers are none of a model's, the
    others are tried. Where there is no model anywhere, the file is returned as it is.
    Arguments as for `load_model`. Raises CheckpointError.
    """
    first = open_checkpoint(path, key)
    if "minigen.config" in first.metadata or _holds(first.state, config, family):
        return first
    others = () if key is not None else first.keys
    for place in (None, *others):
        try:
            found = first if place is None else at_key(first, place)
        except CheckpointError:
            continue
        if place is not None and _holds(found.state, config, family):
            return found
        inside = {}
        for prefix, state in names.places(found.state):
            within = any(prefix.startswith(f"{other}.") for other in inside)
            if not within and _holds(state, config, family):
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


def _holds(state, config, family):
    # whether a model's names and shapes, all of them, are those of the arrays
    try:
        if config is not None:
            return bool(names.to_ours(config, state))
        found, _ = names.recognise(_state_of(state, family))
    except CheckpointError:
        return False
    return family in (None, family_of(found).name)


def identify(
    checkpoint: Checkpoint, config: Config | None = None, family: str | None = None
) -> tuple[Config, tuple[str, ...], dict[str, NDArray[Any]]]:
    """Return (configuration, fields assumed, {our name: view in our layout}).

    A converted file says what it holds, and must hold it; an original is recognised, or
    held against `config`. Where a folder was opened, what shapes do not show is taken
    from its config.json, if that agrees with all they show; the behaviour of an ARINAR
    model, from the arguments of its training. family: as in `load_model`. Raises
    CheckpointError.
    """
    with naming(checkpoint.path):
        stored = checkpoint.metadata.get("minigen.config")
        if stored is None:
            unseen = ()
            if config is None:
                state = _state_of(checkpoint.state, family)
                config, unseen = names.recognise(state)
                config, unseen = _told(checkpoint.arguments, config, unseen)
                if checkpoint.is_folder:
                    config, unseen = _described(checkpoint.path, config, unseen)
            _check_family(config, family)
            return config, unseen, names.to_ours(config, checkpoint.state)
        found = _parse_config(stored)
        _check_family(found, family)
        if config not in (None, found):
            raise CheckpointError(f"it holds {found}, not {config}")
        names.check_ours(found, checkpoint.state)
        return found, (), checkpoint.state


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


OF_TRAINING = {
    "bilevel_schedule": "inner_schedule", "patch_size": "patch",
    "vae_embed_dim": "channels", "num_sampling_steps": "noise_steps",
}  # fmt: skip
"""Arguments of the originals' training scripts, by the field that each of them is."""

OF_HUB = {
    *("transformers_version", "architectures", "torch_dtype", "dtype", "auto_map"),
    *("_name_or_path", "_class_name", "_diffusers_version"),
}
"""What Hugging Face's libraries add to a model's config.json."""


def _told(arguments, config, unseen):
    # what the arguments of the training show, where no shape does
    said = {field: arguments[n] for n, field in OF_TRAINING.items() if n in arguments}
    if "image_size" in arguments and "downsample_size" in arguments:
        said["tokens"] = arguments["image_size"], arguments["downsample_size"]
    said = {field: value for field, value in said.items() if field in unseen}
    try:
        if "tokens" in said:
            size, factor = said["tokens"]
            said["tokens"] = (size // factor) ** 2
        if "noise_steps" in said:
            # a text there
            said["noise_steps"] = int(said["noise_steps"])
        told = replace(config, **said)
        if names.manifest(told) != names.manifest(config):
            raise ConfigError(f"{said} gives other shapes than those of the weights")
        config, unseen = told, tuple(name for name in unseen if name not in said)
        return behaviour.settle(config, unseen, behaviour.shown(arguments))
    except (ConfigError, TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(
            f"the arguments of its training are wrong: {error}"
        ) from None


def _described(path, config, unseen):
    # what a config.json says is believed only of the fields that are unseen
    if not unseen or not hasattr(config, "from_upstream"):
        return config, unseen
    try:
        arguments = json.loads((path.parent / "config.json").read_text())
        kept = {n: value for n, value in arguments.items() if n not in OF_HUB}
        said = type(config).from_upstream(kept)
    except (OSError, ConfigError, ValueError, TypeError, AttributeError,
            ArithmeticError, RecursionError):  # fmt: skip
        return config, unseen
    seen = vars(config).keys() - set(unseen)
    if any(getattr(said, name) != getattr(config, name) for name in seen):
        return config, unseen
    if names.manifest(said) != names.manifest(config):
        return config, unseen
    if "behaviour" in unseen and not behaviour.DECISIVE & set(arguments):
        return replace(said, behaviour=config.behaviour), ("behaviour",)
    return said, ()


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
