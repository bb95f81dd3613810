"""The errors minigen raises on purpose: one small tree.

A message names what was given, what was expected, and what to do about it.
"""


class MinigenError(Exception):
    """The base of every error minigen raises on purpose."""


class CheckpointError(MinigenError):
    """A weight file is damaged, dishonest, unknown, or asks for code to be run."""


class ShapeError(MinigenError):
    """An array has not the shape or dtype that its place in a model demands."""


class ConfigError(MinigenError):
    """A model configuration holds a value that no model could be built from."""


class BackendError(MinigenError):
    """A backend was asked for that this machine or installation does not have."""


class InputError(MinigenError):
    """A label, plan, image, option or path given by the user cannot be used."""


class KernelError(MinigenError):
    """A CUDA kernel did something that the interpreter knows to be wrong.

    `kind` is one word or two for a program to look at: "race", "bounds",
    "uninitialised", "divergent barrier", "deadlock", "endless", "mask", "shared
    memory", "alignment", "type", "unsupported", "exception", or "header" where its
    docstring is not what `minigen/checking/header.py` can read.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(f"{kind}: {message}")
        self.kind = kind
