"""The names of the weights of the VQ and the KL tokenizer: see `names`."""

from __future__ import annotations

from collections.abc import Mapping

from minigen.config import KlConfig, VqConfig


def vq_rows(c: VqConfig, blocks: int = 2):
    """Source: FoundationVision/LlamaGen tokenizer/tokenizer_image/vq_model.py.

    blocks: residual blocks of a level of the encoder, one fewer than of the decoder's.
    """
    last = c.levels - 1
    levels = [f"conv_blocks.{i}" for i in range(c.levels)]
    mid = ("0", "1", "2")
    yield from _encoder(c, blocks, (last,), c.latent, levels, "res", mid)
    yield from conv("quant_conv", "quant_conv", c.code_size, c.latent, 1)
    yield "codebook", "quantize.embedding.weight", (c.codes, c.code_size)
    yield from conv("post_quant_conv", "post_quant_conv", c.latent, c.code_size, 1)
    yield from _decoder(c, blocks + 1, (last,), c.latent, levels, "res", mid)


def guess_vq(shapes: Mapping) -> tuple[VqConfig, tuple[str, ...]]:
    """Return the configuration that shapes tell of, and the fields they do not show."""
    base, multipliers = _widths(shapes, "encoder.conv_blocks.{}.res.0.conv1.weight")
    codes, code_size = shapes["quantize.embedding.weight"]
    latent = shapes["encoder.conv_out.weight"][0]
    return VqConfig(base, multipliers, latent, codes, code_size), ("unit_codes",)


def kl_rows(c: KlConfig):
    """Source: LTH14/mar models/vae.py; Qinyu-Allen-Zhao/Arinar backbone/vae.py."""
    down = [f"down.{i}" for i in range(c.levels)]
    # the original counts the levels of both halves from the finest
    up = [f"up.{i}" for i in reversed(range(c.levels))]
    mid = ("block_1", "attn_1", "block_2")
    moments = 2 * c.channels
    latents = moments if c.variational else c.channels
    yield from _encoder(c, c.blocks, c.attention, moments, down, "block", mid)
    yield from conv("quant_conv", "quant_conv", latents, moments, 1)
    yield from conv("post_quant_conv", "post_quant_conv", c.channels, c.channels, 1)
    attention = c.decoder_attention
    yield from _decoder(c, c.blocks + 1, attention, c.channels, up, "block", mid)


def guess_kl(shapes: Mapping) -> tuple[KlConfig, tuple[str, ...]]:
    """Return the configuration that shapes tell of, and the fields they do not show."""
    base, multipliers = _widths(shapes, "encoder.down.{}.block.0.conv1.weight")
    levels = range(len(multipliers))
    channels = shapes["post_quant_conv.weight"][0]
    config = KlConfig(
        base=base,
        multipliers=multipliers,
        blocks=count(shapes, "encoder.down.0.block.{}.conv1.weight"),
        channels=channels,
        attention=[i for i in levels if f"encoder.down.{i}.attn.0.q.weight" in shapes],
        decoder_attention=[
            i for i in levels if f"decoder.up.{i}.attn.0.q.weight" in shapes
        ],
        variational=shapes["quant_conv.weight"][0] != channels,
    )
    return config, ("scale",)


def pair(ours, upstream, shape):
    """Yield the rows of a weight and its bias, which has the weight's first axis."""
    yield f"{ours}.w", f"{upstream}.weight", shape
    yield f"{ours}.bias", f"{upstream}.bias", shape[:1]


def conv(ours, upstream, f, c, kernel):
    """Yield the rows of a convolution from c to f channels."""
    yield from pair(ours, upstream, (f, c, kernel, kernel))


def count(shapes, pattern):
    """Return how many names there are of a pattern with a number in it, from 0 on."""
    i = 0
    while pattern.format(i) in shapes:
        i += 1
    return i


def _encoder(c, blocks, attention, f, levels, block, mid):
    # levels, block and mid are the original's names: see minigen.models.pyramid
    yield from conv("encoder.conv_in", "encoder.conv_in", c.base, 3, 3)
    before = c.base
    for i, width in enumerate(c.widths):
        here, there = f"encoder.levels.{i}", f"encoder.{levels[i]}"
        yield from _level(here, there, block, before, width, blocks, i in attention)
        if i < c.levels - 1:
            down = f"{there}.downsample.conv"
            yield from conv(f"{here}.down", down, width, width, 3)
        before = width
    yield from _middle("encoder.mid", mid, before)
    yield from _ends("encoder", before, f)


def _decoder(c, blocks, attention, f, levels, block, mid):
    before, last = c.widths[-1], c.levels - 1
    yield from conv("decoder.conv_in", "decoder.conv_in", before, f, 3)
    yield from _middle("decoder.mid", mid, before)
    for i, width in enumerate(reversed(c.widths)):
        here, there = f"decoder.levels.{i}", f"decoder.{levels[i]}"
        attends = last - i in attention
        yield from _level(here, there, block, before, width, blocks, attends)
        if i < last:
            yield from conv(f"{here}.up", f"{there}.upsample.conv", width, width, 3)
        before = width
    yield from _ends("decoder", before, 3)


def _level(ours, upstream, block, before, width, blocks, attends):
    for i in range(blocks):
        here, there = f"{ours}.res.{i}", f"{upstream}.{block}.{i}"
        yield from _residual(here, there, before, width)
        before = width
    for i in range(blocks * attends):
        yield from _attention(f"{ours}.attn.{i}", f"{upstream}.attn.{i}", width)


def _middle(name, mid, width):
    first, attention, second = (f"{name}.{part}" for part in mid)
    yield from _residual(f"{name}.0", first, width, width)
    yield from _attention(f"{name}.1", attention, width)
    yield from _residual(f"{name}.2", second, width, width)


def _ends(name, width, f):
    yield from pair(f"{name}.norm_out", f"{name}.norm_out", (width,))
    yield from conv(f"{name}.conv_out", f"{name}.conv_out", f, width, 3)


def _residual(ours, upstream, before, width):
    yield from pair(f"{ours}.norm1", f"{upstream}.norm1", (before,))
    yield from conv(f"{ours}.conv1", f"{upstream}.conv1", width, before, 3)
    yield from pair(f"{ours}.norm2", f"{upstream}.norm2", (width,))
    yield from conv(f"{ours}.conv2", f"{upstream}.conv2", width, width, 3)
    if before != width:
        shortcut = f"{upstream}.nin_shortcut"
        yield from conv(f"{ours}.shortcut", shortcut, width, before, 1)


def _attention(ours, upstream, width):
    yield from pair(f"{ours}.norm", f"{upstream}.norm", (width,))
    for name in ("q", "k", "v"):
        yield from conv(f"{ours}.{name}", f"{upstream}.{name}", width, width, 1)
    yield from conv(f"{ours}.proj", f"{upstream}.proj_out", width, width, 1)


def _widths(shapes, pattern):
    # the width of the first level times what, at each level
    base = shapes["encoder.conv_in.weight"][0]
    widths = [shapes[pattern.format(i)][0] for i in range(count(shapes, pattern))]
    return base, tuple(width // base for width in widths)
