"""ARINAR's runs: every step's conditions, mixtures, choices, and what was drawn.

The steps of `minigen.sample` run on an op table whose random numbers are those of the
cases, and which hands on the recorded component, or candidate, whatever we drew: so
each step sees the recorded past, and what must be equal but is not fails where it was
drawn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from minigen import plans
from minigen.models import masked, mixture_head
from minigen.sample import Options
from tests import masked_runs
from tests.parity import arinar as outer
from tests.parity import arinar_parts as noise
from tests.parity.case import (
    EPS,
    FACTOR,
    Case,
    compare,
    decide,
    equal,
    note,
    recorded_error,
)


def recognise(case: Case) -> bool:
    return isinstance(case.about.get("run"), dict) and "cfg_iter" in case.arrays


@dataclass
class Tape:
    """What a run saw: conditions of each step; of each call of the head the mixtures,
    candidates, groups, and what was decided, each a list over groups of features."""

    salt: str
    recorded: dict
    first_step: int = 0
    rows: int = 0
    calls: list = field(default_factory=list)
    tokens: list = field(default_factory=list)
    conditions: list = field(default_factory=list)
    noise: object = None
    uniforms: object = None


@dataclass
class Call:
    """One call of the head over b rows, which begin at row `start` of all."""

    start: int
    b: int
    mixtures: list = field(default_factory=list)
    candidates: list = field(default_factory=list)
    groups: list = field(default_factory=list)
    components: list = field(default_factory=list)
    component_margins: list = field(default_factory=list)
    chosen: list = field(default_factory=list)
    margins: list = field(default_factory=list)


def replay(case: Case, ops) -> None:
    config, weights, run = (
        outer.configuration(case),
        outer.tree(case),
        case.about["run"],
    )
    b, n, count = run["bsz"], config.tokens, run["num_iter"]
    orders = shuffled(np.random.RandomState(run["numpy_seed"]), b, n)
    equal(case, "orders", orders)
    equal(case, "n_pred", plans.counts("cosine", n, count))
    groups = grouped(orders, case.arrays["n_pred"])
    equal(case, "mask", masks_before(groups, n))
    equal(case, "pred", packed(groups, n))
    labels = np.full(b, -1) if run["labels"] is None else np.array(run["labels"])
    options = options_of(run)
    tape = new_tape(case)
    latent, weight = play(ops, weights, config, labels, groups, options, tape)
    compare(case, "cfg_iter", weight, EPS * np.abs(case.arrays["cfg_iter"]))
    compare(case, "latent", latent)
    compare_steps(case, tape)
    compare_choices(case, tape)


def options_of(run: dict) -> Options:
    return Options(
        guidance=run["cfg"],
        guidance_schedule=run["cfg_schedule"],
        temperature=run["temperature"],
    )


def shuffled(stream, b, n) -> np.ndarray:
    """Return the order (b n) of each image, from NumPy's old stream of numbers."""
    return np.stack([stream.permutation(n) for _ in range(b)])


def grouped(orders, counts) -> list[np.ndarray]:
    """Return the positions (b m) of every step: orders are used from their ends."""
    left = orders.shape[1] - np.cumsum(counts)
    return [orders[:, end : end + m] for end, m in zip(left, counts, strict=True)]


def packed(groups, n) -> np.ndarray:
    """Return for each step the bits (b n) of its positions."""
    bits = np.zeros((len(groups), len(groups[0]), n), np.uint8)
    for step, positions in enumerate(groups):
        np.put_along_axis(bits[step], positions, 1, axis=1)
    return np.packbits(bits, axis=-1)


def masks_before(groups, n) -> np.ndarray:
    """Return for each step the bits (b n) of what is still unknown before it."""
    bits = np.ones((len(groups), len(groups[0]), n), np.uint8)
    for step, positions in enumerate(groups[:-1]):
        for later in bits[step + 1 :]:
            np.put_along_axis(later, positions, 0, axis=1)
    return np.packbits(bits, axis=-1)


def new_tape(case: Case, first_step=0, comp="comp", sel="sel", comp_sel="comp_sel"):
    """Return a tape on which nothing stands but what was chosen, by these names."""
    names = {"comp": comp, "sel": sel, "comp_sel": comp_sel}
    kept = {here: case.arrays.get(name) for here, name in names.items()}
    return Tape(case.about["noise"]["salt"], kept, first_step)


def play(ops, weights, config, labels, groups, options, tape):
    """Run all steps; return the latents (b c y x) and the guidance of each step."""
    table, watch = wrap(ops, config, tape)
    numbers = masked_runs.KEY, np.arange(len(labels))
    call = table, weights, config, labels, groups, options, numbers, watch
    drawn, weight, canvas = zip(*masked_runs.run(*call), strict=True)
    tape.tokens += [tokens.reshape(-1, config.features) for tokens in drawn]
    grid = config.side, config.side
    return masked.to_latent(canvas[-1], config.patch, grid), np.array(weight)


def wrap(ops, config, tape: Tape):
    """Return an op table that draws by the rule of the cases, and its watcher."""
    g, f = config.mixtures, config.group

    def watch(name, seen):
        if name == "conditions":
            tape.conditions.append(np.array(seen[1]).reshape(-1, config.width))
        elif name == "mixtures":
            if not tape.calls or len(tape.calls[-1].groups) == config.groups:
                tape.calls.append(Call(tape.rows, 0))
            tape.calls[-1].mixtures.append([np.array(each)[:, 0] for each in seen])
        elif name == "candidates":
            tape.calls[-1].candidates.append([np.array(each) for each in seen])
        elif name == "group":
            call = tape.calls[-1]
            call.groups.append(np.array(seen)[:, 0])
            if len(call.groups) == config.groups:
                tape.rows += call.b

    def uniforms_at(key, images, positions, step, first, m):
        b, step = len(images), step + tape.first_step
        tape.calls[-1].b = b
        i, which = divmod(first, mixture_head.NUMBERS)
        if which == 0:
            tape.uniforms = noise.choices(tape.salt, step, i, b)
        else:
            tape.uniforms = noise.uniforms(tape.salt, step, i, m, b)
        return tape.uniforms

    def normals_at(key, images, positions, step, first, m):
        # which of them are needed is known once the components are
        b, step = len(images), step + tape.first_step
        count = m // f
        i = first // mixture_head.NUMBERS
        tape.noise = noise.normals(tape.salt, step, i, count, b, g, f)
        return np.zeros((b, m), np.float32)

    def draw_component(weights, uniforms):
        ours = np.asarray(ops.draw_component(weights, uniforms))
        call, p = tape.calls[-1], np.asarray(weights)[:, None]
        p = np.broadcast_to(p, (*ours.shape, g))
        call.components.append(ours)
        call.component_margins.append(noise.margin(p, uniforms))
        return force_components(tape, ours.copy())

    def draw_value(components, means, log_variances, normals, power):
        normals = noise.chosen(tape.noise, components)
        return ops.draw_value(components, means, log_variances, normals, power)

    def draw(p, uniforms):
        ours = np.asarray(ops.draw(p, uniforms))
        call = tape.calls[-1]
        call.chosen.append(ours[:, 0])
        call.margins.append(noise.margin(np.asarray(p), uniforms)[:, 0])
        if tape.recorded["sel"] is None:
            return ours
        i = len(call.chosen) - 1
        rows = slice(call.start, call.start + call.b)
        return tape.recorded["sel"][rows, i, None].astype(np.int64)

    changed = {
        "uniforms_at": uniforms_at,
        "normals_at": normals_at,
        "draw_component": draw_component,
        "draw_value": draw_value,
        "draw": draw,
    }
    return SimpleNamespace(**{**vars(ops), **changed}), watch


def force_components(tape: Tape, components):
    """Return components (b m) with the recorded ones where there are such."""
    call = tape.calls[-1]
    i, rows = len(call.components) - 1, slice(call.start, call.start + call.b)
    if components.shape[1] == 1:
        if tape.recorded["comp"] is not None:
            components[:, 0] = tape.recorded["comp"][rows, i]
    elif tape.recorded["sel"] is not None:
        taken = tape.recorded["sel"][rows, i, None].astype(np.int64)
        value = tape.recorded["comp_sel"][rows, i, None].astype(np.int64)
        np.put_along_axis(components, taken, value, axis=1)
    return components


def compare_steps(case: Case, tape: Tape) -> None:
    """Compare conditions, mixtures and candidates of the steps that were kept."""
    every = re.search(r"steps 0,(\d+),", case.about["kept_steps"])
    kept = range(0, len(tape.calls), int(every.group(1)) if every else 1)
    compare(case, "z", np.concatenate([tape.conditions[s] for s in kept]))
    compare(case, "sampled", np.concatenate(tape.tokens))
    for part, name in enumerate(("weight", "mu", "logvar")):
        if name in case.arrays:
            calls = (tape.calls[s].mixtures for s in kept)
            ours = [np.stack([m[part] for m in call], axis=1) for call in calls]
            compare(case, name, np.concatenate(ours))
    if "step0_cand" in case.arrays:
        # (b m) of each group to (m b groups)
        candidates = tape.calls[0].candidates
        for part, name in enumerate(("step0_cand", "step0_ll_c", "step0_ll_u")):
            ours = [group[part].reshape(len(group[part]), -1) for group in candidates]
            ours = np.stack(ours, axis=-1).swapaxes(0, 1)
            compare(case, name, ours[: len(case.arrays[name])])


def compare_choices(case: Case, tape: Tape, names=("comp", "sel", "comp_sel")) -> None:
    """Compare what we chose with what was recorded; near-ties may differ."""
    calls, (comp, sel, comp_sel) = tape.calls, names
    # components are drawn from weights in float32
    error = FACTOR * (recorded_error(case, "weight") or EPS)
    if tape.recorded["comp"] is not None:
        ours = columns(calls, lambda call: [c[:, 0] for c in call.components])
        far = columns(calls, lambda call: [m[:, 0] for m in call.component_margins])
        decide(case, comp, ours, far > error, "components")
        return
    taken = case.arrays[sel].astype(np.int64)
    ours = at_taken(calls, taken, lambda call: call.components)
    far = at_taken(calls, taken, lambda call: call.component_margins)
    decide(case, comp_sel, ours, far > error, "components")
    if "comp_step0" in case.arrays:
        ours = np.stack(calls[0].components, axis=-1).swapaxes(0, 1)
        far = np.stack(calls[0].component_margins, axis=-1).swapaxes(0, 1)
        decide(case, "comp_step0", ours, far > error, "components")
    p = at_taken(calls, taken, lambda call: [c[3] for c in call.candidates])
    note(case, f"{sel} is possible", (p <= 0) * 1.0, 0.0)
    # a sum of many probabilities is off by no more than their errors add up to
    error = mixture_head.CANDIDATES * EPS
    if sel == "sel" and "sel_prob" in case.arrays:
        compare(case, "sel_prob", p)
        error = max(error, FACTOR * recorded_error(case, "sel_prob"))
    ours = columns(calls, lambda call: call.chosen)
    far = columns(calls, lambda call: call.margins)
    decide(case, sel, ours, far > error, "candidates")


def columns(calls, of) -> np.ndarray:
    """Return what of(call) lists for each group, (b): all rows by groups."""
    return np.concatenate([np.stack(of(call), axis=-1) for call in calls])


def at_taken(calls, taken, of) -> np.ndarray:
    """Return what of(call) lists for each group, (b m), at the recorded candidate.

    taken: its number, of all rows by groups; and so is the result.
    """
    picked = []
    for call in calls:
        rows = taken[call.start : call.start + call.b]
        values = [
            np.take_along_axis(v, rows[:, i, None], axis=1)[:, 0]
            for i, v in enumerate(of(call))
        ]
        picked.append(np.stack(values, axis=-1))
    return np.concatenate(picked)
