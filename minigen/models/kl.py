"""The KL tokenizer: images to a grid of Gaussians, and back from samples of them.

The encoder gives moments: a mean and a log-variance for each number of the grid. The
decoder makes an image of samples. A generator works on latents: samples times a scale,
which makes their standard deviation about 1.

Source: arXiv 2112.10752 (latent diffusion), section 3.1; LTH14/mar models/vae.py;
Qinyu-Allen-Zhao/Arinar backbone/vae.py. Images and activations are (b y x c), float32.
`watch(name, array)` is called with the output of every block by its upstream name.
"""

from __future__ import annotations

import numpy as np

from minigen import checks
from minigen.errors import ShapeError
from minigen.models import pyramid


def encode(ops, weights, config, x, watch=None):
    """Return the moments of images: (b y x 2c), or (b y x c) if not variational.

    x (b Y X 3): images in [-1, 1], of any size that the levels can halve.
    """
    return pyramid.encode(ops, weights, block_names(config), x, watch)


def posterior(ops, config, moments):
    """Return mean and log-variance (b y x c) of every number of the grid."""
    if config.variational:
        return ops.split_moments(moments)
    # a log-variance of 1, as in the original, though that of variance 1 is 0
    return moments, ops.put(np.ones(moments.shape, np.float32))


def sample(ops, mean, log_variance, noise):
    """Return a sample of the posterior, from standard normal noise (b y x c)."""
    return ops.sample_normal(mean, log_variance, noise)


def to_latents(ops, config, samples):
    """Return the latents of samples (b y x c): these times the scale."""
    return ops.scale(samples, config.scale)


def from_latents(ops, config, latents):
    """Return samples, the input of `decode`: latents (b y x c) divided by the scale."""
    return ops.scale(latents, 1 / config.scale)


def decode(ops, weights, config, samples, watch=None):
    """Return the image of samples: (b y x c) to (b Y X 3), about [-1, 1]."""
    return pyramid.decode(ops, weights, block_names(config), samples, watch)


def check_tokens(config, tokens, canvas=False):
    """Return latents of the host (b y x c) as a new array of float32.

    canvas: whether NaN is allowed, for unknown tokens. Raises ShapeError, InputError.
    """
    tokens = checks.number_array("latents", tokens, finite=not canvas)
    if tokens.ndim != 4 or not tokens.size or tokens.shape[-1] != config.channels:
        raise ShapeError(
            f"latents of shape {tokens.shape}; expected (b, y, x, {config.channels})"
        )
    return tokens


def to_images(ops, weights, config, latents):
    """Return the pixels of latents (b y x c): uint8 (b Y X 3)."""
    x = decode(ops, weights, config, from_latents(ops, config, latents))
    return ops.to_rounded_pixels(ops.check_finite(x))


def from_images(ops, weights, config, images):
    """Return the latents (b y x c) of images, uint8 (b Y X 3): of their means."""
    moments = encode(ops, weights, config, ops.from_pixels(images))
    latents = to_latents(ops, config, posterior(ops, config, moments)[0])
    return ops.check_finite(latents)


def block_names(config):
    """Return the names that the original gives to the blocks of both halves."""
    levels = range(config.levels)
    # the original counts the levels of both halves from the finest
    down = tuple(f"down.{i}" for i in levels)
    up = tuple(f"up.{i}" for i in reversed(levels))
    return pyramid.Names(down, up, "block", ("block_1", "attn_1", "block_2"))
