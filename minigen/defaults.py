"""How a model is sampled where the caller does not say.

The models that ship have settings of their own, found by `minigen evaluate`: a model
this small errs most where neighbours are drawn in the same step, and Halton's order
keeps the tokens of a step apart.
"""

from __future__ import annotations

GENERAL = {
    "order": "random",
    "schedule": "arccos",
    "guidance": 4.0,
    "temperature": 1.0,
}
"""The defaults of ARPG's own sampling."""

OWN = {
    "arpg-mnist": {
        "order": "halton",
        "schedule": "linear",
        "guidance": 6.0,
        "temperature": 0.8,
    }
}
"""What the models that ship are best sampled with, by name."""


def settle(model: str, **given) -> dict:
    """Return the sampling settings of a model: as given, else its own, else general.

    given: order, schedule, guidance and temperature, each None where nothing was said.

    >>> settle("arpg-l.safetensors", order=None, guidance=5.0)
    {'order': 'random', 'guidance': 5.0}
    """
    own = {**GENERAL, **OWN.get(model, {})}
    return {
        name: own[name] if value is None else value for name, value in given.items()
    }
