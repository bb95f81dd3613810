"""The VQ tokenizer: encoder, distances, codes, decoder, pixels, weights from files.

Recorded images and activations are (b c y x), ours (b y x c). Every array is optional:
what a case recorded is compared. A prefix (`enc_`) may stand before the arrays that
belong to an encoded image.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.checkpoints import names as layout
from minigen.models import vq
from tests.parity import weights
from tests.parity.arpg_forward import same_weights
from tests.parity.case import (
    EPS,
    FACTOR,
    Case,
    compare,
    decide,
    names,
    note,
    recorded_error,
    take,
)
from tests.parity.slices import cut


def recognise(case: Case) -> bool:
    built = {"ch", "released", "encoder_ch_mult"} & set(case.about.get("config", ()))
    return bool(built) and "weights" in case.about


def replay(case: Case, ops) -> None:
    config, tree = weights.configuration(case), weights.tree(case)
    latent = None
    for name in case.arrays:
        if name.endswith("image_uint8"):
            prefix = name.removesuffix("image_uint8")
            latent = encode(case, ops, config, tree, prefix)
    if "tokens" in case.arrays:
        decode_tokens(case, ops, config, tree, latent)
    drawn = None
    for entry, state in weights.files(case):
        drawn = drawn or weights.state(case)
        same_weights(case, entry, state, drawn)
        if "image" in entry:
            file_tree = layout.to_tree(config, state)
            grid = grid_of(case, config, latent)
            image = vq.decode(ops, file_tree, config, grid)
            compare(case, entry["image"], first(image))


def encode(case: Case, ops, config, tree, prefix: str):
    """Compare what an image becomes, in and out; return the shape of its h."""
    x = ops.from_pixels(take(case, prefix + "image_uint8"))
    if prefix + "x" in case.arrays:
        compare(case, prefix + "x", first(x))
    seen = {}
    h = vq.encode(ops, tree, config, x, watch=keep_in(seen))
    compare(case, prefix + "h", first(h))
    z, codes = compared(ops, config, tree, h)
    distances = ops.distances(z, codes)
    if prefix + "dist" in case.arrays:
        compare(case, prefix + "dist", distances)
    if prefix + "min_dist" in case.arrays:
        compare(case, prefix + "min_dist", distances.min(-1))
    safety = case.about["index_safety"]
    safety = safety.get(prefix) or safety["all"]
    error = FACTOR * safety["max_abs_distance_error_float32"]
    indices = vq.quantise(ops, tree, config, h)
    compare_nearest(case, prefix, "indices", indices.ravel(), distances, error)

    # what follows the codes starts from the recorded ones, should a near-tie differ
    grid = take(case, prefix + "indices").reshape(indices.shape)
    recon = vq.decode(ops, tree, config, grid, watch=keep_in(seen))
    error = None
    for name in (prefix + "recon", prefix + "recon_slice"):
        if name in case.arrays:
            compare(case, name, cut(case, name, first(recon)))
            error = FACTOR * recorded_error(case, name)
    if prefix + "recon_uint8" in case.arrays:
        compare_pixels(case, ops, prefix + "recon_uint8", recon, error)
    if prefix + "z_q" in case.arrays:
        compare_straight_through(case, prefix + "z_q", z, codes[grid])
    if prefix + "recon_from_zq" in case.arrays:
        z_q = last(take(case, prefix + "z_q"))
        again = vq.decode_latent(ops, tree, config, z_q)
        compare(case, prefix + "recon_from_zq", first(again))
    for name in names(case, prefix + "h_"):
        module = name.removeprefix(prefix + "h_")
        if module in seen:
            compare(case, name, cut(case, name, first(seen[module])))
        else:
            case.failures.append(f"{name}: no watcher saw {module!r}")
    return h.shape


def compared(ops, config, tree, h):
    """Return latents (n c) and codes (k c) as the quantiser compares them."""
    z = h.reshape(-1, config.code_size)
    return ops.unit(z) if config.unit_codes else z, vq.codes(ops, tree, config)


def compare_nearest(case: Case, prefix, name, indices, distances, error) -> None:
    """Compare nearest codes (n), given distances (n k) that may be off by `error`."""
    safe = take(case, prefix + "gap") > error
    decide(case, prefix + name, indices, safe)
    # where it may be another, it must still be one of the nearest
    ours = np.take_along_axis(distances, indices[:, None], -1)[:, 0]
    note(case, prefix + name, ours - distances.min(-1), error)


def compare_straight_through(case: Case, name: str, z, code) -> None:
    """Compare z + (code - z) with the code (b y x c): it carries two roundings more.

    They are below eps / 2 of |code - z| and of |z_q|; the code of unit length was
    itself rounded by us and by the original, each by at most 2 eps of it.
    """
    apart, size = np.abs(code - z.reshape(code.shape)), np.abs(code)
    within = EPS / 2 * (apart + size) + 4 * EPS * size
    compare(case, name, first(code), first(within))


def decode_tokens(case: Case, ops, config, tree, latent) -> None:
    """Compare the image of the recorded tokens, whole or in the parts recorded."""
    image = vq.decode(ops, tree, config, grid_of(case, config, latent))
    whole = first(image)
    error = None
    for name in ("image", "image_strided"):
        if name in case.arrays:
            compare(case, name, cut(case, name, whole))
            error = FACTOR * recorded_error(case, name)
    for name, corner in (("image_tl", 0), ("image_br", -1)):
        if name in case.arrays:
            y, x = case.arrays[name].shape[2:]
            part = whole[:, :, -y:, -x:] if corner else whole[:, :, :y, :x]
            compare(case, name, part)
    if "image_channel_mean" in case.arrays:
        compare(case, "image_channel_mean", whole.mean((0, 2, 3), np.float64))
    if "image_channel_std" in case.arrays:
        spread = whole.std((0, 2, 3), dtype=np.float64)
        compare(case, "image_channel_std", spread)
    for name in ("image_uint8_out", "uint8_strided"):
        if name in case.arrays:
            compare_pixels(case, ops, name, image, error)


def grid_of(case: Case, config, latent) -> np.ndarray:
    """Return the recorded tokens as a grid: that of their image if it is recorded as a
    whole, or the encoder's if it fits, else a square."""
    tokens = take(case, "tokens")
    count = tokens[0].size
    sizes = []
    if "image" in case.arrays:
        sizes.append([n // config.factor for n in case.arrays["image"].shape[2:]])
    if latent:
        sizes.append(latent[1:3])
    for rows, columns in sizes:
        if rows * columns == count:
            return tokens.reshape(-1, rows, columns)
    side = math.isqrt(count)
    assert side * side == count, f"{count} tokens: what grid they form is not recorded"
    return tokens.reshape(-1, side, side)


def compare_pixels(case: Case, ops, name: str, image, error: float) -> None:
    """Compare uint8 pixels: equal, but where rounding decides which side of a step.

    A pixel is 127.5 v + 128 truncated; if v may be off by `error`, that number by 127.5
    times as much, plus the rounding of its two operations.
    """
    cropped = cut(case, name, ops.to_pixels(image))
    scaled = 127.5 * cut(case, name, image).astype(np.float64) + 128
    reach = 127.5 * error + 256 * EPS
    decide(case, name, cropped, np.abs(scaled - np.round(scaled)) > reach)
    off = cropped.astype(int) - case.arrays[name].astype(int)
    note(case, name, np.abs(off), 1)


def keep_in(seen: dict):
    """Return a watcher that keeps every array it sees."""

    def watch(name, array):
        seen[name] = np.array(array)

    return watch


def first(x):
    """(b y x c) to (b c y x)."""
    return np.moveaxis(np.asarray(x), -1, 1)


def last(x):
    """(b c y x) to (b y x c)."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))
