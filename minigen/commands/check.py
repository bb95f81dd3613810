"""check: compare an op, or your version of it, or any kernel, with its reference."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from minigen.checks import integer
from minigen.commands import options as o
from minigen.commands.terminal import reported, say_json, say_text, tell
from minigen.errors import InputError


@reported
def check(
    op: Annotated[
        str | None,
        typer.Argument(
            metavar="OP|FILE:KERNEL",
            help="rms_norm, linear, ...; all, if none; or any kernel.",
        ),
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(
            metavar="FILE:NAME",
            help="Of an op, check this one: a CUDA kernel, an njit, a NumPy function.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="FILE:NAME",
            help="The NumPy function that any kernel is to agree with.",
        ),
    ] = None,
    signature: o.Signature = None,
    grid: o.Grid = None,
    block: o.Block = None,
    dynamic: o.Dynamic = None,
    dtype: o.Dtypes = None,
    size: o.Sizes = None,
    value: o.Values = None,
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="X", help="Allowed error, relative. Default: 4 eps."),
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
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="DTYPE", help="float32, float16 or bfloat16; all, if none."
        ),
    ] = None,
    examples: Annotated[
        int | None,
        o.count("How many cases to draw; layouts and routes have their own."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Which cases are tried.")] = 0,
    as_json: o.Json = False,
):
    """Compare ops, or a kernel of yours, with the reference; no GPU is needed.

    Sizes, values and schedules of threads are drawn at random. Right means: within 4
    eps of what float32 rounding explains, no race, no index out of range, no read of
    memory that was never written. Exit status 1 if something is wrong.

    Any kernel is checked with a function of NumPy arrays: check mine.py:kernel
    --against mine.py:function --signature "x (n d), w (d) -> y (n d)" --grid n --block
    128.
    """
    import minigen

    how = dict(
        backend=backend, weights=weights, examples=examples, seed=seed,
        tell=lambda doing: tell(f"{doing} ..."),
    )  # fmt: skip
    own = {
        "--against": against, "--signature": signature, "--grid": grid,
        "--dynamic": dynamic, "--dtype": dtype, "--size": size, "--value": value,
        "--tolerance": tolerance,
    }  # fmt: skip
    if op is not None and ":" in op:
        o.expect_pair(op, kernel, instead_of, against, signature)
        report = minigen.check(
            op, against, signature, grid=grid, block=block, dynamic=dynamic or 0,
            dtypes=o.dtypes(dtype), sizes=o.sizes(size), values=o.values(value),
            tolerance=tolerance, **how,
        )  # fmt: skip
    else:
        for name, given in own.items():
            if given is not None:
                raise InputError(
                    f"{name} is about a kernel of yours: write check FILE.py:KERNEL "
                    "--against FILE.py:FUNCTION --signature ..."
                )
        threads = None if block is None else integer("block", o.whole(block), 1, 1024)
        report = minigen.check(op, kernel, instead_of=instead_of, block=threads, **how)
    tell()
    if as_json:
        say_json({"ok": report.ok} | asdict(report))
    else:
        say_text(str(report))
    if not report.ok:
        raise typer.Exit(1)
