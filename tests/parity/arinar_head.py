"""ARINAR's inner model alone: likelihoods, the cached loop, the flow."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from minigen.checkpoints import names
from minigen.families import ArinarConfig
from minigen.families.arinar import head_rows
from minigen.models import mixture_head, token_flow
from minigen.models.query import Draws
from tests.parity.arinar import draw_state, errors_of_likelihoods
from tests.parity.case import (
    EPS,
    FACTOR,
    Case,
    allowed,
    compare,
    note,
    recorded_error,
    take,
)


def configuration(case: Case) -> ArinarConfig:
    """Return the configuration of a model that has this head."""
    given = dict(case.about["config"])
    widths = [given[name] for name in ("inner_ar_width", "width") if name in given]
    depths = [given[name] for name in ("inner_ar_depth", "depth") if name in given]
    config = ArinarConfig(
        width=given["decoder_embed_dim"],
        decoder_heads=1,
        channels=given["token_embed_dim"],
        mixtures=given["num_gaussians"],
        inner_width=widths[0],
        inner_layers=depths[0],
        group=given.get("feature_group", 1),
        flow=given.get("use_nf", False),
        behaviour="v1" if "width" in given else "head",
    )
    assert config.inner_heads == given["inner_num_heads"]
    return config


def recognise(case: Case) -> bool:
    return "weight_cached" in case.arrays


def replay(case: Case, ops) -> None:
    config = configuration(case)
    rows = list(head_rows(config))
    w = names.unflatten(names.arrange(rows, draw_state(case, rows)))
    z = np.ascontiguousarray(take(case, "z")[:, None])
    target = take(case, "target").reshape(len(z), config.groups, config.group)
    seen = {}

    def watch(name, array):
        seen[name] = array

    nll = -np.asarray(mixture_head.likelihoods(ops, w, config, target, z, watch))
    nll = nll.astype(np.float64).sum(axis=1)
    mask = take(case, "mask")
    mixtures = seen.pop("mixtures")
    off = explained(case, ops, w, config, target, mixtures)
    compare(case, "nll_per_token", nll, explained=off)
    compare(case, "nll", nll.mean(), explained=off.mean())
    masked = (nll * mask).sum() / mask.sum()
    compare(case, "nll_masked", masked, explained=(off * mask).sum() / mask.sum())
    compare_mixtures(case, "", mixtures)
    for name, array in seen.items():
        compare(case, name, array)
    check_noncausal(case, config)
    x = target
    if config.flow:
        x = replay_flow(case, ops, w["flow"], target, z)
    out, parts = force(ops, w, config, x, z)
    compare_mixtures(case, "_cached", parts)
    compare(case, "sample_out", np.asarray(out).reshape(len(z), -1))


def explained(case: Case, ops, w, config, x, mixtures) -> np.ndarray:
    """Return how far off the likelihood of each token (b) may be, if its mixtures are
    as far off as they may be."""
    errors = [allowed(case, name) for name in ("weight", "mu", "logvar")]
    if config.flow:
        x = token_flow.forward(ops, w["flow"], x)
        errors[1] += allowed(case, "nf_forward")
    return errors_of_likelihoods(x, mixtures, errors)


def compare_mixtures(case: Case, suffix: str, mixtures) -> None:
    """Compare weights (b n g), means and log-variances (b n g f)."""
    for name, array in zip(("weight", "mu", "logvar"), mixtures, strict=True):
        compare(case, name + suffix, array)


def force(ops, w, config, x, z):
    """Run the cached loop, in which the features x (b n f) are "drawn".

    Returns what it returns, and the mixtures of all groups.
    """
    steps, drawn = [], []

    def watch(name, array):
        if name == "mixtures":
            steps.append([np.array(each) for each in array])

    def draw_value(components, *given):
        i = len(drawn)
        drawn.append(i)
        return np.ascontiguousarray(x[:, i : i + 1])

    table = SimpleNamespace(**{**vars(ops), "draw_value": draw_value})
    count = np.arange(len(z))
    draws = Draws(np.zeros(2, np.uint32), count, count, 0)
    out = mixture_head.sample(table, w, config, z, draws, watch=watch)
    return out, [np.concatenate(parts, axis=1) for parts in zip(*steps, strict=True)]


def check_noncausal(case: Case, config) -> None:
    """What the original computes without flash-attention is wrong, and not what we do:
    it must not be what the causal pass gives. A single group has none after it that it
    could see: then both are the same."""
    for name in ("mu", "nll"):
        if f"{name}_noncausal" not in case.arrays:
            continue
        off = abs(take(case, f"{name}_noncausal") - case.arrays[name]).max()
        beyond = off > FACTOR * max(recorded_error(case, name), EPS)
        label = f"{name}_noncausal differs"
        note(case, label, float(beyond != (config.groups > 1)), 0.0)


def replay_flow(case: Case, ops, w, target, z) -> np.ndarray:
    """Compare the flow in both directions; return what the head models."""
    x = np.asarray(token_flow.forward(ops, w, target))
    compare(case, "nf_forward", x)
    # each group is moved by what those before it say: the volume stays
    compare(case, "nf_logdet", np.zeros(len(x)))
    given, sequence = take(case, "nf_in"), []

    def watch(name, array):
        sequence.append(np.array(array))

    compare(case, "nf_reverse", token_flow.reverse(ops, w, given, watch))
    for i, each in enumerate(sequence):
        compare(case, f"nf_rev_seq{i}", each)
    other = {**w, "variance": take(case, "nf_var")}
    compare(case, "nf_reverse_var", token_flow.reverse(ops, other, given))
    return x
