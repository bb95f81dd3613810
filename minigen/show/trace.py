"""A trace: the runs of recipes, step by step, as one page with the step player."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from minigen import checks
from minigen.errors import InputError
from minigen.models import codes
from minigen.sameness.record import pasted
from minigen.show import frames, player
from minigen.show.recipe import Recipe, check, checked, known_of, plan_of, signed
from minigen.show.recipe import steps as steps_of

MOST = 16
"""The most runs of a page."""

SETTINGS = (
    "order", "schedule", "steps", "seed", "guidance", "guidance_schedule",
    "guided_steps", "temperature", "top_k", "top_p", "positions", "guided_draw",
    "confidence_noise", "reading", "known_reading",
)  # fmt: skip
"""What may differ between the two lanes of a page."""

NOTES = {
    "arpg": "Orange: drawn in this step. Dashed: a token that would have been less "
    "than half as likely, had it seen the tokens drawn beside it. Choose a cell to see "
    "which codes may stand there, and which known cells its query reads.",
    "codes": "Orange: drawn in this step. This model draws row by row: only the next "
    "cell has probabilities. Choose it to see which codes may stand there.",
    "vectors": "Orange: drawn in this step. The tokens of this model are vectors, "
    "which have no probabilities: the page shows order, canvas and features.",
}
"""What a page says above the player, by what the model has to show."""


def otherwise(pipe, recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe with some SETTINGS changed; a new schedule has steps of its own.

    Raises InputError.
    """
    for name in changes:
        checks.choice("beside", name, SETTINGS)
    steps = {"steps": None} if "schedule" in changes else {}
    other = signed(checked(replace(recipe, **{**steps, **changes})), pipe)
    if other == recipe:
        raise InputError(
            f"beside {', '.join(changes)} changes nothing: the run has it already, or "
            "its schedule leaves no choice"
        )
    return other


def plans(pipe, recipes: Sequence[Recipe]) -> list:
    """Return the plan of each recipe; raise InputError for what no page can show."""
    count = len(recipes) * len(recipes[0].labels)
    if count > MOST:
        raise InputError(
            f"{count} runs were asked for, and a page shows at most {MOST}; ask for "
            "fewer images"
        )
    found = [plan_of(pipe, recipe, known_of(pipe, recipe)) for recipe in recipes]
    for plan, recipe in zip(found, recipes, strict=True):
        check(pipe, plan, recipe, len(plan.groups))
    if not all(plan.groups for plan in found):
        raise InputError("every token is known, so there is no step to show")
    return found


def page(
    pipe, recipes: Sequence[Recipe], watch: Callable = lambda step: None
) -> tuple[str, list[str]]:
    """Return a page of the runs of recipes, and their names; each image is a run.

    recipes: one for each lane, of the same images. watch: called with every step.
    Raises InputError.
    """
    names, runs, images = _names(recipes, plans(pipe, recipes)), {}, {}
    for lane, recipe in enumerate(recipes):
        steps = []
        for step in steps_of(pipe, recipe, details=pipe.kind is codes):
            watch(step)
            steps.append(step)
        for image in range(len(recipe.labels)):
            runs[names[image][lane]] = steps
            images[names[image][lane]] = image
    # the lanes of an image stand together
    runs = {name: runs[name] for pair in names for name in pair}
    kind = pipe.generator.family if pipe.generator.family in NOTES else "codes"
    note = NOTES[kind if pipe.kind is codes else "vectors"]
    classes = {"no class" if n < 0 else f"class {n}": 0 for n in recipes[0].labels}
    title = f"{recipes[0].model}: {', '.join(classes)}, step by step"

    def picture(canvases):
        return pasted(recipes[0], pipe.picture(canvases))

    data = frames.decoding(pipe, runs, title, note, picture, images)
    return player.page("decoding", data, "trace"), [*runs]


def _names(recipes, found):
    """Return the names of an image's lanes, for each image."""
    first = recipes[0]
    differ = [n for n in SETTINGS if len({getattr(r, n) for r in recipes}) > 1]
    names = []
    for i, label in enumerate(first.labels):
        about = f"class {label}" if label >= 0 else "no class"
        if first.labels.count(label) > 1:
            about += f", image {first.first + i}"
        several = [] if len({*first.labels}) == 1 == len(first.labels) else [about]
        names.append([
            ", ".join(several + _words(recipe, len(plan.groups), differ))
            for recipe, plan in zip(recipes, found, strict=True)
        ])  # fmt: skip
        if len({*names[-1]}) < len(recipes):
            names[-1] = [f"{name} ({k})" for k, name in enumerate(names[-1], start=1)]
    return names


def _words(recipe, steps, differ):
    order = recipe.order if isinstance(recipe.order, str) else "own order"
    words = [order, f"{steps} step{'s' * (steps > 1)}"]
    for name in differ:
        value = getattr(recipe, name)
        if name not in ("order", "steps"):
            value = value if isinstance(value, str | int | float) else "own"
            words.append(f"{name.replace('_', ' ')} {value}")
    return words
