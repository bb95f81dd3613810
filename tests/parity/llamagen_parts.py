"""Parts of LlamaGen on their own: what the sampler makes of logits."""

from __future__ import annotations

import re

import numpy as np

from tests.parity.case import EPS, FACTOR, Case, compare, names, recorded_error, take


def is_filter(case: Case) -> bool:
    return all("temperature" in combo for combo in case.about.get("combos", [{}]))


def replay_filter(case: Case, ops) -> None:
    """Compare the probabilities after temperature, top-k and top-p."""
    logits = take(case, "logits")
    for combo in case.about["combos"]:
        how = combo["temperature"], combo["top_k"], combo["top_p"]
        ours = np.asarray(ops.probabilities(logits[None], *how))[0]
        prefix = combo["prefix"]
        within = FACTOR * recorded_error(case, prefix + "probs") or EPS
        for name in names(case, prefix):
            part = ours[rows_of(case, name)]
            if name.endswith("_sorted"):
                # top-p may keep any of several equal logits: compared by value
                compare(case, name, np.sort(part, axis=-1)[:, ::-1], within)
            else:
                compare(case, name, part)


def rows_of(case: Case, name: str):
    """Return which rows of the logits a recorded array holds, as its meaning says.

    Written as `rows [0, 2]`, or `rows 0..2`.
    """
    meaning = next(a["meaning"] for a in case.about["arrays"] if a["name"] == name)
    listed = re.search(r"rows \[([\d, ]+)\]", meaning)
    if listed:
        return [int(row) for row in listed[1].split(",")]
    first, last = re.search(r"rows (\d+)\.\.(\d+)", meaning).groups()
    return list(range(int(first), int(last) + 1))
