"""Training-form forwards of ARPG: logits, loss, hidden states, weight files."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from minigen.checkpoints import names as layout
from minigen.models import arpg
from tests.parity import weights
from tests.parity.case import (
    FACTOR,
    Case,
    compare,
    decide,
    equal,
    names,
    note,
    recorded_error,
    take,
)
from tests.parity.slices import cut


def recognise(case: Case) -> bool:
    return {"tokens", "class_id", "order", "logits"} <= set(case.arrays)


def replay(case: Case, ops) -> None:
    config = weights.configuration(case)
    forward(case, ops, config, weights.tree(case))
    drawn = None
    for entry, state in weights.files(case):
        drawn = drawn or weights.state(case)
        same_weights(case, entry, state, drawn)
        if "logits" in entry:
            tree = layout.to_tree(config, state)
            forward(case, ops, config, tree, logits_name=entry["logits"])


def forward(case: Case, ops, config, tree, prefix="", logits_name="logits") -> None:
    """Compare one training-form forward, and what was recorded on its way.

    Arrays are named prefix + tokens, class_id, order, logits, loss, and so on.
    """
    tokens = take(case, prefix + "tokens")
    labels = take(case, prefix + "class_id")
    order = take(case, prefix + "order")
    targets = np.take_along_axis(tokens, order, axis=1)
    if prefix + "drop_uniform" in case.arrays:
        # the class after the last is the row that stands for "no condition"
        dropped = take(case, prefix + "drop_uniform") < case.about["class_dropout_prob"]
        labels = np.where(dropped, config.classes, labels)
    if prefix + "input_ids" in case.arrays:
        ids, _, _ = arpg.arrange(config, tokens, labels, order)
        equal(case, prefix + "input_ids", ids)
    if prefix + "targets" in case.arrays:
        equal(case, prefix + "targets", targets)

    hidden = names(case, f"{prefix}h_") or names(case, "h_")
    seen = {}

    def watch(name, array):
        seen[name] = np.array(array)

    table = arpg.rotary_table(ops, config)
    call = (ops, tree, config, tokens, labels, order, table)
    logits = arpg.forward(*call, watch=watch if hidden else None)
    logits_name = prefix + logits_name
    loss_name = logits_name.replace("logits", "loss")
    compare(case, logits_name, cut(case, logits_name, logits))
    if loss_name in case.arrays:
        compare(case, loss_name, ops.cross_entropy(logits, targets))
    whole_rows(case, prefix + "{}", logits, recorded_error(case, logits_name))
    compare_seen(case, hidden, seen)

    if logits_name + "_eval_mode" in case.arrays:
        # in evaluation mode the original drops both masks: another attention, no more
        logits = arpg.forward(unmasked(ops), *call[1:])
        compare(case, logits_name + "_eval_mode", logits)
        compare(case, loss_name + "_eval_mode", ops.cross_entropy(logits, targets))


def compare_seen(case: Case, hidden: list[str], seen: dict) -> None:
    """Compare what a watcher has seen of modules with what is recorded of them."""
    for name in hidden:
        module = name.split("h_", 1)[1]
        if module in seen:
            compare(case, name, cut(case, name, seen[module]))
        else:
            case.failures.append(f"{name}: no watcher saw {module!r}")


def whole_rows(case: Case, pattern: str, logits, error) -> None:
    """Compare what was recorded of whole rows of logits of which only slices were."""
    rows = np.asarray(logits, np.float64)
    top = np.sort(rows, axis=-1)[..., -2:]
    if pattern.format("argmax") in case.arrays:
        safe = top[..., 1] - top[..., 0] > FACTOR * error
        decide(case, pattern.format("argmax"), rows.argmax(-1), safe)
    if pattern.format("max") in case.arrays:
        compare(case, pattern.format("max"), top[..., 1])
    if pattern.format("lse") in case.arrays:
        total = np.exp(rows - top[..., 1:]).sum(-1)
        compare(case, pattern.format("lse"), top[..., 1] + np.log(total))


def unmasked(ops) -> SimpleNamespace:
    """Return the op table with a causal attention that is not causal."""

    return SimpleNamespace(**{**vars(ops), "attention_causal": ops.attention})


def same_weights(case: Case, entry: dict, state: dict, drawn: dict) -> None:
    """A weight file must hold the drawn weights, rounded to its dtype, and no more."""
    name = f"file {entry['path']}"
    fixed = case.about["weights"].get("fixed", {})
    buffers = {key for key in state if key.rsplit(".", 1)[-1] in fixed}
    if set(state) - buffers != set(drawn) - buffers:
        case.failures.append(f"{name}: names differ: {set(state) ^ set(drawn)}")
        return
    wrong = {str(array.dtype) for array in state.values()} - {entry["dtype"]}
    if wrong:
        case.failures.append(f"{name}: holds {wrong}, recorded {entry['dtype']}")
    for key, array in state.items():
        if key in buffers:
            expected = np.full(array.shape, fixed[key.rsplit(".", 1)[-1]])
        else:
            expected = drawn[key]
        rounded = expected.astype(array.dtype)
        note(case, name, (np.asarray(array) != rounded) * 1.0, 0.0)
