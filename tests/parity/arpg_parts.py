"""Parts of ARPG on their own: rotary table, filter of logits, schedules."""

from __future__ import annotations

import re

import numpy as np

from minigen import plans
from minigen.errors import InputError
from minigen.ops.draw import reference
from tests.parity.case import EPS, Case, compare, count, equal, names, note, take

TINY = float(np.finfo(np.float32).tiny)


def is_rope(case: Case) -> bool:
    return all("head_dim" in combo for combo in case.about.get("combos", [{}]))


def replay_rope(case: Case, ops) -> None:
    for combo in case.about["combos"]:
        prefix, grid = combo["prefix"], combo["grid_size"]
        rows, columns = grid if isinstance(grid, list) else (grid, grid)
        table = ops.rope_table(rows, columns, combo["head_dim"], combo["base"])
        # our table has one row for the class; the original any number, all the same
        extra = combo["cls_token_num"] - 1
        row = np.maximum(np.arange(1 + extra + rows * columns) - extra, 0)
        compare(case, prefix + "table", np.asarray(table)[row])
        x = take(case, prefix + "x")
        y = ops.rope2d(x, table, np.tile(row[: x.shape[1]], (x.shape[0], 1)))
        compare(case, prefix + "y", y)
        if prefix + "xs" not in case.arrays:
            continue
        xs = take(case, prefix + "xs")
        ys = ops.rope2d(xs, table, row[take(case, prefix + "rows")])
        compare(case, prefix + "ys", ys)


def is_schedule(case: Case) -> bool:
    return "iters" in case.arrays and bool(names(case, "counts_"))


def replay_schedule(case: Case, ops) -> None:
    """Compare the counts of every schedule, length and number of steps, without ops."""
    iters = take(case, "iters").tolist()
    for name in names(case, "counts_"):
        schedule, length = re.fullmatch(r"counts_(\w+)_(\d+)", name).groups()
        n = int(length)
        ours = np.full(case.arrays[name].shape, -1)
        valid = []
        for row, steps in zip(ours, iters, strict=True):
            row[:steps] = plans.counts(schedule, n, steps)
            try:
                plans.plan((1, n), "raster", schedule, steps, faithful=True)
                valid.append(1)
            except InputError:
                valid.append(0)
        equal(case, name, ours)
        equal(case, f"valid_{n}", valid)


def is_filter(case: Case) -> bool:
    return all("top_k" in combo for combo in case.about.get("combos", [{}]))


def replay_filter(case: Case, ops) -> None:
    logits = take(case, "logits")
    for combo in case.about["combos"]:
        name, top_k, top_p = combo["array"], combo["top_k"], combo["top_p"]
        if "min_tokens_to_keep" in combo:
            compare_minimum(case, combo, logits)
            continue
        rows = np.array(combo.get("rows_where_float64_agrees", [True] * len(logits)))
        count(case, "filtered rows", rows, np.zeros_like(rows))
        compare_filter(case, ops, name, logits, top_k, top_p, rows)
    for name in names(case, "keep3_"):
        meaning = next(a["meaning"] for a in case.about["arrays"] if a["name"] == name)
        options = dict(re.findall(r"(top_k|top_p)=(-?[\d.]+)", meaning))
        top_k, top_p = int(options.get("top_k", 0)), float(options.get("top_p", 1.0))
        if name == "keep3_small_vocab":
            not_imitated(case, ops, name, top_p)
        else:
            compare_filter(case, ops, name, take(case, "logits3"), top_k, top_p)
    if "temp" in case.arrays:
        batch = take(case, "temp_logits")[None]
        temperatures = take(case, "temp").tolist()
        ours = [ops.probabilities(batch, t, 0, 1.0)[0] for t in temperatures]
        compare(case, "temp_probs", np.stack(ours))


def compare_filter(case, ops, name, logits, top_k, top_p, rows=True) -> None:
    """Compare our probabilities with the softmax of what the recorded mask lets pass.

    A softmax rounds l - max once, each of v terms and their sum once more, and the
    quotient: its relative error is below (|l - max| + v + 4) eps / 2. Below the
    smallest normal float32 a probability may be flushed to zero.
    """
    batch = logits if logits.ndim == 3 else logits[None]
    ours = np.asarray(ops.probabilities(batch, 1.0, top_k, top_p)).reshape(logits.shape)
    passed = np.where(take(case, name), logits.astype(np.float64), -np.inf)
    expected = np.exp(passed - passed.max(-1, keepdims=True))
    expected /= expected.sum(-1, keepdims=True)
    tied = ties(logits) & (top_p < 1)
    ours, expected, passed = (sort_rows(a, tied) for a in (ours, expected, passed))
    distance = np.where(expected > 0, passed.max(-1, keepdims=True) - passed, 0)
    within = (distance + logits.shape[-1] + 4) * expected * EPS / 2
    within = np.where(expected < TINY, TINY * (expected > 0), within)
    kept = np.broadcast_to(np.asarray(rows)[..., None], expected.shape)
    note(case, name, np.abs(ours - expected)[kept], within[kept])


def compare_minimum(case: Case, combo: dict, logits) -> None:
    """Compare min_tokens_to_keep: no model uses it, and only the reference has it."""
    name, top_k, top_p = combo["array"], combo["top_k"], combo["top_p"]
    tied = ties(logits) & (top_p < 1)
    ours = reference.keep(logits, top_k, top_p, combo["min_tokens_to_keep"])
    ours, expected = (
        sort_rows(np.where(mask, logits, -np.inf), tied)
        for mask in (ours, take(case, name))
    )
    note(case, name, (ours != expected) * 1.0, 0.0)


def ties(logits) -> np.ndarray:
    """Return which rows hold equal logits: top_p may keep any one of those."""
    ranked = np.sort(logits, axis=-1)
    return (ranked[..., 1:] == ranked[..., :-1]).any(-1, keepdims=True)


def sort_rows(array, where) -> np.ndarray:
    """Return the array with the rows at `where` sorted: by value, not by place."""
    return np.where(where, np.sort(array, axis=-1), array)


def not_imitated(case: Case, ops, name: str, top_p: float) -> None:
    """Show that the recorded mask is upstream's mistake, and that ours is not.

    Upstream scatters the flags of the sorted logits along the token axis, not along the
    vocabulary. The mistake is repeated here to account for the array.
    """
    logits = take(case, "logits3_small_vocab")
    flags, order = sorted_flags(logits, top_p)
    wrong = flags.copy()
    np.put_along_axis(wrong, order, flags, axis=1)
    equal(case, name, ~wrong)
    right = np.empty_like(flags)
    np.put_along_axis(right, order, flags, axis=-1)
    ours = np.asarray(ops.probabilities(logits, 1.0, 0, top_p)) > 0
    note(case, name, (ours != ~right) * 1.0, 0.0)


def sorted_flags(logits, top_p):
    """Return which entries top_p removes, largest first, and their order."""
    order = np.argsort(-logits, axis=-1, kind="stable")
    ranked = np.take_along_axis(logits, order, -1).astype(np.float64)
    p = np.exp(ranked - ranked[..., :1])
    c = np.cumsum(p / p.sum(-1, keepdims=True), axis=-1)
    before = np.concatenate([np.zeros_like(c[..., :1]), c[..., :-1]], axis=-1)
    return before > top_p, order
