"""bench: time full-size models with stand-in weights, and write such weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from minigen.commands import options as o
from minigen.commands.terminal import (
    duration,
    gigabytes,
    new_app,
    reported,
    say,
    say_json,
    table,
)
from minigen.errors import InputError

app = new_app("Time full-size models; no download is needed.")

Dtype = Annotated[
    str, typer.Option(metavar="NAME", help="float32, bfloat16 or float16.")
]


@app.command()
@reported
def cpu(
    generator: Annotated[str, typer.Argument(metavar="GENERATOR")] = "arpg-l",
    tokenizer: Annotated[str, typer.Argument(metavar="TOKENIZER")] = "vq-16",
    dtype: Dtype = "float32",
    runs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Images drawn on each side.")
    ] = 3,
    steps: o.Steps = 64,
    schedule: o.Schedule = "arccos",
    guidance: o.Guidance = 4.5,
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="Images drawn together.")
    ] = 1,
    backend: o.Backend = "auto",
    threads: o.Threads = None,
    as_json: o.Json = False,
):
    """Time an image of a full-size model, beside its PyTorch twin.

    Weights are stand-ins. Both programs run in a process of their own and take turns;
    the limit is what this machine's memory and multipliers allow.
    """
    from minigen import backends

    # the ceilings are measured with kernels, whatever backend is timed
    backends.pick("numba")
    from minigen.bench.compare import Job, compare, to_json
    from minigen.target import numba

    job = Job(
        generator=generator, tokenizer=tokenizer, dtype=dtype, steps=steps,
        schedule=schedule, guidance=guidance, batch=batch, backend=backend,
        threads=threads or numba.config.NUMBA_NUM_THREADS,
    )  # fmt: skip
    found = compare(job, runs, _tell)
    if as_json:
        say_json(to_json(found))
        return
    _print(found)


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
):
    """Time kernels, launches and images of ARPG-L on an NVIDIA GPU.

    Weights are stand-ins. Ceilings are measured in the same run. Takes some minutes; a
    run that was cut short goes on where it stopped, given the same FILE.
    """
    from minigen.bench.gpu import PARTS, bench, report
    from minigen.show.files import check_file

    chosen = tuple(part or PARTS)
    for name in chosen:
        if name not in PARTS:
            raise InputError(f"--part {name!r} is not one of {', '.join(PARTS)}")
    if out:
        check_file(out, ".json")
    found = bench(out, chosen, dtype, _tell_all)
    if sys.stderr.isatty():
        typer.echo("\r\x1b[K", err=True, nl=False)
    say(report.text(found))


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
    from minigen.config import PRESETS

    if model not in PRESETS:
        raise InputError(f"{model!r} is not a preset; choose {', '.join(PRESETS)}")
    size = write(PRESETS[model], out, dtype)
    if as_json:
        say_json({"file": out, "bytes": size, "dtype": dtype, "model": model})
    else:
        say(f"{out}  {gigabytes(size)}, {model} in {dtype}, stand-in weights")


def _tell(text):
    # one line that is overwritten, on a terminal only
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{text}", err=True, nl=False)


def _tell_all(text):
    # where nobody watches, every line: it says how far a run came that was cut short
    if sys.stderr.isatty():
        _tell(text)
    else:
        typer.echo(text, err=True)


def _print(found):
    from minigen.bench.compare import PARTS, seconds

    if sys.stderr.isatty():
        typer.echo("\r\x1b[K", err=True, nl=False)
    job = found.job
    say(f"{job.generator} with {job.tokenizer}, {job.dtype}, {job.steps} steps, "
        f"guidance {job.guidance}, batch {job.batch}, {job.threads} threads, "
        f"medians of {len(found.ours.runs)}\n")  # fmt: skip
    sides = [found.ours] if found.twin is None else [found.ours, found.twin]
    rows = [("", "minigen", "pytorch", "limit")]
    for part in PARTS:
        times = [duration(side.median(part)) for side in sides]
        rows.append((part, *_pad(times), duration(seconds(found, part))))
    peaks = [gigabytes(side.peak_bytes) for side in sides]
    rows.append(("peak memory", *_pad(peaks), ""))
    say(table(rows, right=(1, 2, 3)))
    say()
    if found.ratio is None:
        say('pytorch is not installed, so ours ran alone: pip install "minigen[train]"')
    else:
        say(f"pytorch takes {found.ratio:.2f} times as long (median of paired runs)")
    share = seconds(found, "image") / found.ours.median("image")
    say(f"minigen reaches {share:.0%} of the limit")
    say()
    _print_limit(found)


def _print_limit(found):
    from minigen.bench.compare import seconds

    top = found.ceilings
    say(f"limit: {top.bandwidth / 1e9:.1f} GB/s read and {top.peak / 1e9:.0f} GFLOP/s, "
        f"measured on {top.threads} threads in this run\n")  # fmt: skip
    rows = [("", "read", "operations", "at least")]
    for part, steps in (
        ("tokens", found.work["tokens"]),
        ("pixels", [found.work["pixels"]]),
    ):
        read = sum(step.bytes for step in steps)
        operations = sum(step.operations for step in steps) / 1e9
        rows.append((part, gigabytes(read), f"{operations:.3g} GFLOP",
                     duration(seconds(found, part))))  # fmt: skip
    say(table(rows, right=(1, 2, 3)))


def _pad(cells):
    return (*cells, "-")[:2]
