"""Model configurations as frozen dataclasses, and the named presets.

`from_upstream` takes the constructor arguments of the original PyTorch code, so that
the `config` of a golden case or of a training script can be passed as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from minigen.config.aim import AimConfig, Mamba1Config, Mamba2Config
from minigen.config.arinar import ArinarConfig
from minigen.config.arpg import ArpgConfig
from minigen.config.judge import JudgeConfig
from minigen.config.kl import KlConfig
from minigen.config.llamagen import GptConfig
from minigen.config.mar import MarConfig
from minigen.config.presets import PRESETS, Config, GeneratorConfig, TokenizerConfig
from minigen.config.vq import VqConfig
from minigen.errors import ConfigError

__all__ = [
    "AimConfig",
    "ArinarConfig",
    "ArpgConfig",
    "Config",
    "FAMILIES",
    "GeneratorConfig",
    "GptConfig",
    "JudgeConfig",
    "KlConfig",
    "Mamba1Config",
    "Mamba2Config",
    "MarConfig",
    "PRESETS",
    "TokenizerConfig",
    "VqConfig",
    "from_dict",
    "to_dict",
]

FAMILIES: dict[str, type[Config]] = {
    "arpg": ArpgConfig,
    "llamagen": GptConfig,
    "aim": AimConfig,
    "arinar": ArinarConfig,
    "mar": MarConfig,
    "vq": VqConfig,
    "kl": KlConfig,
    "judge": JudgeConfig,
}
"""The configuration class of each model family."""


def to_dict(config: Config) -> dict[str, Any]:
    """Return `config` as a JSON-ready dictionary with its family beside the fields."""
    family = next(name for name, cls in FAMILIES.items() if type(config) is cls)
    return {"family": family, **asdict(config)}


def from_dict(values: Mapping[str, Any]) -> Config:
    """Rebuild a configuration from what `to_dict` returned. Raises ConfigError."""
    values = dict(values)
    family = values.pop("family", None)
    if family not in FAMILIES:
        raise ConfigError(
            f"the family {family!r} is not known; known families: {', '.join(FAMILIES)}"
        )
    try:
        return FAMILIES[family](**values)
    except TypeError as error:
        raise ConfigError(f"the configuration of family {family!r}: {error}") from None
