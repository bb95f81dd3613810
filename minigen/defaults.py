"""How a model is sampled where the caller does not say.

The models that ship have settings of their own, found by `minigen evaluate`. Where
several tokens are drawn in a step, a model this small errs most if they are neighbours,
and Halton's order keeps them apart; one token at a time, little guidance is enough.
"""

from __future__ import annotations

from minigen.families import FAMILIES

STEPS = 16
"""Steps of a schedule that may take any number of them."""


GENERAL = {"reading": "block"}
"""Settings of every family, where its record has none."""


def settle(family: str, name: str, **given) -> dict:
    """Return the sampling settings of a model: as given, else its own, else general.

    given: order, schedule, guidance, guidance_schedule, temperature and reading, each
    None where nothing was said.

    >>> settle("arpg", "arpg-l", order=None, guidance=5.0)
    {'order': 'random', 'guidance': 5.0}
    """
    record = FAMILIES[family]
    own = {**GENERAL, **record.settings, **record.own.get(name, {})}
    return {
        setting: own[setting] if value is None else value
        for setting, value in given.items()
    }
