"""The KL tokenizer: moments, posterior, latents, decoder, pixels, weights from files.

Recorded images and activations are (b c y x), ours (b y x c). Activations are recorded
as `h:` and the name of a module; where they are cut, as [:, ::C//8, ::H//16, ::H//16].
"""

from __future__ import annotations

import re
import zlib
from dataclasses import replace

import numpy as np

from minigen.checkpoints import names as layout
from minigen.checkpoints import read_checkpoint
from minigen.models import kl
from tests.parity import weights
from tests.parity.case import (
    EPS,
    FACTOR,
    Case,
    compare,
    count,
    names,
    note,
    recorded_error,
    take,
)
from tests.parity.slices import cut
from tests.parity.vq_model import first, keep_in, last

WEIGHT_FILES = (".ckpt", ".safetensors")


def recognise(case: Case) -> bool:
    return "embed_dim" in case.about.get("config", ()) and "latent" in case.arrays


def replay(case: Case, ops) -> None:
    config, tree = weights.configuration(case), weights.tree(case)
    if "latent_scale" in case.about:
        config = replace(config, scale=case.about["latent_scale"])
    seen = {}
    encode(case, ops, config, tree, seen)
    decode(case, ops, config, tree, seen)
    for name in names(case, "h:"):
        ours = first(seen[name.removeprefix("h:")])
        compare(case, name, thinned(case, name, ours))
    for path in sorted(case.folder.iterdir()):
        if path.suffix in WEIGHT_FILES:
            replay_file(case, ops, config, path)


def encode(case: Case, ops, config, tree, seen: dict) -> None:
    """Compare the moments of the image, and all that is made of them."""
    x = last(image_of(case))
    if "image_u8" in case.arrays:
        # u / 255 and two more roundings of numbers below 1
        ours = ops.from_pixels(take(case, "image_u8"))
        compare(case, "image", first(ours), 3 * EPS / 2)
    moments = kl.encode(ops, tree, config, x, watch=keep_in(seen))
    mean, log_variance = kl.posterior(ops, config, moments)
    if not config.variational:
        moments = np.concatenate([moments, log_variance], -1)
    compare(case, "moments", first(moments))
    if "mean" not in case.arrays:
        return
    compare(case, "mean", first(mean))
    compare(case, "mode", first(mean))
    compare(case, "logvar", first(log_variance))
    # a draw whose noise is 1, of a mean of 0, is the deviation
    nothing, one = np.zeros_like(mean), np.ones_like(mean)
    deviation = kl.sample(ops, nothing, log_variance, one)
    compare(case, "std", first(deviation))
    variance = kl.sample(ops, nothing, 2 * log_variance, one)
    compare(case, "var", first(variance))
    compare(case, "kl", ops.normal_kl(mean, log_variance))
    drawn = kl.sample(ops, mean, log_variance, last(take(case, "eps")))
    compare(case, "posterior_sample", first(drawn))
    if "nll_of_sample" in case.arrays:
        ours = ops.normal_nll(drawn, mean, log_variance)
        compare(case, "nll_of_sample", ours)
    compare(case, "latent_scaled", first(kl.to_latents(ops, config, mean)))


def image_of(case: Case):
    """Return the image (b c y x), which the full-size case draws and does not store."""
    if "image" in case.arrays:
        return take(case, "image")
    key = re.search(r"crc32\('(.*?)'\)", case.about["image"]).group(1)
    shapes = re.findall(r"standard_normal\(\((.*?)\)", case.about["image"])
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    latent, image = (
        rng.standard_normal([int(n) for n in shape.split(",")], np.float32)
        for shape in shapes
    )
    note(case, "latent", (latent != take(case, "latent")) * 1.0, 0.0)
    return np.tanh(image)


def decode(case: Case, ops, config, tree, seen: dict) -> None:
    """Compare the image of the recorded latents, whole or in the parts recorded."""
    samples = kl.from_latents(ops, config, last(take(case, "latent")))
    if "vae_input" in case.arrays:
        compare(case, "vae_input", first(samples))
    image = kl.decode(ops, tree, config, samples, watch=keep_in(seen))
    whole = first(image)
    for name in names(case, "decoded"):
        if name == "decoded_stats":
            largest = np.abs(whole).max()
            spread = whole.std(dtype=np.float64)
            compare(case, name, [whole.mean(dtype=np.float64), spread, largest])
        elif name != "decoded_fp16w":
            compare(case, name, cut(case, name, whole))
    if "png_rgb" in case.arrays:
        compare_image(case, ops, "png_rgb", image)


def compare_image(case: Case, ops, name, image, reverse=False) -> None:
    """Compare uint8 pixels: equal, but where rounding decides which side of a step.

    A pixel is 127.5 (v + 1), rounded; if v may be off by an error, that number by 127.5
    times as much, plus the rounding of its operations. reverse: blue comes first.
    """
    image = np.ascontiguousarray(image[..., ::-1]) if reverse else image
    ours, recorded = ops.to_rounded_pixels(image), take(case, name)
    scaled = 127.5 * (image.astype(np.float64) + 1)
    reach = 127.5 * FACTOR * recorded_error(case, "decoded") + 256 * EPS
    safe = np.abs(scaled - np.floor(scaled) - 0.5) > reach
    off = np.abs(ours.astype(int) - recorded.astype(int))
    count(case, "pixels", safe, off > 0)
    note(case, name, np.where(safe, off, 0), 0.0)
    note(case, name, off, 1)


def replay_file(case: Case, ops, config, path) -> None:
    """A file must be recognised and hold the drawn weights in its dtype."""
    label, found = f"file {path.name}", read_checkpoint(path)
    recognised, unseen = layout.recognise(found)
    shown = replace(recognised, scale=config.scale)
    wrong = shown != config or unseen != ("scale",)
    note(case, label, float(wrong), 0.0)
    for name, array in weights.state(case).items():
        rounded = array.astype(found[name].dtype)
        note(case, label, (np.asarray(found[name]) != rounded) * 1.0, 0.0)
    kind = found["quant_conv.weight"].dtype
    if kind == np.float16 and "decoded_fp16w" in case.arrays:
        # the original ran these in float32: the same error as with its own weights
        samples = kl.from_latents(ops, config, last(take(case, "latent")))
        image = kl.decode(ops, layout.to_tree(config, found), config, samples)
        within = FACTOR * recorded_error(case, "decoded")
        compare(case, "decoded_fp16w", first(image), within)


def thinned(case: Case, name: str, whole):
    """Return every C//8th channel and H//16th row and column, where so recorded."""
    if whole.shape == case.arrays[name].shape:
        return whole
    channels, side = (max(1, n) for n in (whole.shape[1] // 8, whole.shape[2] // 16))
    return whole[:, ::channels, ::side, ::side]
