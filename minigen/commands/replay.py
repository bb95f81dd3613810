"""replay: draw a picture again from the recipe it carries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from minigen.commands import options as o
from minigen.commands.sample import prepare, run
from minigen.commands.terminal import reported, say, say_json, say_text, table


@reported
def replay(
    picture: Annotated[
        Path, typer.Argument(metavar="FILE.png", help="A picture drawn by minigen.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write what is drawn.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Where the model lies now, if it has moved."),
    ] = None,
    tokenizer: o.Tokenizer = None,
    batch: o.Batch = None,
    backend: o.Backend = "auto",
    threads: o.Threads = None,
    as_json: o.Json = False,
):
    """Draw a picture again and say whether the pixels agree.

    The recipe is read from the picture itself. Exit status 1 if they do not.
    """
    from minigen.show import files
    from minigen.show.recipe import check_size, from_json, to_json
    from minigen.writing import check_place

    if out:
        check_place(out, ".png")
    stored, size = files.read_header(picture)
    then = from_json(stored)
    recipe = replace(
        then,
        model=then.model if model is None else model,
        tokenizer=then.tokenizer if tokenizer is None else tokenizer,
    )
    pipe, plan, now = prepare(recipe, backend, threads)
    check_size(pipe, plan, now, size)
    pixels, _ = files.read_png(picture, ours=size)
    last = (now.step or len(plan.groups)) - 1
    (again,) = run(pipe, plan, now, batch, slice(last, last + 1))
    if out:
        files.write_png(out, again, to_json(now))
    result = compare(pixels, again)
    changed = _changed(then, now)
    if as_json:
        found = {"picture": picture, **result, "changed": changed}
        say_json({**found, "recipe": to_json(now)})
    else:
        say(f"{picture}  {_verdict(result)}")
        if not result["agree"] and changed:
            rows = [("", "then", "now"), *((n, *v) for n, v in changed.items())]
            say_text(table(rows))
    if not result["agree"]:
        raise typer.Exit(1)


def compare(old, new) -> dict:
    """Compare two pictures, uint8 (y, x, 3): how many pixels differ, and how much."""
    import numpy as np

    if old.shape != new.shape:
        return {"agree": False, "sizes": [old.shape[:2], new.shape[:2]]}
    apart = np.abs(old.astype(int) - new).max(-1)
    return {
        "agree": not apart.any(),
        "pixels": apart.size,
        "different": int((apart > 0).sum()),
        "largest": int(apart.max()),
    }


def _verdict(result):
    if "sizes" in result:
        (y, x), (again_y, again_x) = result["sizes"]
        return f"differs: it is {x} x {y} pixels, drawn again {again_x} x {again_y}"
    if result["agree"]:
        return f"agrees: all {result['pixels']} pixels are the same"
    return (
        f"differs: {result['different']} of {result['pixels']} pixels, "
        f"by {result['largest']} of 255 at most"
    )


def _changed(then, now):
    """Return {what: [then, now]} of everything that may explain other pixels."""
    before, after = (
        {"model": r.model_hash, "tokenizer": r.tokenizer_hash, **r.versions}
        for r in (then, now)
    )
    return {
        name: [before.get(name, "-"), after.get(name, "-")]
        for name in after
        if before.get(name) != after[name]
    }
