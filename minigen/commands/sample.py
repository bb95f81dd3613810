"""sample, steps: draw images, and watch images being drawn."""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from minigen.commands import options as o
from minigen.commands.terminal import (
    check_pipe,
    complain,
    counting,
    has_colours,
    pour,
    progress,
    reported,
    say,
    say_json,
    show,
)
from minigen.errors import InputError


@reported
@o.takes_usual
def sample(
    model: o.ModelName,
    out: o.OutOrFolder = "sample.png",
    format: o.Format = None,
    memory: o.MemoryBudget = None,
    cluster: o.Cluster = None,
    **how,
):
    """Draw images of one or more classes into a PNG, or many into a folder.

    A picture carries its recipe: `minigen replay` draws it again. A run into a folder
    may be stopped at any moment; the same command goes on, to the same files.
    """
    only = {"format": format, "memory": memory, "cluster": cluster}
    if is_folder(out):
        draw_many(model, Path(out), **only, **how)
        return
    for name, value in only.items():
        if value is not None:
            raise InputError(
                f"--{name} {value} is for images in a folder; write --out DIR/ with a "
                "slash at the end, or leave it out"
            )
    draw(model, Path(out), **how)


def is_folder(out: str) -> bool:
    """Say whether that is a folder: one that is there, or a name with a slash."""
    import os

    return out.endswith(("/", os.sep)) or os.path.isdir(out)


def draw_many(
    model, folder, *, format, memory, cluster, classes, count, order, columns,
    steps_dir, gif, backend, threads, batch, as_json, control, scale, config, **how,
):  # fmt: skip
    """Draw what `sample` asks for into a folder, or what of it is missing there."""
    from contextlib import ExitStack

    from minigen import many
    from minigen.backends import fastest
    from minigen.commands.halves import halved
    from minigen.finding import config_of
    from minigen.pipeline import fill
    from minigen.show.recipe import Recipe, size, to_json

    for name, value in (("columns", columns), ("steps-dir", steps_dir), ("gif", gif)):
        if value is not None:
            raise InputError(
                f"--{name} {value} is for one picture of all images; a folder holds a "
                "file for each: leave it out, or give --out FILE.png"
            )
    told = o.told(config, {name: how.pop(name) for name in o.FIELDS})
    labels, _ = o.read_labels(classes, config_of(model, told), count)
    found = many.read(folder)
    if backend == "auto" and found is not None:
        # the bits are those of the backend that it was begun with
        backend = found.recipe.versions.get("backend", backend)
    if backend == "auto" and cluster is not None:
        backend = fastest()
    if cluster is not None and threads is not None:
        raise InputError(
            f"--threads {threads} is for this process, and a cluster's workers draw; "
            "say it where they are started, by NUMBA_NUM_THREADS"
        )
    recipe = Recipe(
        model=model, labels=tuple(labels[:1]), order=o.read_order(order), scale=scale,
        **how,
    )  # fmt: skip
    start = time.perf_counter()
    # a process that only plans needs no kernels
    here = backend if cluster is None else "numpy"
    images = len(labels)
    with warnings.catch_warnings():
        # what is assumed is said at the end
        warnings.filterwarnings("ignore", ".* a rule")
        how = {"images": images, "told": told}
        pipe, plan, recipe = prepare(recipe, here, threads, batch, control, **how)
    if cluster is not None:
        versions = {**recipe.versions, "backend": backend}
        recipe = replace(recipe, versions=versions)
    manifest = many.manifest_of(recipe, labels, format or "png")
    done, before = 0, None
    with ExitStack() as stack:
        if cluster is None:
            stack.enter_context(halved(pipe.backend, model, recipe.tokenizer))
        tell = stack.enter_context(counting("drawing", "images", pipe.backend))

        def note(there, total):
            nonlocal done, before
            done, before = there, there if before is None else before
            tell(there, total)

        try:
            fill(pipe, manifest, folder, batch, memory, cluster, note)
        except BaseException:
            if done and done < images:
                complain(
                    f"{done:,} of {images:,} images are in {folder}; the same command "
                    "goes on"
                )
            raise
    seconds = time.perf_counter() - start
    if as_json:
        say_json({
            "folder": folder, "images": images, "drawn": done - before,
            "seconds": round(seconds, 3), "recipe": to_json(manifest.recipe),
            "sources": sources_of(pipe),
        })  # fmt: skip
        return
    rows, across = size(pipe, recipe)
    drawn = f", {done - before:,} of them drawn now" if before else ""
    say(
        f"{folder}  {images:,} images of {across} x {rows}{drawn}, "
        f"{len(plan.groups)} steps, {seconds:.2f} s"
    )
    for line in said(pipe.generator):
        say(line)


def draw(
    model, out, *, classes, count, order, columns, steps_dir, gif, backend, threads,
    batch, as_json, config, control=None, grid=None, task=None, paste=False, **how,
):  # fmt: skip
    """Draw what a command asks for into a PNG, and say so.

    The options are those of `o.usual`; out: a path, or - for standard output; grid,
    control, task and paste are as for `prepare`.
    """
    from minigen.finding import config_of
    from minigen.show import files as written
    from minigen.show.grid import columns_for
    from minigen.show.recipe import Recipe, to_json

    to_stdout = str(out) == "-"
    if to_stdout and as_json:
        raise InputError("--out - and --json both go to standard output; leave one out")
    if to_stdout:
        check_pipe()
    told = o.told(config, {name: how.pop(name) for name in o.FIELDS})
    labels, named = o.read_labels(classes, config_of(model, told), count)
    recipe = Recipe(
        model=model, labels=tuple(labels), order=o.read_order(order), grid=grid,
        columns=columns or columns_for(len(labels), named), **how,
    )  # fmt: skip
    _check_writable(None if to_stdout else out, steps_dir, gif)
    start = time.perf_counter()
    how = batch, control, task, paste
    with warnings.catch_warnings():
        # what is assumed is said at the end
        warnings.filterwarnings("ignore", ".* a rule")
        pipe, plan, recipe = prepare(recipe, backend, threads, *how, told=told)
    shown = slice(None) if steps_dir or gif else slice(-1, None)
    pictures = run(pipe, plan, recipe, batch, shown)
    files, last = _write_steps(pictures, len(plan.groups), steps_dir, gif)
    sheet, recipe = last[0], replace(last[1], step=None)
    if to_stdout:
        pour(written.encode("png", sheet, to_json(recipe)))
    else:
        files.insert(0, written.write_png(out, sheet, to_json(recipe)))
    seconds = time.perf_counter() - start
    if as_json:
        say_json({
            "files": files, "images": len(labels), "seconds": round(seconds, 3),
            "recipe": to_json(recipe), "sources": sources_of(pipe),
        })  # fmt: skip
        return
    rows, across = (n * pipe.tokenizer_config.factor for n in plan.grid)
    what = "1 image" if len(labels) == 1 else f"{len(labels)} images"
    speak = complain if to_stdout else say
    speak(
        f"{out}  {what} of {across} x {rows}, {len(plan.groups)} steps, {seconds:.2f} s"
    )
    for line in (*(files if to_stdout else files[1:]), *said(pipe.generator)):
        speak(line)


@reported
def steps(
    model: o.ModelName,
    classes: o.Classes,
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
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Draw the canvas in the terminal.")
    ] = False,
    scale: o.Scale = 1,
    steps_dir: o.StepsFolder = None,
    gif: o.Gif = None,
    tokenizer: o.Tokenizer = None,
    backend: o.Backend = "auto",
    threads: o.Threads = None,
    as_json: o.Json = False,
):
    """Draw images, and print a line or a picture after every step."""
    from minigen.finding import config_of
    from minigen.show.grid import text
    from minigen.show.recipe import Recipe, check, picture, to_json
    from minigen.show.recipe import steps as steps_of

    labels, _ = o.read_labels(classes, config_of(model))
    recipe = Recipe(
        model=model, tokenizer=tokenizer, labels=tuple(labels),
        seed=seed, first=first, steps=steps, order=o.read_order(order),
        schedule=schedule,
        guidance=guidance, guidance_schedule=guidance_schedule,
        guided_steps=guided_steps, temperature=temperature, top_k=top_k, top_p=top_p,
        positions=positions, guided_draw=guided_draw,
        confidence_noise=confidence_noise, reading=reading,
        known_reading=known_reading, scale=scale,
    )  # fmt: skip
    _check_writable(None, steps_dir, gif)
    pipe, plan, recipe = prepare(recipe, backend, threads, control=control)
    seen = pictures or steps_dir or gif
    check(pipe, plan, recipe, len(plan.groups) if seen else 0)
    rows, shown = [], []
    speak = (lambda line: None) if as_json else say
    for step in _compiled(steps_of(pipe, recipe), pipe.backend):
        rows.append(_row(step, pipe.kind.is_known(step.canvas)))
        if step.index == 0:
            speak(_header(rows[0]))
        speak(_line(rows[-1]))
        if seen:
            shown.append(picture(pipe, recipe, step.canvas, step.index + 1))
        if pictures and not as_json:
            show(text(shown[-1][0], colours=has_colours()))
    files, _ = _write_steps(shown, len(shown), steps_dir, gif)
    if as_json:
        say_json({"steps": rows, "files": files, "recipe": to_json(recipe)})
    for file in files:
        speak(file)


def prepare(
    recipe, backend, threads, batch=None, control=None, task=None, paste=False,
    images=None,
    told=None, shown=None,
):  # fmt: skip
    """Return the pipeline and the plan of a recipe, and the recipe, completed.

    images: how many the backend is chosen for, if not those of the recipe.

    control: the file of a picture that becomes the condition tokens of every image. The
    backend `auto` is decided here, by the work, and said on stderr. task: takes a
    pipeline and returns a `tasks.Task`, whose tokens complete the recipe, and with
    `paste` its pixels too. told: what no shape of the generator shows, by default what
    the recipe says of it. shown: rows and columns of the picture that it was read from,
    in pixels; another size is refused before anything is planned.
    """
    from minigen.backends import fastest, pick
    from minigen.checkpoints.sources import Given, Telling
    from minigen.models.codes import check_takes
    from minigen.pipeline import BATCH, assemble, load
    from minigen.show.recipe import (
        check_size,
        checked,
        control_of,
        known_of,
        plan_of,
        signed,
        with_task,
    )

    recipe = checked(recipe)
    if backend == "auto" and threads is not None:
        # NumPy has none to set
        backend = fastest()
    if backend != "auto":
        o.use_threads(threads, pick(backend)[0])
    first = "numpy" if backend == "auto" else backend
    if told is None and recipe.config:
        told = Telling((Given("option", "from the recipe", recipe.config),))
    pipe = load(recipe.model, recipe.tokenizer, first, config=told)
    if shown is not None:
        check_size(pipe, recipe, shown)
    if control is not None:
        check_takes(pipe.config, given=True)
    if task is None:
        plan = plan_of(pipe, recipe, known_of(pipe, recipe))
    else:
        task, order = task(pipe), (recipe.order, recipe.schedule, recipe.steps)
        plan = pipe.plan(*order, recipe.seed, grid=task.grid, known=task.known)
    if control is not None:
        recipe = controlled(recipe, pipe, plan, control)
    check_takes(pipe.config, recipe.control is not None)
    if backend == "auto":
        images = images or len(recipe.labels)
        backend, why = pipe.choose(plan, images, batch or BATCH)
        complain(f"backend: {why}")
    if backend != first:
        pipe = assemble(pipe.generator, pipe.tokenizer, backend)
    o.warn_of(pipe.backend)
    if task is not None:
        with progress(1, "encoding", pipe.backend):
            recipe = with_task(recipe, pipe, task, paste)
    control_of(pipe, recipe)
    return pipe, plan, signed(recipe, pipe)


def said(model):
    """Return lines on where came from what no shape of a model shows.

    A converted file that says it all itself, and was sure of it, needs none.
    """
    from minigen.checkpoints.sources import lines

    open_ = {n: s for n, s in model.sources.items() if s.kind != "own"}
    return lines(open_, model.unused)


def sources_of(pipe):
    """Return the same for a machine."""
    return {name: asdict(source) for name, source in pipe.generator.sources.items()}


def controlled(recipe, pipe, plan, path):
    """Return the recipe with the condition tokens of the picture in a file."""
    import numpy as np

    from minigen.images import read_image
    from minigen.show.recipe import with_control

    image = read_image(path)
    (y, x, _), factor = image.shape, pipe.tokenizer_config.factor
    rows, columns = (n * factor for n in plan.grid)
    if (y, x) != (rows, columns):
        raise InputError(
            f"--control {path} is {x} x {y} pixels; expected {columns} x {rows}, the "
            "size of the images: crop it, or pad it with black"
        )
    tokens = pipe.encode(image[None])
    return with_control(recipe, np.repeat(tokens, len(recipe.labels), axis=0))


def run(pipe, plan, recipe, batch, shown):
    """Draw with a progress bar; yield (sheet, recipe) of the steps in a slice.

    A sheet is made when it is asked for, so that no more than one need be kept.
    """
    from minigen.commands.halves import halved
    from minigen.pipeline import BATCH
    from minigen.show.recipe import canvases, check, picture

    batch, steps = batch or BATCH, len(plan.groups)
    chosen = range(steps)[shown]
    check(pipe, plan, recipe, len(chosen))
    total = steps * -(-len(recipe.labels) // batch) + len(chosen)
    halves = halved(pipe.backend, recipe.model, recipe.tokenizer)
    with halves, progress(total, "drawing", pipe.backend) as advance:
        after = canvases(pipe, recipe, chosen, batch, lambda step: advance())
        for index, canvas in zip(chosen, after, strict=True):
            yield picture(pipe, recipe, canvas, index + 1)
            advance()


def _compiled(steps, backend):
    """Yield the steps, with a progress bar during the first, which compiles kernels."""
    with progress(1, "drawing", backend):
        first = next(steps)
    yield first
    yield from steps


def _check_writable(out, steps_dir, gif):
    from minigen.writing import check_folder, check_writable

    if out:
        check_writable(out, ".png")
    if gif:
        check_writable(gif, ".gif")
    if steps_dir:
        check_folder(steps_dir)


def _write_steps(pictures, count, folder, gif):
    """Write the sheets of `count` steps to a folder or a GIF.

    Returns the files written, and the last picture. All are kept for a GIF alone.
    """
    from minigen.show import files
    from minigen.show.recipe import to_json
    from minigen.writing import make_folder

    written, sheets, last, digits = [], [], None, len(str(count))
    for last in pictures:
        image, recipe = last
        if folder:
            path = make_folder(folder) / f"step-{recipe.step:0{digits}}.png"
            written.append(files.write_png(path, image, to_json(recipe)))
        if gif:
            sheets.append(image)
    if gif:
        written.append(files.write_gif(gif, sheets, seconds=2.0))
    return written, last


def _row(step, known):
    """Describe a step in numbers: means over its images and positions."""
    import numpy as np

    row = {
        "step": step.index + 1,
        "positions": step.positions.tolist(),
        "tokens": step.tokens.tolist(),
        "known": int(known[0].sum()),
        "guidance": step.weight,
    }
    if step.probabilities is None:
        x = step.tokens.astype(np.float64)
        return {**row, "mean": float(x.mean()), "deviation": float(x.std())}
    p = step.probabilities.astype(np.float64)
    drawn = np.take_along_axis(p, step.tokens[..., None], -1)
    entropy = -(p * np.log2(np.where(p > 0, p, 1))).sum(-1)
    return {**row, "probability": drawn.mean().item(), "entropy": entropy.mean().item()}


def _header(row):
    return "step   new  known  guidance" + "".join(f"  {n:>11}" for n in list(row)[5:])


def _line(row):
    return (
        f"{row['step']:4}  {len(row['tokens'][0]):4}  {row['known']:5}  "
        f"{row['guidance']:8.2f}"
        + "".join(f"  {value:11.3f}" for value in list(row.values())[5:])
    )
