"""The names of the weights of ARINAR: see `names`."""

from __future__ import annotations

from collections.abc import Mapping

from minigen.checkpoints.tokenizer_names import count, pair
from minigen.config import ArinarConfig
from minigen.models import token_flow

DROPPED = ("arhead.nf.blocks.*.attn_mask",)
"""A triangle of ones that is stored beside the weights of the flow."""


def arinar_rows(c: ArinarConfig):
    """Source: Qinyu-Allen-Zhao/Arinar backbone/mar.py::MAR."""
    yield from outer_rows(c)
    yield from head_rows(c, "head.", "arhead.")


def outer_rows(c):
    """Yield the rows of the masked model, which MAR has too."""
    n, d, wide = c.buffer + c.tokens, c.width, c.encoder_width
    yield "classes", "class_emb.weight", (c.classes, wide)
    yield "no_class", "fake_latent", (1, wide)
    yield from pair("tokens", "z_proj", (wide, c.features))
    yield "positions", "encoder_pos_embed_learned", (1, n, wide)
    yield from pair("tokens_norm", "z_proj_ln", (wide,))
    for i in range(c.encoder_layers):
        yield from _block(f"encoder.{i}", f"encoder_blocks.{i}", wide, c.ratio * wide)
    yield from pair("encoder_norm", "encoder_norm", (wide,))
    yield from pair("decoder_embed", "decoder_embed", (d, wide))
    yield "mask", "mask_token", (1, 1, d)
    yield "decoder_positions", "decoder_pos_embed_learned", (1, n, d)
    for i in range(c.decoder_layers):
        yield from _block(f"decoder.{i}", f"decoder_blocks.{i}", d, c.ratio * d)
    yield from pair("decoder_norm", "decoder_norm", (d,))
    yield "head_positions", "diffusion_pos_embed_learned", (1, c.tokens, d)


def head_rows(c: ArinarConfig, ours="", upstream=""):
    """Yield the rows of the inner model, each name behind a prefix.

    Source: Qinyu-Allen-Zhao/Arinar model_head/arhead_gmm.py::ARHead_gmm.
    """
    for here, there, shape in _head_rows(c):
        yield f"{ours}{here}", f"{upstream}{there}", shape


def guess_arinar(shapes: Mapping) -> tuple[ArinarConfig, tuple[str, ...]]:
    """Return the configuration that shapes tell of, and the fields they do not show."""
    _, groups, inner = shapes["arhead.pos_embedding"]
    group = shapes["arhead.input_proj.weight"][1]
    config = ArinarConfig(
        **outer_sizes(shapes),
        channels=groups * group,
        mixtures=shapes["arhead.head.weight"][0] // (2 * group + 1),
        inner_width=inner,
        inner_layers=count(shapes, "arhead.blocks.{}.attn.mat_qkv.weight"),
        group=group,
        flow="arhead.nf.var" in shapes,
    )
    return config, UNSEEN


def outer_sizes(shapes: Mapping) -> dict[str, int]:
    """Return the fields that describe the masked model, which MAR has too."""
    d, wide = shapes["decoder_embed.weight"]
    tokens = shapes["diffusion_pos_embed_learned"][1]
    return {
        "width": d,
        "encoder_width": wide,
        "encoder_layers": count(shapes, "encoder_blocks.{}.norm1.weight"),
        "decoder_layers": count(shapes, "decoder_blocks.{}.norm1.weight"),
        # the head size of every released model but the largest
        "encoder_heads": max(1, wide // 64),
        "decoder_heads": max(1, d // 64),
        "ratio": shapes["decoder_blocks.0.mlp.fc1.weight"][0] // d,
        "buffer": shapes["encoder_pos_embed_learned"][1] - tokens,
        "classes": shapes["class_emb.weight"][0],
        "tokens": tokens,
    }


UNSEEN = (
    "encoder_heads", "decoder_heads", "channels", "patch", "inner_schedule",
    "behaviour",
)  # fmt: skip
"""Fields of the configuration that no shape shows."""


def _head_rows(c):
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


def _block(ours, upstream, d, f):
    # timm 0.9.12 layers of models/vision_transformer.py::Block
    yield from pair(f"{ours}.norm1", f"{upstream}.norm1", (d,))
    yield from pair(f"{ours}.qkv", f"{upstream}.attn.qkv", (3 * d, d))
    yield from pair(f"{ours}.proj", f"{upstream}.attn.proj", (d, d))
    yield from pair(f"{ours}.norm2", f"{upstream}.norm2", (d,))
    yield from pair(f"{ours}.fc1", f"{upstream}.mlp.fc1", (f, d))
    yield from pair(f"{ours}.fc2", f"{upstream}.mlp.fc2", (d, f))
