"""What goes wrong in a run, and where: an error at once, or a word that comes later.

On the host a function of the op table that comes upon an index out of range, or upon a
number that is not finite where something is drawn of it, raises an error. A kernel of a
device cannot. It takes no such index, draws something harmless, sets a bit of the word
`flag` of its device, and goes on. A run has a word for each of its parts, which are
its steps and what makes pixels of them. They come back together with the images, and
then become the same errors.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigen.errors import InputError, NotFiniteError

BAD_INDEX, NOT_FINITE, BAD_UNIFORM = 1, 2, 4
"""The bits of a word."""

REMEDY = (
    "`minigen info --check FILE` names an array of the weights that holds NaN or "
    "infinity; if none does, bring guidance and temperature nearer to 1"
)
"""What can be done about numbers that are not finite."""

ERRORS = {
    BAD_INDEX: (
        InputError,
        "an index lies outside of the array that it points into; give labels, tokens "
        "and positions that the model has",
    ),
    NOT_FINITE: (
        NotFiniteError,
        f"numbers are not finite, so nothing can be drawn of them; {REMEDY}",
    ),
    BAD_UNIFORM: (InputError, "a uniform lies outside 0 .. 1"),
}
"""What each bit becomes."""


@dataclass(frozen=True, eq=False)
class Flags:
    """The words of a run, and the parts that they stand for, in words.

    words (n) int64 lie where the backend's arrays do; None on the host.
    """

    ops: Any
    words: Any
    parts: tuple[str, ...]

    @contextmanager
    def at(self, index):
        """Let what is done within belong to part `index`: an error names it."""
        device = self.ops.device
        if device is not None:
            before, device.flag = device.flag, self.words[index : index + 1]
        try:
            # an overflow is reported once, as an error, and not as a warning before
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                yield
        except NotFiniteError:
            raise self.error(index, NOT_FINITE) from None
        finally:
            if device is not None:
                device.flag = before

    def expect_clear(self):
        """Wait for the device, and raise the error of the first word that is set."""
        if self.words is None:
            return
        for index, word in enumerate(self.ops.get(self.words)):
            if word:
                raise self.error(index, int(word))

    def error(self, index, word):
        """Return the error of the word of a part that is set."""
        kind, text = ERRORS[word & -word]
        return kind(f"{self.parts[index]}: {text}")


def flags(ops, parts) -> Flags:
    """Return new words for parts, none of them set: by a kernel, as in a recording."""
    words = None if ops.device is None else ops.full((len(parts),), 0)
    return Flags(ops, words, tuple(parts))


def of_run(ops, steps) -> Flags:
    """Return words for the steps of a run, and for the pixels made of its tokens.

    >>> from types import SimpleNamespace
    >>> of_run(SimpleNamespace(device=None), 2).parts
    ('step 1 of 2', 'step 2 of 2', 'decoding tokens to pixels')
    """
    parts = [f"step {i + 1} of {steps}" for i in range(steps)]
    return flags(ops, [*parts, "decoding tokens to pixels"])
