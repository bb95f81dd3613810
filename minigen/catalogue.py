"""Every model known by name: whether it ships, where it comes from, and its licence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from minigen.families import FAMILIES, PRESETS, Config, family_of

WEIGHTS = Path(__file__).parent / "weights"
"""The folder of the small models that ship."""

LICENCE = "CC-BY-SA-3.0"
"""The licence of the models that ship, by its SPDX name: it is that of MNIST, which
they were trained on. LICENSE tells more."""

TOKENIZERS = {
    name: f"{family.tokenizer}-mnist"
    for family in FAMILIES.values()
    for name in family.own
}
"""The tokenizer that each generator that ships was trained with."""


@dataclass(frozen=True)
class KnownModel:
    """A model that minigen knows by name.

    name: what `minigen.load` takes if it is a generator that ships; family: a name of
    `minigen.families.FAMILIES`; config: its sizes; parameters: how many numbers it has;
    path: its file, None if it does not ship; origin: where its weights come from;
    licence: of what was trained for minigen, that of the weights, by its SPDX name; of
    what others released, "code: " and that of the code it came with, or "unknown": the
    weights stay under their authors' terms.
    """

    name: str
    family: str
    config: Config
    parameters: int
    path: Path | None
    origin: str
    licence: str

    @property
    def ships(self) -> bool:
        """Whether its weights are part of minigen."""
        return self.path is not None


def known_models() -> tuple[KnownModel, ...]:
    """Return every model that is known by name, as `minigen models` lists them.

    >>> [model.name for model in known_models() if model.ships][:3]
    ['arpg-mnist', 'arpg-mnist-control', 'gpt-mnist']
    """
    return tuple(_known(name, config) for name, config in PRESETS.items())


def parameters(config: Config) -> int:
    """Return how many numbers a model of this configuration has."""
    from minigen.checkpoints import names

    return sum(math.prod(shape) for shape in names.manifest(config).values())


def licence_of(model_hash: str) -> str:
    """Return the licence of the weights with this hash: "" unless they ship."""
    from minigen.checkpoints import open_checkpoint

    files = (open_checkpoint(path) for path in WEIGHTS.glob("*.safetensors"))
    ours = {file.metadata["minigen.hash"] for file in files}
    return LICENCE if model_hash in ours else ""


def _known(name: str, config: Config) -> KnownModel:
    family, path = family_of(config), WEIGHTS / f"{name}.safetensors"
    if name not in family.released:
        file = path if path.is_file() else None
        where, licence = "trained for minigen on MNIST", LICENCE
        where += "" if file else "; its file is missing"
    else:
        where, file = family.repository + family.released[name], None
        licence = f"code: {family.licence}" if family.licence else "unknown"
    size = parameters(config)
    return KnownModel(name, family.name, config, size, file, where, licence)
