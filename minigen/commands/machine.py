"""doctor and warmup: is all installed, and is all compiled."""

from __future__ import annotations

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
    table,
)


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
            say(f"deleted {files} files, {gigabytes(size)}, from {folder}\n")
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
        say(f"minigen {__version__}\n")
        state = {True: "ok", False: "bad"}
        say(table([(state[f.well], f.name, f.found, f.note) for f in needed]))
        say("\nextras\n")
        say(table([(f.name, f.found, f.note, f.mend) for f in optional]))
        say("\nall is well" if well else "\nto mend it:")
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
    as_json: o.Json = False,
):
    """Compile the CPU kernels, so that the first image comes at once."""
    from minigen.pipeline import load

    pipe = load(model, tokenizer=tokenizer, backend="numba")
    names = kernel_names()
    compiled = []

    def tell(name, count):
        compiled.append(name)
        if not as_json:
            # a kernel that is compiled for two kinds of arguments counts twice
            say(f"compiling {count:3}/{max(count, len(names))}  {name}")

    start = time.perf_counter()
    with compiling(tell, "numba"):
        exercise(pipe)
    seconds = time.perf_counter() - start
    if as_json:
        say_json({"kernels": names, "compiled": compiled, "seconds": seconds})
    else:
        say(f"{len(compiled)} kernels compiled in {seconds:.1f} s; all is ready")


def kernel_names() -> list[str]:
    """Return the names of the compiled functions of the op table."""
    import sys

    from minigen.target import numba

    kind = numba.core.dispatcher.Dispatcher
    return [
        kernel_name(value)
        for path, module in sorted(sys.modules.items())
        if path.startswith("minigen.ops.") and path.endswith(".cpu")
        for value in vars(module).values()
        if isinstance(value, kind) and is_kernel(value)
    ]


def exercise(pipe) -> None:
    """Use every kernel that drawing, editing and judging an image would."""
    import numpy as np

    from minigen.evaluate import load_judge, look

    images = pipe.sample([0], steps=2, top_k=1, top_p=0.5)
    pipe.encode(images)
    if images.shape[1:3] == (32, 32):
        look(load_judge(backend="numba"), np.concatenate([images] * 2))
