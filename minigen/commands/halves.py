"""Compile the kernels of a model's two halves at once, in two processes.

Numba compiles one kernel at a time in a process, whatever its threads. So while the
process that draws compiles the kernels of the generator, a second one decodes an empty
canvas, and leaves the kernels of the tokenizer in the folder of kept kernels, where the
first one finds them. What both need may be compiled twice, which costs no time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from minigen.commands.terminal import compiling


@contextmanager
def halved(backend: str, model: str, tokenizer: str | None) -> Iterator[None]:
    """Start the second process with the first kernel that is compiled in this block.

    model, tokenizer: as for `minigen.load`. It ends with the block at the latest, and
    nothing depends on it.
    """
    started = []

    def start(name, count):
        if not started and can_help():
            command = [
                sys.executable,
                "-m",
                __name__,
                model,
                *filter(None, [tokenizer]),
            ]
            nothing = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
            started.append(subprocess.Popen(command, **nothing))

    try:
        with compiling(start, backend):
            yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def can_help() -> bool:
    """Say whether a second process has a core to run on, and where to leave kernels."""
    from minigen.kernel_cache import location
    from minigen.threads import available

    return available() > 1 and location().folder is not None


def decode(model: str, tokenizer: str | None = None) -> None:
    """Decode an empty canvas, which takes all kernels that a decoder does.

    model: a generator, of which no weights are read; tokenizer: as for `minigen.load`.
    """
    import numpy as np

    from minigen import backends
    from minigen.checkpoints import load_model
    from minigen.families import FAMILIES, family_of, module_of
    from minigen.finding import config_of, find, tokenizer_of

    drawn = config_of(model)
    kind = FAMILIES[family_of(drawn).tokenizer]
    decoder = (
        load_model(find(tokenizer)) if tokenizer else tokenizer_of(find(model), kind)
    )
    shape, dtype = (1, drawn.side, drawn.side), np.int64
    if kind.name == "kl":
        shape, dtype = (*shape, decoder.config.channels), np.float32
    _, ops = backends.pick("numba")
    weights, blank = backends.move(ops, decoder.weights), np.zeros(shape, dtype)
    module_of(decoder.config).to_images(ops, weights, decoder.config, blank)


if __name__ == "__main__":
    decode(*sys.argv[1:])
