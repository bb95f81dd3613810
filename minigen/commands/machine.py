"""doctor and warmup: check the installation, and compile the kernels."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Annotated

import typer

from minigen.checks import near
from minigen.commands import options as o
from minigen.commands.terminal import (
    compiling,
    is_kernel,
    kernel_name,
    reported,
    say,
    say_json,
    say_text,
)
from minigen.errors import InputError
from minigen.words import gigabytes, table


@reported
def doctor(
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="Delete all compiled kernels first.")
    ] = False,
    as_json: o.Json = False,
):
    """Say what is installed, what is missing, and the commands that mend it.

    Exit status 1 if something that minigen needs is missing or broken.
    """
    from minigen import __version__
    from minigen.doctor import clear_cache as clear
    from minigen.doctor import examine, extras, mending

    if clear_cache:
        folder, size, files = clear()
        if not as_json:
            say(f"deleted {files} files, {gigabytes(size)}, from {folder}", "")
    needed, optional = examine(), extras()
    commands = mending(needed)
    well = all(finding.well for finding in needed)
    if as_json:
        say_json({
            "minigen": __version__, "well": well, "mend": commands,
            "needed": [asdict(f) for f in needed],
            "extras": [asdict(f) for f in optional],
        })  # fmt: skip
    else:
        say(f"minigen {__version__}", "")
        state = {True: "ok", False: "bad"}
        say_text(table([(state[f.well], f.name, f.found, f.note) for f in needed]))
        say("", "extras", "")
        say_text(table([(f.name, f.found, f.note, f.mend) for f in optional]))
        say("", "all is well" if well else "to mend it:")
        for command in commands:
            say(f"  {command}")
    if not well:
        raise typer.Exit(1)


@reported
def warmup(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Whose kernels to compile.")
    ] = "arpg-mnist",
    tokenizer: o.Tokenizer = None,
    backend: Annotated[
        str, typer.Option(metavar="NAME", help="Whose kernels: numba, or cuda.")
    ] = "numba",
    as_json: o.Json = False,
):
    """Compile the kernels, so that the first image comes at once."""
    from minigen import backends

    if backend not in COMPILING:
        raise InputError(
            f"--backend {backend} has no kernels to compile; "
            f"{near(backend, COMPILING)}choose {', '.join(COMPILING)}"
        )
    # modules of kernels are imported with the table
    backends.pick(backend)
    names = kernel_names(backend)
    compiled = []

    def tell(name, count):
        compiled.append(name)
        if not as_json:
            # a kernel that is compiled for two types of arguments counts twice
            say(f"compiling {count:3}/{max(count, len(names))}  {name}")

    start = time.perf_counter()
    with compiling(tell, backend):
        exercise(model, tokenizer, backend)
    if backend == "cuda":
        # Numba reports these only afterwards, in their statistics
        compiled += compiled_for_cuda()
    seconds = time.perf_counter() - start
    if as_json:
        say_json({"kernels": names, "compiled": compiled, "seconds": seconds})
    else:
        kept = _kept()
        say(f"{len(compiled)} kernels compiled in {seconds:.1f} s; {kept}")


def _kept():
    from minigen.kernel_cache import location
    from minigen.writing import check_folder

    folder = location().folder
    try:
        if folder is None:
            raise InputError("there is no folder to keep them in")
        check_folder(folder)
    except InputError as error:
        return f"the next command compiles them again: {error}"
    return "all is ready"


COMPILING = ("numba", "cuda")
"""The backends that compile."""


def kernel_names(backend: str = "numba") -> list[str]:
    """Return the names of the compiled functions of the op table."""
    return [kernel_name(kernel) for kernel in kernels(backend)]


def kernels(backend: str) -> list:
    """Return what Numba compiles, or has compiled, for an op table: numba or cuda."""
    found = {
        id(value): value
        for path, module in sorted(sys.modules.items())
        if path.startswith(("minigen.ops.", "minigen.cpu."))
        for value in vars(module).values()
        if hasattr(value, "targetoptions") and is_kernel(value)
        # only functions for CUDA have this option, which marks helpers
        if ("device" in value.targetoptions) == (backend == "cuda")
    }
    return list(found.values())


def compiled_for_cuda() -> list[str]:
    """Return the name of each CUDA kernel as often as it was compiled since the start.

    Kernels that were found in the cache do not count.
    """
    return [
        kernel_name(kernel)
        for kernel in kernels("cuda")
        for _ in range(sum(kernel.stats.cache_misses.values()))
    ]


MORE = {
    "vq": ({"top_k": 1, "top_p": 0.5},),
    "arinar": ({"guided_draw": "grid"}, {"guidance": 1.0}),
}
"""Options that run kernels which a model's default settings do not run: by the family
of the tokenizer, or of the generator."""


def exercise(model, tokenizer=None, backend="numba") -> None:
    """Run every kernel that a model uses: to draw, to encode and decode, to classify.

    Raises InputError.
    """
    from minigen import backends
    from minigen.checkpoints import load_model
    from minigen.evaluate import load_judge, look
    from minigen.families import FAMILIES, module_of
    from minigen.models.codes import any_control
    from minigen.pipeline import find, load

    loaded = load_model(find(model))
    family = FAMILIES[loaded.family]
    if tokenizer and not family.tokenizer:
        raise InputError(f"--tokenizer is for generators; {model} is none")
    if family.tokenizer:
        pipe = load(model, tokenizer=tokenizer, backend=backend)
        others = *MORE.get(pipe.tokenizer.family, ()), *MORE.get(loaded.family, ())
        # two steps: the second is the first that has drawn tokens to read
        few = {} if pipe.settle()["schedule"] == "one" else {"steps": 2}
        few["control"] = any_control(pipe.config, pipe.grid)
        for options in ({}, *others):
            images = pipe.sample([0], **few, **options)
        pipe.encode(images)
        classifier = load_judge(backend=backend)
        if images.shape[1] == classifier.model.config.side:
            look(classifier, images.repeat(2, axis=0))
    elif family.name != "judge":
        _, ops = backends.pick(backend)
        w, config = backends.move(ops, loaded.weights), loaded.config
        images, module = ops.put(blank(TOKENS * config.factor)), module_of(config)
        module.to_images(ops, w, config, module.from_images(ops, w, config, images))
    else:
        classifier = load_judge(model, backend)
        look(classifier, blank(classifier.model.config.side))


TOKENS = 8
"""Tokens along a side of the images that a tokenizer encodes here."""


def blank(side: int):
    """Return two black images of that many pixels along each side."""
    import numpy as np

    return np.zeros((2, side, side, 3), np.uint8)
