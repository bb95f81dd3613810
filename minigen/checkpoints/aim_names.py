"""The names of the weights of AiM and of both Mamba mixers: see `names`."""

from __future__ import annotations

from collections.abc import Mapping

from minigen.config import AimConfig, Mamba1Config, Mamba2Config

WORDS = "backbone.embeddings.word_embeddings.weight"

TIED = {"lm_head.weight": WORDS}
"""The head is the token table: files hold it twice, or once."""


def aim_rows(c: AimConfig):
    """Source: hp-l33/AiM models/stage2/mixer_seq_simple.py::MambaLMHeadModel."""
    d, wide = c.width, c.factor * c.width
    yield "words", WORDS, (c.vocabulary, d)
    table = "backbone.embeddings.position_embeddings.weight"
    yield "positions", table, (c.tokens + 1, d)
    yield "classes", "backbone.cls_embed.embedding_table.weight", (c.classes + 1, d)
    if c.condition_groups:
        shape = c.condition_groups * wide, d
        yield from _linear("modulation", shape, True, "backbone.adaln_group.1")
    last = "backbone.final_layer"
    yield "out_norm", f"{last}.norm_final.weight", (d,)
    shape = 2 * d, d
    yield from _linear("out_modulation", shape, True, f"{last}.adaLN_modulation.1")
    for i in range(c.layers):
        here, there = f"layers.{i}", f"backbone.layers.{i}"
        if c.condition_groups:
            yield f"{here}.table", f"{there}.scale_shift_table", (1, c.factor, d)
        else:
            names = f"{here}.modulation", (wide, d), True, f"{there}.adaLN_modulation.1"
            yield from _linear(*names)
        yield f"{here}.norm", f"{there}.norm.weight", (d,)
        yield from mixer_rows(c.mixing, f"{here}.mixer.", f"{there}.mixer.")
        if c.hidden:
            yield f"{here}.ffn_norm", f"{there}.norm2.weight", (d,)
            yield f"{here}.ffn.up", f"{there}.mlp.fc1.weight", (2 * c.hidden, d)
            yield f"{here}.ffn.down", f"{there}.mlp.fc2.weight", (d, c.hidden)
    yield "norm", "backbone.norm_f.weight", (d,)


def guess_aim(shapes: Mapping) -> tuple[AimConfig, tuple[str, ...]]:
    """Return the configuration that shapes tell of, and the fields they do not show."""
    vocabulary, d = shapes[WORDS]
    first = "backbone.layers.0."
    layers = 0
    while f"backbone.layers.{layers}.norm.weight" in shapes:
        layers += 1
    inner = shapes[f"{first}mixer.out_proj.weight"][1]
    channels, _, window = shapes[f"{first}mixer.conv1d.weight"]
    rates = shapes[f"{first}mixer.A_log"]
    mixer = {"mixer": "mamba1", "state_size": rates[-1]}
    if len(rates) == 1:
        size = (channels - inner) // 2
        mixer = {"mixer": "mamba2", "state_size": size, "head_size": inner // rates[0]}
    hidden = shapes.get(f"{first}mlp.fc2.weight", (d, 0))[1]
    wide = (6 if hidden else 3) * d
    config = AimConfig(
        width=d,
        layers=layers,
        vocabulary=vocabulary,
        classes=shapes["backbone.cls_embed.embedding_table.weight"][0] - 1,
        tokens=shapes["backbone.embeddings.position_embeddings.weight"][0] - 1,
        window=window,
        expand=inner // d,
        hidden=hidden,
        condition_groups=shapes.get("backbone.adaln_group.1.weight", (0,))[0] // wide,
        **mixer,
    )
    # only the product of these is seen; every released model has one group
    return config, ("state_size", "groups") if len(rates) == 1 else ()


def mixer_rows(c, ours="", upstream=""):
    """Yield the rows of a mixer, each name behind a prefix.

    Source: state-spaces/mamba modules/mamba_simple.py, modules/mamba2.py.
    """
    rows = _mamba2_rows(c) if isinstance(c, Mamba2Config) else _mamba1_rows(c)
    for here, there, shape in rows:
        yield f"{ours}{here}", f"{upstream}{there}", shape


def _mamba1_rows(c: Mamba1Config):
    d, inner, rank = c.width, c.inner, c.rank
    yield "A_log", "A_log", (inner, c.state_size)
    yield "D", "D", (inner,)
    yield from _linear("in_proj", (2 * inner, d), c.bias)
    yield from _conv(c)
    yield "x_proj", "x_proj.weight", (rank + 2 * c.state_size, inner)
    yield from _linear("dt_proj", (inner, rank), True)
    yield from _linear("out_proj", (d, inner), c.bias)


def _mamba2_rows(c: Mamba2Config):
    d, inner, h = c.width, c.inner, c.heads
    for name in ("dt_bias", "A_log", "D"):
        yield name, name, (h,)
    yield from _linear("in_proj", (inner + c.channels + h, d), c.bias)
    yield from _conv(c)
    if c.normalise:
        yield "norm", "norm.weight", (inner,)
    yield from _linear("out_proj", (d, inner), c.bias)


def _conv(c):
    yield "conv.w", "conv1d.weight", (c.channels, 1, c.window)
    if c.conv_bias:
        yield "conv.bias", "conv1d.bias", (c.channels,)


def _linear(name, shape, bias, upstream=None):
    upstream = upstream or name
    yield f"{name}.w", f"{upstream}.weight", shape
    if bias:
        yield f"{name}.bias", f"{upstream}.bias", shape[:1]
