"""ARINAR's outer model: hidden states, weight containers, the loss of a whole model."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from minigen.checkpoints import names, read_checkpoint
from minigen.families import ArinarConfig
from minigen.families.arinar import rows
from minigen.models import arinar, mae, masked, mixture_head, token_flow
from tests.parity.case import (
    FACTOR,
    Case,
    allowed,
    compare,
    equal,
    note,
    recorded_error,
    take,
)
from tests.synth import synth

BUFFERS = {"zero_k_bias": 0.0, "var": 1.0}
"""What a constructor fills, by last name: it is not drawn."""


def configuration(case: Case) -> ArinarConfig:
    return ArinarConfig.from_upstream(case.about["config"])


def draw_state(case: Case, rows) -> dict[str, np.ndarray]:
    """Return the stand-in weights under the original's names, of rows of a table."""
    about, state = case.about["weights"], {}
    for _, name, shape in rows:
        leaf = name.rsplit(".", 1)[-1]
        if leaf in BUFFERS:
            state[name] = np.full(shape, BUFFERS[leaf], np.float32)
            continue
        state[name] = synth(name, shape, about["salt"])
        for pattern, factor in about["scale"].items():
            if re.search(pattern, name):
                state[name] *= np.float32(factor)
    return state


def tree(case: Case) -> dict:
    """Return the case's weights as our tree; the last is kept for its next backend."""
    return _tree(case.folder, Frozen(case))


class Frozen:
    """A case as an argument of a cached function: its folder stands for it."""

    def __init__(self, case):
        self.case = case

    def __eq__(self, other):
        return self.case.folder == other.case.folder

    def __hash__(self):
        return hash(self.case.folder)


@lru_cache(maxsize=1)
def _tree(folder, frozen):
    config = configuration(frozen.case)
    return names.to_tree(config, draw_state(frozen.case, rows(config)))


def is_outer(case: Case) -> bool:
    return "enc_in" in case.arrays


def replay_outer(case: Case, ops) -> None:
    """patchify, forward_mae_encoder, forward_mae_decoder."""
    config, weights = configuration(case), tree(case)
    latent, hidden = take(case, "latent"), take(case, "mask") != 0
    tokens = masked.to_tokens(latent, config.patch)
    equal_bits(case, "tokens", tokens)
    back = masked.to_latent(tokens, config.patch, (config.side, config.side))
    note(case, "unpatchify", (back != latent) * 1.0, 0.0)
    known = np.nonzero(~hidden)[1].reshape(len(hidden), -1)
    assert known.shape[1] == case.about["known_tokens"]
    labels = take(case, "labels")
    call = ops, weights, config
    everywhere = np.tile(np.arange(config.tokens), (len(labels), 1))
    # the last layer of the decoder is asked for the buffer too
    rows = np.tile(np.arange(config.buffer + config.tokens), (len(labels), 1))
    memory = mae.begin(*call, mae.class_rows(config, labels), rows)
    whole = mae.embed(ops, weights, tokens, rows[:, config.buffer :])
    compare(case, "enc_in", ops.scatter(memory, whole, rows[:, config.buffer :]))
    seen = {}

    def watch(name, array):
        seen[name] = np.array(array)

    inputs = labels, tokens, known, everywhere
    compare(case, "z", masked.conditions(*call, *inputs, watch=watch))
    read, _, _ = masked.indices(config, known, everywhere)
    query = mae.Query(read, rows, None, rows)
    mae.decode(*call, seen["enc_out"], query, watch)
    for name in case.arrays:
        if name in seen:
            compare(case, name, seen[name])
    for path in sorted(case.folder.iterdir()):
        if path.suffix in (".pth", ".safetensors"):
            replay_file(case, ops, config, path, inputs)


def replay_file(case: Case, ops, config, path, inputs) -> None:
    """A file must be recognised and hold the drawn weights, and its average of them."""
    state = draw_state(case, rows(config))
    average = read_checkpoint(path)
    recognised, unseen = names.recognise(average)
    seen = vars(config).keys() - set(unseen)
    assert "behaviour" in unseen
    wrong = [f for f in seen if getattr(recognised, f) != getattr(config, f)]
    note(case, f"file {path.name}", float(bool(wrong)), 0)
    found = average
    if "model_ema" in case.about["files"][path.name]:
        found = read_checkpoint(path, "model")
        # only one of the files has an average that differs
        times = 1.25 if "1.25" in case.about["files"][path.name] else 1.0
        for name, array in names.to_ours(config, average).items():
            expected = np.float32(times) * names.to_ours(config, state)[name]
            rounded = expected.astype(array.dtype)
            note(case, f"average in {path.name}", (array != rounded) * 1.0, 0.0)
    weights = names.to_tree(config, found)
    ours = names.flatten(weights)
    for name, array in names.to_ours(config, state).items():
        rounded = array.astype(ours[name].dtype)
        note(case, f"file {path.name}", (np.asarray(ours[name]) != rounded) * 1.0, 0.0)
    kind = path.stem.removeprefix("weights_")
    if f"z_{kind}w" in case.arrays:
        within = FACTOR * recorded_error(case, "z")
        z = masked.conditions(ops, weights, config, *inputs)
        compare(case, f"z_{kind}w", z, within)


def has_loss(case: Case) -> bool:
    return "loss" in case.arrays


def replay_loss(case: Case, ops) -> None:
    """MAR.forward(): the masked tokens predicted from the others."""
    config, weights = configuration(case), tree(case)
    tokens = masked.to_tokens(take(case, "latent"), config.patch)
    equal_bits(case, "target", tokens)
    labels, mask = take(case, "labels"), take(case, "mask")
    stream = np.random.RandomState(case.about["numpy_seed"])
    orders = np.stack([stream.permutation(config.tokens) for _ in labels])
    equal(case, "orders", orders)
    count = int(mask[0].sum())
    ours = np.zeros_like(mask)
    np.put_along_axis(ours, orders[:, :count], 1, axis=1)
    note(case, "masked", (ours != mask) * 1.0, 0.0)
    hidden = np.nonzero(mask)[1].reshape(len(labels), -1)
    call = ops, weights, config
    known = np.nonzero(mask == 0)[1].reshape(len(labels), -1)
    everywhere = np.tile(np.arange(config.tokens), (len(labels), 1))
    z = masked.conditions(*call, labels, tokens, known, everywhere)
    compare(case, "z", z)
    loss = arinar.loss(*call, tokens, labels, hidden)
    off = explained(case, ops, weights["head"], config, tokens, z, hidden)
    compare(case, "loss", np.float64(loss), explained=off)


def explained(case: Case, ops, w, config, tokens, z, hidden) -> float:
    """Return how far off the mean likelihood of the hidden tokens may be, if the
    mixtures are relatively as far off as their conditions z may be."""
    x, rows = (
        np.take_along_axis(np.asarray(each), hidden[..., None], axis=1)
        for each in (tokens, z)
    )
    x = x.reshape(-1, config.groups, config.group)
    if config.flow:
        x = token_flow.forward(ops, w["flow"], x)
    rows = np.ascontiguousarray(rows).reshape(-1, 1, config.width)
    mixtures = mixture_head.forward(ops, w, config, x, rows)
    share = allowed(case, "z") / abs(case.arrays["z"]).max()
    errors = [share * abs(np.asarray(each)).max() for each in mixtures]
    return float(errors_of_likelihoods(x, mixtures, errors).mean())


def errors_of_likelihoods(x, mixtures, errors) -> np.ndarray:
    """Return what errors of the mixtures of x (b n f) make of their likelihood: (b).

    errors: the largest of weights, of means and of log-variances. To first order, and
    if all of them add up; those of a narrow component count most.
    """
    weights, means, log_variances = (np.asarray(m, np.float64) for m in mixtures)
    of_weights, of_means, of_log_variances = errors
    away = np.abs(np.asarray(x, np.float64)[:, :, None] - means)  # (b n g f)
    squares = away**2 * np.exp(-log_variances)
    slopes = away * np.exp(-log_variances) * of_means
    slopes += abs(1 - squares) / 2 * of_log_variances
    # of each component its share of the density, over its weight: (b n g)
    powers = -(squares + log_variances).sum(-1) / 2
    density = np.exp(powers - powers.max(-1, keepdims=True))
    density /= (weights * density).sum(-1, keepdims=True)
    return (density * (of_weights + weights * slopes.sum(-1))).sum((1, 2))


def equal_bits(case: Case, name: str, ours) -> None:
    """Compare floats that were only moved: every one must be equal."""
    note(case, name, (take(case, name) != ours) * 1.0, 0.0)
