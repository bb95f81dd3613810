"""The options of a run: what each may be, and how tokens are drawn.

One table says what is allowed, for Python calls, the command line and recipes alike.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial

from minigen import backends, plans
from minigen.checks import (
    LAST_IMAGE,
    MOST_STEPS,
    choice,
    integer,
    number,
    optional,
    shown,
)
from minigen.errors import BackendError, InputError
from minigen.models import aim, arinar, arpg

GUIDED_DRAWS = tuple(arinar.GUIDED)
"""How a guided feature of ARINAR may be drawn."""

STRONGEST = 1e30
"""The largest guidance: times a difference of logits it must be a float32 still."""

STEPS = partial(integer, least=1, most=MOST_STEPS)

CHECKS = {
    "seed": partial(integer, most=2**64 - 1),
    "first": partial(integer, most=LAST_IMAGE),
    "batch": partial(integer, least=1),
    "count": partial(integer, least=1),
    "steps": partial(optional, partial(STEPS, hint=" (leave it out for the usual)")),
    "order": partial(optional, plans.check_order),
    "schedule": partial(optional, plans.check_schedule),
    "guidance": partial(number, least=-STRONGEST, most=STRONGEST, hint=" (1 is none)"),
    "guidance_schedule": partial(choice, known=plans.GUIDANCE_SCHEDULES),
    "guided_steps": partial(optional, partial(STEPS, hint=" (None is all steps)")),
    "temperature": partial(number, least=0, hint=" (0 takes the likeliest)"),
    "top_k": partial(integer, most=2**31 - 1, hint=" (0 keeps all)"),
    "top_p": partial(number, least=0, most=1, hint=" (1 keeps all)"),
    "confidence_noise": partial(number, least=0, hint=" (0 is none)"),
    "positions": partial(choice, known=aim.POSITIONS),
    "guided_draw": partial(choice, known=GUIDED_DRAWS),
    "reading": partial(choice, known=arpg.READINGS),
    "known_reading": partial(choice, known=arpg.READINGS),
    "backend": partial(choice, known=("auto", *backends.BACKENDS), error=BackendError),
}
"""The check of each option: a function of its name and value (`minigen.checks`)."""


def check(name: str, value):
    """Return the value of an option as it is used, or raise InputError."""
    return CHECKS[name](name, value)


def read(name: str, text: str):
    """Return the value of an option that was given as a text, or raise InputError.

    >>> read("guidance", "4"), read("steps", "4"), read("order", "raster")
    (4.0, 4, 'raster')
    """
    for kind in (int, float):
        try:
            return check(name, kind(text))
        except ValueError:
            continue
    return check(name, text)


@dataclass(frozen=True)
class Options:
    """How tokens are drawn; the same for every step.

    guidance: logits, densities or noise are u + guidance (c - u), of c with the class
    and u without it, in every model: 1 turns guidance off, 0 forgets the class, below 0
    avoids it. guidance_schedule: "constant", or "linear", which rises from about 1 to
    guidance as tokens become known. guided_steps: how many of the first steps are
    guided, None for all (in LlamaGen's terms two more than cfg_interval).

    temperature: below 1 the likely becomes likelier; 0 takes the likeliest, but for
    near-ties (for ARINAR see `minigen.models.mixture_head.stretches`). top_k: only so
    many of the likeliest tokens are drawn from, 0 for all. top_p: only the likeliest
    tokens that have this probability together, 1 for all. positions: of AiM,
    "released" or "trained" (`minigen.models.aim.POSITIONS`). guided_draw: of ARINAR,
    "candidates" or "grid" (`minigen.models.arinar.GUIDED`). confidence_noise: of the
    order confidence, how many Gumbel numbers are added to the logarithm of a token's
    probability before the most certain are kept, falling to none at the last step.

    reading: of ARPG, how it reads the tokens of a step: "block", as the original draws
    (they see each other), or "causal", as it was trained (each sees those before it,
    as if they were read one by one: `minigen.models.arpg.READINGS`). known_reading: the
    same of known tokens, in the order in which the plan names them.

    Raises InputError for what `CHECKS` does not allow.

    >>> Options(guidance=2, top_p=0.9).guidance
    2.0
    """

    guidance: float = 4.0
    guidance_schedule: str = "linear"
    guided_steps: int | None = None
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    positions: str = "released"
    guided_draw: str = "candidates"
    confidence_noise: float = 0.0
    reading: str = "block"
    known_reading: str = "causal"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = check(field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)


def check_model(model, config, plan: plans.Plan, options: Options) -> None:
    """Raise InputError for an option of another model than this module's, or order."""
    if model is arinar:
        arinar.stretches(config, options.temperature)
    if (options.top_k or options.top_p != 1) and not hasattr(config, "vocabulary"):
        raise InputError(
            f"top_k {options.top_k} and top_p {options.top_p} choose among the codes "
            "of a codebook; this model's tokens are vectors: leave them at 0 and 1, "
            "and give a temperature"
        )
    if options.confidence_noise and plan.per_image != "confidence":
        raise InputError(
            f"confidence_noise {options.confidence_noise} is for the order confidence, "
            "which keeps the most certain tokens of a step; leave it out for another"
        )
    if options.guided_draw != Options.guided_draw and model is not arinar:
        raise InputError(
            f"guided_draw {shown(options.guided_draw)} is for features that are drawn "
            "from mixtures, as ARINAR's are; leave it out for this model"
        )
    for name in ("reading", "known_reading"):
        value = getattr(options, name)
        if value != getattr(Options, name) and model is not arpg:
            raise InputError(
                f"{name} {shown(value)} is for ARPG, which reads several tokens in one "
                "call, behind a mask in training; others read one by one (AiM, GPT) or "
                "never mask what is known (ARINAR, MAR): leave it out for this model"
            )
    if options.positions != Options.positions and model is not aim:
        raise InputError(
            f"positions {shown(options.positions)} is for AiM, whose positions "
            "may be read in two ways; leave it out for this model"
        )
