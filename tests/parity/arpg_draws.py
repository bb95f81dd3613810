"""How the tokens of a trace were drawn, and by what margin."""

from __future__ import annotations

import numpy as np

from tests.parity.case import FACTOR, Case, recorded_error, take


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
