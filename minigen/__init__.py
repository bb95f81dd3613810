"""minigen: autoregressive image generators in NumPy and Numba, to read and to run.

    import minigen
    pipe = minigen.load("arpg-mnist")
    images = pipe.sample([3, 7], seed=0, steps=16)  # uint8 (b, y, x, c)

Nothing heavy is imported until it is used: Numba comes with the first kernel.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

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

_FACE = {
    "load": "minigen.pipeline",
    "Pipeline": "minigen.pipeline",
    "Step": "minigen.sample",
    "plan": "minigen.plans",
    "Plan": "minigen.plans",
    "read_checkpoint": "minigen.checkpoints",
    "convert": "minigen.checkpoints",
    "check": "minigen.checking",
}

__all__ = ["LETTERS", "__version__", *_FACE]


def __getattr__(name):
    if name in _FACE:
        return getattr(importlib.import_module(_FACE[name]), name)
    raise AttributeError(f"module 'minigen' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
