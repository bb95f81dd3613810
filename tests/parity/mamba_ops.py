"""The ops of state space models on their own, variant by variant.

The originals have channels before time, (B,D,L), and many optional arguments. Ours have
(b n d), and one function a variant: what is left out is zero, or another function.
"""

from __future__ import annotations

import numpy as np

from minigen.ops.ssd import reference as ssd_reference
from tests.parity.case import EPS, Case, compare, recorded_error, take


def recognise(case: Case) -> bool:
    ops = {variant.get("op") for variant in case.about.get("variants", {}).values()}
    return bool(ops) and ops <= set(PLAYERS)


def replay(case: Case, ops) -> None:
    for name, variant in case.about["variants"].items():
        given = {
            key: take(case, value[1:])
            if isinstance(value, str) and value.startswith("@")
            else value
            for key, value in variant["args"].items()
        }
        for output, ours in PLAYERS[variant["op"]](ops, given).items():
            compare_output(case, f"{name}.{output}", ours, given)


def compare_output(case: Case, name: str, ours, given) -> None:
    """Compare one output; one rounded to bfloat16, within half a step of it."""
    if recorded_error(case, name) is not None:
        return compare(case, name, ours)
    assert given.get("half"), f"{name}: no float32 error was recorded for it"
    # a bfloat16 has 8 binary digits, and ours is off by a few roundings of float32
    step = 2.0**-8 if name.endswith(".out") else EPS / 2
    return compare(case, name, ours, (step + 4 * EPS) * np.abs(ours))


def conv(ops, given) -> dict:
    """x (B,D,L): the whole sequence, with the W-1 inputs before it or with zeros."""
    function, w, bias = conv_arguments(ops, given)
    x = given["x"].swapaxes(1, 2)
    state = conv_state(given.get("initial_states"), x.shape[0], w)
    y, state = function(x, w, bias, state)
    outputs = {"out": y.swapaxes(1, 2)}
    if given.get("return_final_states"):
        outputs["final_states"] = state[:, 1:].swapaxes(1, 2)
    return outputs


def conv_update(ops, given) -> dict:
    """x (T,B,D) or (T,B,D,m): step by step, with a state of S of the last inputs."""
    function, w, bias = conv_arguments(ops, given)
    window, held = w.shape[1], given["conv_state"].copy()
    places = given.get("cache_seqlens")
    outs, states = [], []
    for t, x in enumerate(given["x"]):
        x = x.reshape(*x.shape[:2], -1).swapaxes(1, 2)
        if places is None:
            state = conv_state(held, x.shape[0], w)
            y, state = function(np.ascontiguousarray(x), w, bias, state)
            held = np.concatenate([held, x.swapaxes(1, 2)], -1)[..., -held.shape[2] :]
            count = min(window, held.shape[2])
            # what the op remembers is what is kept
            held[..., -count:] = state[:, -count:].swapaxes(1, 2)
        else:
            # a ring: the newest stands before the place to be written
            at = places[:, None] + t + np.arange(1 - window, 0)
            rows = np.arange(len(held))[:, None]
            before = held[rows, :, at % held.shape[2]].swapaxes(1, 2)
            y, state = function(x, w, bias, conv_state(before, x.shape[0], w))
            held[rows[:, 0], :, (places + t) % held.shape[2]] = state[:, -1]
        outs.append(y.swapaxes(1, 2).reshape(given["x"].shape[1:]))
        states.append(held.copy())
    return {"out": np.stack(outs), "states": np.stack(states)}


def conv_arguments(ops, given):
    """Return which function it is, and its weight and bias."""
    silu = given.get("activation") == "silu"
    w = given["weight"]
    bias = given.get("bias", np.zeros(len(w), np.float32))
    return ops.causal_conv_silu if silu else ops.causal_conv, w, bias


def conv_state(inputs, b, w):
    """Return the state (b w c) of which inputs (B,D,S) are the newest; zeros before."""
    c, window = w.shape
    state = np.zeros((b, window, c), np.float32)
    if inputs is not None:
        newest = inputs.swapaxes(1, 2)[:, -window:]
        state[:, -newest.shape[1] :] = newest
    return state


def selective_scan(ops, given) -> dict:
    """u, delta, z (B,D,L); B and C constant, of all channels, or grouped."""
    x = given["u"].swapaxes(1, 2)
    delta = step_sizes(ops, given, given["delta"].swapaxes(1, 2), "delta_bias")
    B, C = (of_tokens(given[name], x.shape) for name in "BC")
    if B.shape[2] != C.shape[2]:
        r = max(B.shape[2], C.shape[2])
        B, C = (np.repeat(each, r // each.shape[2], axis=2) for each in (B, C))
    D = given.get("D", np.zeros(x.shape[2], np.float32))
    state = np.zeros((len(x), *given["A"].shape), np.float32)
    y, state = ops.selective_scan(x, delta, A_log(given), B, C, D, state)
    y = gated(ops, given, y, lambda z: z.swapaxes(1, 2))
    return {"out": y.swapaxes(1, 2), "last_state": state}


def of_tokens(each, shape):
    """Return a B or C of any kind as (b n r s)."""
    b, n, c = shape
    if each.ndim == 2:
        return np.ascontiguousarray(np.broadcast_to(each, (b, n, *each.shape)))
    if each.ndim == 3:
        each = each[:, None]
    return np.ascontiguousarray(np.moveaxis(each, -1, 1))


def state_update(ops, given) -> dict:
    """x (T,B,D) or (T,B,H,P): step by step, both scans by themselves."""
    state, outs, states = given["state"].copy(), [], []
    for t, x in enumerate(given["x"]):
        delta = step_sizes(ops, given, given["dt"][t][:, None], "dt_bias")
        D = given.get("D", np.zeros(x.shape[1], np.float32))
        B, C = given["B"][t][:, None], given["C"][t][:, None]
        if given.get("per_head"):
            function = ops.ssd
        else:
            function, B, C = ops.selective_scan, B[:, None], C[:, None]
        y, state = function(x[:, None], delta, A_log(given), B, C, D, state)
        step = {**given, "z": given["z"][t][:, None]} if "z" in given else given
        outs.append(gated(ops, step, y)[:, 0])
        states.append(state.copy())
    return {"out": np.stack(outs), "states": np.stack(states)}


def ssd_seq(ops, given) -> dict:
    """The recurrence over the whole sequence."""
    arguments, skip = ssd_arguments(ops, given)
    y, state = ops.ssd(*arguments)
    return {"y": gated(ops, given, skip(y)), "last_state": state}


def ssd_chunk(ops, given) -> dict:
    """The chunked form, and what it is made of, each chunk by itself."""
    chunk = given["chunk_size"]
    arguments, skip = ssd_arguments(ops, given)
    y, state = ops.ssd_chunked(*arguments, chunk)
    x, delta, A_log, B, C, D, zero = (each.copy() for each in arguments)
    zero[...] = 0
    b, n, h = delta.shape
    before, carried = [zero.copy()], zero.copy()
    alone = []
    for first in range(0, n, chunk):
        part = [each[:, first : first + chunk] for each in (x, delta, B, C)]
        x_i, delta_i, B_i, C_i = (np.ascontiguousarray(each) for each in part)
        run = x_i, delta_i, A_log, B_i, C_i, D
        alone.append(ops.ssd_chunked(*run, zero.copy(), chunk)[1])
        before.append(ops.ssd_chunked(*run, carried, chunk)[1].copy())
    # (b n h) to (b h chunks chunk)
    steps = delta.reshape(b, -1, chunk, h).transpose(0, 3, 1, 2)
    exponents = steps * given["A"][:, None, None]
    sums = ssd_reference.segment_sums(exponents.reshape(b, -1, chunk))[..., 0]
    sums = sums.reshape(steps.shape) + exponents[..., :1]
    outputs = {"y": gated(ops, given, skip(y)), "dt_eff": steps, "dA_cumsum": sums}
    outputs |= {"chunk_states": np.stack(alone, 1)}
    return outputs | {"prev_states": np.stack(before[:-1], 1), "final_state": state}


def ssd_minimal(ops, given) -> dict:
    """Here X is x delta, and A is delta A: with A = -1, delta is what -A says."""
    X, delta = given["X"], -given["A"]
    b, n, h, p = X.shape
    zeros = np.zeros(h, np.float32)
    state = np.zeros((b, h, p, given["B"].shape[-1]), np.float32)
    if "initial_states" in given:
        state[...] = given["initial_states"][:, 0]
    arguments = X / delta[..., None], delta, zeros, given["B"], given["C"], zeros
    y, state = ops.ssd_chunked(*arguments, state, given["block_len"])
    return {"y": y, "final_state": state}


def ssd_arguments(ops, given):
    """Return the arguments of ssd, and what adds a skip of every channel to y."""
    x, D = given["x"], given.get("D")
    b, n, h, p = x.shape
    delta = step_sizes(ops, given, given["dt"], "dt_bias")
    state = np.zeros((b, h, p, given["B"].shape[-1]), np.float32)
    of_heads = D if D is not None and D.ndim == 1 else np.zeros(h, np.float32)

    def skip(y):
        if D is None or D.ndim == 1:
            return y
        weight = np.ascontiguousarray(np.broadcast_to(D.reshape(-1), (b, 1, h * p)))
        skipped = ops.gate(x.reshape(b, n, -1), weight)
        return ops.add(y.reshape(b, n, -1), skipped).reshape(y.shape)

    return (x, delta, A_log(given), given["B"], given["C"], of_heads, state), skip


def step_sizes(ops, given, raw, bias):
    """Return effective step sizes (b n h): with softplus and limits, or as they are."""
    if not (given.get("dt_softplus") or given.get("delta_softplus")):
        return raw
    bias = given.get(bias, np.zeros(raw.shape[-1], np.float32))
    return ops.step_size(raw, bias, *given.get("dt_limit", (0.0, np.inf)))


def A_log(given):
    """Return what the mixers hold in place of A = -e^A_log."""
    with np.errstate(invalid="ignore"):
        return np.log(-given["A"].astype(np.float64)).astype(np.float32)


def gated(ops, given, y, arrange=lambda z: z):
    """Return y silu(z) if there is a gate."""
    if "z" not in given:
        return y
    z = np.ascontiguousarray(arrange(given["z"])).reshape(*y.shape[:2], -1)
    return ops.swiglu(z, y.reshape(z.shape)).reshape(y.shape)


def gated_norm(ops, given) -> dict:
    """The two orders of gate and norm, in groups or as a whole; or no gate at all."""
    x, w, eps = given["x"], given["weight"], given["eps"]
    if "z" not in given:
        return {"out": ops.rms_norm(x, w, eps)}
    r = x.shape[-1] // (given.get("group_size") or x.shape[-1])
    function = ops.rms_norm_gate if given["norm_before_gate"] else ops.gate_rms_norm
    return {"out": function(x, given["z"], w, r, eps)}


def add_norm(ops, given) -> dict:
    """The first block has nothing to add to; the last returns no residual."""
    x, w = given["x"], given["weight"]
    if "residual" not in given:
        return {"out": ops.rms_norm(x, w, 1e-5), "residual_out": x}
    out, residual = ops.add_rms_norm(x, given["residual"], w, 1e-5)
    outputs = {"out": out, "residual_out": residual}
    return outputs if given.get("prenorm", True) else {"out": out}


PLAYERS = {
    "conv": conv,
    "conv_update": conv_update,
    "selective_scan": selective_scan,
    "state_update": state_update,
    "ssd_seq": ssd_seq,
    "ssd_chunk": ssd_chunk,
    "ssd_minimal": ssd_minimal,
    "gated_norm": gated_norm,
    "add_norm": add_norm,
}
"""What plays each op of the originals, and returns {output: array}."""
