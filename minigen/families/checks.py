"""What the configurations check, and how they read the originals' arguments."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import asdict
from typing import Any, TypeVar

from minigen.errors import ConfigError

Kind = TypeVar("Kind")

TRANSFORMER = {
    "dim": "width", "n_layer": "layers", "n_head": "heads", "vocab_size": "vocabulary",
    "num_classes": "classes", "block_size": "tokens", "multiple_of": "multiple_of",
    "ffn_dim_multiplier": "hidden_multiplier", "rope_base": "rope_base",
    "norm_eps": "norm_eps",
}  # fmt: skip
"""Our fields for the arguments that the originals of ARPG and LlamaGen share."""


def positive(where: str, name: str, value: object) -> None:
    """Raise ConfigError unless the field `name` of class `where` is a count."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{where}.{name} is {value!r}; expected an integer above 0")


def check_heads(config: Any) -> None:
    """Raise ConfigError unless heads of a transformer can be rotated in a plane."""
    if config.width % config.heads or config.head_size % 4:
        raise ConfigError(
            f"{type(config).__name__}.width {config.width} over {config.heads} heads "
            "gives no head size divisible by 4, which two-dimensional rotation needs"
        )


def hidden_width(config: Any) -> int:
    """Return the width of a SwiGLU: truncated, then rounded up to `multiple_of`."""
    h = int(2 * (4 * config.width) / 3)
    if config.hidden_multiplier is not None:
        h = int(config.hidden_multiplier * h)
    return -(-h // config.multiple_of) * config.multiple_of


def expect_fixed(
    arguments: MutableMapping[str, Any], fixed: Mapping[str, object]
) -> None:
    """Take out the arguments that can have one value only, or raise ConfigError."""
    for name, value in fixed.items():
        if arguments.pop(name, value) != value:
            raise ConfigError(f"{name} is not {value!r}, which it is in every model")


def from_upstream(
    cls: type[Kind],
    arguments: Mapping[str, Any],
    names: Mapping[str, str],
    ignored: Collection[str],
    presets: Mapping[str, Kind],
) -> Kind:
    """Build a configuration from an original's constructor arguments.

    names: our field for each of them; ignored: those that change nothing here;
    presets: those of the class, and the argument `name` stands for all sizes of one.
    Raises ConfigError.
    """
    arguments = dict(arguments)
    values: dict[str, Any] = {}
    if "name" in arguments:
        name = str(arguments.pop("name")).lower()
        if name not in presets:
            raise ConfigError(
                f"{name!r} is not a preset of {cls.__name__}; known: "
                f"{', '.join(presets)}"
            )
        values.update(asdict(presets[name]))
    unknown = set(arguments) - set(names) - ignored
    if unknown:
        raise ConfigError(
            f"{cls.__name__}.from_upstream does not know {sorted(unknown)}; it takes "
            f"{sorted(names)}"
        )
    values.update({names[k]: v for k, v in arguments.items() if k in names})
    return cls(**values)
