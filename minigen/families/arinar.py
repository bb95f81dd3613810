"""ARINAR: its record, without the forward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from minigen.errors import ConfigError
from minigen.families import behaviour, mae
from minigen.families.checks import check_fields, expect_fixed, expect_one_of
from minigen.families.family import Family
from minigen.families.rows import count, pair, prefixed
from minigen.families.work import FLOAT, Cost

# of the inner attention, in two versions of ARINAR's code: no weight shows it
INNER_HEADS = {"v1": 4, "head": 16}


@dataclass(frozen=True)
class ArinarConfig:
    """ARINAR: an outer masked model of tokens, an inner one of each token's features.

    channels: of the latents; patch: a token is a square of patch x patch latents;
    buffer: positions that hold the class; width, encoder_width: of decoder and encoder.
    mixtures: components for each group of features; group: features of a group;
    inner_schedule: how temperature and guidance change within a token (constant,
    linear, cosine); flow: whether the features go through a flow before the head.

    behaviour: "v1" for the released weights, "head" for the later code. It does not
    follow from the weights: it decides the number of heads of the inner attention, and
    whether a temperature above 1 narrows ("v1") or widens. A wrong one gives wrong
    pictures.

    Source: arXiv 2503.02883; Qinyu-Allen-Zhao/Arinar backbone/mar.py::MAR.

    >>> ArinarConfig().features, ArinarConfig().inner_heads, ArinarConfig().side
    (16, 4, 16)
    """

    width: int = 768
    encoder_width: int = 768
    encoder_layers: int = 14
    decoder_layers: int = 14
    encoder_heads: int = 12
    decoder_heads: int = 12
    ratio: float = 4.0
    buffer: int = 64
    classes: int = 1000
    tokens: int = 256
    channels: int = 16
    patch: int = 1
    mixtures: int = 4
    inner_width: int = 768
    inner_layers: int = 1
    group: int = 1
    inner_schedule: str = "constant"
    flow: bool = False
    behaviour: str = "v1"
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        check_fields(self)
        expect_one_of(self, "behaviour", INNER_HEADS)
        expect_one_of(self, "inner_schedule", ("constant", "linear", "cosine"))
        mae.check_heads(self, ("inner_width", "inner_heads"))
        if self.features % self.group:
            raise ConfigError(
                f"ArinarConfig.group is {self.group}; it must divide the "
                f"{self.features} features of a token"
            )

    @property
    def features(self) -> int:
        """Numbers of a token."""
        return self.channels * self.patch**2

    @property
    def groups(self) -> int:
        """Steps in which the features of a token are drawn."""
        return self.features // self.group

    @property
    def layers(self) -> int:
        """Layers from input to output, for bounds of rounding."""
        return self.encoder_layers + self.decoder_layers + self.inner_layers

    @property
    def inner_heads(self) -> int:
        """Heads of the inner model's attention."""
        return INNER_HEADS[self.behaviour]

    @property
    def side(self) -> int:
        """Rows and columns of the token grid."""
        return math.isqrt(self.tokens)

    @classmethod
    def from_upstream(cls, arguments: Mapping[str, Any]) -> ArinarConfig:
        """Build from the original's constructor arguments (`img_size`, ...).

        upstream_version: "v1" or "head", the version of the code they are for; or, if
        it is left out, that of the arguments that only "head" has.

        >>> ArinarConfig.from_upstream({"img_size": 512, "num_gaussians": 8}).tokens
        1024
        """
        found = of_arguments({"img_size": 256, **arguments})
        width = 1024 if found.get("behaviour") == "head" else 768
        return cls(**({"inner_width": width} | found))


SIZES = {
    "mar_base": mae.alike(768, 14, 12), "mar_large": mae.alike(1024, 18, 16),
    "mar_huge": mae.alike(1280, 22, 16),
}  # fmt: skip


def of_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that arguments of the original's constructor give.

    The version is that of `upstream_version`, else of arguments that one alone has.
    """
    arguments = dict(arguments)
    version = arguments.pop("upstream_version", None)
    if version is None and "head_type" in arguments:
        version = "head"
    expect_fixed(arguments, {"head_type": "ar_gmm"})
    expect_fixed(arguments, {"inner_num_heads": INNER_HEADS.get(version or "v1")})
    names = mae.NAMES | {
        "num_gaussians": "mixtures", "inner_ar_width": "inner_width",
        "inner_ar_depth": "inner_layers", "bilevel_schedule": "inner_schedule",
        "feature_group": "group", "use_nf": "flow", "temperature_rule": None,
        # of heads that are no mixtures
        "head_width": None, "head_depth": None, "head_batch_mul": None,
        "num_sampling_steps": None, "diff_upper_steps": None, "diff_lower_steps": None,
        "diff_sampling_strategy": None,
    }  # fmt: skip
    found = mae.of_arguments(arguments, names, SIZES)
    return found | ({"behaviour": version} if version else {})


def of_training(arguments: Mapping[str, Any]) -> tuple[dict, dict]:
    """Return what arguments of the original's main_mar.py give: see `Family`."""
    own = {
        "num_gaussians", "inner_ar_width", "inner_ar_depth", "bilevel_schedule",
        "feature_group", "use_nf",
    }  # fmt: skip
    found, size = mae.of_training(arguments, own, SIZES)
    if version := behaviour.shown(arguments):
        found["upstream_version"] = version
    return of_arguments(found), size


PRESETS = {
    "arinar-b": ArinarConfig(),
    "arinar-l": ArinarConfig(**mae.alike(1024, 18, 16)),
    "arinar-h": ArinarConfig(**mae.alike(1280, 22, 16)),
    "arinar-mnist": ArinarConfig(
        **mae.alike(128, 3, 4), buffer=8, classes=10, tokens=64, channels=4,
        inner_width=128,
        # here a temperature does what it does in all other models
        behaviour="head",
    ),
}  # fmt: skip


def rows(c: ArinarConfig):
    """Source: Qinyu-Allen-Zhao/Arinar backbone/mar.py::MAR."""
    yield from mae.outer_rows(c)
    yield from prefixed(head_rows(c), "head.", "arhead.")


RULES = mae.RULES | {
    "inner_schedule": "the same temperature and guidance for all features of a token",
    "behaviour": "the released weights' version of the code",
}


def guess(shapes: Mapping, told: Mapping) -> tuple[dict, tuple[str, ...]]:
    """Return the fields that follow from shapes, and which do not: see `Family`."""
    _, groups, inner = shapes["arhead.pos_embedding"]
    group = shapes["arhead.input_proj.weight"][1]
    fields = dict(
        **mae.outer_sizes(shapes),
        **mae.channels(groups * group, told),
        mixtures=shapes["arhead.head.weight"][0] // (2 * group + 1),
        inner_width=inner,
        inner_layers=count(shapes, "arhead.blocks.{}.attn.mat_qkv.weight"),
        group=group,
        flow="arhead.nf.var" in shapes,
        inner_schedule="constant",
        behaviour="v1",
    )
    return fields, tuple(RULES)


def head_rows(c: ArinarConfig):
    """Source: Qinyu-Allen-Zhao/Arinar model_head/arhead_gmm.py::ARHead_gmm."""
    d, w = c.width, c.inner_width
    yield "start", "start_token", (1, 1, w)
    yield "positions", "pos_embedding", (1, c.groups, w)
    yield from pair("features", "input_proj", (w, c.group))
    yield from pair("condition", "cond_proj", (w, d))
    for i in range(c.inner_layers):
        here, there = f"layers.{i}", f"blocks.{i}"
        yield f"{here}.qkv", f"{there}.attn.mat_qkv.weight", (3 * w, w)
        # a buffer of zeros stands for the bias of k
        for ours, name in (("q", "q_bias"), ("k", "zero_k_bias"), ("v", "v_bias")):
            yield f"{here}.{ours}_bias", f"{there}.attn.{name}", (w,)
        yield from pair(f"{here}.proj", f"{there}.attn.proj", (w, w))
        yield from pair(f"{here}.fc1", f"{there}.ffn.fc1", (4 * w, w))
        yield from pair(f"{here}.fc2", f"{there}.ffn.fc2", (w, 4 * w))
        yield from pair(f"{here}.modulation", f"{there}.ada_lin.1", (6 * w, d))
    yield from pair("out_modulation", "head_nm.ada_lin.1", (2 * w, d))
    yield from pair("out", "head", (c.mixtures * (2 * c.group + 1), w))
    if c.flow:
        yield from _flow_rows(c)


def _flow_rows(c):
    from minigen.models import token_flow

    w, n, f = token_flow.WIDTH, c.groups, c.group
    for i in range(token_flow.BLOCKS):
        here, there = f"flow.blocks.{i}", f"nf.blocks.{i}"
        yield f"{here}.positions", f"{there}.pos_embed", (n, w)
        yield from pair(f"{here}.features", f"{there}.proj_in", (w, f))
        inside = f"{there}.attn_blocks.0"
        yield from pair(f"{here}.norm1", f"{inside}.attention.norm", (w,))
        yield from pair(f"{here}.qkv", f"{inside}.attention.qkv", (3 * w, w))
        yield from pair(f"{here}.proj", f"{inside}.attention.proj", (w, w))
        yield from pair(f"{here}.norm2", f"{inside}.mlp.norm", (w,))
        yield from pair(f"{here}.fc1", f"{inside}.mlp.main.0", (4 * w, w))
        yield from pair(f"{here}.fc2", f"{inside}.mlp.main.2", (w, 4 * w))
        yield from pair(f"{here}.out", f"{there}.proj_out", (f, w))
    yield "flow.variance", "nf.var", (n, f)


def head_cost(
    config: ArinarConfig, tokens: int, size: int, way: str = "candidates"
) -> Cost:
    """Return the least work of a guided call of the head that draws `tokens` tokens.

    size: bytes of a stored weight; way: how it draws, among candidates or on a grid.
    """
    from minigen.models.mixture_head import CANDIDATES

    numbers = {"candidates": 1 + 2 * CANDIDATES, "grid": 1}[way]
    d, w, n = config.width, config.inner_width, config.groups
    layers, out = config.inner_layers, config.mixtures * (2 * config.group + 1)
    # condition and modulations are the same for all features: they are made once
    matrices = w * d + (6 * layers + 2) * w * d
    matrices += n * (12 * layers * w * w + out * w) + (n - 1) * config.group * w
    rows, read = 2 * tokens, layers * 2 * w * n * (n + 1) // 2
    return Cost(
        bytes=matrices * size + rows * read * FLOAT,
        products=rows * (matrices + read),
        numbers=tokens * n * numbers,
        passes=n,
    )


ARINAR = Family(
    name="arinar", config=ArinarConfig, presets=PRESETS,
    model="minigen.models.arinar", twin="minigen.training.arinar:Arinar",
    repository="Qinyu-Allen-Zhao/Arinar",
    released={
        "arinar-b": " checkpoint-last.pth", "arinar-l": "; never released",
        "arinar-h": "; never released",
    },
    # its README has the link
    published="https://github.com/Qinyu-Allen-Zhao/Arinar",
    to_convert="--behaviour v1",
    rows=rows, guess=guess, rules=RULES, together=mae.TOGETHER,
    of_arguments=of_arguments, of_training=of_training,
    work=partial(mae.work, head_cost), tokenizer="kl",
    # there are two versions of the code
    unsure=("inner_schedule", "behaviour"),
    # a triangle of ones that is stored beside the weights of the flow
    dropped=("arhead.nf.blocks.*.attn_mask",),
    # of the two of its README that at temperature 1, which means the same in both of
    # its behaviours
    settings={
        "order": "random", "schedule": "cosine", "guidance": 4.5,
        "guidance_schedule": "linear", "temperature": 1.0,
    },
    own={"arinar-mnist": {"guidance": 4.0, "guidance_schedule": "constant"}},
)  # fmt: skip
