"""profile: what a kernel does and how fast it can be at best, without a GPU."""

from __future__ import annotations

import ast
from dataclasses import asdict
from typing import Annotated

import typer

from minigen.commands import options as o
from minigen.commands.terminal import reported, say_json, say_text
from minigen.errors import InputError


@reported
def profile(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="OP|FILE:KERNEL",
            help="linear, rms_norm, ...; or a kernel that replaces one of ours, or "
            "any kernel, with --signature and --grid.",
        ),
    ],
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=NUMBER,...",
            help="Sizes by letter, and arguments by name: n=1,d=1024; if none, those "
            "of a shipped model's largest call.",
        ),
    ] = None,
    op: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The op a kernel of yours is for."),
    ] = None,
    instead_of: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Which kernel of ours it replaces."),
    ] = None,
    block: o.Block = None,
    signature: o.Signature = None,
    grid: o.Grid = None,
    dynamic: o.Dynamic = None,
    dtype: o.Dtypes = None,
    weights: Annotated[
        str, typer.Option(metavar="DTYPE", help="float32, float16 or bfloat16.")
    ] = "float32",
    as_json: o.Json = False,
):
    """Count what the compiler made of a kernel; no GPU is needed.

    Instructions by class, branches that part a warp, sectors a request, bank conflicts,
    bytes, and the least time that a T4, an A100 and an H100 can take.
    """
    import minigen

    found = minigen.profile(
        subject, parse_sizes(sizes), op=op, instead_of=instead_of,
        block=int(block) if block is not None and block.isdigit() else block,
        weights=weights, signature=signature, grid=grid, dynamic=dynamic or 0,
        dtypes=o.dtypes(dtype),
    )  # fmt: skip
    if as_json:
        say_json(asdict(found))
    else:
        say_text(str(found))


def parse_sizes(text: str | None) -> dict[str, int | float]:
    """Return {name: number} of what --sizes says.

    Raises InputError for what is no NAME=NUMBER, or stands there twice.

    >>> parse_sizes("n=2,top_p=0.9")
    {'n': 2, 'top_p': 0.9}
    """
    sizes = {}
    for part in text.split(",") if text is not None else ():
        name, equals, number = (word.strip() for word in part.partition("="))
        try:
            value = ast.literal_eval(number)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
        if not equals or not name or type(value) not in (int, float):
            raise InputError(
                f"--sizes {text} has {part.strip()!r}, expected NAME=NUMBER, such as "
                "n=2,d=1024"
            )
        if name in sizes:
            raise InputError(f"--sizes {text} says {name} twice; say it once")
        sizes[name] = value
    return sizes
