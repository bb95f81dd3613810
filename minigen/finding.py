"""From a name or a path to a weight file, and to what it holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from minigen import checks
from minigen.catalogue import TOKENIZERS, WEIGHTS
from minigen.checkpoints import Model, load_model, names
from minigen.checkpoints.load import Saying, identify, open_model
from minigen.errors import InputError
from minigen.families import (
    PRESETS,
    Family,
    GeneratorConfig,
    TokenizerConfig,
    family_of,
)

File: TypeAlias = str | os.PathLike[str]
"""A path, or the name of a model that ships."""


def find(model: File) -> Path:
    """Return the weight file of a name that ships or of a path, or raise InputError.

    A path is that of a file or of a folder: to open a pipe or a device may never end.
    """
    name = checks.path("model", model)
    names = sorted(p.stem for p in WEIGHTS.glob("*.safetensors"))
    if name in names:
        return WEIGHTS / f"{name}.safetensors"
    # neither is what is too long, or cannot be encoded
    if os.path.isfile(name) or os.path.isdir(name):
        return Path(name)
    if name in PRESETS:
        raise InputError(
            f"{name} does not ship: its weights are too large; `minigen models {name}` "
            "says where they are published, what to type once they are downloaded, and "
            "how to draw with stand-in weights instead"
        )
    raise InputError(
        f"{checks.shown(name)} is neither a file nor a model that ships; "
        f"{checks.near(name, names)}choose from {', '.join(names)}, or give a path"
    )


def tokenizer_of(path: Path, kind: Family) -> Model:
    """Return the tokenizer of a generator's file, where none was given.

    kind: the family of the tokenizers of such a generator. A converted one may lie
    beside the file, named as what was released, or as the family. Raises InputError.
    """
    if path.stem in TOKENIZERS and path.parent == WEIGHTS:
        return load_model(WEIGHTS / f"{TOKENIZERS[path.stem]}.safetensors")
    # AiM's files may hold one beside the generator
    if "vq" in names.parts(open_model(path).state):
        return load_model(path, family="vq")
    folder = path if path.is_dir() else path.parent
    for name in (*kind.released, kind.name):
        beside = folder / f"{name}.safetensors"
        if beside.is_file():
            return load_model(beside)
    raise InputError(
        f"no tokenizer was given for {path.name} and none lies beside it; give one "
        "with tokenizer= (in the shell --tokenizer FILE), such as a converted "
        f"{kind.name.upper()}-16"
    )


def config_of(model: File, told: Saying = None) -> GeneratorConfig:
    """Return a generator's configuration, of its name or file: no weights are read.

    told: what no shape shows, as `config` of `load_model`. Raises InputError,
    CheckpointError.
    """
    path = find(model)
    config = identify(open_model(path, config=told), told).config
    check_generator(path, config)
    return config


def check_generator(path: Path, config) -> None:
    """Raise InputError unless a file's configuration is that of a generator."""
    if not isinstance(config, GeneratorConfig):
        said = "generator was expected: give the generator's file"
        if isinstance(config, TokenizerConfig):
            said += ", and this one as its tokenizer"
        name = path.stem if path.parent == WEIGHTS else str(path)
        holds = f"{checks.shown(name)} holds a {family_of(config).name} model"
        raise InputError(f"{holds}; a {said}")
