"""Every model known by name: whether it ships, where it comes from, and its licence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigen.defaults import settle
from minigen.families import FAMILIES, PRESETS, Config, family_of
from minigen.plans import FREE

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

AGREEMENT = {
    "arpg-mnist": "99.6 % of 1,000 digits in 16 steps",
    "arpg-mnist-control": "96.6 % of 1,000 digits in 16 steps, along outlines",
    "gpt-mnist": "99.8 % of 1,000 digits",
    "aim-mnist": "99.1 % of 1,000 digits",
    "arinar-mnist": "99.8 % of 1,000 digits in 16 steps",
    "mar-mnist": "95.6 % of 1,000 digits in 16 steps",
    "vq-mnist": "99.0 % of the test set, encoded and decoded",
    "kl-mnist": "99.3 % of 1,000 test digits, encoded and decoded",
    "judge-mnist": "99.5 % of the test set",
}
"""How many digits of a model that ships the classifier sees as the class asked for, in
the model's own settings: `minigen evaluate NAME --count 1000` draws and counts them."""

SETTINGS = (
    "order", "schedule", "guidance", "guidance_schedule", "temperature", "reading",
)  # fmt: skip
"""The settings that a model has of its own."""


@dataclass(frozen=True)
class KnownModel:
    """A model that minigen knows by name.

    name: what `minigen.load` takes if it is a generator that ships; family: a name of
    `minigen.families.FAMILIES`; config: its sizes; parameters: how many numbers it has;
    path: its file, None if it does not ship; origin: where its weights come from;
    licence: of what was trained for minigen, that of the weights, by its SPDX name; of
    what others released, "code: " and that of the code it came with, or "unknown": the
    weights stay under their authors' terms.

    >>> small = {model.name: model for model in known_models()}["arpg-mnist"]
    >>> small.family, small.ships, small.tokenizer, small.settings["order"]
    ('arpg', True, 'vq-mnist', 'border')
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

    @property
    def settings(self) -> dict[str, Any]:
        """How a generator draws where nothing is said; of another model nothing."""
        return settings_of(self.family, self.name)

    @property
    def agreement(self) -> str:
        """How many of its digits are seen as what they should be, "" if unmeasured."""
        return AGREEMENT.get(self.name, "")

    @property
    def released(self) -> str:
        """The file or folder that its authors released, "" if there is none."""
        words = FAMILIES[self.family].released.get(self.name, "")
        return words.strip() if words.startswith(" ") else ""

    @property
    def published(self) -> str:
        """The address where its authors published the weights, "" if they did not."""
        family = FAMILIES[self.family]
        return family.published.format(file=self.released) if self.released else ""

    @property
    def tokenizer(self) -> str:
        """The name of a generator's tokenizer, "" if it lies in the same file."""
        family = FAMILIES[self.family]
        if not family.tokenizer or (family.part and self.name in family.released):
            return ""
        released, *_ = FAMILIES[family.tokenizer].released
        return TOKENIZERS.get(self.name, released)

    @property
    def commands(self) -> tuple[str, ...]:
        """What to type in a shell, of released weights once they are downloaded.

        >>> {model.name: model for model in known_models()}["arinar-b"].commands[0]
        'minigen convert checkpoint-last.pth arinar-b.safetensors --behaviour v1'
        """
        family, file = FAMILIES[self.family], f"{self.name}.safetensors"
        if self.ships:
            drawn = f"minigen sample {self.name} --class 7"
            if getattr(self.config, "control", 0):
                drawn += " --control OUTLINE.png"
            return (drawn,) if family.tokenizer else ()
        if not self.released:
            return ()
        drawn = '--class "golden retriever"'
        if family.settings.get("schedule") in FREE:
            drawn += " --steps 64"
        if family.tokenizer and not self.tokenizer:
            here = self.released
            return f"minigen info {here} --check", f"minigen sample {here} {drawn}"
        convert = f"minigen convert {self.released} {file} {family.to_convert}".strip()
        if not family.tokenizer:
            return convert, f"minigen info {file} --check"
        _, _, decoder = (
            FAMILIES[family.tokenizer].released[self.tokenizer].partition(" ")
        )
        return convert, f"minigen sample {file} --tokenizer {decoder} {drawn}"

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """What to type to draw by a generator of this size with nothing downloaded.

        With stand-in weights, so pictures are noise: in a folder of their own, to be
        taken for no others, where a generator finds its tokenizer.

        >>> {model.name: model for model in known_models()}["arpg-l"].stand_ins[-1]
        'minigen sample stand-ins/arpg-l.safetensors --class "golden retriever"'
        """
        family = FAMILIES[self.family]
        if self.ships or not family.tokenizer:
            return ()
        tokenizer, *_ = FAMILIES[family.tokenizer].released
        file, beside = (f"stand-ins/{n}.safetensors" for n in (self.name, tokenizer))
        drawn = f"{family.to_convert} --class".strip()
        return (
            "mkdir stand-ins",
            f"minigen bench weights {self.name} --out {file} --dtype bfloat16",
            f"minigen bench weights {tokenizer} --out {beside} --dtype bfloat16",
            f'minigen sample {file} {drawn} "golden retriever"',
        )


def known_models() -> tuple[KnownModel, ...]:
    """Return every model that is known by name, as `minigen models` lists them.

    >>> [model.name for model in known_models() if model.ships][:3]
    ['arpg-mnist', 'arpg-mnist-control', 'gpt-mnist']
    """
    return tuple(_known(name, config) for name, config in PRESETS.items())


def settings_of(family: str, name: str) -> dict[str, Any]:
    """Return the settings of a generator by name; of another model nothing.

    >>> settings_of("aim", "aim-mnist")["guidance"], settings_of("vq", "vq-mnist")
    (2.0, {})
    """
    if not FAMILIES[family].tokenizer:
        return {}
    found = settle(family, name, **dict.fromkeys(SETTINGS))
    if family != "arpg":
        # no other reads the tokens of a step in two ways
        del found["reading"]
    return found


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
