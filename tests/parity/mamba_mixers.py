"""Whole mixers: a sequence at once, and a prefill that is followed by single steps."""

from __future__ import annotations

import numpy as np

from minigen.checkpoints import names, read_checkpoint
from minigen.families import Mamba1Config, Mamba2Config
from minigen.families.mamba import mixer_rows
from minigen.models import mamba
from tests.parity.case import Case, compare, note, take
from tests.synth import synth

KINDS = {"Mamba": Mamba1Config, "Mamba2": Mamba2Config}
FIELDS = {
    "d_model": "width", "d_state": "state_size", "d_conv": "window",
    "expand": "expand", "bias": "bias", "conv_bias": "conv_bias",
    "headdim": "head_size", "ngroups": "groups", "rmsnorm": "normalise",
    "norm_before_gate": "norm_first",
}  # fmt: skip
"""Our fields for the constructor arguments of the original."""


def recognise(case: Case) -> bool:
    return case.about.get("layer") in KINDS


def replay(case: Case, ops) -> None:
    state = read_checkpoint(case.folder / "weights.pt")
    for name, array in state.items():
        drawn = synth(name, array.shape, case.about["salt"])
        note(case, "file weights.pt", (array != drawn) * 1.0, 0.0)
    arguments, prefill = dict(case.about["config"]), case.about["prefill"]
    scanned = arguments.pop("d_ssm", None)
    # it only changes the speed
    arguments.pop("chunk_size", None)
    fields = {FIELDS[name]: value for name, value in arguments.items()}
    config = KINDS[case.about["layer"]](**fields)
    x = take(case, "x")
    if "inner_in_proj" in case.arrays:
        in_proj = {"w": state["in_proj.weight"]}
        if "in_proj.bias" in state:
            in_proj["bias"] = state["in_proj.bias"]
        compare(case, "inner_in_proj", ops.linear(x, **in_proj))
    beside = None
    if scanned:
        config, state, beside = apart(ops, config, state, scanned)
    rows = list(mixer_rows(config))
    assert {row[1] for row in rows} == set(state), "names differ"
    tree = names.unflatten(
        {n: np.ascontiguousarray(a) for n, a in names.arrange(rows, state).items()}
    )

    def run(u, memory, watch=None):
        y = mamba.mix(ops, tree, config, u, memory, watch)
        return y if beside is None else ops.add(y, beside(u))

    seen = {}

    def watch(name, array):
        seen[name] = np.array(array)

    memory = mamba.new_state(ops, config, len(x))
    compare(case, "parallel", run(x, memory, watch))
    seen["conv_out"] = seen["conv_out"].swapaxes(1, 2)
    if isinstance(config, Mamba2Config) and not config.normalise:
        # without a norm, the gate is part of the original's scan
        seen["scan_y"] = seen.pop("gated_norm").reshape(seen["scan_y"].shape)
    for name in ("conv_out", "scan_y", "gated_norm"):
        if f"inner_{name}" in case.arrays:
            compare(case, f"inner_{name}", seen[name])
    compare_state(case, memory, "end")

    memory = mamba.new_state(ops, config, len(x))
    parts = [run(x[:, :prefill], memory)]
    compare_state(case, memory, "prefill")
    for t in range(prefill, x.shape[1]):
        parts.append(run(np.ascontiguousarray(x[:, t : t + 1]), memory))
    compare(case, "recurrent", np.concatenate(parts, axis=1))
    compare_state(case, memory, "end")


def compare_state(case: Case, memory: mamba.State, when: str) -> None:
    compare(case, f"conv_state_{when}", np.asarray(memory.conv).swapaxes(1, 2))
    compare(case, f"ssm_state_{when}", memory.scan)


def apart(ops, config, state, scanned):
    """Take out of a mixer the channels that its scan leaves out.

    They are a gated layer of their own, [z0 | x0], whose result stands before what was
    scanned: out_proj adds both. Our mixers have no such channels, so it runs beside.
    """
    bypass = config.inner - scanned
    d = config.width
    smaller = Mamba2Config(
        width=d,
        state_size=config.state_size,
        window=config.window,
        head_size=config.head_size,
        norm_first=config.norm_first,
        bias=config.bias,
        scanned=scanned,
    )
    w, bias = state["in_proj.weight"], state["in_proj.bias"]
    out = state["out_proj.weight"]
    z0 = {"w": w[:bypass], "bias": bias[:bypass]}
    x0 = {"w": w[bypass : 2 * bypass], "bias": bias[bypass : 2 * bypass]}
    before = np.ascontiguousarray(out[:, :bypass])
    rest = {
        **state,
        "in_proj.weight": w[2 * bypass :],
        "in_proj.bias": bias[2 * bypass :],
        "out_proj.weight": np.ascontiguousarray(out[:, bypass:]),
    }

    def beside(u):
        gate, value = ops.linear(u, **z0), ops.linear(u, **x0)
        return ops.linear(ops.swiglu(gate, value), before)

    return smaller, rest, beside
