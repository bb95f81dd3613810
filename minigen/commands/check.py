"""check: compare an op, or your version of it, with the reference."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from minigen.commands import options as o
from minigen.commands.terminal import reported, say_json, say_text, tell


@reported
def check(
    op: Annotated[
        str | None,
        typer.Argument(metavar="OP", help="rms_norm, linear, ...; all, if none."),
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(
            metavar="FILE:NAME",
            help="Check this one: a CUDA kernel, an njit or a NumPy function.",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="numpy, numba, interpreter, ptx or cuda; all that are here, if none.",
        ),
    ] = None,
    instead_of: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Which kernel of ours it replaces."),
    ] = None,
    block: Annotated[
        int | None,
        typer.Option(min=1, max=1024, metavar="N", help="Its threads a block."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="DTYPE", help="float32, float16 or bfloat16; all, if none."
        ),
    ] = None,
    examples: Annotated[int | None, o.count("How many cases to try.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Which cases are tried.")] = 0,
    as_json: o.Json = False,
):
    """Compare ops, or a kernel of yours, with the reference; no GPU is needed.

    Sizes, values and schedules of threads are drawn at random. Right means: within 4
    eps of what float32 rounding explains, no race, no index out of range, no read of
    memory that was never written. Exit status 1 if something is wrong.
    """
    import minigen

    report = minigen.check(
        op, kernel, backend=backend, instead_of=instead_of, block=block,
        weights=weights, examples=examples, seed=seed,
        tell=lambda doing: tell(f"{doing} ..."),
    )  # fmt: skip
    tell()
    if as_json:
        say_json({"ok": report.ok} | asdict(report))
    else:
        say_text(str(report))
    if not report.ok:
        raise typer.Exit(1)
