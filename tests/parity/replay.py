"""Which kinds of cases there are, how each is recognised, and where each is replayed.

A case is recognised by what it holds, never by its name.
"""

from __future__ import annotations

import importlib
import json
from contextlib import contextmanager
from pathlib import Path

from minigen import backends
from tests.hosting import hosted
from tests.parity import (
    aim,
    arinar,
    arinar_full,
    arinar_head,
    arinar_parts,
    arinar_traces,
    arpg_forward,
    arpg_parts,
    arpg_traces,
    arpg_training,
    case,
    kl,
    llamagen_forward,
    llamagen_parts,
    llamagen_traces,
    llamagen_training,
    mamba_mixers,
    mamba_ops,
    mar,
    vq_model,
    vq_parts,
    weights,
)

LARGE = 10_000_000
"""Models of more weights than this run on all threads."""

FAMILIES = {
    "arpg": (
        (arpg_traces.recognise, arpg_traces.replay),
        (arpg_parts.is_rope, arpg_parts.replay_rope),
        (arpg_parts.is_filter, arpg_parts.replay_filter),
        (arpg_parts.is_schedule, arpg_parts.replay_schedule),
        (arpg_training.has_steps, arpg_training.replay_steps),
        (arpg_training.has_gradients, arpg_training.replay_gradients),
        (arpg_forward.recognise, arpg_forward.replay),
    ),
    "llamagen": (
        (llamagen_traces.recognise, llamagen_traces.replay),
        (arpg_parts.is_rope, arpg_parts.replay_rope),
        (llamagen_parts.is_filter, llamagen_parts.replay_filter),
        (llamagen_training.has_gradients, llamagen_training.replay_gradients),
        (llamagen_forward.recognise, llamagen_forward.replay),
    ),
    "aim": ((aim.recognise, aim.replay), (aim.is_filter, aim.replay_filter)),
    "arinar": (
        (arinar_traces.recognise, arinar_traces.replay),
        (arinar_full.is_evaluation, arinar_full.replay_evaluation),
        (arinar_full.is_full, arinar_full.replay_full),
        (arinar.is_outer, arinar.replay_outer),
        (arinar.has_loss, arinar.replay_loss),
        (arinar_head.recognise, arinar_head.replay),
        (arinar_parts.is_draw, arinar_parts.replay_draw),
        (arinar_parts.is_guidance, arinar_parts.replay_guidance),
        (arinar_parts.is_schedule, arinar_parts.replay_schedule),
    ),
    "mamba_ops": (
        (mamba_ops.recognise, mamba_ops.replay),
        (mamba_mixers.recognise, mamba_mixers.replay),
    ),
    "vq": (
        (vq_model.recognise, vq_model.replay),
        (vq_parts.is_pixels, vq_parts.replay_pixels),
        (vq_parts.is_quantizer, vq_parts.replay_quantizer),
    ),
    "kl": ((kl.recognise, kl.replay),),
    "mar_diffloss": (
        (mar.is_schedule, mar.replay_schedule),
        (mar.is_network, mar.replay_network),
        (mar.is_draw, mar.replay_draw),
        (mar.is_run, mar.replay_run),
    ),
}
"""For each family: pairs of (is it of this kind?, replay it), the first yes wins."""


TINY = {
    "aim/sampling_filters",
    "arinar/gmm_sampling",
    "arinar/gmm_sampling_fg2",
    "arinar/gmm_sampling_v1",
    "arinar/guidance",
    "arinar/head_g4",
    "arinar/head_g4_fg2",
    "arinar/mae_tiny",
    "arinar/mar_loss",
    "kl/tiny_novar",
    "mamba_ops/add_rmsnorm",
    "mamba_ops/causal_conv1d",
    "mamba_ops/gated_rmsnorm",
    "mamba_ops/mamba1_module",
    "mamba_ops/mamba2_module",
    "mamba_ops/mamba2_module_dhdim",
    "mamba_ops/mamba2_module_nonorm",
    "mamba_ops/mamba2_module_options",
    "mamba_ops/selective_scan",
    "mamba_ops/selective_state_update",
    "mamba_ops/ssd",
    "mar_diffloss/denoiser_tiny",
    "mar_diffloss/psample_tiny",
}
"""Cases whose CUDA kernels run too: they take the interpreter seconds, but for LONG."""

LONG = {
    "arinar/head_g4",
    "arinar/head_g4_fg2",
    "arinar/mae_tiny",
    "arinar/mar_loss",
    "kl/tiny_novar",
    "mamba_ops/mamba1_module",
    "mamba_ops/mamba2_module",
    "mamba_ops/mamba2_module_dhdim",
    "mar_diffloss/psample_tiny",
}
"""Those that take the interpreter minutes: --slow runs them on ptx instead."""


def find(golden: Path) -> list[tuple[str, Path]]:
    """Return (family, folder) of every case folder under `golden`, sorted by folder."""
    return [
        (json.loads(path.read_text())["family"], path.parent)
        for path in sorted(golden.rglob("case.json"))
    ]


def replay(played: case.Case, backend: str) -> None:
    """Replay one case on one backend; what was compared is written into it."""
    family = played.about["family"]
    for recognise, play in FAMILIES[family]:
        if recognise(played):
            ops = backends.table(backend)
            if ops.device is not None:
                ops = hosted(ops)
            with threads(backend, all_of_them=weights.size(played) > LARGE):
                return play(played, ops)
    raise AssertionError(
        f"{played.folder}: a case of a kind that no replayer of {family} knows; "
        f"it holds {', '.join([*played.about, *played.arrays])}"
    )


@contextmanager
def threads(backend: str, all_of_them: bool):
    """Give a backend one thread, or all: the results are the same, bit for bit.

    The kernels of a tiny model last microseconds. On a busy machine each then waits for
    a second thread to be scheduled, which made a case that takes 12 s take minutes.
    """
    if backend != "numba":
        yield
        return
    numba = importlib.import_module("numba")
    before = numba.get_num_threads()
    numba.set_num_threads(before if all_of_them else 1)
    try:
        with importlib.import_module("minigen.threads").all_of_them():
            yield
    finally:
        numba.set_num_threads(before)
