"""Every model known by name: whether it ships, where it comes from, and its licence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from minigen.config import FAMILIES, PRESETS, Config

WEIGHTS = Path(__file__).parent / "weights"
"""The folder of the small models that ship."""

LICENCE = "CC-BY-SA-3.0"
"""The licence of the models that ship, by its SPDX name: it is that of MNIST, which
they were trained on. LICENSE tells more."""

TOKENIZERS = {
    "arpg-mnist": "vq-mnist",
    "aim-mnist": "vq-mnist",
    "gpt-mnist": "vq-mnist",
    "arinar-mnist": "kl-mnist",
    "mar-mnist": "kl-mnist",
}
"""The tokenizer that each generator that ships was trained with."""

REPOSITORIES = {
    "hp-l33/ARPG": "MIT",
    "FoundationVision/LlamaGen": "MIT",
    "hp-l33/AiM": "MIT",
    "Qinyu-Allen-Zhao/Arinar": "",
    "LTH14/mar": "MIT",
}
"""The repositories on GitHub that released models, and the licence of their code by
its SPDX name, "" where none was found."""

_RELEASED = {
    "arpg-l": ("hp-l33/ARPG", " arpg_300m.pt"),
    "arpg-xl": ("hp-l33/ARPG", " arpg_700m.pt"),
    "arpg-xxl": ("hp-l33/ARPG", " arpg_1b.pt"),
    "gpt-b": ("FoundationVision/LlamaGen", " c2i_B_256.pt"),
    "gpt-l": ("FoundationVision/LlamaGen", " c2i_L_256.pt"),
    "gpt-xl": ("FoundationVision/LlamaGen", " c2i_XL_384.pt"),
    "gpt-xxl": ("FoundationVision/LlamaGen", " c2i_XXL_384.pt"),
    "aim-b": ("hp-l33/AiM", " aim-base"),
    "aim-l": ("hp-l33/AiM", ""),
    "aim-xl": ("hp-l33/AiM", " aim-xlarge"),
    "aim-1b": ("hp-l33/AiM", "; announced, never released; its sizes are inferred"),
    "vq-16": ("FoundationVision/LlamaGen", " vq_ds16_c2i.pt"),
    "vq-8": ("FoundationVision/LlamaGen", " vq_ds8_c2i.pt"),
    "arinar-b": ("Qinyu-Allen-Zhao/Arinar", " checkpoint-last.pth"),
    "arinar-l": ("Qinyu-Allen-Zhao/Arinar", "; never released"),
    "arinar-h": ("Qinyu-Allen-Zhao/Arinar", "; never released"),
    "kl-16": ("LTH14/mar", " kl16.ckpt"),
    "mar-b": ("LTH14/mar", " mar_base"),
    "mar-l": ("LTH14/mar", " mar_large"),
    "mar-h": ("LTH14/mar", " mar_huge"),
}


@dataclass(frozen=True)
class KnownModel:
    """A model that minigen knows by name.

    name: what `minigen.load` takes if it is a generator that ships; family: a name of
    `minigen.config.FAMILIES`; config: its sizes; parameters: how many numbers it has;
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
    ['arpg-mnist', 'gpt-mnist', 'aim-mnist']
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
    family = next(f for f, kind in FAMILIES.items() if type(config) is kind)
    path = WEIGHTS / f"{name}.safetensors"
    if name not in _RELEASED:
        file = path if path.is_file() else None
        where, licence = "trained for minigen on MNIST", LICENCE
        where += "" if file else "; its file is missing"
    else:
        repository, what = _RELEASED[name]
        where, file = repository + what, None
        code = REPOSITORIES[repository]
        licence = f"code: {code}" if code else "unknown"
    return KnownModel(name, family, config, parameters(config), file, where, licence)
