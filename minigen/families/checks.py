"""What the configurations check, and how they read the originals' arguments."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import fields
from typing import Any

from minigen.checks import MOST_STEPS, near, shown
from minigen.errors import ConfigError

MOST, LONGEST = 2**20, 2**10
"""The largest integer in a configuration (the released ones have 50 thousand), and the
most integers in a list."""

DEEPEST = 1, 2**10
HEADS = 1, 2**12

SPANS = {
    "layers": DEEPEST, "encoder_layers": DEEPEST, "decoder_layers": DEEPEST,
    "inner_layers": DEEPEST, "head_layers": DEEPEST, "blocks": DEEPEST,
    "heads": HEADS, "key_heads": HEADS, "encoder_heads": HEADS, "decoder_heads": HEADS,
    "tokens": (1, MOST_STEPS), "noise_steps": (2, 1000),
    "hidden_multiplier": (2**-10, 2**10), "rope_base": (1, 1e9),
    "norm_eps": (1e-20, 1), "scale": (1e-6, 1e6),
}  # fmt: skip
"""The least and the greatest value of a field, in whatever configuration it stands. Of
those that are not here an integer is at least 1, or 0 if that is its default, and at
most MOST."""

TRANSFORMER = {
    "dim": "width", "n_layer": "layers", "n_head": "heads", "vocab_size": "vocabulary",
    "num_classes": "classes", "block_size": "tokens", "multiple_of": "multiple_of",
    "ffn_dim_multiplier": "hidden_multiplier", "rope_base": "rope_base",
    "norm_eps": "norm_eps", "initializer_range": None, "token_dropout_p": None,
    "attn_dropout_p": None, "resid_dropout_p": None, "ffn_dropout_p": None,
    "drop_path_rate": None,
}  # fmt: skip
"""Arguments that the originals of ARPG and LlamaGen share, by the fields they are."""

HIDDEN = "multiple_of", "hidden_multiplier"
"""Two fields that make one hidden width: whatever makes it computes the same."""

SHARED_RULES = {
    "heads": "64 numbers a head", "tokens": "256 tokens, as most released models have",
    **dict.fromkeys(HIDDEN, ""),
    "rope_base": "10000, as every released model has",
    "norm_eps": "1e-05, as every released model has",
}  # fmt: skip
"""The rules for what no shape of theirs shows."""


def check_fields(config: Any) -> None:
    """Raise ConfigError unless every field of a configuration has its type and range.

    A list, which is what JSON has, becomes a tuple.
    """
    for each in fields(config):
        value = check_field(type(config), each.name, getattr(config, each.name))
        object.__setattr__(config, each.name, value)


def check_field(config: type, name: str, value: Any) -> Any:
    """Return the value of a field in the field's type, or raise ConfigError.

    config: the class that has the field. Its type is that of the class, its range that
    of `SPANS`: no array is so large, no table so long, that it would fill the memory
    before it is held against the file.
    """
    each = next(each for each in fields(config) if each.name == name)
    kind = str(each.type)
    if value is None and kind.endswith(" | None"):
        return None
    least, most = SPANS.get(name, (0 if each.default == 0 else 1, MOST))
    among = f"of {least:g} .. {most:g}"
    if name not in SPANS and kind.startswith("float"):
        least = 0 if each.default == 0 else math.ulp(0)
        among = "or 0" if least == 0 else f"of at most {most}"
    fits, expected = {
        "bool": (isinstance(value, bool), "true or false"),
        "str": (isinstance(value, str), "a text"),
        "int": (_fits(value, least, most), f"an integer of {least} .. {most}"),
        "float": (
            _is_number(value, least, most),
            f"a finite number above 0, {among}",
        ),
        "tuple[int, ...]": (
            isinstance(value, list | tuple)
            and len(value) < LONGEST
            and all(_fits(one, 0, MOST) for one in value),
            f"integers of 0 .. {MOST}",
        ),
    }[kind.removesuffix(" | None")]
    if not fits:
        raise ConfigError(
            f"{config.__name__}.{name} is {shown(value)}; expected {expected}"
        )
    # what is equal is written, and hashed, alike
    if isinstance(each.default, float) or isinstance(value, list):
        return type(each.default)(value)
    return value


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


def check_square(config: Any) -> None:
    """Raise ConfigError unless the tokens of an image fill a square grid."""
    side = math.isqrt(config.tokens)
    if side**2 != config.tokens:
        raise ConfigError(
            f"{type(config).__name__}.tokens is {config.tokens}; expected a square "
            f"number, such as {side**2}: the grid is square"
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


def renamed(
    arguments: Mapping[str, Any], names: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return {our field: value} of an original's constructor arguments.

    names: our field for each of them; None for those that change training only, never
    an array's shape or a forward pass in evaluation mode. None of them stands for what
    the original does if it is not given. Raises ConfigError for another argument,
    which is then its `strange`, and the names its `known`.
    """
    for name in arguments:
        if name not in names:
            error = ConfigError(
                f"the original does not know {shown(name)}; {near(name, names)}it "
                f"takes {', '.join(names)}"
            )
            error.strange, error.known = name, tuple(names)
            raise error
    return {
        field: value
        for name, value in arguments.items()
        if (field := names[name]) and value is not None
    }


def named(
    arguments: Mapping[str, Any], name: str, sizes: Mapping[str, Mapping]
) -> dict[str, Mapping | None]:
    """Return {argument: fields} of a training's argument that names a size, if given.

    >>> named({"model": "mar_base"}, "model", {"mar_base": {"width": 768}})
    {"model 'mar_base'": {'width': 768}}
    """
    if name not in arguments:
        return {}
    value = arguments[name]
    return {f"{name} {shown(value)}": sizes.get(value)}


def grid_of(arguments: Mapping[str, Any]) -> dict[str, int]:
    """Return the tokens of an image, from the sizes that a training script was given.

    >>> grid_of({"image_size": 384, "downsample_size": 16}), grid_of({"lr": 1e-4})
    ({'block_size': 576}, {})
    """
    if not {"image_size", "downsample_size"} <= set(arguments):
        return {}
    side = arguments["image_size"] // arguments["downsample_size"]
    # two negative numbers would make a positive one
    return {"block_size": side**2 if side > 0 else side}


def _fits(value, least, most):
    return isinstance(value, int) and type(value) is not bool and least <= value <= most


def _is_number(value, least, most):
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and least <= value <= most
