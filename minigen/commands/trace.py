"""trace: a run step by step, as a page for a browser."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from minigen.commands import options as o
from minigen.commands import tasks
from minigen.commands.sample import prepare
from minigen.commands.terminal import progress, reported, say, say_json
from minigen.errors import InputError

Beside = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Show a second run beside it, of which this is different: order=raster; "
        "may be repeated.",
    ),
]
Picture = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Start from a picture: redraw what --mask, --box or --keep say, or what "
        "lies around it, with --border or --grid.",
    ),
]
Page = Annotated[Path, typer.Option(metavar="FILE", help="The page, one HTML file.")]


@reported
def trace(
    model: o.ModelName,
    classes: o.Classes,
    out: Page = Path("trace.html"),
    beside: Beside = None,
    picture: Picture = None,
    mask: tasks.Mask = None,
    box: tasks.Box = None,
    keep: tasks.Keep = None,
    fit: tasks.Fit = None,
    paste: tasks.Paste = False,
    border: tasks.Border = None,
    grid: tasks.Grid = None,
    steps: o.Steps = None,
    seed: o.Seed = 0,
    guidance: o.Guidance = None,
    guidance_schedule: o.GuidanceSchedule = None,
    guided_steps: o.GuidedSteps = None,
    order: o.Order = None,
    schedule: o.Schedule = None,
    temperature: o.Temperature = None,
    top_k: o.TopK = 0,
    top_p: o.TopP = 1.0,
    positions: o.Positions = "released",
    guided_draw: o.GuidedDraw = "candidates",
    confidence_noise: o.ConfidenceNoise = 0.0,
    reading: o.Reading = None,
    known_reading: o.KnownReading = "causal",
    control: o.Control = None,
    first: o.First = 0,
    tokenizer: o.Tokenizer = None,
    backend: o.Backend = "auto",
    threads: o.Threads = None,
    as_json: o.Json = False,
):
    """Draw images, and write a page that shows every step: open it in a browser.

    It shows the doubt of all unknown cells, probabilities, attention, order and cache,
    and a second run beside the first, if one is asked for. One file, no network.
    """
    from minigen.finding import config_of
    from minigen.show import trace as traces
    from minigen.show.recipe import Recipe, to_json
    from minigen.writing import check_writable, write_file

    labels, _ = o.read_labels(classes, config_of(model))
    task, grid = _task(picture, mask, box, keep, fit, paste, border, grid)
    changes = read_beside(beside or [])
    recipe = Recipe(
        model=model, tokenizer=tokenizer, labels=tuple(labels), grid=grid,
        seed=seed, first=first, steps=steps, order=o.read_order(order),
        schedule=schedule, guidance=guidance, guidance_schedule=guidance_schedule,
        guided_steps=guided_steps, temperature=temperature, top_k=top_k, top_p=top_p,
        positions=positions, guided_draw=guided_draw,
        confidence_noise=confidence_noise, reading=reading,
        known_reading=known_reading,
    )  # fmt: skip
    check_writable(out, ".html")
    pipe, _, recipe = prepare(
        recipe, backend, threads, control=control, task=task, paste=paste
    )
    recipes = [recipe]
    if changes:
        recipes.append(traces.otherwise(pipe, recipe, changes))
    total = sum(len(plan.groups) for plan in traces.plans(pipe, recipes))
    with progress(total, "drawing", pipe.backend) as advance:
        page, names = traces.page(pipe, recipes, lambda step: advance())
    path = write_file(out, page.encode())
    if as_json:
        recipes = [*map(to_json, recipes)]
        say_json({"files": [path], "runs": names, "recipes": recipes})
        return
    say(f"{path}  {'; '.join(names)}  ({len(page.encode()) / 1e3:.0f} kB)")


def read_beside(given: list[str]) -> dict:
    """Return the settings that values of --beside name, or raise InputError.

    >>> read_beside(["order=raster", "guided-steps=8"])
    {'order': 'raster', 'guided_steps': 8}
    """
    from minigen.checks import near
    from minigen.options import read
    from minigen.show.trace import SETTINGS

    changes = {}
    for each in given:
        name, _, value = each.partition("=")
        name, value = name.strip().replace("-", "_"), value.strip()
        if name not in SETTINGS or not value:
            meant = near(name, SETTINGS) if name not in SETTINGS else ""
            raise InputError(
                f"--beside {each[:60]} cannot be read; {meant}write NAME=VALUE with a "
                f"NAME of {', '.join(SETTINGS)}"
            )
        if name in changes:
            raise InputError(f"--beside says {name} twice; leave one of them out")
        try:
            order = name == "order"
            changes[name] = o.read_order(value) if order else read(name, value)
        except InputError as error:
            raise InputError(f"--beside {each[:60]}: {error}") from None
    return changes


def _task(picture, mask, box, keep, fit, paste, border, grid):
    """Return the task that options ask for, and the grid of one without a picture."""
    inside = {"mask": mask, "box": box, "keep": keep}
    named = [name for name, value in inside.items() if value is not None]
    if picture is None:
        more = {"fit": fit, "border": border, "paste": paste or None}
        named += [name for name, value in more.items() if value is not None]
        if named:
            raise InputError(f"--{named[0]} is of a picture; name one with --picture")
        return None, None if grid is None else tasks.parse_grid(grid)
    if border is not None or grid is not None:
        if named:
            raise InputError(
                f"--{named[0]} redraws a part of the picture, and --border and --grid "
                "draw around it; ask for one of the two"
            )
        return partial(tasks.outpainting, picture, border, grid, fit), None
    return partial(tasks.inpainting, picture, mask, box, keep, fit), None
