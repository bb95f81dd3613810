"""minigen: autoregressive image generators in NumPy and Numba, to read and to run.

    import minigen
    pipe = minigen.load("arpg-mnist")
    images = pipe.sample([3, 7], seed=0, steps=16)  # uint8 (b, y, x, c)

Nothing heavy is imported until it is used: Numba comes with the first kernel.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.2.0"
"""The version of this package."""

LETTERS = {
    "b": "batch",
    "n": "tokens",
    "m": "queries",
    "d": "width",
    "h": "heads",
    "e": "head size",
    "v": "vocabulary",
    "k": "codebook size",
    "c": "channels",
    "s": "state size",
    "p": "SSM head size",
    "g": "mixtures",
    "f": "features",
    "r": "groups",
    "t": "rows of a table",
    "w": "inputs that a causal convolution sees",
    "y": "rows of a grid",
    "x": "columns of a grid",
}
"""The axis letters of every signature line, such as `# (b n d), (f d) -> (b n f)`."""

__all__ = [
    "ConversionReport",
    "Drawing",
    "KnownModel",
    "LETTERS",
    "Model",
    "Options",
    "Pipeline",
    "Plan",
    "Profile",
    "Report",
    "Step",
    "__version__",
    "check",
    "convert",
    "errors",
    "evaluate",
    "known_models",
    "load",
    "plan",
    "profile",
    "read_checkpoint",
]

_FACE = {
    "minigen": ("errors", "evaluate"),
    "minigen.catalogue": ("KnownModel", "known_models"),
    "minigen.checking": ("check",),
    "minigen.checking.report": ("Report",),
    "minigen.checkpoints": ("ConversionReport", "Model", "convert", "read_checkpoint"),
    "minigen.drawing": ("Drawing",),
    "minigen.options": ("Options",),
    "minigen.pipeline": ("Pipeline", "load"),
    "minigen.plans": ("Plan", "plan"),
    "minigen.profiling": ("Profile", "profile"),
    "minigen.sample": ("Step",),
}
"""Each module, and the names that are imported from it when they are first used."""

if TYPE_CHECKING:
    # for tools that read a program without running it
    from minigen import errors, evaluate
    from minigen.catalogue import KnownModel, known_models
    from minigen.checking import check
    from minigen.checking.report import Report
    from minigen.checkpoints import ConversionReport, Model, convert, read_checkpoint
    from minigen.drawing import Drawing
    from minigen.options import Options
    from minigen.pipeline import Pipeline, load
    from minigen.plans import Plan, plan
    from minigen.profiling import Profile, profile
    from minigen.sample import Step
else:

    def __getattr__(name):
        for module, names in _FACE.items():
            if name in names and module == "minigen":
                return importlib.import_module(f"minigen.{name}")
            if name in names:
                return getattr(importlib.import_module(module), name)
        raise AttributeError(f"module 'minigen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
