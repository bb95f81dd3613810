"""The errors minigen raises on purpose: one small tree.

A message names what was given, what was expected, and what to do about it. What was
given may be a name out of a stranger's file: a message shows it, and obeys none of it.
"""

from minigen.words import escaped, printable


class MinigenError(Exception):
    """The base of every error minigen raises on purpose.

    Its message is one line of printable characters (`minigen.words.printable`).

    >>> import minigen
    >>> try:
    ...     minigen.plan((0, 8))
    ... except MinigenError as error:
    ...     print(error)
    grid 0 x 8 has 0 positions; expected 1 .. 65536
    """

    def __str__(self):
        return printable(super().__str__())


class CheckpointError(MinigenError):
    """A weight file is damaged, dishonest, unknown, or asks for code to be run.

    >>> from minigen import read_checkpoint
    >>> read_checkpoint("none.pt")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigen.errors.CheckpointError: none.pt: it cannot be read (...
    """


class ShapeError(MinigenError):
    """An array has not the shape or dtype that the model expects.

    >>> from minigen.images import outline
    >>> outline([[0.5]])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigen.errors.ShapeError: images of shape (1, 1) and dtype float64; expected ...
    """


class ConfigError(MinigenError):
    """A model configuration holds a value that no model could be built from.

    >>> from minigen.families import ArpgConfig
    >>> ArpgConfig(tokens=250)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigen.errors.ConfigError: ArpgConfig.tokens is 250; expected a square number, ...
    """


class BackendError(MinigenError):
    """A backend was asked for that this machine or installation does not have.

    >>> import minigen
    >>> minigen.load("arpg-mnist", backend="gpu")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigen.errors.BackendError: backend 'gpu' is not known; choose from auto, ...
    """


class InputError(MinigenError):
    """A label, plan, image, option or path given by the user cannot be used.

    >>> import minigen
    >>> minigen.plan((8, 8), order="halten")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigen.errors.InputError: order 'halten' is not known; did you mean halton? ...
    """


class NotFiniteError(MinigenError):
    """A number that is none, NaN or infinity, came up where something is drawn of it.

    A weight holds such a number, or what was asked for is too large to be worked out.

    >>> import numpy as np
    >>> from minigen.ops.finite.reference import check_finite
    >>> check_finite(np.array([[1.0, np.inf]]))
    Traceback (most recent call last):
    minigen.errors.NotFiniteError: the number at [0, 1] is inf
    """


class KernelError(MinigenError):
    """A CUDA kernel did something that is known to be wrong.

    `kind` is one word or two for a program to look at: "race", "bounds",
    "uninitialised", "divergent barrier", "deadlock", "endless", "mask", "shared
    memory", "alignment", "read-only", "type", "compile", "unsupported", "exception", or
    "header" where its docstring is not what `minigen/checking/header.py` can read. The
    message may have several lines, which name lines of the kernel.

    >>> error = KernelError("bounds", "thread 8 reads x[8], and x has 8 cells")
    >>> error.kind, str(error)
    ('bounds', 'bounds: thread 8 reads x[8], and x has 8 cells')
    """

    def __init__(self, kind: str, message: str):
        super().__init__(kind, message)
        self.kind, self.message = kind, message

    def __str__(self):
        return "\n".join(map(escaped, f"{self.kind}: {self.message}".split("\n")))
