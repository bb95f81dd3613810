"""Training-form forwards of LlamaGen: logits, loss, hidden states, weight files."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from minigen.checkpoints import names as layout
from minigen.families import family_of
from minigen.models import llamagen
from tests.parity import weights
from tests.parity.arpg_forward import compare_seen, same_weights
from tests.parity.case import Case, compare, names, take
from tests.parity.slices import cut


def recognise(case: Case) -> bool:
    return {"tokens", "class_id", "logits"} <= set(case.arrays)


def replay(case: Case, ops) -> None:
    config = weights.configuration(case)
    forward(case, ops, config, weights.tree(case))
    drawn = None
    for entry, state in weights.files(case):
        drawn = drawn or weights.state(case)
        same_weights(case, entry, without_buffers(config, state), drawn)
        # what is no weight must not keep a file from being read
        tree = layout.to_tree(config, state)
        if "logits" in entry:
            forward(case, ops, config, tree, logits_name=entry["logits"])


def forward(case: Case, ops, config, tree, prefix="", logits_name="logits") -> None:
    """Compare one training-form forward, and what was recorded on its way."""
    tokens = take(case, prefix + "tokens")
    shown = take(case, "class_id")[: len(tokens)]
    labels = shown
    if prefix + "drop_uniform" in case.arrays:
        # the class after the last is the row that stands for "no condition"
        dropped = take(case, prefix + "drop_uniform") < case.about["class_dropout_prob"]
        labels = np.where(dropped, config.no_class_id, labels)

    hidden = names(case, f"{prefix}h_") or names(case, "h_")
    seen = {}

    def watch(name, array):
        seen[name] = np.array(array)

    table = llamagen.rotary_table(ops, config)
    call = ops, tree, config, tokens[:, :-1]
    logits = llamagen.forward(*call, labels, table, watch if hidden else None)
    logits_name = prefix + logits_name
    loss_name = logits_name.replace("logits", "loss")
    compare(case, logits_name, cut(case, logits_name, logits))
    compare(case, loss_name, ops.cross_entropy(logits, tokens))
    compare_seen(case, hidden, seen)

    if prefix + "valid" in case.arrays:
        # the mean over the tokens of those samples that count
        kept = take(case, prefix + "valid") == 1
        loss = ops.cross_entropy(logits[kept], np.ascontiguousarray(tokens[kept]))
        compare(case, prefix + "loss_valid", loss)
    if logits_name + "_eval" in case.arrays:
        # in evaluation mode no class is dropped; else it is the training form
        logits = llamagen.forward(*call, shown, table)
        compare(case, logits_name + "_eval", logits)
        compare(case, loss_name + "_eval", ops.cross_entropy(logits, tokens))
    if logits_name + "_eval_full_last" in case.arrays:
        whole = llamagen.forward(ops, tree, config, tokens, shown, table)
        compare(case, logits_name + "_eval_full_last", whole[:, -1])


def without_buffers(config, state: dict) -> dict:
    """Return a state dict without what is no weight: rotary table, old caches."""
    dropped = family_of(config).dropped
    return {
        name: array
        for name, array in state.items()
        if not any(fnmatchcase(name, pattern) for pattern in dropped)
    }
