"""AiM: its record, without the forward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from minigen.families import mamba
from minigen.families.checks import (
    check_fields,
    expect_fixed,
    expect_one_of,
    named,
    renamed,
)
from minigen.families.family import Family
from minigen.families.mamba import Mamba1Config, Mamba2Config, mixer_rows
from minigen.families.rows import count, pair, prefixed
from minigen.families.work import FLOAT, Work

WORDS = "backbone.embeddings.word_embeddings.weight"

MIXERS = {"mamba1": Mamba1Config, "mamba2": Mamba2Config}


@dataclass(frozen=True)
class AimConfig:
    """AiM: Mamba mixers over image tokens in raster order, each under adaLN.

    mixer: "mamba2", as released, or "mamba1". hidden: width of the feed-forward layers,
    0 for none. condition_groups: number of projections of the class that layers share
    in turn, 0 if each layer has its own. tied: whether the output layer is the table of
    tokens. layer_norm: whether norms before a branch are LayerNorms, not RMSNorms. All
    others are the mixer's: see `Mamba1Config`, `Mamba2Config`.

    Source: arXiv 2408.12245; hp-l33/AiM models/stage2/config_mamba.py::MambaConfig.

    >>> AimConfig().mixing.heads, AimConfig(mixer="mamba1", state_size=16).mixing.rank
    (32, 64)
    """

    width: int = 1024
    layers: int = 48
    vocabulary: int = 16384
    classes: int = 1000
    tokens: int = 256
    mixer: str = "mamba2"
    state_size: int = 128
    head_size: int = 64
    groups: int = 1
    window: int = 4
    expand: float = 2.0
    hidden: int = 0
    condition_groups: int = 0
    tied: bool = True
    layer_norm: bool = False
    rank: int | None = None
    bias: bool = False
    conv_bias: bool = True
    normalise: bool = True
    norm_first: bool = False
    scanned: int | None = None
    skips: bool = False
    step_min: float = 0.0
    step_max: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        expect_one_of(self, "mixer", MIXERS)
        # its sizes are checked where they are put together, and None becomes a number
        mixing = self.mixing
        for each in fields(mixing):
            object.__setattr__(self, each.name, getattr(mixing, each.name))

    @property
    def mixing(self) -> Mamba1Config | Mamba2Config:
        """The configuration of every mixer."""
        kind = MIXERS[self.mixer]
        return kind(**{each.name: getattr(self, each.name) for each in fields(kind)})

    @property
    def side(self) -> int:
        """Rows and columns of the token grid."""
        return math.isqrt(self.tokens)

    @property
    def factor(self) -> int:
        """Conditioning vectors of a layer: shift, scale, gate of each branch."""
        return 6 if self.hidden else 3

    @property
    def no_class_id(self) -> int:
        """Row of the class table that stands for "no condition"."""
        return self.classes

    @classmethod
    def from_upstream(cls, arguments: Mapping[str, Any]) -> AimConfig:
        """Build from the fields of the original's config.json (`d_model`, ...).

        >>> arguments = {"d_model": 768, "n_layer": 24, "ssm_cfg": {"layer": "Mamba2"}}
        >>> AimConfig.from_upstream(arguments) == PRESETS["aim-b"]
        True
        """
        return cls(**of_arguments(arguments))


PRESETS = {
    "aim-b": AimConfig(width=768, layers=24),
    "aim-l": AimConfig(condition_groups=4),
    "aim-xl": AimConfig(width=1536, condition_groups=4),
    # inferred: announced with 1.3 billion parameters, never released
    "aim-1b": AimConfig(width=2048, condition_groups=4),
    "aim-mnist": AimConfig(
        width=128, layers=7, vocabulary=64, classes=10, tokens=64, state_size=32,
        head_size=32,
    ),
}  # fmt: skip


def rows(c: AimConfig):
    """Source: hp-l33/AiM models/stage2/mixer_seq_simple.py::MambaLMHeadModel."""
    d, wide = c.width, c.factor * c.width
    yield "words", WORDS, (c.vocabulary, d)
    table = "backbone.embeddings.position_embeddings.weight"
    yield "positions", table, (c.tokens + 1, d)
    yield "classes", "backbone.cls_embed.embedding_table.weight", (c.classes + 1, d)
    if c.condition_groups:
        shape = c.condition_groups * wide, d
        yield from pair("modulation", "backbone.adaln_group.1", shape)
    last = "backbone.final_layer"
    yield "out_norm", f"{last}.norm_final.weight", (d,)
    yield from pair("out_modulation", f"{last}.adaLN_modulation.1", (2 * d, d))
    for i in range(c.layers):
        here, there = f"layers.{i}", f"backbone.layers.{i}"
        if c.condition_groups:
            yield f"{here}.table", f"{there}.scale_shift_table", (1, c.factor, d)
        else:
            each = f"{there}.adaLN_modulation.1"
            yield from pair(f"{here}.modulation", each, (wide, d))
        yield from _norm(c, f"{here}.norm", f"{there}.norm")
        yield from prefixed(mixer_rows(c.mixing), f"{here}.mixer.", f"{there}.mixer.")
        if c.hidden:
            yield from _norm(c, f"{here}.ffn_norm", f"{there}.norm2")
            yield f"{here}.ffn.up", f"{there}.mlp.fc1.weight", (2 * c.hidden, d)
            yield f"{here}.ffn.down", f"{there}.mlp.fc2.weight", (d, c.hidden)
    yield from _norm(c, "norm", "backbone.norm_f")
    if not c.tied:
        yield "head", "lm_head.weight", (c.vocabulary, d)


def _norm(c, ours, upstream):
    if c.layer_norm:
        return pair(ours, upstream, (c.width,))
    return [(ours, f"{upstream}.weight", (c.width,))]


def of_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that arguments of the original's constructor give."""
    arguments = dict(arguments)
    expect_fixed(arguments, {"attn_layer_idx": []})
    if "rms_norm" in arguments:
        arguments["rms_norm"] = not arguments["rms_norm"]
    mixer = {}
    if "ssm_cfg" in arguments:
        mixer = dict(arguments.pop("ssm_cfg") or {})
        layer = mixer.pop("layer", "Mamba1")
        mixer = {"mixer": layer.lower()} | mamba.of_arguments(layer, mixer, True)
    if "d_intermediate" in arguments:
        # rounded up, as GatedMLP does
        arguments["d_intermediate"] = -(-arguments["d_intermediate"] // 128) * 128
    if "adaln_group" in arguments:
        grouped = arguments.pop("adaln_group")
        arguments["num_groups"] = arguments.get("num_groups", 1) if grouped else 0
    else:
        # it counts nothing where layers have projections of their own
        arguments.pop("num_groups", None)
    names = {
        "d_model": "width", "n_layer": "layers", "vocab_size": "vocabulary",
        "num_classes": "classes", "num_tokens": "tokens", "rms_norm": "layer_norm",
        "d_intermediate": "hidden", "num_groups": "condition_groups",
        "tie_embeddings": "tied", "residual_in_fp32": None, "fused_add_norm": None,
        "pad_vocab_size_multiple": None, "attn_cfg": None, "token_drop": None,
        "mixer_drop": None, "mlp_drop": None, "ssm_cfg": "mixer",
    }  # fmt: skip
    return renamed(arguments, names) | mixer


SIZES = {
    "AiM-B": {"width": 768, "layers": 24, "condition_groups": 0},
    "AiM-L": {"width": 1024, "layers": 48, "condition_groups": 4},
    "AiM-XL": {"width": 1536, "layers": 48, "condition_groups": 4},
}


def of_training(arguments: Mapping[str, Any]) -> tuple[dict, dict]:
    """Return what arguments of the original's train_stage2.py give: see `Family`."""
    return {}, named(arguments, "aim_model", SIZES)


RULES = {
    "groups": "one group of heads, as every released model has",
    "state_size": "what the groups leave of the numbers that they share",
    "norm_first": "norms behind the gate, as every released model has",
    "step_min": "step sizes without limits, as every released model has",
    "step_max": "step sizes without limits, as every released model has",
}


def guess(shapes: Mapping, told: Mapping) -> tuple[dict, tuple[str, ...]]:
    """Return the fields that follow from shapes, and which do not: see `Family`."""
    vocabulary, d = shapes[WORDS]
    first = "backbone.layers.0."
    mixer, unseen = mamba.guess(shapes, f"{first}mixer.", told)
    hidden = shapes.get(f"{first}mlp.fc2.weight", (d, 0))[1]
    wide = (6 if hidden else 3) * d
    fields = dict(
        width=d,
        layers=count(shapes, "backbone.layers.{}.norm.weight"),
        vocabulary=vocabulary,
        classes=shapes["backbone.cls_embed.embedding_table.weight"][0] - 1,
        tokens=shapes["backbone.embeddings.position_embeddings.weight"][0] - 1,
        hidden=hidden,
        condition_groups=shapes.get("backbone.adaln_group.1.weight", (0,))[0] // wide,
        tied="lm_head.weight" not in shapes,
        layer_norm=f"{first}norm.bias" in shapes,
        **mixer,
    )
    return fields, unseen


def work(config, counts, size, batch):
    """Return the least `Work` of each token, guided: arguments as of `arpg.work`."""
    # a state does not grow
    return [_token(config, size, 2 * batch)] * len(counts)


def _token(config, size, rows):
    # one token; all that follows from the class was computed before the first
    d, mixing = config.width, config.mixing
    shapes = [shape for _, _, shape in mixer_rows(mixing) if len(shape) > 1]
    mixer = sum(map(math.prod, shapes))
    read = config.layers * (mixer + 3 * d * config.hidden) + config.vocabulary * d
    # a row of the table of tokens, and one of that of positions
    tables = 2 * d
    scanned = config.layers * mixing.inner * mixing.state_size
    state = scanned + config.layers * mixing.window * mixing.channels
    vectors = (config.layers * config.factor + 2) * d
    return Work(
        # a state is read and written
        bytes=(read + rows * tables) * size + rows * (2 * state + vectors) * FLOAT,
        # a cell of the state decays, takes something in, and gives something out
        operations=rows * (2 * read + 5 * scanned),
    )


AIM = Family(
    name="aim", config=AimConfig, presets=PRESETS,
    model="minigen.models.aim", twin="minigen.training.aim:Aim",
    repository="hp-l33/AiM", licence="MIT",
    released={
        "aim-b": " aim-base", "aim-l": " aim-large", "aim-xl": " aim-xlarge",
        "aim-1b": "; announced, never released; its sizes are inferred",
    },
    published="https://huggingface.co/hp-l33/{file}",
    rows=rows, guess=guess, rules=RULES, together=(("state_size", "groups"),),
    of_arguments=of_arguments, of_training=of_training, work=work, tokenizer="vq",
    # the head is the token table: files hold it twice, or once
    tied={"lm_head.weight": WORDS}, part="mamba.",
    # those of models/aim.py::generate
    settings={
        "order": "raster", "schedule": "one", "guidance": 5.0,
        "guidance_schedule": "constant", "temperature": 1.0,
    },
    own={"aim-mnist": {"guidance": 2.0}},
)  # fmt: skip
