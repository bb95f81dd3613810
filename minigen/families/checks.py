"""What the configurations check, and how they read the originals' arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import fields
from typing import Any, TypeVar

from minigen.checks import shown
from minigen.errors import ConfigError

Kind = TypeVar("Kind")

MOST = 2**20
"""The largest integer in a configuration; the released ones have 50 thousand."""

DEEPEST = 2**10
"""The most layers or blocks."""

TRANSFORMER = {
    "dim": "width", "n_layer": "layers", "n_head": "heads", "vocab_size": "vocabulary",
    "num_classes": "classes", "block_size": "tokens", "multiple_of": "multiple_of",
    "ffn_dim_multiplier": "hidden_multiplier", "rope_base": "rope_base",
    "norm_eps": "norm_eps", "initializer_range": None, "token_dropout_p": None,
    "attn_dropout_p": None, "resid_dropout_p": None, "ffn_dropout_p": None,
    "drop_path_rate": None,
}  # fmt: skip
"""For `from_upstream`: arguments that the originals of ARPG and LlamaGen share."""


def check_fields(config: Any) -> None:
    """Raise ConfigError unless every field of a configuration has its type.

    An integer is at least 1, or 0 where that is the default, and not so large that the
    names of the arrays would fill the memory; a number is above 0. A list, which is
    what JSON has, becomes a tuple.
    """
    for each in fields(config):
        value, kind = getattr(config, each.name), str(each.type)
        if value is None and kind.endswith(" | None"):
            continue
        most = DEEPEST if each.name.endswith(("layers", "blocks")) else MOST
        least = 0 if each.default == 0 else 1
        fits, expected = {
            "bool": (isinstance(value, bool), "true or false"),
            "str": (isinstance(value, str), "a text"),
            "int": (_fits(value, least, most), f"an integer of {least} .. {most}"),
            "float": (_is_positive(value), "a finite number above 0"),
            "tuple[int, ...]": (
                isinstance(value, list | tuple)
                and len(value) < DEEPEST
                and all(_fits(one, 0, MOST) for one in value),
                f"integers of 0 .. {MOST}",
            ),
        }[kind.removesuffix(" | None")]
        if not fits:
            raise ConfigError(
                f"{type(config).__name__}.{each.name} is {shown(value)}; expected "
                f"{expected}"
            )
        if isinstance(value, list):
            object.__setattr__(config, each.name, tuple(value))


def expect_one_of(config: Any, name: str, known: Iterable[str]) -> None:
    """Raise ConfigError unless the field `name` holds one of the known texts."""
    value = getattr(config, name)
    if value not in known:
        kind, expected = type(config).__name__, " or ".join(known)
        raise ConfigError(f"{kind}.{name} is {value!r}; expected {expected}")


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
    cls: type[Kind], arguments: Mapping[str, Any], names: Mapping[str, str | None]
) -> Kind:
    """Build a configuration from an original's constructor arguments.

    names: our field for each of them; None for those that change training only, never
    an array's shape or a forward pass in evaluation mode. Raises ConfigError.
    """
    unknown = set(arguments) - set(names)
    if unknown:
        raise ConfigError(
            f"{cls.__name__}.from_upstream does not know {sorted(unknown)}; it takes "
            f"{sorted(names)}"
        )
    return cls(**{names[k]: v for k, v in arguments.items() if names[k]})


def _fits(value, least, most):
    return isinstance(value, int) and type(value) is not bool and least <= value <= most


def _is_positive(value):
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < float("inf")
