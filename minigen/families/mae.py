"""The outer model of ARINAR and MAR: its arguments, its weights, its work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate

from minigen.checks import choice
from minigen.errors import ConfigError
from minigen.families import rows
from minigen.families.checks import named, renamed
from minigen.families.rows import count, pair
from minigen.families.work import Work

NAMES = {
    "encoder_embed_dim": "encoder_width", "encoder_depth": "encoder_layers",
    "encoder_num_heads": "encoder_heads", "decoder_embed_dim": "width",
    "decoder_depth": "decoder_layers", "decoder_num_heads": "decoder_heads",
    "mlp_ratio": "ratio", "vae_embed_dim": "channels", "patch_size": "patch",
    "class_num": "classes", "buffer_size": "buffer", "norm_eps": "norm_eps",
    "tokens": "tokens",
    "mask_ratio_min": None, "label_drop_prob": None, "attn_dropout": None,
    "proj_dropout": None, "grad_checkpointing": None, "diffusion_batch_mul": None,
}  # fmt: skip
"""Arguments of the original's constructor, by the fields they are; None for those that
change training only."""

SCRIPT = {
    "img_size", "vae_stride", "patch_size", "vae_embed_dim", "class_num", "buffer_size",
}  # fmt: skip
"""Arguments of main_mar.py that are the constructor's."""

HEADS = {1280: 16}
"""The heads of released widths that have more than 64 numbers a head."""

RULES = {
    name: "64 numbers a head, and 16 heads at a width of 1280, as mar-h has"
    for name in ("encoder_heads", "decoder_heads")
} | {
    "patch": "tokens of 1 x 1 latents, as every released model has",
    "channels": "what the patch leaves of the features of a token",
    "norm_eps": "1e-06, as every released model has",
}
"""The rules for what no shape shows."""

TOGETHER = (("patch", "channels"),)


def alike(width, layers, heads) -> dict[str, int]:
    """Return the fields of an outer model with the same encoder and decoder."""
    sizes = {"width": width, "encoder_width": width, "encoder_layers": layers}
    sizes |= {"decoder_layers": layers, "encoder_heads": heads, "decoder_heads": heads}
    return sizes


def check_heads(config, *more) -> None:
    """Raise ConfigError unless widths divide into heads; more: names of such fields."""
    pairs = ("width", "decoder_heads"), ("encoder_width", "encoder_heads"), *more
    for width, heads in pairs:
        if getattr(config, width) % getattr(config, heads):
            raise ConfigError(
                f"{type(config).__name__}.{width} {getattr(config, width)} does not "
                f"divide into {getattr(config, heads)} heads ({heads})"
            )


def of_arguments(arguments: dict, names, sizes) -> dict:
    """Return the fields that arguments of the original's constructor give.

    Where `factory` is among them, with those that this function of the original sets.
    names: NAMES, and those of the head; sizes: {factory: fields}.
    """
    factory, depth = arguments.pop("factory", None), arguments.pop("enc_dec_depth", -1)
    found = {}
    if factory is not None:
        choice("factory", factory, sizes, error=ConfigError)
        found = dict(sizes[factory])
        if depth > 0:
            found |= {"encoder_layers": depth, "decoder_layers": depth}
    stride = arguments.pop("vae_stride", 16)
    if "img_size" in arguments:
        # the remainders are lost one after the other
        patch = arguments.get("patch_size", 1)
        side = arguments.pop("img_size") // stride // patch
        # two negative numbers would make a positive one
        arguments["tokens"] = side**2 if min(side, patch, stride) > 0 else 0
    return found | renamed(arguments, names)


def of_training(arguments, own, sizes) -> tuple[dict, dict]:
    """Return arguments of the constructor among those of main_mar.py, and the size.

    own: more names of the constructor's; sizes: {factory: fields}.
    """
    found = {n: v for n, v in arguments.items() if n in SCRIPT | own}
    size = named(arguments, "model", sizes)
    depth = arguments.get("enc_dec_depth", -1)
    if depth > 0:
        depths = {"encoder_layers": depth, "decoder_layers": depth}
        size = {word: fields and fields | depths for word, fields in size.items()}
    return found, size


def outer_rows(c):
    """Yield the rows of the masked model."""
    n, d, wide = c.buffer + c.tokens, c.width, c.encoder_width
    yield "classes", "class_emb.weight", (c.classes, wide)
    yield "no_class", "fake_latent", (1, wide)
    yield from pair("tokens", "z_proj", (wide, c.features))
    yield "positions", "encoder_pos_embed_learned", (1, n, wide)
    yield from pair("tokens_norm", "z_proj_ln", (wide,))
    for i in range(c.encoder_layers):
        yield from _block(f"encoder.{i}", f"encoder_blocks.{i}", wide, c.ratio)
    yield from pair("encoder_norm", "encoder_norm", (wide,))
    yield from pair("decoder_embed", "decoder_embed", (d, wide))
    yield "mask", "mask_token", (1, 1, d)
    yield "decoder_positions", "decoder_pos_embed_learned", (1, n, d)
    for i in range(c.decoder_layers):
        yield from _block(f"decoder.{i}", f"decoder_blocks.{i}", d, c.ratio)
    yield from pair("decoder_norm", "decoder_norm", (d,))
    yield "head_positions", "diffusion_pos_embed_learned", (1, c.tokens, d)


def outer_sizes(shapes: Mapping) -> dict[str, int]:
    """Return the fields that describe the masked model; the heads are a rule's."""
    d, wide = shapes["decoder_embed.weight"]
    tokens = shapes["diffusion_pos_embed_learned"][1]
    return {
        "width": d,
        "encoder_width": wide,
        "encoder_layers": count(shapes, "encoder_blocks.{}.norm1.weight"),
        "decoder_layers": count(shapes, "decoder_blocks.{}.norm1.weight"),
        "encoder_heads": HEADS.get(wide) or rows.heads(wide),
        "decoder_heads": HEADS.get(d) or rows.heads(d),
        "ratio": rows.factor(
            (wide, shapes["encoder_blocks.0.mlp.fc1.weight"][0]),
            (d, shapes["decoder_blocks.0.mlp.fc1.weight"][0]),
        ),
        "norm_eps": 1e-6,
        "buffer": shapes["encoder_pos_embed_learned"][1] - tokens,
        "classes": shapes["class_emb.weight"][0],
        "tokens": tokens,
    }


def channels(features, told) -> dict[str, int]:
    """Return patch and channels of a token with so many features."""
    patch = told.get("patch")
    if patch is None and "channels" in told:
        patch = math.isqrt(features // told["channels"])
    patch = max(1, patch or 1)
    return {"patch": patch, "channels": max(1, features // patch**2)}


def work(head, config, counts, size, batch):
    """Return the work of each step: see `Family`. head(config, tokens, size): the work
    of the head."""
    ends = accumulate(counts, initial=0)
    steps = zip(ends, (0, *counts), counts, strict=False)
    return [_step(head, config, *step, size, batch) for step in steps]


def _step(head, config, known, fed, asked, size, batch):
    # every step runs the encoder over its s rows and the decoder over all n rows; the
    # last layer of the decoder only over the m rows asked for
    e, d, r = config.encoder_width, config.width, config.ratio
    s, n, m = config.buffer + known, config.buffer + config.tokens, asked
    encoder = config.encoder_layers * (4 * e + 2 * int(r * e)) * e
    layer = (4 * d + 2 * int(r * d)) * d
    before = config.decoder_layers - 1
    a_row = encoder * s + d * e * s + before * layer * n
    # of the last layer, keys and values are made of all rows
    a_row += 2 * d * d * n + (layer - 2 * d * d) * m
    meetings = config.encoder_layers * e * s * s + d * n * (before * n + m)
    drawn = head(config, asked * batch, size)
    weights = encoder + d * e + config.decoder_layers * layer
    # a token is made a row once, after the step that drew it
    a_row += config.features * e * fed
    weights += config.features * e * bool(fed)
    return Work(
        bytes=weights * size + drawn.bytes,
        operations=2 * (2 * batch * (a_row + 2 * meetings) + drawn.products),
    )


def _block(ours, upstream, d, ratio):
    # timm 0.9.12 layers of models/vision_transformer.py::Block
    f = int(ratio * d)
    yield from pair(f"{ours}.norm1", f"{upstream}.norm1", (d,))
    yield from pair(f"{ours}.qkv", f"{upstream}.attn.qkv", (3 * d, d))
    yield from pair(f"{ours}.proj", f"{upstream}.attn.proj", (d, d))
    yield from pair(f"{ours}.norm2", f"{upstream}.norm2", (d,))
    yield from pair(f"{ours}.fc1", f"{upstream}.mlp.fc1", (f, d))
    yield from pair(f"{ours}.fc2", f"{upstream}.mlp.fc2", (d, f))
