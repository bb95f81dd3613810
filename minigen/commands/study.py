"""study: what orders and numbers of steps do to the images of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minigen.commands import options as o
from minigen.commands.terminal import (
    new_app,
    progress,
    reported,
    say,
    say_json,
    say_text,
)

app = new_app("Evaluate orders, schedules and numbers of steps, all in turn.")

EACH_STEP = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of steps of `study steps`."""

Images = Annotated[
    int, typer.Option(min=2, metavar="N", help="Images drawn for each setting.")
]
Schedules = Annotated[
    str, typer.Option(metavar="NAME,NAME", help="Schedules, with commas between them.")
]
Results = Annotated[
    Path,
    typer.Option(
        metavar="FILE.jsonl",
        help="Where every result is kept at once; what stands there is not done again.",
    ),
]
Table = Annotated[
    Path, typer.Option("--table", metavar="FILE.md", help="The table, in Markdown.")
]
Picture = Annotated[
    Path,
    typer.Option("--picture", metavar="FILE.png", help="Agreement, as colours."),
]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="MNIST's files: also count the bits of its test digits."
    ),
]


@app.command()
@reported
def orders(
    model: o.ModelName,
    count: Images = 200,
    order: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="Orders; all of them, if not said."),
    ] = None,
    steps: Annotated[
        str, typer.Option(metavar="N,N", help="Numbers of steps.")
    ] = "4,8,16,64",
    schedule: Schedules = "arccos,cosine,linear",
    seed: o.Seed = 0,
    guidance: o.Guidance = None,
    temperature: o.Temperature = None,
    results: Results = Path("study-orders.jsonl"),
    table: Table = Path("study-orders.md"),
    picture: Picture = Path("study-orders.png"),
    data: Data = None,
    tokenizer: o.Tokenizer = None,
    backend: o.Backend = "auto",
    threads: o.Threads = None,
    as_json: o.Json = False,
):
    """Evaluate every order with every schedule, number of steps and reading.

    Prints agreement with its interval of 95 %, Frechet distance and seconds. It may be
    stopped at any time: the same command goes on where it was.
    """
    from minigen.orders import ORDERS, PER_IMAGE

    every = ",".join((*ORDERS, *PER_IMAGE))
    files = {"results": results, "table": table, "picture": picture}
    _study(
        (model, tokenizer, backend, threads),
        (every if order is None else order, schedule, steps),
        files, data, as_json, count,
        seed=seed, guidance=guidance, temperature=temperature,
    )  # fmt: skip


@app.command()
@reported
def steps(
    model: o.ModelName,
    order: o.OrderName = None,
    count: Images = 200,
    steps: Annotated[
        str, typer.Option(metavar="N,N", help="Numbers of steps.")
    ] = ",".join(map(str, EACH_STEP)),
    schedule: Schedules = "arccos,cosine,linear",
    seed: o.Seed = 0,
    guidance: o.Guidance = None,
    temperature: o.Temperature = None,
    results: Results = Path("study-steps.jsonl"),
    table: Table = Path("study-steps.md"),
    picture: Picture = Path("study-steps.png"),
    data: Data = None,
    tokenizer: o.Tokenizer = None,
    backend: o.Backend = "auto",
    threads: o.Threads = None,
    as_json: o.Json = False,
):
    """Evaluate one order, the model's own if not said, with more numbers of steps.

    Everything else is as for `study orders`.
    """
    files = {"results": results, "table": table, "picture": picture}
    _study(
        (model, tokenizer, backend, threads),
        (order, schedule, steps),
        files, data, as_json, count,
        seed=seed, guidance=guidance, temperature=temperature,
    )  # fmt: skip


def _study(where, what, files, data, as_json, count, **how):
    """Measure, write and print. where: model, tokenizer, backend and threads; what:
    texts of orders (None: the model's own), schedules and numbers of steps."""
    from minigen import backends, options, study
    from minigen.commands.halves import halved
    from minigen.evaluate import load_judge, read_digits
    from minigen.pipeline import load
    from minigen.words import markdown
    from minigen.writing import check_writable, write_file

    model, tokenizer, backend, threads = where
    for name, suffix in (("results", ".jsonl"), ("table", ".md"), ("picture", ".png")):
        check_writable(files[name], suffix)
    name, _ = backends.pick(backend)
    o.use_threads(threads, name)
    o.warn_of(name)
    pipe = load(model, tokenizer=tokenizer, backend=name)
    order, schedule, steps = what
    order = pipe.settle()["order"] if order is None else order
    settings = study.cells(
        pipe,
        [options.check("order", each.strip()) for each in order.split(",")],
        [options.check("schedule", each.strip()) for each in schedule.split(",")],
        o.numbers("--steps", steps),
    )
    chosen = pipe.settle(guidance=how["guidance"], temperature=how["temperature"])
    how |= {n: chosen[n] for n in ("guidance", "guidance_schedule", "temperature")}
    how = {name: options.check(name, value) for name, value in how.items()}
    study.read(files["results"])
    digits = None if data is None else read_digits(data, count=count)
    classifier = load_judge(backend=name)
    moved = study.shift(pipe)
    with (
        halved(pipe.backend, model, tokenizer),
        progress(count * len(settings), "drawing", pipe.backend) as advance,
    ):
        rows = study.measure(
            pipe, classifier, settings, count, files["results"], advance, **how
        )
    named = dict.fromkeys(row["order"] for row in rows)
    bits = {} if digits is None else {
        each: study.surprise(pipe, *digits, each) for each in named
    }  # fmt: skip
    lines = markdown(study.table(rows), range(3, 3 + len({r["steps"] for r in rows})))
    text = "\n\n".join([lines, *study.sentences(rows, moved, bits)])
    write_file(files["table"], (text + "\n").encode())
    study.draw(rows, files["picture"])
    if as_json:
        found = {"results": rows, "best": study.best(rows), "shift": moved}
        say_json({"model": model, "backend": name, **found, "bits": bits})
        return
    say_text(text)
    say("", *(f"{what}: {path}" for what, path in files.items()))
