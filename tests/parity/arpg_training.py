"""Gradients and optimiser steps of ARPG, in NumPy alone.

minigen's own forward passes have no autograd. The gradients of the reverse pass in
backward.py are compared entry by entry with the recorded ones, and with differences of
minigen's own loss, so that what is differentiated is what minigen computes.
"""

from __future__ import annotations

import numpy as np

from minigen import backends
from minigen.checkpoints import names as layout
from minigen.models import arpg
from tests.parity import weights
from tests.parity.backward import loss_and_gradients
from tests.parity.case import Case, compare, names, note, take

STEP = 1e-3
"""The longest step along a direction of unit length in a weight array."""


def has_gradients(case: Case) -> bool:
    return bool(names(case, "grad."))


def replay_gradients(case: Case, ops) -> None:
    config, state = weights.configuration(case), weights.state(case)
    batch = tuple(take(case, name) for name in ("tokens", "class_id", "order"))
    tree = layout.to_tree(config, state)
    table = arpg.rotary_table(ops, config)
    compare(case, "loss", arpg.loss(ops, tree, config, *batch, table))
    _, grads = loss_and_gradients(config, state, *batch, table)
    for name in names(case, "grad."):
        compare(case, name, grads[name.removeprefix("grad.")])
    exact = backends.table("numpy")

    def loss(state):
        tree = layout.to_tree(config, state)
        return arpg.loss(exact, tree, config, *batch, table)

    compare_slopes(case, state, grads, loss)


def compare_slopes(case: Case, state, grads, loss_of) -> None:
    """Compare gradients with the slopes of minigen's loss along two directions each.

    loss_of(state) computes it in the precision of the state: float64 here. The slopes
    are central differences, extrapolated from steps h and h/2. Their error is below the
    difference of the two (it is 3/4 of the h**2 term, which the extrapolation removes)
    plus the rounding of the two losses over the shorter step.
    """
    rng = np.random.default_rng(0)
    state = {name: array.astype(np.float64) for name, array in state.items()}

    def loss(name, step):
        return float(loss_of({**state, name: state[name] + step}))

    def slope(name, step):
        return (loss(name, step) - loss(name, -step)) / 2

    for name in names(case, "grad."):
        weight = name.removeprefix("grad.")
        for direction in (grads[weight], rng.standard_normal(state[weight].shape)):
            step = STEP * direction / np.linalg.norm(direction)
            long, short = slope(weight, step), 2 * slope(weight, step / 2)
            rounding = 100 * np.finfo(np.float64).eps * loss(weight, 0)
            within = abs(long - short) + rounding
            expected = float((grads[weight] * step).sum())
            off = abs((4 * short - long) / 3 - expected)
            note(case, f"slope.{weight}", off, within)


def has_steps(case: Case) -> bool:
    return "hyper" in case.about and bool(names(case, "final."))


def replay_steps(case: Case, ops) -> None:
    """Train on each recorded batch: loss, gradient, clipping, AdamW, moving average.

    Source: hp-l33/ARPG train_c2i.py; Loshchilov and Hutter, "Decoupled weight decay
    regularization" (2019), algorithm 2.
    """
    config, hyper = weights.configuration(case), case.about["hyper"]
    state = {k: w.astype(np.float64) for k, w in weights.state(case).items()}
    average = dict(state)
    first = {name: np.zeros_like(w) for name, w in state.items()}
    second = {name: np.zeros_like(w) for name, w in state.items()}
    batches = [take(case, name) for name in ("tokens", "class_id", "order")]
    rates = np.broadcast_to(hyper["lr"], len(batches[0]))
    table = arpg.rotary_table(ops, config)
    losses, norms = [], []
    for t, (batch, rate) in enumerate(
        zip(zip(*batches, strict=True), rates, strict=True)
    ):
        single = {name: w.astype(np.float32) for name, w in state.items()}
        tree = layout.to_tree(config, single)
        losses.append(arpg.loss(ops, tree, config, *batch, table))
        _, grads = loss_and_gradients(config, state, *batch, table)
        norm = np.sqrt(sum((g * g).sum() for g in grads.values()))
        norms.append(norm)
        clip = min(1.0, hyper["max_grad_norm"] / (norm + 1e-6))
        for name, g in grads.items():
            g, (beta1, beta2) = g * clip, hyper["betas"]
            first[name] = beta1 * first[name] + (1 - beta1) * g
            second[name] = beta2 * second[name] + (1 - beta2) * g * g
            m = first[name] / (1 - beta1 ** (t + 1))
            v = second[name] / (1 - beta2 ** (t + 1))
            decay = hyper["weight_decay"] if g.ndim >= 2 else 0.0
            w = state[name] * (1 - rate * decay)
            state[name] = w - rate * m / (np.sqrt(v) + hyper["eps"])
            keep = hyper["ema_decay"]
            average[name] = keep * average[name] + (1 - keep) * state[name]
    compare(case, "loss", np.array(losses))
    compare(case, "grad_norm", np.array(norms))
    for prefix, result in (("final.", state), ("ema.", average)):
        for name in names(case, prefix):
            compare(case, name, result[name.removeprefix(prefix)])
    for entry, _ in weights.files(case):
        compare_training_file(case, entry)


def compare_training_file(case: Case, entry: dict) -> None:
    """The parts of a training file must hold the recorded arrays, bit for bit."""
    for key, prefix in (("model", "final."), ("ema", "ema.")):
        held = weights.read(case, entry, key)
        for name in names(case, prefix):
            expected = case.arrays[name]
            ours = np.asarray(held[name.removeprefix(prefix)])
            same = ours.shape == expected.shape and (ours == expected).all()
            note(case, f"file {entry['path']}", 1.0 - same, 0.0)
