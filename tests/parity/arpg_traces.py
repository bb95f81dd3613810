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
from minigen.models import arpg, codes
from tests.parity import arpg_forward, weights
from tests.parity.arpg_draws import choose_with, margin
from tests.parity.case import (
    EPS,
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
        # the original never masks what it reads in one call
        reading="block",
        known_reading="block",
    )
    count = len(case.arrays[prefix + "num_pred"])
    equal(case, prefix + "num_pred", plan.counts[:count])

    tape = Tape()
    choose = choose_with(case, ops, trace)
    call = (tree, config, plan, labels.tolist())
    how = {"options": options, "known": known}
    if trace.get("two_call"):
        run = decode(wrap(ops, tape, tokens, choose), *call, **how, two_call=True)
    else:
        run = sample.steps(wrap(ops, tape, tokens, choose), *call, **how)
    taken = list(islice(run, count))

    weight = np.array([step.weight for step in taken])
    # rounded to float32 once, after a few operations in float64
    compare(case, prefix + "cfg_scale", weight, EPS * np.abs(weight))
    compare_logits(case, prefix, tape)
    if choose:
        safe = margin(case, trace, options) > 1
        decide(case, prefix + "tokens", np.concatenate(tape.tokens, axis=1), safe)
    if prefix + "sequence" in case.arrays:
        length = case.arrays[prefix + "sequence"].shape[1]
        canvas = taken[-1].canvas.reshape(len(labels), -1)
        equal(case, prefix + "sequence", canvas[:, :length])
        if prefix + "train_logits" in case.arrays:
            compare_training_form(case, ops, config, tree, prefix)
    if names(case, prefix + "cache_"):
        caches = []
        again = wrap(ops, Tape(), tokens, choose)
        two_call = trace.get("two_call", False)
        list(decode(again, *call, **how, two_call=two_call, caches=caches))
        compare_caches(case, prefix, caches[-1])


def compare_logits(case: Case, prefix: str, tape: Tape) -> None:
    """Compare both halves of guidance, and what they make, at every step."""
    logits = np.concatenate(tape.logits, axis=1)
    guided = np.concatenate(tape.guided, axis=1)
    halves = np.split(logits, 2)
    for name, array in zip(
        ("cond", "uncond", "guided"), (*halves, guided), strict=True
    ):
        name = f"{prefix}logits_{name}"
        compare(case, name, cut(case, name, array))
    error = recorded_error(case, prefix + "logits_guided")
    arpg_forward.whole_rows(case, prefix + "{}_guided", guided, error)


def compare_training_form(case: Case, ops, config, tree, prefix: str) -> None:
    """Compare the causal training form on the generated sequence, in its order."""
    tokens = case.arrays[prefix + "sequence"]
    order = np.tile(case.arrays[prefix + "order"], (len(tokens), 1))
    labels = case.arrays[prefix + "class_id"]
    table = arpg.rotary_table(ops, config)
    logits = arpg.forward(ops, tree, config, tokens, labels, order, table)
    compare(case, prefix + "train_logits", logits)


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
        tape.tokens.append(choose(p, part) if choose else None)
        return np.ascontiguousarray(tokens[:, part])

    return SimpleNamespace(**{**vars(ops), "guide": guide, "draw": draw})


def decode(
    ops, tree, config, plan, labels, options, known=None, two_call=False, caches=None
):
    """Yield the `Step`s of minigen's loop, with two things it does not offer.

    All is read in blocks. two_call: feed the class alone before the known tokens;
    caches: a list to keep the cache of every step in.
    """
    table = arpg.rotary_table(ops, config, plan.grid)
    known = codes.check_known(config, plan, len(labels), known)
    n = len(plan.order)
    cache = arpg.new_cache(ops, config, 2 * len(labels), 1 + len(plan.known) + n)
    ((ids, rows),) = arpg.prompt(config, labels, arpg.table_rows(plan.known), known)
    if two_call:
        first = np.ascontiguousarray(ids[:, :1]), np.ascontiguousarray(rows[:, :1])
        cache = arpg.feed(ops, tree, config, cache, *first, table)
        ids, rows = np.ascontiguousarray(ids[:, 1:]), np.ascontiguousarray(rows[:, 1:])
    canvas = np.full((len(labels), plan.grid[0] * plan.grid[1]), codes.UNKNOWN)
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
    for name in names(case, prefix + "cache_"):
        where, which = name.removeprefix(prefix + "cache_").rsplit("_", 1)
        shared = where == "shared"
        held = cache.shared if shared else cache.layers[int(where[4:])]
        array = np.asarray(held.keys if which == "k" else held.values)
        array = array[:, : held.length]
        compare(case, name, array if shared else array.swapaxes(1, 2))
