"""The VQ tokenizer: images to a grid of code numbers, and back.

A convolutional encoder halves the image at every level but the last; each position of
its output is replaced by the nearest code of a codebook; a decoder mirrors the encoder.
Both attend over all positions, at the deepest level only.

Source: arXiv 2406.06525 (LlamaGen), section 3.1; FoundationVision/LlamaGen
tokenizer/tokenizer_image/vq_model.py. Images and activations are (b y x c), float32.
`watch(name, array)` is called with the output of every block by its upstream name.
"""

from __future__ import annotations

from minigen import checks
from minigen.errors import InputError, ShapeError
from minigen.models import pyramid


def encode(ops, weights, config, x, watch=None):
    """Return the vectors that are to be quantised: (b y x c), where c is code_size.

    x (b Y X 3): images in [-1, 1], of any size that the levels can halve.
    """
    return pyramid.encode(ops, weights, block_names(config), x, watch)


def quantise(ops, weights, config, h):
    """Return the number of the nearest code at every position: (b y x c) to (b y x)."""
    z = h.reshape(-1, config.code_size)  # (n c)
    if config.unit_codes:
        z = ops.unit(z)
    return ops.lookup(z, codes(ops, weights, config)).reshape(h.shape[:3])


def codes(ops, weights, config):
    """Return the codebook (k c), its codes of length 1 if the configuration says so."""
    rows = weights["codebook"]
    return ops.unit(rows) if config.unit_codes else rows


def decode(ops, weights, config, tokens, watch=None):
    """Return the image of a grid of codes: (b y x) to (b Y X 3), about [-1, 1]."""
    b, y, x = tokens.shape
    z = ops.embed(codes(ops, weights, config), tokens.reshape(b, y * x))  # (b n c)
    z = z.reshape(b, y, x, config.code_size)
    return decode_latent(ops, weights, config, z, watch)


def decode_latent(ops, weights, config, z, watch=None):
    """Return the image of quantised vectors: (b y x c) to (b Y X 3)."""
    return pyramid.decode(ops, weights, block_names(config), z, watch)


def check_tokens(config, tokens, canvas=False):
    """Return tokens of the host (b y x) as a new array of int64.

    canvas: whether -1 is allowed, for unknown tokens. Raises ShapeError, InputError.
    """
    tokens = checks.integer_array("tokens", tokens)
    if tokens.ndim != 3 or not tokens.size:
        raise ShapeError(f"tokens of shape {tokens.shape}; expected (b, y, x)")
    if tokens.min() < -canvas or tokens.max() >= config.codes:
        raise InputError(
            f"tokens lie in {tokens.min()} .. {tokens.max()}; this tokenizer's are "
            f"0 .. {config.codes - 1}"
        )
    return tokens


def to_images(ops, weights, config, tokens):
    """Return the pixels of tokens (b y x): uint8 (b Y X 3)."""
    return ops.to_pixels(ops.check_finite(decode(ops, weights, config, tokens)))


def from_images(ops, weights, config, images):
    """Return the tokens (b y x) of images, uint8 (b Y X 3)."""
    h = ops.check_finite(encode(ops, weights, config, ops.from_pixels(images)))
    # a code of NaN is nearest to nothing, and would hide the codes after it
    ops.check_finite(ops.unit(weights["codebook"]))
    return quantise(ops, weights, config, h)


def block_names(config):
    """Return the names that the original gives to the blocks of both halves."""
    levels = tuple(f"conv_blocks.{i}" for i in range(config.levels))
    return pyramid.Names(levels, levels, "res", ("0", "1", "2"))
