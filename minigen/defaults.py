"""How a model is sampled where the caller does not say.

The models that ship have settings of their own, found by `minigen evaluate` and
`minigen study`. ARPG begins at the border of a digit, which is black and says where all
else is, and reads the tokens of a step in turn, as in training. One token at a time,
little guidance is enough.
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
