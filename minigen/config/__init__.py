"""Model configurations as frozen dataclasses, and the named presets.

`from_upstream` takes the constructor arguments of the original PyTorch code, so that
the `config` of a golden case or of a training script can be passed as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeAlias

from minigen.config import aim, arinar, arpg, judge, kl, llamagen, mar, vq
from minigen.config.aim import AimConfig, Mamba1Config, Mamba2Config
from minigen.config.arinar import ArinarConfig
from minigen.config.arpg import ArpgConfig
from minigen.config.judge import JudgeConfig
from minigen.config.kl import KlConfig
from minigen.config.llamagen import GptConfig
from minigen.config.mar import MarConfig
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

GeneratorConfig: TypeAlias = (
    ArpgConfig | GptConfig | AimConfig | ArinarConfig | MarConfig
)
TokenizerConfig: TypeAlias = VqConfig | KlConfig
Config: TypeAlias = GeneratorConfig | TokenizerConfig | JudgeConfig

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

PRESETS: dict[str, Config] = {
    **arpg.PRESETS, **llamagen.PRESETS, **aim.PRESETS, **arinar.PRESETS, **mar.PRESETS,
    **vq.PRESETS, **kl.PRESETS, **judge.PRESETS,
}  # fmt: skip
# the small models, trained on MNIST padded to 32 x 32, follow the large ones
PRESETS = dict(sorted(PRESETS.items(), key=lambda preset: "mnist" in preset[0]))
"""Every named configuration, by the name `minigen models` prints."""

MOST = 2**20
"""The largest whole number in a configuration; the released ones have 50 thousand."""

DEEPEST = 2**10
"""The most layers or blocks."""


def to_dict(config: Config) -> dict[str, Any]:
    """Return `config` as a JSON-ready dictionary with its family beside the fields."""
    family = next(name for name, cls in FAMILIES.items() if type(config) is cls)
    return {"family": family, **asdict(config)}


def from_dict(values: Mapping[str, Any]) -> Config:
    """Rebuild a configuration from what `to_dict` returned, or stood in a file.

    Raises ConfigError unless every value is of its field's type, and none so large that
    the names of its arrays would fill the memory.
    """
    values = dict(values)
    family = values.pop("family", None)
    if family not in FAMILIES:
        raise ConfigError(
            f"the family {family!r} is not known; known families: {', '.join(FAMILIES)}"
        )
    for each in fields(FAMILIES[family]):
        if each.name in values:
            _check(family, each.name, str(each.type), values[each.name])
    try:
        return FAMILIES[family](**values)
    except TypeError as error:
        raise ConfigError(f"the configuration of family {family!r}: {error}") from None


def _check(family, name, kind, value):
    """Raise ConfigError unless a value is of its field's type, written as in source."""
    if kind.endswith(" | None") and value is None:
        return
    most = DEEPEST if name.endswith(("layers", "blocks")) else MOST
    fits, expected = {
        "bool": (isinstance(value, bool), "true or false"),
        "str": (isinstance(value, str), "a text"),
        "int": (_is_whole(value, most), f"a whole number of 0 .. {most}"),
        "float": (_is_positive(value), "a finite number above 0"),
        "tuple[int, ...]": (
            isinstance(value, list | tuple)
            and len(value) < DEEPEST
            and all(_is_whole(one, MOST) for one in value),
            f"whole numbers of 0 .. {MOST}",
        ),
    }[kind.removesuffix(" | None")]
    if not fits:
        raise ConfigError(
            f"the configuration of family {family!r}: {name} is {value!r}; expected "
            f"{expected}: the file is damaged or was edited, so convert the model again"
        )


def _is_whole(value, most):
    return isinstance(value, int) and type(value) is not bool and 0 <= value <= most


def _is_positive(value):
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < float("inf")
