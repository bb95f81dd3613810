"""Decoding traces of LlamaGen: the loop of minigen.sample, given what was recorded.

The loop runs on an op table whose `draw` draws tokens from the recorded uniforms or
noise instead of from a seed, keeps them, and hands the recorded tokens on; and on a
module of which `ask` and `feed` keep what they return. So each step sees the recorded
past, whatever we drew, and a token that must be equal but is not fails where it was
drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from unittest import mock

import numpy as np

from minigen import plans, sample
from minigen.models import llamagen
from tests.parity import llamagen_forward, weights
from tests.parity.arpg_draws import choose_with, margin
from tests.parity.arpg_forward import whole_rows
from tests.parity.case import (
    FACTOR,
    Case,
    compare,
    decide,
    equal,
    names,
    recorded_error,
    take,
)
from tests.parity.slices import cut


def recognise(case: Case) -> bool:
    return "traces" in case.about


def replay(case: Case, ops) -> None:
    config, tree = weights.configuration(case), weights.tree(case)
    for trace in case.about["traces"]:
        replay_trace(case, ops, config, tree, trace)
    if "train_tokens" in case.arrays:
        # a full-size case: also one training-form forward
        llamagen_forward.forward(case, ops, config, tree, prefix="train_")


@dataclass(frozen=True)
class Tape:
    """What was seen: logits (w 1 v), guided (b 1 v), our tokens (b 1), caches."""

    logits: list = field(default_factory=list)
    guided: list = field(default_factory=list)
    tokens: list = field(default_factory=list)
    caches: list = field(default_factory=list)


def replay_trace(case: Case, ops, config, tree, trace: dict) -> None:
    prefix = trace["prefix"]
    shared = prefix + "class_id" not in case.arrays
    labels = take(case, "class_id" if shared else prefix + "class_id")
    assert labels.tolist() == trace["class_id"], f"{prefix}class_id: two are recorded"
    tokens = take(case, prefix + "tokens")
    options = options_of(trace)
    n = trace["max_new_tokens"]
    # the original may draw one token beyond the image: then there is a row more
    rows = max(config.side, -(-n // config.side))
    plan = plans.Plan((rows, config.side), tuple((i,) for i in range(n)))

    tape, choose = Tape(), choose_by(case, ops, trace)
    with mock.patch.object(sample, "module_of", lambda config: noting(tape)):
        run = sample.steps(
            wrap(ops, tape, tokens, choose),
            tree,
            config,
            plan,
            labels.tolist(),
            options=options,
        )
        steps = list(run)

    weight = [step.weight for step in steps]
    if prefix + "guided" in case.arrays:
        equal(case, prefix + "guided", np.array(weight) != 1)
    guided = trace["cfg_scale"] > 1
    assert set(weight) <= ({trace["cfg_scale"], 1.0} if guided else {1.0})
    compare_logits(case, prefix, tape)
    if prefix + "probs" in case.arrays:
        p = np.concatenate([step.probabilities for step in steps], axis=1)
        compare(case, prefix + "probs", p)
    if choose:
        drawn = np.concatenate(tape.tokens, axis=1)
        decide(case, prefix + "tokens", drawn, safety(case, trace, options))
    compare_cache(case, prefix, tape.caches[-1])
    if "train_logits" in case.arrays and "train_tokens" not in case.arrays:
        table = llamagen.rotary_table(ops, config)
        call = ops, tree, config, tokens[:, :-1], labels, table
        compare(case, "train_logits", llamagen.forward(*call))


def options_of(trace: dict) -> sample.Options:
    """Return the options that a trace was drawn with."""
    interval = trace.get("cfg_interval", -1)
    # the token of step t >= 1 is guided if t - 1 <= interval, that of step 0 always
    guided_steps = None if interval <= -1 else math.floor(interval) + 2
    return sample.Options(
        # the original knows no guidance below 1
        guidance=max(1.0, trace["cfg_scale"]),
        guidance_schedule="constant",
        guided_steps=guided_steps,
        temperature=trace.get("temperature", 1.0),
        top_k=1 if trace["kind"] == "greedy" else trace.get("top_k", 0),
        top_p=trace.get("top_p", 1.0),
    )


def choose_by(case: Case, ops, trace: dict):
    """Return how the tokens were drawn; None if only they were recorded, not the noise.

    Only cases of full size, which record slices, may leave it out.
    """
    kept = trace["prefix"] + "noise" in case.arrays
    if trace["kind"] == "sampled" and not kept and "slices" in case.about:
        return None
    return choose_with(case, ops, trace)


def safety(case: Case, trace: dict, options):
    """Return which tokens (b n) must be equal: whose margin exceeds the error."""
    if "slices" not in case.about:
        return margin(case, trace, options) > 1
    # whole rows of logits were not recorded, but the least margin was
    error = FACTOR * recorded_error(case, trace["prefix"] + "logits_guided")
    return trace["min_gap"] * options.temperature > error


def compare_logits(case: Case, prefix: str, tape: Tape) -> None:
    """Compare both halves of guidance, and what they make, at every step."""
    logits = np.concatenate(tape.logits, axis=1)
    guided = np.concatenate(tape.guided, axis=1)
    arrays = {"guided": guided}
    if prefix + "logits_cond" in case.arrays:
        arrays["cond"], arrays["uncond"] = np.split(logits, 2)
    elif logits.shape != guided.shape:
        case.failures.append(f"{prefix}: an unconditional half that nobody needs")
    for name, array in arrays.items():
        name = f"{prefix}logits_{name}"
        compare(case, name, cut(case, name, array))
    error = recorded_error(case, prefix + "logits_guided")
    whole_rows(case, prefix + "{}", guided, error)


def compare_cache(case: Case, prefix: str, cache) -> None:
    """Compare the cache of every layer (w r s e) with what we have read so far.

    The original's cache has more rows, a multiple of 8, which stay zero.
    """
    for name in names(case, prefix + "cache_layer"):
        layer, which = name.removeprefix(prefix + "cache_layer").split("_")
        held = cache.layers[int(layer)]
        ours = (held.keys if which == "k" else held.values)[:, : held.length]
        whole = np.zeros_like(case.arrays[name])
        whole[:, :, : held.length] = np.swapaxes(ours, 1, 2)
        compare(case, name, whole)


def noting(tape: Tape) -> SimpleNamespace:
    """Return the functions of the model, of which some write to the tape."""

    def ask(*call):
        logits = llamagen.ask(*call)
        tape.logits.append(np.array(logits))
        return logits

    def keep(function):
        def keeping(*call):
            tape.caches.append(function(*call))
            return tape.caches[-1]

        return keeping

    changed = {"ask": ask, "begin": keep(llamagen.begin), "feed": keep(llamagen.feed)}
    return SimpleNamespace(**{**vars(llamagen), **changed})


def wrap(ops, tape: Tape, tokens, choose) -> SimpleNamespace:
    """Return the op table with functions that write to the tape, or draw from it."""

    def probabilities(logits, *how):
        tape.guided.append(np.array(logits))
        return ops.probabilities(logits, *how)

    def draw(p, uniforms):
        i = len(tape.tokens)
        tape.tokens.append(choose(p, slice(i, i + 1)) if choose else None)
        return np.ascontiguousarray(tokens[:, i : i + 1])

    def place(canvas, drawn, positions):
        # upstream can be asked for one token more than the image has
        if positions.max() < canvas.shape[1]:
            return ops.place(canvas, drawn, positions)
        return canvas

    changed = {"probabilities": probabilities, "draw": draw, "place": place}
    return SimpleNamespace(**{**vars(ops), **changed})
