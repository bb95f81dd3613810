"""The families of models: one record each, their configurations, the named presets.

The file of a family holds all that minigen knows of it except its functions over an op
table (`minigen/models`) and its twin in PyTorch (`minigen/training`).

`from_upstream` of a configuration takes the constructor arguments of the original
PyTorch code: those of a golden case or of a training script.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pkgutil import resolve_name
from types import ModuleType
from typing import Any, TypeAlias

from minigen.errors import ConfigError
from minigen.families.aim import AIM, AimConfig
from minigen.families.arinar import ARINAR, ArinarConfig
from minigen.families.arpg import ARPG, ArpgConfig
from minigen.families.family import Family
from minigen.families.judge import JUDGE, JudgeConfig
from minigen.families.kl import KL, KlConfig
from minigen.families.llamagen import LLAMAGEN, GptConfig
from minigen.families.mamba import Mamba1Config, Mamba2Config
from minigen.families.mar import MAR, MarConfig
from minigen.families.vq import VQ, VqConfig

__all__ = [
    "AimConfig", "ArinarConfig", "ArpgConfig", "Config", "FAMILIES", "Family",
    "GeneratorConfig", "GptConfig", "JudgeConfig", "KlConfig", "Mamba1Config",
    "Mamba2Config", "MarConfig", "PRESETS", "TokenizerConfig", "VqConfig",
    "family_of", "from_dict", "module_of", "to_dict",
]  # fmt: skip

GeneratorConfig: TypeAlias = (
    ArpgConfig | GptConfig | AimConfig | ArinarConfig | MarConfig
)
"""The sizes of a model that draws tokens."""

TokenizerConfig: TypeAlias = VqConfig | KlConfig
"""The sizes of a model between images and tokens."""

Config: TypeAlias = GeneratorConfig | TokenizerConfig | JudgeConfig
"""The sizes of any model."""

FAMILIES: dict[str, Family] = {
    family.name: family for family in (ARPG, LLAMAGEN, AIM, ARINAR, MAR, VQ, KL, JUDGE)
}
"""The record of each family, by its name."""

PRESETS: dict[str, Config] = {
    name: config
    # released models first, then those that ship, trained on MNIST padded to 32 x 32
    for ships in (False, True)
    for family in FAMILIES.values()
    for name, config in family.presets.items()
    if (name not in family.released) == ships
}
"""Every named configuration, by the name `minigen models` prints."""


def family_of(config: Config) -> Family:
    """Return the record of a configuration's family.

    >>> family_of(ArpgConfig()).name, family_of(VqConfig()).name
    ('arpg', 'vq')
    """
    return next(f for f in FAMILIES.values() if type(config) is f.config)


@cache
def module_of(config: Config) -> ModuleType:
    """Return the functions of a model over an op table: a module of minigen.models.

    >>> module_of(ArpgConfig()).__name__
    'minigen.models.arpg'
    """
    return resolve_name(family_of(config).model)


LATER = {"control": 0}
"""Fields that came later than files, with the value that stands for their absence."""


def to_dict(config: Config) -> dict[str, Any]:
    """Return `config` as a JSON-ready dictionary with its family beside the fields.

    A field of `LATER` is left out where it says nothing, so that what is hashed and
    written of a model stays the same.

    >>> to_dict(JudgeConfig())["family"], to_dict(JudgeConfig())["features"]
    ('judge', 64)
    """
    values = asdict(config)
    kept = {n: v for n, v in values.items() if n not in LATER or v != LATER[n]}
    return {"family": family_of(config).name, **kept}


def from_dict(values: Mapping[str, Any]) -> Config:
    """Return the configuration of a dictionary from `to_dict`, or from a file.

    Raises ConfigError.

    >>> from_dict({"family": "arpg", "width": 1280, "heads": 20}).head_size
    64
    >>> from_dict(to_dict(ArpgConfig())) == ArpgConfig()
    True
    """
    values = dict(values)
    family = values.pop("family", None)
    if family not in FAMILIES:
        raise ConfigError(
            f"the family {family!r} is not known; known families: {', '.join(FAMILIES)}"
        )
    try:
        return FAMILIES[family].config(**values)
    except (TypeError, ConfigError) as error:
        raise ConfigError(
            f"{error}: the file is damaged or was edited, so convert the model again"
        ) from None
