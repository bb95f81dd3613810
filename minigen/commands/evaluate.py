"""evaluate: measure a generator, a tokenizer or the classifier itself."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Annotated

import typer

from minigen.checks import near
from minigen.commands import options as o
from minigen.commands.terminal import (
    counting,
    progress,
    reported,
    say,
    say_json,
    say_text,
)
from minigen.errors import InputError
from minigen.words import markdown, table

FEW = 1000
"""With fewer images a Frechet distance is mostly the noise of its covariance."""


FOR_FOLDERS = ("model", "count", "npz", "backend", "threads", "as_json", "as_markdown")
"""What may be said of a folder of images."""


@reported
def evaluate(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|DIR",
            help="A model that ships, a weight file, or a folder that `sample` filled.",
            autocompletion=o.ships,
        ),
    ],
    count: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="N",
            help="Images to draw or to read: 1000, or all of a folder, if not said.",
        ),
    ] = None,
    npz: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of a folder: where its images are written for evaluations of FID; "
            "DIR.npz, if not said.",
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(metavar="NAME=V,V", help="A row for each value, as steps=1,4,16."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="MNIST's files: for a tokenizer, a classifier, a model with control, "
            "or --keep.",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            help="Complete digits of --data, of which a part is known: top, bottom, "
            "left, right or centre.",
        ),
    ] = None,
    edit: Annotated[
        bool,
        typer.Option(
            "--edit",
            help="With --keep: ask for the class after the digit's own, 0 after 9.",
        ),
    ] = False,
    steps: o.Steps = None,
    seed: o.Seed = 0,
    guidance: o.Guidance = None,
    guidance_schedule: o.GuidanceSchedule = None,
    order: o.Order = None,
    schedule: o.Schedule = None,
    temperature: o.Temperature = None,
    top_k: o.TopK = 0,
    top_p: o.TopP = 1.0,
    positions: o.Positions = "released",
    guided_draw: o.GuidedDraw = "candidates",
    confidence_noise: o.ConfidenceNoise = 0.0,
    reading: o.Reading = None,
    first: o.First = 0,
    batch: o.Batch = None,
    tokenizer: o.Tokenizer = None,
    backend: o.Backend = "auto",
    threads: o.Threads = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a Markdown table.")
    ] = False,
    write_statistics: Annotated[
        bool,
        typer.Option(
            "--write-statistics",
            help="Of a classifier: write what distances are measured to.",
        ),
    ] = False,
    as_json: o.Json = False,
):
    """Measure a model: how its images are classified, and how fast they are drawn.

    A generator is asked for every class in turn; with --keep for the rest of test
    digits, by their class (or the next, with --edit), and ARPG reads what is known in
    both ways. A tokenizer and a classifier are given the test digits of --data, and a
    model with control their outlines. The images of a folder are written as the .npz
    that evaluations of FID read; digits are classified, too.
    """
    from minigen import backends
    from minigen.checkpoints import load_model
    from minigen.defaults import settle
    from minigen.evaluate import load_judge, read_digits
    from minigen.families import FAMILIES
    from minigen.finding import find
    from minigen.options import check

    if os.path.isfile(os.path.join(model, "manifest.json")):
        said = {n for n in context.params if is_said(context, n)}
        for name in sorted(said - {*FOR_FOLDERS}):
            raise InputError(
                f"--{name.replace('_', '-')} has no meaning for the folder {model}, "
                "whose images are drawn already; leave it out"
            )
        _folder(Path(model), count, npz, backend, threads, as_json, as_markdown)
        return
    if npz is not None:
        raise InputError(
            f"--npz {npz} is for a folder of images, and {model} is none; draw some "
            "first: minigen sample MODEL --count N --out DIR/"
        )
    count = FEW if count is None else count
    options = dict(
        steps=steps, seed=seed, top_k=top_k, top_p=top_p, positions=positions,
        guided_draw=guided_draw, confidence_noise=confidence_noise,
    )  # fmt: skip
    left = dict(
        order=o.read_order(order), schedule=schedule, guidance=guidance,
        guidance_schedule=guidance_schedule, temperature=temperature, reading=reading,
    )  # fmt: skip
    name, ops = backends.pick(backend)
    o.use_threads(threads, name)
    o.warn_of(name)
    loaded = load_model(find(model))
    draws = bool(FAMILIES[loaded.family].tokenizer)
    usual = dict(seed=0, top_k=0, top_p=1.0, positions="released",
                 guided_draw="candidates", confidence_noise=0.0, first=0)  # fmt: skip
    takes = bool(getattr(loaded.config, "control", 0))
    unused = {"data": data, "write_statistics": write_statistics or None}
    if takes or keep is not None:
        unused["data"] = None
    if keep is not None:
        unused |= {"sweep": sweep, "batch": batch}
    else:
        unused["edit"] = edit or None
    if not draws:
        unused = {**options, **left, "first": first, "batch": batch, "sweep": sweep,
                  "tokenizer": tokenizer, "keep": keep,
                  "edit": edit or None}  # fmt: skip
        unused = {n: v for n, v in unused.items() if v != usual.get(n)}
        if loaded.family != "judge":
            unused["write_statistics"] = write_statistics or None
    for option, value in unused.items():
        if value is not None:
            raise InputError(
                f"--{option.replace('_', '-')} has no meaning for {model}, of the "
                f"family {loaded.family}{' with --keep' if keep and draws else ''}; "
                "leave it out"
            )
    if data is None and (takes or not draws):
        raise InputError(f"{model} is measured on digits; give --data DIR with MNIST's")
    if draws and keep is not None:
        if data is None:
            raise InputError("--keep takes its digits from --data DIR with MNIST's")
        rows = _completion(
            model, tokenizer, name, keep, edit, read_digits(data, count=first + count),
            first, {**options, **left},
        )  # fmt: skip
    elif draws:
        given = {n for n, v in {**options, **left}.items() if v != usual.get(n)}
        options |= settle(loaded.family, loaded.name, **left)
        options = {option: check(option, value) for option, value in options.items()}
        swept, values = parse_sweep(sweep, options, given)
        # a row for each of its values
        runs = [{**options, swept: value} for value in values]
        classifier = load_judge(backend=name)
        rows = _generator(
            model, tokenizer, classifier, name, count, first, batch, swept, runs, data
        )
    elif loaded.family in ("vq", "kl"):
        rows = [_tokenizer(loaded, ops, name, data, count)]
    else:
        rows = [_classifier(model, name, data, count, write_statistics)]
    if as_json:
        say_json({"model": model, "backend": name, "results": rows})
        return
    cells = _cells(rows)
    right = range(len(cells[0]))
    if as_markdown:
        say_text(markdown(cells, right))
        return
    say(f"{model} on {name}, {rows[0]['images']} images", "")
    say_text(table(cells, right))
    if draws and keep is None and count < FEW:
        say("", f"with fewer than {FEW} images all distances come out too large")


def is_said(context: typer.Context, name: str) -> bool:
    """Say whether an option was given, and is not its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _folder(folder, count, npz, backend, threads, as_json, as_markdown):
    """Write the images of a folder as one .npz, and classify those that are digits."""
    from minigen import backends, many
    from minigen.catalogue import licence_of
    from minigen.evaluate import evaluate_images, load_judge, write_npz
    from minigen.writing import check_writable

    manifest = many.read(folder)
    labels = manifest.classes[:count].tolist()
    images = many.images(folder, manifest)
    npz = (
        Path(f"{folder if folder.name else folder.resolve()}.npz")
        if npz is None
        else npz
    )
    check_writable(npz, ".npz")
    # whose tokenizer ships draws digits
    digits = licence_of(manifest.recipe.tokenizer_hash) and min(labels) >= 0
    digits = digits and manifest.recipe.scale == 1 and manifest.recipe.grid is None
    if digits:
        backend, _ = backends.pick(backend)
        o.use_threads(threads, backend)
    first = next(images)
    images = itertools.chain([first], images)
    images = itertools.islice(images, len(labels))
    with counting("reading", "images", backend) as tell:
        written = write_npz(npz, images, len(labels), first.shape[:2])
        counted = _counted(written, len(labels), tell)
        if digits:
            row = evaluate_images(counted, labels, load_judge(backend=backend))
        else:
            row = {"images": sum(1 for _ in counted)}
    if as_json:
        say_json({"folder": folder, "npz": npz, "results": [row]})
        return
    cells = _cells([row])
    if digits:
        right = range(len(cells[0]))
        say_text(markdown(cells, right) if as_markdown else table(cells, right))
        say()
        if len(labels) < FEW:
            say(f"with fewer than {FEW} images all distances come out too large")
    say(f"{npz}  {len(labels):,} images of {first.shape[1]} x {first.shape[0]}")


def _counted(images, total, tell):
    for done, image in enumerate(images):
        tell(done, total)
        yield image


def _generator(
    model, tokenizer, classifier, backend, count, first, batch, swept, runs, data
):
    from minigen.commands.halves import halved
    from minigen.evaluate import BATCH, evaluate_generator, read_digits
    from minigen.pipeline import load

    pipe = load(model, tokenizer=tokenizer, backend=backend)
    # every plan is made first, so that a bad one fails before anything is drawn
    taken = [
        pipe.plan(now["order"], now["schedule"], now["steps"], now["seed"])
        for now in runs
    ]
    rows, digits = [], None
    if data is not None:
        digits = [each[first:] for each in read_digits(data, count=first + count)]
    halves = halved(pipe.backend, model, tokenizer)
    with halves, progress(count * len(runs), "drawing", pipe.backend) as advance:
        for now, plan in zip(runs, taken, strict=True):
            found = evaluate_generator(
                pipe, classifier, count, first, batch or BATCH, advance, digits, **now
            )
            # the schedule "one" takes a step for each token, whatever was asked for
            shown = len(plan.groups) if swept == "steps" else now[swept]
            rows.append({swept: shown, **found})
    return rows


def _completion(model, tokenizer, backend, keep, edit, digits, first, options):
    import numpy as np

    from minigen import tasks
    from minigen.evaluate import evaluate_completion, load_judge
    from minigen.models.arpg import READINGS
    from minigen.pipeline import load

    pipe = load(model, tokenizer=tokenizer, backend=backend)
    digits = [part[first:] for part in digits]
    if not len(digits[0]):
        raise InputError(f"--first {first} is beyond the last of the test digits")
    classifier = load_judge(backend=backend)
    planned = (options.pop(name) for name in ("order", "schedule", "steps"))
    known = np.flatnonzero(~tasks.keep(keep, pipe.grid))
    plan = pipe.plan(*planned, seed=options["seed"], known=known)
    # as it was trained, then as its original would
    readings = [*READINGS][::-1] if pipe.generator.family == "arpg" else ["causal"]
    rows = []
    with progress(len(digits[0]) * len(readings), "drawing", pipe.backend) as advance:
        for reading in readings:
            given = pipe, classifier, digits, plan, first, advance, edit
            found = evaluate_completion(*given, known_reading=reading, **options)
            rows.append({"known_reading": reading, **found})
    return rows


def _tokenizer(model, ops, backend, data, count):
    from minigen.evaluate import evaluate_tokenizer, load_judge, read_digits

    images, labels = read_digits(data, count=count)
    classifier = load_judge(backend=backend)
    with progress(len(images), "encoding and decoding", backend) as advance:
        return evaluate_tokenizer(model, ops, classifier, images, labels, advance)


def _classifier(model, backend, data, count, write_statistics):
    from minigen.evaluate import (
        STATISTICS,
        load_judge,
        look,
        read_digits,
        share,
        statistics,
    )
    from minigen.evaluate import write_statistics as write
    from minigen.writing import check_writable

    if write_statistics:
        check_writable(STATISTICS)
    images, labels = read_digits(data, count=None if write_statistics else count)
    with progress(len(images), "classifying", backend) as advance:
        features, seen = look(load_judge(model, backend), images, advance)
    if write_statistics:
        say(write(statistics(features)))
    return {"accuracy": share(seen, labels), "images": len(images)}


def parse_sweep(sweep: str | None, options: dict, given=()) -> tuple[str, list]:
    """Return the name and the values of --sweep, each of the type of its option.

    given: the options that were given too; the one that is swept may not be among them.

    >>> parse_sweep("steps=1,4", {"steps": 16}), parse_sweep(None, {"steps": 16})
    (('steps', [1, 4]), ('steps', [16]))
    """
    from minigen.options import read

    if sweep is None:
        return "steps", [options["steps"]]
    name, _, values = sweep.partition("=")
    name = name.strip().replace("-", "_")
    if name not in options or not values:
        meant = near(name, options) if name not in options else ""
        raise InputError(
            f"--sweep {sweep} cannot be read; {meant}write "
            f"NAME=VALUE,VALUE with a NAME of {', '.join(options)}"
        )
    if name in given:
        raise InputError(
            f"--{name.replace('_', '-')} is given beside --sweep {sweep}; leave one of "
            "them out"
        )
    try:
        return name, [read(name, value.strip()) for value in values.split(",")]
    except InputError as error:
        raise InputError(f"--sweep {sweep}: {error}") from None


def _cells(rows):
    """Return the header and a row of text for each result."""
    names = [name for name in rows[0] if name not in ("images", "seconds")]
    header = [_HEADER.get(name, name.replace("_", " ")) for name in names]
    return [header, *([_shown(name, row[name]) for name in names] for row in rows)]


_HEADER = {"images_per_second": "images/s"}


def _shown(name, value):
    if name.startswith(("agreement", "unchanged", "accuracy", "outline")):
        return f"{100 * value:.1f} %"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
