"""The version of ARINAR's code that weights are for: it does not follow from them.

The first version, "v1", and the later one, "head", take the same weights and compute
different results. A wrong guess would load and give wrong pictures, so minigen does not
guess. A training file may record the arguments of the script that wrote it, which show
the version. Otherwise the user must give it.

Source: the history of Qinyu-Allen-Zhao/Arinar main_mar.py. Commit 0c7b434 (2025-03-19),
which went from 4 heads to 16, brought the argument `model_type` too; each commit since
has one of `LATER`, none before it has. From 2025-04-05 on temperatures above 1 widen:
files of the days between are taken for "head", as their weights are.
"""

from __future__ import annotations

from collections.abc import Mapping

OF_ARINAR = "num_gaussians"
"""An argument that all versions of ARINAR's training script have, and MAR's has not."""

LATER = {"bilevel_schedule", "feature_group", "head_type", "model_type", "use_nf"}
"""Arguments of it that its first version did not have."""

BEHAVIOURS = ("v1", "head")

MEANING = (
    "v1 for the released weights (4 heads of the inner attention, temperatures above 1 "
    "narrow), head for those of later code (16 heads, temperatures above 1 widen)"
)


def shown(arguments: Mapping) -> str | None:
    """Return the behaviour that a training script's arguments show, None if they don't.

    >>> shown({"num_gaussians": 4, "head_type": "ar_gmm"}), shown({"num_gaussians": 4})
    ('head', 'v1')
    >>> shown({"lr": 1e-4})
    """
    if LATER & set(arguments):
        return "head"
    return "v1" if OF_ARINAR in arguments else None
