"""The convolutional halves of an image tokenizer: from an image to a grid, and back.

The encoder halves the sides after every level but the last; the decoder mirrors it.
Both have residual blocks at every level. If the weights of a level hold attention, it
follows each of the level's blocks. A linear layer follows the encoder, and another one
begins the decoder. VQ and KL differ in what is between the halves.

Source: CompVis/latent-diffusion ldm/modules/diffusionmodules/model.py. Images and
activations are (b y x c), float32. `watch(name, array)` is called with the output of
every block by its upstream name.
"""

from __future__ import annotations

from dataclasses import dataclass

from minigen.models.watching import tell

GROUPS = 32
EPS = 1e-6


@dataclass(frozen=True)
class Names:
    """The names that the original gives to the blocks, for watchers.

    down, up: of the levels of encoder and decoder, in the order in which they run;
    block: of the residual blocks of a level, followed by a number; mid: of the three
    blocks in the middle.
    """

    down: tuple[str, ...]
    up: tuple[str, ...]
    block: str
    mid: tuple[str, str, str]


def encode(ops, weights, names, x, watch=None):
    """Return the features of images: (b Y X 3) to (b y x c).

    A level whose side is odd drops the last row or column.
    """
    w = weights["encoder"]
    x = _conv3x3(ops, x, w["conv_in"], watch, "encoder.conv_in")
    for name, level in zip(names.down, w["levels"], strict=True):
        name = f"encoder.{name}"
        x = _level(ops, x, level, names, watch, name)
        if "down" in level:
            x = ops.conv3x3_half(x, **level["down"])
            tell(watch, f"{name}.downsample", x)
    x = _middle(ops, x, w["mid"], names, watch, "encoder.mid")
    return _linear(ops, _out(ops, x, w, watch, "encoder"), weights, "quant_conv", watch)


def decode(ops, weights, names, x, watch=None):
    """Return the images of features: (b y x c) to (b Y X 3)."""
    w = weights["decoder"]
    x = _linear(ops, x, weights, "post_quant_conv", watch)
    x = _conv3x3(ops, x, w["conv_in"], watch, "decoder.conv_in")
    x = _middle(ops, x, w["mid"], names, watch, "decoder.mid")
    for name, level in zip(names.up, w["levels"], strict=True):
        name = f"decoder.{name}"
        x = _level(ops, x, level, names, watch, name)
        if "up" in level:
            x = ops.conv3x3(ops.upsample(x), **level["up"])
            tell(watch, f"{name}.upsample", x)
    return _out(ops, x, w, watch, "decoder")


def residual(ops, x, norm1, conv1, norm2, conv2, shortcut=None):
    """Twice norm, swish and convolution, added to x: (b y x c) to (b y x f)."""
    h = ops.conv3x3(ops.group_norm_swish(x, **norm1, r=GROUPS, eps=EPS), **conv1)
    h = ops.group_norm_swish(h, **norm2, r=GROUPS, eps=EPS)
    if shortcut is not None:
        x = ops.linear(x, **shortcut)
    return ops.conv3x3_add(h, **conv2, residual=x)


def attend(ops, x, norm, q, k, v, proj):
    """Attention over all positions with one head, added to x: (b y x c)."""
    b, y, columns, c = x.shape
    # n = y x positions, one head: (b y x c) <-> (b n 1 c)
    heads, grid = (b, y * columns, 1, c), (b, y, columns, c)
    a = ops.group_norm(x, **norm, r=GROUPS, eps=EPS)
    q, k, v = (ops.linear(a, **w).reshape(heads) for w in (q, k, v))
    o = ops.attention(q, k, v, y * columns).reshape(grid)
    return ops.linear(o, **proj, residual=x)


def _level(ops, x, level, names, watch, name):
    for i, w in enumerate(level["res"]):
        x = residual(ops, x, **w)
        tell(watch, f"{name}.{names.block}.{i}", x)
        if "attn" in level:
            x = attend(ops, x, **level["attn"][i])
            tell(watch, f"{name}.attn.{i}", x)
    return x


def _middle(ops, x, mid, names, watch, name):
    blocks = zip(names.mid, (residual, attend, residual), mid, strict=True)
    for part, block, w in blocks:
        x = block(ops, x, **w)
        tell(watch, f"{name}.{part}", x)
    return x


def _out(ops, x, w, watch, name):
    if watch is not None:
        # the original's hook sees the norm before its swish
        watch(f"{name}.norm_out", ops.group_norm(x, **w["norm_out"], r=GROUPS, eps=EPS))
    x = ops.group_norm_swish(x, **w["norm_out"], r=GROUPS, eps=EPS)
    return _conv3x3(ops, x, w["conv_out"], watch, f"{name}.conv_out")


def _linear(ops, x, weights, name, watch):
    x = ops.linear(x, **weights[name])
    tell(watch, name, x)
    return x


def _conv3x3(ops, x, w, watch, name):
    x = ops.conv3x3(x, **w)
    tell(watch, name, x)
    return x
