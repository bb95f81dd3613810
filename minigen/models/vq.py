"""The VQ tokenizer: images to a grid of code numbers, and back.

A convolutional encoder halves the image at every level but the last; each position of
its output is replaced by the nearest code of a codebook; a decoder mirrors the encoder.
Both attend over all positions, at the deepest level only.

Source: arXiv 2406.06525 (LlamaGen), section 3.1; FoundationVision/LlamaGen
tokenizer/tokenizer_image/vq_model.py. Images and activations are (b y x c), float32.
`watch(name, array)` is called with the output of every block by its upstream name.
"""

from __future__ import annotations

from minigen.models.watching import tell

GROUPS = 32
EPS = 1e-6


def encode(ops, weights, config, x, watch=None):
    """Return what the quantiser compares with the codes: (b y x c) with c = code_size.

    x: image in [-1, 1], (b Y X 3), any size the levels can halve.
    """
    w, name = weights["encoder"], "encoder"
    x = _conv3x3(ops, x, w["conv_in"], watch, f"{name}.conv_in")
    for i, level in enumerate(w["levels"]):
        x = _level(ops, x, level, watch, f"{name}.conv_blocks.{i}")
        if "down" in level:
            x = ops.conv3x3_half(x, **level["down"])
            tell(watch, f"{name}.conv_blocks.{i}.downsample", x)
    x = _middle(ops, x, w["mid"], watch, f"{name}.mid")
    x = _out(ops, x, w, watch, name)
    x = ops.conv1x1(x, **weights["quant_conv"])
    tell(watch, "quant_conv", x)
    return x


def quantise(ops, weights, config, h):
    """Return the number of the nearest code at every position: (b y x c) to (b y x)."""
    z = h.reshape(-1, config.code_size)
    if config.unit_codes:
        z = ops.unit(z)
    return ops.lookup(z, codes(ops, weights, config)).reshape(h.shape[:3])


def codes(ops, weights, config):
    """Return the codebook (k c) as it is compared and looked up."""
    rows = weights["codebook"]
    return ops.unit(rows) if config.unit_codes else rows


def decode(ops, weights, config, tokens, watch=None):
    """Return the image of a grid of codes: (b y x) to (b Y X 3), about [-1, 1]."""
    b, y, x = tokens.shape
    z = ops.embed(codes(ops, weights, config), tokens.reshape(b, y * x))
    z = z.reshape(b, y, x, config.code_size)
    return decode_latent(ops, weights, config, z, watch)


def decode_latent(ops, weights, config, z, watch=None):
    """Return the image of quantised vectors: (b y x c) to (b Y X 3)."""
    w, name = weights["decoder"], "decoder"
    x = ops.conv1x1(z, **weights["post_quant_conv"])
    tell(watch, "post_quant_conv", x)
    x = _conv3x3(ops, x, w["conv_in"], watch, f"{name}.conv_in")
    x = _middle(ops, x, w["mid"], watch, f"{name}.mid")
    for i, level in enumerate(w["levels"]):
        x = _level(ops, x, level, watch, f"{name}.conv_blocks.{i}")
        if "up" in level:
            x = ops.conv3x3(ops.upsample(x), **level["up"])
            tell(watch, f"{name}.conv_blocks.{i}.upsample", x)
    return _out(ops, x, w, watch, name)


def residual(ops, x, norm1, conv1, norm2, conv2, shortcut=None):
    """Norm, swish, convolution, twice, beside an identity: (b y x c) to (b y x f)."""
    h = ops.conv3x3(ops.group_norm_swish(x, **norm1, r=GROUPS, eps=EPS), **conv1)
    h = ops.group_norm_swish(h, **norm2, r=GROUPS, eps=EPS)
    if shortcut is not None:
        x = ops.conv1x1(x, **shortcut)
    return ops.conv3x3_add(h, **conv2, residual=x)


def attend(ops, x, norm, q, k, v, proj):
    """One head over all positions, beside an identity: (b y x c) to the same."""
    b, y, columns, c = x.shape
    heads, grid = (b, y * columns, 1, c), (b, y, columns, c)
    a = ops.group_norm(x, **norm, r=GROUPS, eps=EPS)
    q, k, v = (ops.conv1x1(a, **w).reshape(heads) for w in (q, k, v))
    o = ops.attention(q, k, v, y * columns).reshape(grid)
    return ops.conv1x1_add(o, **proj, residual=x)


def _level(ops, x, level, watch, name):
    # attention follows every residual block of the deepest level
    for i, w in enumerate(level["res"]):
        x = residual(ops, x, **w)
        tell(watch, f"{name}.res.{i}", x)
        if "attn" in level:
            x = attend(ops, x, **level["attn"][i])
            tell(watch, f"{name}.attn.{i}", x)
    return x


def _middle(ops, x, mid, watch, name):
    for i, (block, w) in enumerate(zip((residual, attend, residual), mid, strict=True)):
        x = block(ops, x, **w)
        tell(watch, f"{name}.{i}", x)
    return x


def _out(ops, x, w, watch, name):
    if watch is not None:
        # the original's hook sees the norm before its swish
        watch(f"{name}.norm_out", ops.group_norm(x, **w["norm_out"], r=GROUPS, eps=EPS))
    x = ops.group_norm_swish(x, **w["norm_out"], r=GROUPS, eps=EPS)
    return _conv3x3(ops, x, w["conv_out"], watch, f"{name}.conv_out")


def _conv3x3(ops, x, w, watch, name):
    x = ops.conv3x3(x, **w)
    tell(watch, name, x)
    return x
