"""Decoding traces of ARPG: the loop of minigen.sample, given what was recorded.

The loop runs on an op table in which two ops are wrapped: `guide` keeps the logits, and
`draw` draws the tokens from the recorded uniforms or noise instead of from a seed,
keeps them, and hands the recorded tokens on. So each step sees the recorded past,
whatever we drew, and a token that must be equal but is not fails where it was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from types import SimpleNamespace

import numpy as np

from minigen import plans, sample
from minigen.models import arpg
from tests.parity import arpg_forward, weights
from tests.parity.case import (
    EPS,
    FACTOR,
    Case,
    compare,
    decide,
    equal,
    recorded_error,
    take,
)
from tests.parity.slices import cut


def recognise(case: Case) -> bool:
    return "traces" in case.about or "generate" in case.about


def replay(case: Case, ops) -> None:
    config, tree = weights.configuration(case), weights.tree(case)
    for trace in case.about.get("traces", ()):
        replay_trace(case, ops, config, tree, trace)
    if "generate" in case.about:
        # a full-size case: the first steps of one trace, and one training-form forward
        replay_trace(case, ops, config, tree, {**case.about["generate"], "prefix": ""})
        if "train_tokens" in case.arrays:
            arpg_forward.forward(case, ops, config, tree, prefix="train_")


@dataclass(frozen=True)
class Tape:
    """What the wrapped ops saw: logits (2b m v), guided (b m v), our tokens (b m)."""

    logits: list = field(default_factory=list)
    guided: list = field(default_factory=list)
    tokens: list = field(default_factory=list)


def replay_trace(case: Case, ops, config, tree, trace: dict) -> None:
    prefix = trace["prefix"]
    labels = take(case, prefix + "class_id")
    order = take(case, prefix + "order")
    tokens = take(case, prefix + "tokens")
    known = None
    if prefix + "known_tokens" in case.arrays:
        known = take(case, prefix + "known_tokens")
    plan = plan_of(case, config, trace, order)
    options = sample.Options(
        guidance=trace["guidance_scale"],
        guidance_schedule=trace.get("cfg_schedule", "linear"),
        temperature=trace.get("temperature", 1.0),
        top_k=1 if trace.get("kind") == "greedy" else trace.get("top_k", 0),
        top_p=trace.get("top_p", 1.0),
    )
    count = len(case.arrays[prefix + "num_pred"])
    equal(case, prefix + "num_pred", plan.counts[:count])

    tape = Tape()
    chooser = choose_with(case, ops, trace)
    taped = wrap(ops, tape, tokens, chooser or (lambda p, part: None))
    call = (tree, config, plan, labels.tolist())
    how = {"options": options, "known": known}
    two_call = trace.get("two_call", False)
    if two_call:
        run = decode(taped, *call, **how, two_call=True)
    else:
        run = sample.steps(taped, *call, **how)
    taken = list(islice(run, count))

    weight = [step.weight for step in taken]
    # a weight is rounded to float32 once, after a few float64 operations
    within = EPS * np.abs(weight)
    compare(case, prefix + "cfg_scale", np.array(weight), within)
    logits = np.concatenate(tape.logits, axis=1)
    guided = np.concatenate(tape.guided, axis=1)
    halves = {"cond": logits[: len(labels)], "uncond": logits[len(labels) :]}
    for name, array in {**halves, "guided": guided}.items():
        name = f"{prefix}logits_{name}"
        compare(case, name, cut(case, name, array))
    error = recorded_error(case, prefix + "logits_guided")
    arpg_forward.whole_rows(case, prefix + "{}_guided", guided, error)
    if chooser:
        safe = margin(case, trace, options) > 1
        decide(case, prefix + "tokens", np.concatenate(tape.tokens, axis=1), safe)
    if prefix + "sequence" in case.arrays:
        length = case.arrays[prefix + "sequence"].shape[1]
        canvas = taken[-1].canvas.reshape(len(labels), -1)
        equal(case, prefix + "sequence", canvas[:, :length])
    # with tokens of its own it is not about this trace
    own = prefix + "train_tokens" in case.arrays
    if prefix + "train_logits" in case.arrays and not own:
        table = arpg.rotary_table(ops, config)
        orders = np.ascontiguousarray(np.broadcast_to(order, tokens.shape))
        sequence = case.arrays[prefix + "sequence"]
        trained = arpg.forward(ops, tree, config, sequence, labels, orders, table)
        compare(case, prefix + "train_logits", trained)
    if any(name.startswith(prefix + "cache_") for name in case.arrays):
        caches = []
        taped = wrap(ops, Tape(), tokens, lambda p, part: None)
        list(decode(taped, *call, **how, two_call=two_call, caches=caches))
        compare_caches(case, prefix, caches[-1])


def plan_of(case: Case, config, trace: dict, order) -> plans.Plan:
    """Return the plan of a trace: its recorded order, cut by its schedule.

    The order may leave raster positions out (upstream's seq_len < N), which
    `plans.plan` has no word for: the groups are planned on a strip and mapped to the
    recorded order.
    """
    n = len(order)
    if trace.get("seq_len", n) != n:
        raise AssertionError(f"{trace['prefix']}order has {n} positions, not seq_len")
    schedule = trace.get("sample_schedule", "arccos")
    how = {"schedule": schedule, "steps": trace["num_iter"], "faithful": True}
    strip = plans.plan((1, n), order=range(n), **how)
    groups = tuple(tuple(order[list(group)].tolist()) for group in strip.groups)
    known = ()
    if trace["prefix"] + "known_pos" in case.arrays:
        known = tuple(take(case, trace["prefix"] + "known_pos").tolist())
    grid = tuple(trace.get("grid", (config.side, config.side)))
    plan = plans.Plan(grid, groups, known)
    if n + len(known) == grid[0] * grid[1]:
        planned = plans.plan(grid, order=order.tolist(), known=known, **how)
        assert planned == plan, "plans.plan makes another plan of the recorded order"
    return plan


def wrap(ops, tape: Tape, tokens, choose) -> SimpleNamespace:
    """Return the op table with a `guide` and a `draw` that write to the tape."""

    def guide(logits, weight):
        guided = ops.guide(logits, weight)
        tape.logits.append(np.array(logits))
        tape.guided.append(np.array(guided))
        return guided

    def draw(p, uniforms):
        start = sum(guided.shape[1] for guided in tape.guided[:-1])
        part = slice(start, start + p.shape[1])
        tape.tokens.append(choose(p, part))
        return np.ascontiguousarray(tokens[:, part])

    return SimpleNamespace(**{**vars(ops), "guide": guide, "draw": draw})


def choose_with(case: Case, ops, trace: dict):
    """Return how the recorded tokens were drawn, or None if that was not recorded.

    The function takes probabilities (b m v) and the slice of the decode order they are
    for.
    """
    prefix = trace["prefix"]
    if prefix + "uniform" in case.arrays:
        uniforms = take(case, prefix + "uniform")
        return lambda p, part: ops.draw(p, np.ascontiguousarray(uniforms[:, part]))
    if prefix + "noise" in case.arrays:
        noise = take(case, prefix + "noise")
        return lambda p, part: np.argmax(np.asarray(p) / noise[:, part], axis=-1)
    if trace.get("kind") == "greedy":
        # one token is left: any uniform draws it
        return lambda p, part: ops.draw(p, np.full(p.shape[:2], 0.5, np.float32))
    if "kind" in trace:
        raise AssertionError(
            f"trace {prefix!r} is of kind {trace['kind']!r} and holds neither "
            "uniforms nor noise: there is no telling how its tokens were drawn"
        )
    return None


def margin(case: Case, trace: dict, options) -> np.ndarray:
    """Return how safe each recorded token (b n) is: margin over FACTOR float errors.

    Computed in float64 from the recorded guided logits, by the rule that drew the
    token.
    """
    prefix = trace["prefix"]
    logits = case.arrays[prefix + "logits_guided"].astype(np.float64)
    error = FACTOR * recorded_error(case, prefix + "logits_guided")
    ranked = np.sort(logits, axis=-1)[..., ::-1]
    if options.top_k == 1:
        return (ranked[..., 0] - ranked[..., 1]) / error
    temperature = max(options.temperature, 1e-5)
    safety = np.inf
    if 0 < options.top_k < logits.shape[-1]:
        # a token at the threshold may be in or out
        threshold = ranked[..., options.top_k - 1]
        safety = (threshold - ranked[..., options.top_k]) / error
        logits = np.where(logits < threshold[..., None], -np.inf, logits)
    scores = logits / temperature
    scores -= scores.max(-1, keepdims=True)
    if prefix + "noise" in case.arrays:
        noise = case.arrays[prefix + "noise"].astype(np.float64)
        best = np.sort(scores - np.log(noise), axis=-1)
        gap = best[..., -1] - best[..., -2]
    else:
        # an error of the logits moves a cumulated probability by at most half of it
        c = np.cumsum(np.exp(scores), axis=-1)
        u = case.arrays[prefix + "uniform"].astype(np.float64)
        gap = np.abs(c / c[..., -1:] - u[..., None]).min(-1)
    return np.minimum(safety, gap * temperature / error)


def decode(
    ops, tree, config, plan, labels, options, known=None, two_call=False, caches=None
):
    """Yield the `Step`s of minigen's loop, with two things it does not offer.

    two_call: feed the class alone before the known tokens; caches: a list to keep the
    cache of every step in.
    """
    table = arpg.rotary_table(ops, config, plan.grid)
    known = sample.check_known(config, plan, len(labels), known)
    n = len(plan.order)
    cache = arpg.new_cache(ops, config, 2 * len(labels), 1 + len(plan.known) + n)
    ids, rows = sample.prefill(config, labels, plan.known, known)
    if two_call:
        first = np.ascontiguousarray(ids[:, :1]), np.ascontiguousarray(rows[:, :1])
        cache = arpg.feed(ops, tree, config, cache, *first, table)
        ids, rows = np.ascontiguousarray(ids[:, 1:]), np.ascontiguousarray(rows[:, 1:])
    canvas = np.full((len(labels), plan.grid[0] * plan.grid[1]), sample.UNKNOWN)
    canvas[:, list(plan.known)] = known
    decoded = 0
    for index, group in enumerate(plan.groups):
        cache = arpg.feed(ops, tree, config, cache, ids, rows, table)
        if caches is not None:
            caches.append(cache)
        rows = np.tile(np.array(group) + 1, (2 * len(labels), 1))
        decoded += len(group)
        schedule, guidance = options.guidance_schedule, options.guidance
        weight = plans.guidance_weight(schedule, guidance, decoded, n)
        guided = ops.guide(arpg.ask(ops, tree, config, cache, rows, table), weight)
        how = (options.temperature, options.top_k, options.top_p)
        p = ops.probabilities(guided, *how)
        tokens = ops.draw(p, None)
        canvas[:, list(group)] = tokens
        ids = np.concatenate([tokens, tokens])
        where = (index, len(plan.groups), np.array(group))
        yield sample.Step(*where, tokens, p, weight, canvas.copy())


def compare_caches(case: Case, prefix: str, cache) -> None:
    """Compare shared_* (2b n h e) and self{i}_* (2b h n e) with the cache."""
    for name in case.arrays:
        if not name.startswith(prefix + "cache_"):
            continue
        where, which = name.removeprefix(prefix + "cache_").rsplit("_", 1)
        shared = where == "shared"
        if which == "k":
            array = cache.shared_keys if shared else cache.keys[int(where[4:])]
        else:
            array = cache.shared_values if shared else cache.values[int(where[4:])]
        array = np.asarray(array)[:, : cache.length]
        compare(case, name, array if shared else array.swapaxes(1, 2))
