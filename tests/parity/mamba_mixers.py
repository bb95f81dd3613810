"""Whole mixers: a sequence at once, and a prefill that is followed by single steps."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from minigen.checkpoints import names, read_checkpoint
from minigen.families import Mamba1Config, Mamba2Config
from minigen.families.mamba import guess, mixer_rows, of_arguments
from minigen.models import mamba
from tests.parity.case import Case, compare, note, take
from tests.synth import synth

KINDS = {
    "Mamba": ("Mamba1", Mamba1Config),
    "Mamba1": ("Mamba1", Mamba1Config),
    "Mamba2": ("Mamba2", Mamba2Config),
}
"""The name of a layer in a configuration of AiM, and ours; by its name in a case."""


def recognise(case: Case) -> bool:
    return case.about.get("layer") in KINDS


def replay(case: Case, ops) -> None:
    state = read_checkpoint(case.folder / "weights.pt")
    for name, array in state.items():
        drawn = synth(name, array.shape, case.about["salt"])
        note(case, "file weights.pt", (array != drawn) * 1.0, 0.0)
    layer, kind = KINDS[case.about["layer"]]
    config = kind(**of_arguments(layer, case.about["config"]))
    rows = list(mixer_rows(config))
    assert {row[1]: row[2] for row in rows} == {n: a.shape for n, a in state.items()}
    found = kind(**told_by_shapes(config, state))
    note(case, "configuration by shapes", float(found != config), 0.0)
    tree = names.unflatten(
        {n: np.ascontiguousarray(a) for n, a in names.arrange(rows, state).items()}
    )
    x, seen = take(case, "x"), {}

    def watch(name, array):
        seen[name] = np.array(array)

    memory = mamba.new_state(ops, config, len(x))
    compare(case, "parallel", mamba.mix(ops, tree, config, x, memory, watch))
    seen.setdefault("in_proj", ops.linear(x, **tree["in_proj"]))
    seen["conv_out"] = seen["conv_out"].swapaxes(1, 2)
    if layer == "Mamba2" and not config.normalise:
        # without a norm, the gate is part of the original's scan
        seen["scan_y"] = seen.pop("gated_norm").reshape(seen["scan_y"].shape)
    for name, ours in seen.items():
        if f"inner_{name}" in case.arrays:
            compare(case, f"inner_{name}", ours)
    stepping = forgetful(config)
    if stepping == config or "recurrent" not in case.arrays:
        compare_state(case, memory, "end")

    prefill = case.about["prefill"]
    memory = mamba.new_state(ops, config, len(x))
    parts = [mamba.mix(ops, tree, config, x[:, :prefill], memory)]
    compare_state(case, memory, "prefill")
    if "recurrent" not in case.arrays:
        return
    for t in range(prefill, x.shape[1]):
        u = np.ascontiguousarray(x[:, t : t + 1])
        parts.append(mamba.mix(ops, tree, stepping, u, memory))
    compare(case, "recurrent", np.concatenate(parts, axis=1))
    compare_state(case, memory, "end")


def forgetful(config):
    """Return a configuration without limits of step sizes, as the original's `step`
    computes."""
    limits = {"step_min", "step_max"} & set(vars(config))
    defaults = {f.name: f.default for f in fields(config) if f.name in limits}
    return replace(config, **defaults)


def told_by_shapes(config, state) -> dict:
    """Return the fields that shapes tell, and of `config` those that they do not."""
    shapes = {name: array.shape for name, array in state.items()}
    found, unseen = guess(shapes, "", vars(config))
    found.pop("mixer")
    return found | {name: getattr(config, name) for name in ("width", *unseen)}


def compare_state(case: Case, memory: mamba.State, when: str) -> None:
    """Compare the states that a case recorded at that time."""
    conv, scan = np.asarray(memory.conv).swapaxes(1, 2), memory.scan
    for name, ours in ((f"conv_state_{when}", conv), (f"ssm_state_{when}", scan)):
        if name in case.arrays:
            compare(case, name, ours)
