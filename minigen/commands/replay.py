"""replay: draw a picture again from the recipe it carries."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from minigen.commands import options as o
from minigen.commands.sample import prepare, run
from minigen.commands.terminal import reported, say, say_json, say_text
from minigen.words import table


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
    """Draw a picture again and say whether it is the same.

    The recipe is read from the picture itself, and the backend too, where it is here
    and no other is named. Pixels should be equal; what another backend, CPU or version
    may change still agrees: pixels by one level of 255, and images from a token on
    whose draw was a near-tie. Else the exit status is 1.
    """
    from minigen.sameness import compare, tokens
    from minigen.show import files
    from minigen.show.recipe import check, from_json, to_json
    from minigen.writing import check_writable

    if out:
        check_writable(out, ".png")
    stored, size = files.read_header(picture)
    then = from_json(stored)
    recipe = replace(
        then,
        model=then.model if model is None else model,
        tokenizer=then.tokenizer if tokenizer is None else tokenizer,
    )
    if backend == "auto":
        backend = _backend(then)
    pipe, plan, now = prepare(recipe, backend, threads, batch, shown=size)
    check(pipe, plan, now)
    # a damaged record is refused here, before anything is drawn
    tokens(pipe, plan, then)
    pixels, _ = files.read_png(picture, ours=size)
    last = (now.step or len(plan.groups)) - 1
    ((again, now),) = run(pipe, plan, now, batch, slice(last, last + 1))
    now = replace(now, step=then.step)
    if out:
        files.write_png(out, again, to_json(now))
    found = compare(pipe, plan, then, now, pixels, again)
    changed = _changed(then, now)
    same, agree = found["verdict"] == "identical", found["verdict"] != "different"
    if as_json:
        first, ties = found["first"], map(asdict, found["near_ties"])
        found |= {"near_ties": list(ties), "first": asdict(first) if first else None}
        found = {"picture": picture, "agree": agree, **found, "changed": changed}
        say_json({**found, "recipe": to_json(now)})
    else:
        say(f"{picture}  {_verdict(found)}")
        for each in found["near_ties"]:
            say(f"near-tie: {_sentence(each)}")
        if found["first"]:
            say(f"first difference: {_sentence(found['first'])}")
        elif not agree and not then.drawn:
            say("the picture records no tokens, so a near-tie cannot be told from more")
        if not same and changed:
            rows = [("", "then", "now"), *((n, *v) for n, v in changed.items())]
            say_text(table(rows))
    if not agree:
        raise typer.Exit(1)


def _backend(recipe):
    """Return what a picture was drawn on, or auto where that is not here."""
    from minigen.backends import fastest, has_numba

    drawn = recipe.versions.get("backend")
    here = ("numpy", *["numba"] * has_numba())
    return drawn if drawn in here or drawn == fastest() else "auto"


def _verdict(found):
    if found["verdict"] == "identical":
        return f"agrees: all {found['pixels']} pixels are the same"
    how = (
        f"{found['different']} of {found['pixels']} pixels, "
        f"by {found['largest']} of 255 at most"
    )
    if found["verdict"] == "different":
        return f"differs: {how}"
    if found["images"]:
        parted = f"images that part at near-ties: {found['images']}"
        return f"agrees as promised: {how}; {parted}"
    return f"agrees as promised: {how}"


def _sentence(difference):
    """Return which token differs, and how near its draw was to the earlier one."""
    d = difference
    where = f"image {d.image}, step {d.step}, position {d.position}"
    if not isinstance(d.then, list):
        where += f" (token {d.then} then, {d.now} now)"
    if d.margin is None:
        return f"{where}: what was drawn then is nothing that rounding could give"
    return (
        f"{where}: the uniform lies {d.margin:.1e} beside what was drawn then, and "
        f"rounding explains {d.allowed:.1e}"
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
