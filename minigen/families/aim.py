"""AiM: its record, without the forward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minigen.errors import ConfigError
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


@dataclass(frozen=True)
class AimConfig:
    """AiM: Mamba mixers over image tokens in raster order, each under adaLN.

    mixer: "mamba2", as released, or "mamba1"; state_size, head_size, groups, window,
    expand: its sizes (head_size and groups for Mamba-2 only). hidden: width of the
    feed-forward layers, 0 for none. condition_groups: number of projections of the
    class that layers share in turn, 0 if each layer has its own.

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
    expand: int = 2
    hidden: int = 0
    condition_groups: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        expect_one_of(self, "mixer", ("mamba1", "mamba2"))
        # its sizes are checked where they are put together
        _ = self.mixing

    @property
    def mixing(self) -> Mamba1Config | Mamba2Config:
        """The configuration of every mixer."""
        sizes = self.width, self.state_size, self.window, self.expand
        if self.mixer == "mamba1":
            return Mamba1Config(*sizes)
        return Mamba2Config(*sizes, head_size=self.head_size, groups=self.groups)

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
        """Build from the fields of the original's config.json (`d_model`, ...)."""
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
        yield f"{here}.norm", f"{there}.norm.weight", (d,)
        yield from prefixed(mixer_rows(c.mixing), f"{here}.mixer.", f"{there}.mixer.")
        if c.hidden:
            yield f"{here}.ffn_norm", f"{there}.norm2.weight", (d,)
            yield f"{here}.ffn.up", f"{there}.mlp.fc1.weight", (2 * c.hidden, d)
            yield f"{here}.ffn.down", f"{there}.mlp.fc2.weight", (d, c.hidden)
    yield "norm", "backbone.norm_f.weight", (d,)


def of_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that arguments of the original's constructor give."""
    arguments = dict(arguments)
    fixed = {"rms_norm": True, "tie_embeddings": True, "attn_layer_idx": []}
    expect_fixed(arguments, fixed)
    if "ssm_cfg" in arguments:
        mixer = dict(arguments.pop("ssm_cfg"))
        layer = mixer.pop("layer", "Mamba1")
        if layer not in ("Mamba1", "Mamba2"):
            raise ConfigError(f"ssm_cfg has the layer {layer!r}; expected Mamba1 or 2")
        # what the layers are made with, if nothing is said
        known = {"d_state": 16} if layer == "Mamba1" else {"d_state": 128, "ngroups": 1}
        arguments |= {"mixer": layer.lower(), **known, **mixer}
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
        "num_classes": "classes", "num_tokens": "tokens", "mixer": "mixer",
        "d_state": "state_size", "headdim": "head_size", "ngroups": "groups",
        "d_conv": "window", "expand": "expand", "d_intermediate": "hidden",
        "num_groups": "condition_groups", "residual_in_fp32": None,
        "fused_add_norm": None, "pad_vocab_size_multiple": None, "attn_cfg": None,
        "token_drop": None, "mixer_drop": None, "mlp_drop": None, "chunk_size": None,
    }  # fmt: skip
    return renamed(arguments, names)


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
}


def guess(shapes: Mapping, told: Mapping) -> tuple[dict, tuple[str, ...]]:
    """Return the fields that follow from shapes, and which do not: see `Family`."""
    vocabulary, d = shapes[WORDS]
    first = "backbone.layers.0."
    inner = shapes[f"{first}mixer.out_proj.weight"][1]
    channels, _, window = shapes[f"{first}mixer.conv1d.weight"]
    rates = shapes[f"{first}mixer.A_log"]
    mixer = {"mixer": "mamba1", "state_size": rates[-1]}
    if len(rates) == 1:
        # only the product of these two is seen
        size = (channels - inner) // 2
        groups = told.get("groups", size // told.get("state_size", size))
        mixer = {"mixer": "mamba2", "state_size": size // groups, "groups": groups}
        mixer |= {"head_size": inner // rates[0]}
    hidden = shapes.get(f"{first}mlp.fc2.weight", (d, 0))[1]
    wide = (6 if hidden else 3) * d
    fields = dict(
        width=d,
        layers=count(shapes, "backbone.layers.{}.norm.weight"),
        vocabulary=vocabulary,
        classes=shapes["backbone.cls_embed.embedding_table.weight"][0] - 1,
        tokens=shapes["backbone.embeddings.position_embeddings.weight"][0] - 1,
        window=window,
        expand=inner // d,
        hidden=hidden,
        condition_groups=shapes.get("backbone.adaln_group.1.weight", (0,))[0] // wide,
        **mixer,
    )
    return fields, ("state_size", "groups") if len(rates) == 1 else ()


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
        "aim-b": " aim-base", "aim-l": "", "aim-xl": " aim-xlarge",
        "aim-1b": "; announced, never released; its sizes are inferred",
    },
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
