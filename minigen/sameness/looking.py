"""Draw a step of a run again, to see how near its draws were to other tokens."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from minigen import rng, tasks
from minigen import sample as loop
from minigen.models import codes, mixture_head, token_flow
from minigen.ops.draw.reference import COLDEST
from minigen.ops.noise.reference import uniforms_at
from minigen.plans import Plan
from minigen.sameness.near_ties import (
    NONE,
    Tie,
    guided,
    of_candidates,
    of_codes,
    of_components,
    rounding,
    tie,
)
from minigen.sameness.record import canvas_of

WATCHED = ("mixtures", "candidates", "group")
"""The names of the arrays that are kept (`minigen.models.watching`)."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One step of one image, and the arrays that its watcher saw.

    watched: {name: arrays in order}, for the names in WATCHED; for codes also "logits":
    first those of both halves, if there is guidance.
    """

    pipe: object
    recipe: object
    image: int
    step: loop.Step
    watched: dict

    def tie(self, position: int, token: np.ndarray) -> Tie:
        """Return how near the step was to drawing `token` (f) at a position."""
        if position not in self.step.positions:
            # it was known, and not drawn
            return NONE
        at = self.step.positions.tolist().index(position)
        if self.pipe.kind is codes:
            return _of_code(self, at, int(token[0]))
        return _of_vector(self, at, token)


def look(pipe, plan, recipe, i, index) -> Seen:
    """Draw image i of a recipe as far as a step, and return what was seen there."""
    watched = {}

    def watch(name, arrays):
        if name in WATCHED:
            parts = arrays if isinstance(arrays, tuple) else (arrays,)
            # float64 from here on; a copy, as the run goes on
            parts = [np.array(pipe.ops.get(part), np.float64) for part in parts]
            watched.setdefault(name, []).append(parts)

    def hear(name):
        # an op that is given logits
        def heard(logits, *rest):
            array = np.array(pipe.ops.get(logits), np.float64)
            watched.setdefault("logits", []).append([array])
            return getattr(pipe.ops, name)(logits, *rest)

        return heard

    heard = {name: hear(name) for name in ("guide", "probabilities")}
    ops = SimpleNamespace(**{**vars(pipe.ops), **heard})
    model, image = (ops, pipe.generator.weights, pipe.config), recipe.first + i
    plan, known = plan_of(pipe, plan, recipe, i), given(pipe, recipe, "known", i)
    known = tasks.known_tokens(known, plan)
    how = pipe.options(**recipe.options)
    call = *model, plan, recipe.labels[i : i + 1], recipe.seed, how, known
    control = given(pipe, recipe, "control", i)
    for step in loop.steps(*call, first=image, watch=watch, control=control):
        if step.index == index:
            return Seen(pipe, recipe, image, step, watched)
        watched.clear()
    raise ValueError(f"step {index} is not one of the plan's {len(plan.groups)}")


def plan_of(pipe, plan, recipe, i):
    """Return the plan of image i of a recipe, with its positions.

    If tokens decide them, it is that of the tokens which `pipe` draws.
    """
    image = recipe.first + i
    if plan.per_image != "confidence":
        return plan.of(image)
    known, control = (given(pipe, recipe, name, i) for name in ("known", "control"))
    run = pipe.steps(
        recipe.labels[i : i + 1], recipe.seed, first=image, plan=plan, known=known,
        control=control, **recipe.options,
    )  # fmt: skip
    groups = tuple(tuple(step.positions[0].tolist()) for step in run)
    return Plan(plan.grid, groups, plan.known)


def given(pipe, recipe, name, i):
    """Return what a recipe's field, known or control, holds of image i, or None."""
    canvas = canvas_of(pipe, recipe, name)
    return None if canvas is None else canvas[i : i + 1]


def allowance(pipe, recipe, steps, features) -> np.ndarray:
    """Return how large a difference of features rounding explains after some steps.

    Each step reads the features of the steps before, and passes on their rounding.
    """
    off = rounding(pipe.config.layers, steps) * guided(recipe.guidance)
    # without limit, where guidance is without measure
    with np.errstate(over="ignore"):
        return off * np.maximum(1, np.abs(features))


def _of_code(seen, at, token):
    recipe, weight, (logits,) = seen.recipe, seen.step.weight, seen.watched["logits"][0]
    z, largest = logits[0, at], np.abs(logits[:, at]).max()
    if len(logits) == 2:
        z = logits[1, at] + (z - logits[1, at]) * weight
    temperature = max(recipe.temperature, COLDEST)
    error = rounding(seen.pipe.config.layers) * guided(weight) * largest / temperature
    position = seen.step.positions[at : at + 1]
    u = rng.uniforms(recipe.seed, [seen.image], seen.step.index, position)[0, 0]
    weights = of_codes(z / temperature, error, recipe.top_k, recipe.top_p)
    return tie(weights, float(u), token)


def _of_vector(seen, at, token):
    """Look at the draw of the first group of features that differs."""
    if "mixtures" not in seen.watched:
        # all is continuous, and nothing was chosen
        return NONE
    old = _groups(seen.pipe, token)
    allowed = allowance(seen.pipe, seen.recipe, seen.step.index + 1, old)
    new = np.stack([group[at, 0] for (group,) in seen.watched["group"]])
    # what is unknown is NaN, and differs
    differ = ~(np.abs(new - old) <= allowed).all(1)
    i = int(differ.argmax())
    weights, uniform, values = _choice(seen, at, i, new[i])
    ties = [
        tie(weights, float(uniform), k)
        for k, value in values
        if (np.abs(value - old[i]) <= allowed[i]).all()
    ]
    return min(ties, key=lambda each: each.margin - each.allowed, default=NONE)


def _choice(seen, at, i, new):
    """Return the weights, the uniform and the values that group i was chosen from.

    Choices are components, or candidates under guidance; values: (choice, features)
    pairs, none where features were drawn from a density itself.
    """
    config, step, m = seen.pipe.config, seen.step, len(seen.step.positions)
    key = np.array(rng.split_seed(seen.recipe.seed), np.uint32)
    where = key, np.array([seen.image]), step.positions[at : at + 1], step.index
    first = i * mixture_head.NUMBERS
    error = rounding(config.layers, step.index + 1)
    made = [array[:, 0] for array in seen.watched["mixtures"][i]]
    if "candidates" in seen.watched:
        # a feature is a group here: mixtures (g), with a condition and without
        both = [[a[row].reshape(-1) for a in made] for row in (at, at + m)]
        x, _, _, p = (a[at] for a in seen.watched["candidates"][i])
        schedule = config.inner_schedule
        weight = mixture_head.within_token(schedule, step.weight, config.groups)[i]
        of_x = uniforms_at(*where, first + 1, mixture_head.CANDIDATES)[0]
        error *= max(_largest(each) for each in both)
        weights, others = of_candidates(x[:, 0], *both, p, of_x, weight - 1, error)
        values = [*enumerate(x), *((j, v) for j in others for v in others[j])]
        return weights, uniforms_at(*where, first, 1)[0, 0], values
    w, means, logs = (array[at] for array in made)
    weights = of_components(w, error * _largest((w, means, logs)))
    uniform = uniforms_at(*where, first + 1, 1)[0, 0]
    if len(made[0]) > m:
        return weights, uniform, []
    drawn = int((np.cumsum(w)[:-1] <= uniform).sum())
    normals = (new - means[drawn]) * np.exp(-0.5 * logs[drawn])
    return weights, uniform, list(enumerate(means + normals * np.exp(0.5 * logs)))


def _groups(pipe, token):
    """Return the features (f) of a token in groups, as the inner model draws them."""
    config, ops = pipe.config, pipe.ops
    groups = np.float32(token).reshape(1, config.groups, -1)
    if config.flow:
        w = pipe.generator.weights["head"]["flow"]
        groups = ops.get(token_flow.forward(ops, w, ops.put(groups)))
    return groups[0].astype(np.float64)


def _largest(mixture):
    """Return the largest absolute output of the layer that gave a mixture.

    Its logits come from that layer too, but only their differences are known.
    """
    _, means, logs = mixture
    return max(np.abs(means).max(), np.abs(logs).max())
