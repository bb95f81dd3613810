"""ARINAR's parts: draws of a mixture, guidance by candidates, schedules."""

from __future__ import annotations

import zlib

import numpy as np

from minigen import plans
from minigen.models import masked, mixture_head
from minigen.sample import Options
from tests.parity.case import EPS, Case, compare, decide, equal, note, take


def stream(salt, step, i, name):
    """Return the generator of the noise rule of these cases."""
    key = f"{salt}/{step}/{i}/{name}"
    return np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))


def uniforms(salt, step, i, n, rows) -> np.ndarray:
    """Return the uniforms (rows n) that components are drawn by, in float64."""
    drawn = stream(salt, step, i, "u").random((n, rows, 1))
    return np.ascontiguousarray(drawn[..., 0].T)


def normals(salt, step, i, n, rows, g, f) -> np.ndarray:
    """Return the normal numbers (rows n g f), of which one component's are used."""
    shape = (n, rows, 1, g, f)
    drawn = stream(salt, step, i, "eps").standard_normal(shape, dtype=np.float32)
    return np.ascontiguousarray(drawn[:, :, 0].swapaxes(0, 1))


def choices(salt, step, i, rows) -> np.ndarray:
    """Return the uniforms (rows 1) that candidates are chosen by, in float64."""
    return stream(salt, step, i, "v").random((rows, 1))


def chosen(noise, components) -> np.ndarray:
    """Return of normals (b m g f) those of the components (b m): (b m f)."""
    index = np.asarray(components)[..., None, None]
    return np.ascontiguousarray(np.take_along_axis(noise, index, axis=2)[:, :, 0])


def margin(p, u) -> np.ndarray:
    """Return how far uniforms (b m) are from the nearest edge of a CDF: p (b m v)."""
    edges = np.cumsum(p, axis=-1, dtype=np.float64)[..., :-1]
    far = np.abs(edges - u[..., None])
    return far.min(axis=-1, initial=1.0)


def is_draw(case: Case) -> bool:
    return case.about["run"] == "sample_from_gmm"


def replay_draw(case: Case, ops) -> None:
    """sample_from_gmm() at several temperatures."""
    logits, means, log_variances = (
        take(case, name)[:, 0] for name in ("logits", "mu", "logvar")
    )
    b, g = logits.shape
    shape = means.shape
    means, log_variances = (a.reshape(b, g, -1) for a in (means, log_variances))
    f, n = means.shape[-1], case.about["n"]
    packed = [means.reshape(b, -1), log_variances.reshape(b, -1), logits]
    made = ops.mixture(np.concatenate(packed, axis=1)[:, None], g)
    weights = np.asarray(made[0])[:, 0]
    # a softmax of g terms: each, their sum and the quotient are rounded
    recorded = case.arrays["weight"]
    within = (np.ptp(logits, -1, keepdims=True) + g + 4)[:, None] * EPS / 2 * recorded
    compare(case, "weight", weights[:, None], within)
    for ours, given in ((made[1], means), (made[2], log_variances)):
        note(case, "parameters", (np.asarray(ours)[:, 0] != given) * 1.0, 0.0)
    version = case.about["config"]["upstream_version"]
    salt = case.about["noise"]["salt"]
    for step, temperature in enumerate(case.about["temperatures"]):
        u = uniforms(salt, step, 0, n, b)
        noise = normals(salt, step, 0, n, b, g, f)
        if step == 0:
            for name, ours in (("u0", u), ("eps0", noise)):
                expected = take(case, name)
                ours = np.moveaxis(ours, 1, 0).reshape(expected.shape)
                note(case, name, (ours != expected) * 1.0, 0.0)
        component = np.asarray(ops.draw_component(weights, u))
        safe = margin(np.broadcast_to(weights[:, None], (b, n, g)), u) > 20 * EPS
        safe = safe.T[..., None]
        decide(case, f"comp{step}", component.T[..., None], safe, "components")
        power = temperature ** mixture_head.BEHAVIOURS[version]
        given = means, log_variances, chosen(noise, component), power
        x = np.asarray(ops.draw_value(component, *given)).swapaxes(0, 1)
        name = f"sample{step}"
        compare(case, name, x.reshape(case.arrays[name].shape))
    assert shape[0] == b


def is_guidance(case: Case) -> bool:
    return "schedule_table" in case.arrays


def replay_guidance(case: Case, ops) -> None:
    """Likelihoods of candidates under both mixtures, and how they are chosen by."""
    x = np.ascontiguousarray(take(case, "x")[:, :, 0].swapaxes(0, 1))
    likelihoods = []
    for half in "cu":
        parts = (take(case, f"{n}_{half}")[:, 0] for n in ("weight", "mu", "logvar"))
        ours = np.asarray(ops.log_density(x, *parts))
        compare(case, f"ll_{half}", ours.T[..., None])
        likelihoods.append(ours)
    about, table, p = case.about, [], []
    n = about["total_steps"]
    for schedule in about["schedules"]:
        for guidance in about["cfgs"]:
            weights = mixture_head.within_token(schedule, guidance, n)
            table.append(weights)
            for step in about["steps"]:
                ours = ops.candidate_probabilities(*likelihoods, weights[step - 1])
                p.append(np.asarray(ours))
    recorded = case.arrays["schedule_table"]
    within = 4 * np.finfo(np.float64).eps * abs(recorded)
    compare(case, "schedule_table", np.reshape(table, recorded.shape), within)
    compare(case, "prob", np.reshape(p, case.arrays["prob"].shape))


def is_schedule(case: Case) -> bool:
    return "num_iters" in case.arrays


def replay_schedule(case: Case, ops) -> None:
    """How many tokens at each step of every number of steps, and their guidance."""
    about = case.about["config"]
    options = Options(guidance=about["cfg"], guidance_schedule=about["cfg_schedule"])
    steps = take(case, "num_iters")
    for n in about["seq_lens"]:
        counts = np.zeros((len(steps), steps.max()), np.int64)
        weights = np.zeros(counts.shape, np.float32)
        for row, total in enumerate(steps.tolist()):
            sizes = plans.counts("cosine", n, total)
            counts[row, :total] = sizes
            weights[row, :total] = masked.guidance(options, 0, sizes)
        equal(case, f"n_{n}", counts)
        compare(case, f"cfg_{n}", weights, EPS * case.arrays[f"cfg_{n}"])
