"""ARINAR at full size, in slices; and a small one through its tokenizer, to pixels."""

from __future__ import annotations

import re

import numpy as np

from minigen import plans
from minigen.checkpoints import names
from minigen.families import KlConfig
from minigen.models import kl, masked, mixture_head
from minigen.models.query import Draws
from minigen.sample import Options
from tests.parity import arinar as outer
from tests.parity.arinar_head import force
from tests.parity.arinar_traces import (
    compare_choices,
    grouped,
    new_tape,
    options_of,
    play,
    shuffled,
    wrap,
)
from tests.parity.case import Case, compare, note, take
from tests.parity.kl import compare_image
from tests.parity.vq_model import first, last
from tests.synth import synth


def is_full(case: Case) -> bool:
    return "z_rows" in case.arrays


def replay_full(case: Case, ops) -> None:
    """Encoder and decoder on a mask, the head forced and drawing, three steps."""
    about, config, weights = case.about, outer.configuration(case), outer.tree(case)
    sizes = sum(array.size for array in names.flatten(weights).values())
    # the bias of zeros is a buffer, and no parameter
    inner = config.inner_layers * config.inner_width
    note(case, "parameters", float(sizes != about["parameters"] + inner), 0.0)
    rows = replay_outer(case, ops, config, weights)
    _, parts = force(ops, weights["head"], config, take(case, "feats")[..., None], rows)
    for name, ours in zip(("weight", "mu", "logvar"), parts, strict=True):
        compare(case, name, ours.reshape(case.arrays[name].shape))
    replay_draw(case, ops, config, weights, rows, "plain", 0, ("comp_plain", "", ""))
    chosen = "", "sel_guided", "comp_guided"
    replay_draw(case, ops, config, weights, rows, "guided", 1, chosen)
    meaning = next(a["meaning"] for a in about["arrays"] if a["name"] == "latent")
    seed = int(re.search(r"seed\((\d+)\)", meaning).group(1))
    count = int(re.search(r"num_iter=(\d+)", meaning).group(1))
    guidance = float(re.search(r"cfg=([\d.]+)", meaning).group(1))
    orders = shuffled(np.random.RandomState(seed), 1, config.tokens)
    groups = grouped(orders, plans.counts("cosine", config.tokens, count))
    tape = new_tape(case, 2)
    call = ops, weights, config, np.array([about["label"]]), groups
    latent, _ = play(*call, Options(guidance=guidance), tape)
    compare(case, "latent", latent)
    compare_choices(case, tape)


def replay_outer(case: Case, ops, config, weights) -> np.ndarray:
    """Compare what the encoder and the decoder gave; return some conditions (b 1 d)."""
    about, tokens = case.about, take(case, "tokens")
    hidden = take(case, "mask") != 0
    known = np.nonzero(~hidden)[0][None]
    labels = np.array([about["label"]])
    call = ops, weights, config
    seen = {}

    def watch(name, array):
        if name == "enc_out":
            seen[name] = np.array(array)

    everywhere = np.arange(config.tokens)[None]
    inputs = labels, tokens, known, everywhere
    z = np.asarray(masked.conditions(*call, *inputs, guided=True, watch=watch))
    channels = np.arange(0, config.width, 12)
    ours = seen["enc_out"][:, [0, 63, 64, -1]]
    compare(case, "enc_out", ours[..., channels])
    compare(case, "z", z[:, about["positions"]][..., channels])
    compare(case, "z_mean", z.mean(axis=-1, dtype=np.float64))
    compare(case, "z_std", z.std(axis=-1, dtype=np.float64))
    rows = z[:, about["rows"]].reshape(-1, 1, config.width)
    compare(case, "z_rows", rows[:, 0])
    return np.ascontiguousarray(rows)


def replay_draw(case: Case, ops, config, weights, rows, name, step, chosen) -> None:
    """Compare one draw by the head alone, and what was chosen in it."""
    meaning = next(a["meaning"] for a in case.about["arrays"] if a["name"] == name)
    temperature, guidance = map(
        float, re.search(r"T=([\d.]+), cfg=([\d.]+)", meaning).groups()
    )
    tape = new_tape(case, step, *chosen)
    table, watch = wrap(ops, config, tape)
    b = len(rows) // (1 if guidance == 1 else 2)
    numbers = np.arange(b)
    draws = Draws(np.zeros(2, np.uint32), numbers, numbers, 0)
    call = table, weights["head"], config, rows, draws, guidance, temperature, watch
    x = np.asarray(mixture_head.sample(*call))
    compare(case, name, x.reshape(b, -1))
    compare_choices(case, tape, chosen)


def is_evaluation(case: Case) -> bool:
    return "png_bgr" in case.arrays


def replay_evaluation(case: Case, ops) -> None:
    """engine_mar.evaluate(): one batch more than needed, orders from one stream."""
    config, weights = outer.configuration(case), outer.tree(case)
    about, run = case.about, case.about["run"]
    labels, b = take(case, "labels").astype(np.int64), run["batch_size"]
    stream, tape, latents = np.random.RandomState(run["numpy_seed"]), new_tape(case), []
    counts = plans.counts("cosine", config.tokens, run["num_iter"])
    for start in range(0, len(labels), b):
        groups = grouped(shuffled(stream, b, config.tokens), counts)
        call = ops, weights, config, labels[start : start + b], groups
        latents.append(play(*call, options_of(run), tape)[0])
        tape.first_step += run["num_iter"]
    latent = np.concatenate(latents)
    compare(case, "latent", latent)
    compare_choices(case, tape)
    settings = KlConfig.from_upstream(about["vae_config"])
    samples = kl.from_latents(ops, settings, last(latent))
    assert abs(1 / settings.scale - run["latent_std"]) < 1e-12 > run["latent_mean"]
    compare(case, "vae_input", first(samples))
    vae = about["vae_weights"]
    state = {}
    for name, shape in names.manifest(settings).items():
        state[name] = synth(name, shape, vae["salt"])
        for pattern, factor in vae["scale"].items():
            if re.search(pattern, name):
                state[name] *= np.float32(factor)
    image = kl.decode(ops, names.to_tree(settings, state), settings, samples)
    compare(case, "decoded", first(image)[: len(case.arrays["decoded"])])
    # handed to OpenCV, which wants blue first
    compare_image(case, ops, "png_bgr", image[: run["num_images"]], reverse=True)
