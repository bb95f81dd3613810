"""doctor and warmup: is all installed, and is all compiled."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Annotated

import typer

from minigen.commands import options as o
from minigen.commands.terminal import (
    compiling,
    gigabytes,
    is_kernel,
    kernel_name,
    reported,
    say,
    say_json,
    say_text,
    table,
)
from minigen.errors import InputError


@reported
def doctor(
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="Delete all compiled kernels first.")
    ] = False,
    as_json: o.Json = False,
):
    """Say what is installed and what a command would mend.

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
    from minigen.pipeline import load

    if backend not in FILES:
        raise InputError(
            f"--backend {backend} has no kernels to compile; choose {', '.join(FILES)}"
        )
    pipe = load(model, tokenizer=tokenizer, backend=backend)
    names = kernel_names(backend)
    compiled = []

    def tell(name, count):
        compiled.append(name)
        if not as_json:
            # a kernel that is compiled for two kinds of arguments counts twice
            say(f"compiling {count:3}/{max(count, len(names))}  {name}")

    start = time.perf_counter()
    with compiling(tell, backend):
        exercise(pipe)
    if backend == "cuda":
        # Numba tells of these only afterwards
        compiled += compiled_for_cuda()
    seconds = time.perf_counter() - start
    if as_json:
        say_json({"kernels": names, "compiled": compiled, "seconds": seconds})
    else:
        say(f"{len(compiled)} kernels compiled in {seconds:.1f} s; all is ready")


FILES = {"numba": "cpu", "cuda": "cuda"}
"""The backends that compile, and the file of an op's folder that holds their kernels.
"""


def kernel_names(backend: str = "numba") -> list[str]:
    """Return the names of the compiled functions of the op table."""
    return [kernel_name(kernel) for kernel in kernels(FILES[backend])]


def kernels(file: str) -> list:
    """Return what Numba compiles, or has compiled, for the op table: cpu or cuda."""
    found = {
        id(value): value
        for path, module in sorted(sys.modules.items())
        if path.startswith("minigen.ops.") and path.endswith(f".{file}")
        for value in vars(module).values()
        if hasattr(value, "targetoptions") and is_kernel(value)
    }
    return list(found.values())


def compiled_for_cuda() -> list[str]:
    """Return the name of each CUDA kernel as often as it was compiled since the start.

    What was found in the cache was not.
    """
    return [
        kernel_name(kernel)
        for kernel in kernels("cuda")
        for _ in range(sum(kernel.stats.cache_misses.values()))
    ]


def exercise(pipe) -> None:
    """Use every kernel that drawing, editing and judging an image would."""
    import numpy as np

    from minigen.evaluate import load_judge, look

    images = pipe.sample([0], steps=2, top_k=1, top_p=0.5)
    pipe.encode(images)
    if images.shape[1:3] == (32, 32):
        look(load_judge(backend=pipe.backend), np.concatenate([images] * 2))
