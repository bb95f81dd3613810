"""bench: time full-size models with stand-in weights, and write such weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from minigen.checks import choice
from minigen.commands import options as o
from minigen.commands.terminal import (
    complain,
    new_app,
    reported,
    say,
    say_json,
    say_text,
    tell,
)
from minigen.words import gigabytes, markdown

app = new_app("Time full-size models; no download is needed.")

MOST = 1000
"""The most runs of a measurement, and the most images drawn together."""

Dtype = Annotated[
    str, typer.Option(metavar="NAME", help="float32, bfloat16 or float16.")
]
Save = Annotated[
    bool,
    typer.Option("--save", help="Write the results, and what they were measured on."),
]
Folder = Annotated[Path, typer.Option(metavar="DIR", help="Where results of runs lie.")]
FOLDER = Path("tests/bench_results")
Bars = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Also draw bars.")]


@app.command()
@reported
def cpu(
    generator: Annotated[str, typer.Argument(metavar="GENERATOR")] = "arpg-l",
    tokenizer: Annotated[
        str | None,
        typer.Argument(metavar="TOKENIZER", help="Default: vq-16, kl-16, or its own."),
    ] = None,
    dtype: Dtype = "float32",
    runs: Annotated[int, o.count("Images drawn on each side.", MOST)] = 3,
    steps: o.Steps = None,
    schedule: o.Schedule = None,
    tokens: Annotated[
        int | None,
        o.count("Draw the first N of an image, where each is a step. Default: 64."),
    ] = None,
    every: Annotated[
        int | None,
        o.count(
            "Of ARINAR and MAR, which read all tokens again in every step: run one "
            "step in N, and estimate the others. 1 runs all. Default: 8."
        ),
    ] = None,
    guidance: o.GuidanceWeight = 4.5,
    batch: Annotated[int, o.count("Images drawn together.", MOST)] = 1,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="eager PyTorch, onednn (weights packed once) or compile "
            "(torch.compile); repeatable, or with commas. Default: eager.",
        ),
    ] = None,
    backend: o.Backend = "auto",
    threads: o.Threads = None,
    as_json: o.Json = False,
    save: Save = False,
    folder: Folder = FOLDER,
):
    """Time an image of a full-size model, beside its PyTorch twin.

    Of models that draw one token a step (AiM, LlamaGen) some tokens are drawn; of
    ARINAR and MAR some steps run, and the image is estimated from them. Weights are
    stand-ins. All sides run in a process of their own and take turns; the limit is
    what this machine's memory and multipliers allow.
    """
    from minigen import backends

    backend, _ = backends.pick(backend)
    o.warn_of(backend)
    # the ceilings are measured with kernels, whatever backend is timed
    backends.pick("numba")
    from minigen.bench.compare import Job, compare, decoder_of, to_json
    from minigen.target import numba

    job = Job(
        generator=generator, tokenizer=tokenizer or decoder_of(generator), dtype=dtype,
        steps=steps, schedule=schedule, guidance=guidance, batch=batch, backend=backend,
        tokens=tokens, every=every,
        threads=threads or numba.config.NUMBA_NUM_THREADS,
    )  # fmt: skip
    found = compare(job, runs, against, tell)
    tell()
    values, settled = to_json(found), found.job
    if as_json:
        say_json(values)
    else:
        from minigen.bench import report

        say_text(report.comparison(found))
    if save:
        amount = settled.generator, settled.dtype, f"batch {batch}"
        _save(as_json, "cpu", (*amount, *[*found.sides][1:]), values, folder)


@app.command()
@reported
def products(
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRESET",
            help="Whose weights' shapes; repeatable, or with commas. Default: all.",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="float32 or bfloat16. Default: both."),
    ] = None,
    rows: Annotated[
        str | None, typer.Option(metavar="N,N", help="Numbers of rows. Default: 2-512.")
    ] = None,
    runs: Annotated[int, o.count("Runs on each side.", MOST)] = 5,
    threads: o.Threads = None,
    as_json: o.Json = False,
    save: Save = False,
    folder: Folder = FOLDER,
):
    """Time products of rows and weights, beside OpenBLAS, PyTorch and oneDNN.

    All shapes that models known by name multiply by, with 2 to 512 rows. Weights come
    from memory, results are checked, sides run in turns.
    """
    from minigen import backends

    backends.pick("numba")
    from minigen.bench import products as measuring
    from minigen.families import PRESETS
    from minigen.target import numba

    names = [name.strip() for each in model or () for name in each.split(",")]
    found = measuring.measure(
        names or [*PRESETS],
        o.numbers("--rows", rows) if rows else measuring.ROWS,
        [dtype] if dtype else measuring.DTYPES,
        runs, threads or numba.config.NUMBA_NUM_THREADS, tell,
    )  # fmt: skip
    tell()
    values = measuring.to_json(found)
    if as_json:
        say_json(values)
    else:
        say_text(measuring.report(found))
    if save:
        _save(as_json, "products", names or ["all"], values, folder)


@app.command()
@reported
def tables(
    folder: Annotated[Path, typer.Argument(metavar="DIR")] = FOLDER,
    picture: Bars = None,
):
    """Print the README's tables of speed, in Markdown, from the results in a folder.

    The bars are those of its headlines.
    """
    from minigen.bench import results
    from minigen.bench.picture import write_bars
    from minigen.writing import check_writable

    if picture:
        check_writable(picture, ".png")
    found = results.load(folder)
    if picture:
        write_bars(picture, results.headlines(found))
    say_text(results.tables(found))


def _save(as_json, *what):
    from minigen.bench import results

    path = results.save(*what)
    # of JSON, stdout holds nothing else
    (complain if as_json else say)(f"results: {path}")


@app.command()
@reported
def growth(
    recurrent: Annotated[str, typer.Argument(metavar="AIM")] = "aim-b",
    transformer: Annotated[str, typer.Argument(metavar="GPT")] = "gpt-b",
    picture: Annotated[
        Path, typer.Option(metavar="FILE.png", help="Where the curves are drawn.")
    ] = Path("growth.png"),
    dtype: Dtype = "float32",
    runs: Annotated[int, o.count("Tokens at each position.", MOST)] = 50,
    backend: o.Backend = "auto",
    threads: o.Threads = None,
    as_json: o.Json = False,
):
    """Time a token, and count the bytes kept, at 16 to 4096 tokens of an image.

    AiM keeps a state, the transformer a KV cache. Weights are stand-ins, one image is
    drawn with both halves of guidance, positions take turns.
    """
    from minigen import backends
    from minigen.bench import growth as measuring
    from minigen.bench.picture import write
    from minigen.writing import check_writable

    names = recurrent, transformer
    measuring.check(names)
    check_writable(picture, ".png")
    o.warn_of(backend)
    o.use_threads(threads, backends.pick(backend)[0])
    found = measuring.measure(
        names, rounds=runs, dtype=dtype, backend=backend, say=tell
    )
    tell()
    write(picture, found)
    if as_json:
        say_json({**measuring.to_json(found), "picture": picture})
    else:
        from minigen.bench import report

        say_text(report.growth(found))
        say(f"picture: {picture}")


@app.command()
@reported
def threads(
    runs: Annotated[int, o.count("Calls for each number of threads.", MOST)] = 5,
    as_json: o.Json = False,
):
    """Time one thread beside all, with no, one and two busy processes on the machine.

    Prints medians as a Markdown table. Nothing else should run on the machine.
    """
    from dataclasses import asdict

    from minigen.bench import threads as measuring

    if not measuring.is_quiet():
        complain("other processes are running here: none of these times is a quiet one")
    found = measuring.measure(runs, tell)
    tell()
    if as_json:
        say_json([{**asdict(t), "median": t.median} for t in found])
    else:
        say_text(markdown(measuring.rows(found), right=range(1, 5)))


@app.command()
@reported
def rungs(
    runs: Annotated[int, o.count("Runs of each kernel.", MOST)] = 5,
    threads: o.Threads = None,
    as_json: o.Json = False,
):
    """Time the fast CPU kernels beside the plain ones, which are there to be read.

    Prints medians as a Markdown table. Nothing else should run on the machine.
    """
    from dataclasses import asdict

    from minigen import backends
    from minigen.bench.threads import is_quiet

    o.use_threads(threads, backends.pick("numba")[0])
    from minigen.bench import rungs as measuring

    if not is_quiet():
        complain("other processes are running here: none of these times is a quiet one")
    found = measuring.measure(runs, tell)
    tell()
    if as_json:
        say_json([{**asdict(t), "gain": t.gain} for t in found])
    else:
        say_text(markdown(measuring.rows(found), right=range(3, 6)))


@app.command()
@reported
def referee(
    kernels: Annotated[
        list[str] | None,
        typer.Argument(metavar="KERNEL...", help="Default: all seventeen."),
    ] = None,
    runs: Annotated[int, o.count("Launches of each kernel.", MOST)] = 5,
    as_json: o.Json = False,
):
    """Time textbook kernels without a GPU: Numba's simulator, interpreted, as PTX.

    Sides take turns, each in a process of its own; results are compared. Prints
    medians as a Markdown table. Nothing else should run on the machine.
    """
    from dataclasses import asdict

    from minigen import backends
    from minigen.bench.threads import is_quiet

    backends.pick("interpreter")
    from minigen.bench.referee import kernels as known
    from minigen.bench.referee import measuring

    for name in kernels or ():
        choice("KERNEL", name, known.CASES)
    if not is_quiet():
        complain("other processes are running here: none of these times is a quiet one")
    found = measuring.measure(kernels or [*known.CASES], runs, tell)
    tell()
    if as_json:
        say_json([asdict(one) for one in found])
    else:
        table = measuring.rows(found)
        say_text(markdown(table, right=range(1, len(table[0]))))


@app.command()
@reported
def backends(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL...", help="Default: all that ship."),
    ] = None,
    runs: Annotated[int, o.count("Calls of each kind.", MOST)] = 5,
    as_json: o.Json = False,
):
    """Time NumPy beside kernels, compiled and kept: what the backend auto decides by.

    Prints a Markdown table, from how many images on kernels are faster, and the lines
    of `minigen.choosing.TIMES`. Nothing else should run on the machine.
    """
    from dataclasses import asdict

    from minigen.bench import backends as measuring
    from minigen.bench.threads import is_quiet

    for model in models or ():
        choice("MODEL", model, measuring.MODELS)
    if not is_quiet():
        complain("other processes are running here: none of these times is a quiet one")
    found = measuring.measure(models or measuring.MODELS, runs, tell)
    tell()
    if as_json:
        say_json([asdict(one) for one in found])
    else:
        say_text(markdown(measuring.rows(found), right=range(1, 8)))
        say("", *measuring.source(found))


@app.command()
@reported
def heads(
    mixture: Annotated[str, typer.Argument(metavar="ARINAR")] = "arinar-b",
    diffusion: Annotated[str, typer.Argument(metavar="MAR")] = "mar-b",
    tokens: Annotated[int, o.count("Tokens drawn in a call.")] = 4,
    dtype: Dtype = "float32",
    runs: Annotated[int, o.count("Calls of each head.", MOST)] = 10,
    guidance: o.GuidanceWeight = 4.5,
    backend: o.Backend = "auto",
    threads: o.Threads = None,
    as_json: o.Json = False,
):
    """Time a token in ARINAR's head, which draws mixtures, and in MAR's, by diffusion.

    ARINAR's head draws in two ways: among candidates, as the original, and exactly.
    Weights are stand-ins, both halves of guidance run, heads take turns. By default a
    call draws 4 tokens, as a step does on average of 64 that draw 256.
    """
    from minigen import backends
    from minigen.bench import heads as measuring

    names = mixture, diffusion
    measuring.check(names)
    o.warn_of(backend)
    o.use_threads(threads, backends.pick(backend)[0])
    found = measuring.measure(
        names, tokens, runs, dtype=dtype, guidance=guidance, backend=backend, say=tell
    )
    tell()
    if as_json:
        say_json(measuring.to_json(found))
    else:
        from minigen.bench import report

        say_text(report.heads(found))


@app.command()
@reported
def headline(
    part: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PART", help="arpg-l, aim-b, aim-l or arinar-b; default: all."
        ),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=MOST,
            metavar="N",
            help="Images drawn together; repeatable. Default: 1, 4 and 16.",
        ),
    ] = None,
    runs: Annotated[int, o.count("Batches drawn by each side.", MOST)] = 3,
    tokens: Annotated[
        int | None,
        o.count(
            "Where a step draws one token, draw the first N of an image, and estimate "
            "the others. Default: all."
        ),
    ] = None,
    every: Annotated[
        int | None,
        o.count(
            "Of ARINAR and MAR run one step in N, and estimate the others. Default: 8."
        ),
    ] = None,
    dtype: Dtype = "float32",
    backend: o.Backend = "auto",
    threads: o.Threads = None,
    picture: Bars = None,
    as_json: o.Json = False,
    save: Save = False,
    folder: Folder = FOLDER,
):
    """Measure what the papers say of their models: times as fast, memory.

    ARPG beside a raster transformer, AiM beside transformers of its size, ARINAR beside
    MAR, at full size with stand-in weights, each side alone in a process. All parts
    take hours, most of them for batches of 16: name a part and a batch, and `--save`
    the results, of which `minigen bench tables` makes one table. Prints Markdown.
    """
    from minigen import backends
    from minigen.bench import headline as measuring
    from minigen.bench.picture import write_bars
    from minigen.target import numba
    from minigen.writing import check_writable

    names, batches = part or [*measuring.PARTS], batch or measuring.BATCHES
    for name in names:
        choice("part", name, measuring.PARTS)
    if picture:
        check_writable(picture, ".png")
    backend, _ = backends.pick(backend)
    o.warn_of(backend)
    options = dict(
        tokens=tokens, every=every, dtype=dtype, backend=backend,
        threads=threads or numba.config.NUMBA_NUM_THREADS,
    )  # fmt: skip
    parts = [measuring.PARTS[name] for name in names]
    found = measuring.measure(parts, batches, runs, _tell_all, **options)
    tell()
    values = measuring.to_json(names, batches, found, **options)
    if as_json:
        say_json(values)
    else:
        say_text(measuring.report(values))
    if picture:
        write_bars(picture, values)
    if save:
        what = (*names, *(f"batch {n}" for n in batches), dtype)
        _save(as_json, "headline", what, {"entries": values}, folder)


@app.command()
@reported
def runs(
    model: Annotated[str, typer.Argument(metavar="GENERATOR")] = "arpg-xxl",
    count: Annotated[int, o.count("Images of the run.")] = 50_000,
    machines: Annotated[
        str, typer.Option(metavar="N,N", help="Numbers of machines like this one.")
    ] = "1,8,64",
    steps: o.Steps = None,
    batch: Annotated[int, o.count("Images drawn together.", MOST)] = 1,
    batches: Annotated[int, o.count("Batches that are measured.", MOST)] = 1,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.001, metavar="X", help="Of an image, known before: draw nothing."
        ),
    ] = None,
    dtype: Dtype = "float32",
    backend: o.Backend = "auto",
    threads: o.Threads = None,
    as_json: o.Json = False,
):
    """Plan a run of many images: time some, and say what all cost on more machines.

    The weights are stand-ins. Prints Markdown.
    """
    from dataclasses import asdict

    from minigen import backends
    from minigen.bench import machine, runs
    from minigen.target import numba

    asked = o.numbers("--machines", machines)
    backend, _ = backends.pick(backend)
    o.warn_of(backend)
    most = threads or numba.config.NUMBA_NUM_THREADS
    how = {"steps": steps, "dtype": dtype, "backend": backend, "threads": most}
    found, what = None, f"{model}, as said"
    if seconds is None:
        found = runs.measure(model, batch, batches, **how)
        seconds = found.median / batch
        what = runs.measured(found, machine.about()["machine"])
    taken = seconds * batch, batch, count
    if as_json:
        plans = [asdict(runs.plan(*taken, n)) for n in asked]
        found = found and asdict(found)
        say_json({"measured": found, "images": count, "plans": plans})
        return
    say_text(runs.report(what, *taken, asked))


@app.command()
@reported
def gpu(
    out: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE.json",
            help="Write each part as it is done; one that is there is not run again.",
        ),
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="kernels, launch or images; repeatable. Default: all."
        ),
    ] = None,
    dtype: Dtype = "float32",
    generator: Annotated[
        str, typer.Option(metavar="PRESET", help="Which model draws the images.")
    ] = "arpg-l",
):
    """Time kernels, launches and images of a full-size model on an NVIDIA GPU.

    Weights are stand-ins. Ceilings are measured in the same run. Takes some minutes; a
    run that was cut short goes on where it stopped, given the same FILE.
    """
    from minigen.bench.gpu import PARTS, bench, report
    from minigen.families import PRESETS
    from minigen.writing import check_writable

    chosen = tuple(part or PARTS)
    for name in chosen:
        choice("--part", name, PARTS)
    drawing = (n for n, config in PRESETS.items() if hasattr(config, "tokens"))
    choice("--generator", generator, drawing)
    if out:
        check_writable(out, ".json")
    found = bench(out, chosen, dtype, _tell_all, generator)
    tell()
    say_text(report.text(found))


@app.command()
@reported
def weights(
    model: Annotated[str, typer.Argument(metavar="PRESET", help="Such as arpg-l.")],
    out: Annotated[Path, typer.Option(metavar="FILE.safetensors")],
    dtype: Dtype = "float32",
    as_json: o.Json = False,
):
    """Write a full-size checkpoint of stand-in weights, by the original's names."""
    from minigen.bench.weights import write
    from minigen.families import PRESETS

    choice("model", model, PRESETS)
    size = write(PRESETS[model], out, dtype)
    if as_json:
        say_json({"file": out, "bytes": size, "dtype": dtype, "model": model})
    else:
        say(f"{out}  {gigabytes(size)}, {model} in {dtype}, stand-in weights")


def _tell_all(text):
    # without a terminal print every line: a log shows how far a run has come
    if sys.stderr.isatty():
        tell(text)
    else:
        complain(text)
