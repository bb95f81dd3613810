"""The weights of a case: drawn by synth.py, or read from the files beside it."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from minigen.checkpoints import names as layout
from minigen.checkpoints import read_checkpoint
from minigen.families import FAMILIES, arpg, llamagen, vq
from tests.parity.case import Case
from tests.synth import synth

SIZES = {"arpg": arpg.SIZES, "llamagen": llamagen.SIZES, "vq": vq.SIZES, "kl": {}}
"""Of each family whose weights are drawn here: the sizes that its original names."""


def configuration(case: Case):
    """Return the configuration of a case: of its arguments, and of a size they name."""
    family, arguments = FAMILIES[case.about["family"]], dict(case.about["config"])
    named = arguments.pop("released", None) or arguments.pop("name", None)
    if not named:
        return family.config.from_upstream(arguments)
    size = SIZES[family.name][named.upper()]
    return family.config(**{**size, **family.of_arguments(arguments)})


def size(case: Case) -> int:
    """Return how many numbers the case's weights are, 0 without a model."""
    if case.about["family"] not in SIZES or "weights" not in case.about:
        return case.about.get("n_params", case.about.get("parameters", 0))
    return sum(
        math.prod(shape) for shape in layout.manifest(configuration(case)).values()
    )


def tree(case: Case):
    """Return the case's weights as our tree; the last is kept for its next backend."""
    return _tree(case.folder, *_recipe(case))


def state(case: Case) -> dict[str, np.ndarray]:
    """Return the case's weights under the original's names."""
    return draw(*_recipe(case))


def files(case: Case):
    """Yield (entry, state) of every weight file of the case, read by minigen."""
    for entry in case.about.get("weights", {}).get("files", ()):
        yield entry, read(case, entry)


def read(case: Case, entry: dict, key=None) -> dict[str, np.ndarray]:
    """Read one weight file of the case; key names one of several dicts in it."""
    return read_checkpoint(case.folder / entry["path"], key)


def draw(config, salt, scale, fixed) -> dict[str, np.ndarray]:
    """Draw the stand-in weights of every name in the original's state dict.

    scale: factors by regular expression; fixed: values of whole arrays, by last name.
    """
    drawn = {}
    for name, shape in layout.manifest(config).items():
        if name.rsplit(".", 1)[-1] in dict(fixed):
            value = dict(fixed)[name.rsplit(".", 1)[-1]]
            drawn[name] = np.full(shape, value, np.float32)
            continue
        drawn[name] = synth(name, shape, salt)
        for pattern, factor in scale:
            if re.search(pattern, name):
                drawn[name] *= np.float32(factor)
    return drawn


@lru_cache(maxsize=1)
def _tree(folder: Path, config, *recipe):
    return layout.to_tree(config, draw(config, *recipe))


def _recipe(case):
    about = case.about["weights"]
    salt = about.get("synth_salt", about.get("salt", ""))
    scale = tuple(about.get("scale", {}).items())
    fixed = tuple(about.get("fixed", {}).items())
    return configuration(case), salt, scale, fixed
