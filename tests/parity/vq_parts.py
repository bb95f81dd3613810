"""Parts of the VQ tokenizer on their own: pixel conversions, and the quantiser."""

from __future__ import annotations

import numpy as np

from tests.parity.case import (
    EPS,
    FACTOR,
    Case,
    compare,
    equal,
    note,
    recorded_error,
    take,
)
from tests.parity.vq_loss import gradients, losses
from tests.parity.vq_model import compare_nearest, compare_straight_through, first, last


def is_pixels(case: Case) -> bool:
    return {"u8_sample", "in_totensor"} <= set(case.arrays)


def replay_pixels(case: Case, ops) -> None:
    image = take(case, "x").reshape(1, 1, -1, 1)
    ours = ops.to_pixels(image).ravel()
    equal(case, "u8_sample", ours)
    # torchvision's way to write pixels is not ours: it differs by one, so many times
    off = np.abs(take(case, "u8_save_image").astype(int) - ours.astype(int))
    note(case, "u8_save_image", off, 1)
    differences = case.about["u8_differences"]
    note(case, "u8_save_image", abs(int((off > 0).sum()) - differences), 0)
    back = ops.from_pixels(take(case, "u8").reshape(1, 1, -1, 1)).ravel()
    # one rounding of u / 255, of a difference, and of a number below 1
    compare(case, "in_totensor", back, 3 * EPS / 2)
    compare(case, "in_demo", back, 3 * EPS / 2)


def is_quantizer(case: Case) -> bool:
    return {"codebook", "z"} <= set(case.arrays)


def replay_quantizer(case: Case, ops) -> None:
    prefixes = [p for p in ("l2_", "raw_") if p + "dist" in case.arrays]
    for prefix in prefixes:
        replay_codes(case, ops, prefix)
        if prefix + "vq_loss" in case.arrays:
            replay_losses(case, ops, prefix)


def replay_codes(case: Case, ops, prefix: str) -> None:
    """Distances, nearest codes and look-ups, of unit vectors for the prefix l2_."""
    unit = ops.unit if prefix == "l2_" else np.asarray
    latents = last(take(case, "z"))
    z = unit(latents.reshape(-1, latents.shape[-1]))
    codes = unit(take(case, "codebook"))
    distances = ops.distances(z, codes)
    compare(case, prefix + "dist", distances)
    error = FACTOR * recorded_error(case, prefix + "dist")
    for name in ("indices", "indices64"):
        indices = ops.lookup(z, codes)
        compare_nearest(case, prefix, name, indices, distances, error)
    chosen = codes[take(case, prefix + "indices")].reshape(latents.shape)
    compare_straight_through(case, prefix + "z_q", z, chosen)
    rows = ops.embed(codes, take(case, "tokens").reshape(1, -1))[0]
    # a unit row is rounded by its norm and by its quotient, by us and by the original
    within = (4 if prefix == "l2_" else 0) * EPS * np.abs(rows)
    shape = latents.shape
    compare(case, prefix + "entry_first", first(rows.reshape(shape)))
    compare(case, prefix + "entry_last", rows.reshape(shape), within.reshape(shape))
    compare(case, prefix + "entry_flat", rows, within)


def replay_losses(case: Case, ops, prefix: str) -> None:
    """Training losses, their gradients, and how many codes are in use."""
    unit = prefix == "l2_"
    config = case.about["config"]
    z, codes = last(take(case, "train_z")), take(case, "train_codebook")
    flat = z.reshape(-1, z.shape[-1])
    rows = (ops.unit(flat), ops.unit(codes)) if unit else (flat, codes)
    indices = ops.lookup(*rows)
    equal(case, prefix + "train_indices", indices)
    used = set(indices.tolist()) | {0}
    recorded = case.about[prefix + "usage"]
    note(case, prefix + "usage", abs(len(used) / len(codes) - recorded), EPS)

    terms = losses(flat, codes, indices, config, unit)
    for name, value in zip(
        ("vq_loss", "commit_loss", "entropy_loss"), terms, strict=True
    ):
        compare(case, prefix + name, value.real)
    d_z, d_codes = gradients(z, codes, indices, config, unit)
    compare(case, prefix + "grad_z", first(d_z))
    compare(case, prefix + "grad_codebook", d_codes)
