"""How a model is sampled where the caller does not say.

The models that ship have settings of their own, found by `minigen evaluate`. Where
several tokens are drawn in a step, a model this small errs most if they are neighbours,
and Halton's order keeps them apart; one token at a time, little guidance is enough.
"""

from __future__ import annotations

GENERAL = {
    "arpg": {
        "order": "random",
        "schedule": "arccos",
        "guidance": 4.0,
        "guidance_schedule": "linear",
        "temperature": 1.0,
    },
    "llamagen": {
        "order": "raster",
        "schedule": "one",
        "guidance": 4.0,
        "guidance_schedule": "constant",
        "temperature": 1.0,
    },
    "aim": {
        "order": "raster",
        "schedule": "one",
        "guidance": 5.0,
        "guidance_schedule": "constant",
        "temperature": 1.0,
    },
    "arinar": {
        "order": "random",
        "schedule": "cosine",
        "guidance": 4.5,
        "guidance_schedule": "linear",
        "temperature": 1.0,
    },
    "mar": {
        "order": "random",
        "schedule": "cosine",
        "guidance": 2.9,
        "guidance_schedule": "linear",
        "temperature": 1.0,
    },
}
"""The defaults of each family's own sampling: LlamaGen's are those of sample_c2i.py,
AiM's those of models/aim.py::generate, MAR's and ARINAR's those of their READMEs. Of
the two that ARINAR's gives it is the one at temperature 1, which means the same in both
of its behaviours."""

OWN = {
    "arpg-mnist": {
        "order": "halton",
        "schedule": "linear",
        "guidance": 6.0,
        "temperature": 0.8,
    },
    "gpt-mnist": {"guidance": 2.0, "temperature": 1.0},
    "aim-mnist": {"guidance": 2.0, "temperature": 1.0},
    "arinar-mnist": {
        "guidance": 4.0,
        "guidance_schedule": "constant",
        "temperature": 1.0,
    },
    "mar-mnist": {
        "guidance": 3.0,
        "guidance_schedule": "constant",
        "temperature": 1.0,
    },
}
"""What the models that ship are best sampled with, by name."""


STEPS = 16
"""Steps of a schedule that may take any number of them."""


def settle(family: str, name: str, **given) -> dict:
    """Return the sampling settings of a model: as given, else its own, else general.

    given: order, schedule, guidance, guidance_schedule and temperature, each None where
    nothing was said.

    >>> settle("arpg", "arpg-l", order=None, guidance=5.0)
    {'order': 'random', 'guidance': 5.0}
    """
    own = {**GENERAL[family], **OWN.get(name, {})}
    return {
        setting: own[setting] if value is None else value
        for setting, value in given.items()
    }
