"""The command line: `minigen sample arpg-mnist --class 7 --out seven.png`.

Each command lives in `minigen/commands/`; none imports NumPy or Numba before it runs.
Exit status: 0 done, 1 a check failed, 2 bad usage or input, 3 a fault of minigen's own,
130 stopped with Ctrl-C, 141 nobody read on.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from minigen import __version__
from minigen.commands import (
    bench,
    check,
    evaluate,
    machine,
    models,
    profile,
    replay,
    sample,
    study,
    tasks,
    trace,
)
from minigen.commands.run import run as run_kernel
from minigen.commands.terminal import new_app, run, say

ABOUT = "Autoregressive image generators in NumPy and Numba, for CPU and GPU."


def _say_version(asked: bool) -> None:
    if asked:
        say(f"minigen {__version__}")
        raise typer.Exit


def _minigen(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_say_version, is_eager=True,
            help="Print the version and leave; doctor tells more.",
        ),
    ] = False,
) -> None:  # fmt: skip
    pass


app = new_app(ABOUT, completion=True)
app.callback(help=ABOUT)(_minigen)
app.command()(sample.sample)
app.command()(sample.steps)
app.command()(trace.trace)
for _task in (tasks.inpaint, tasks.outpaint, tasks.edit, tasks.expand):
    app.command()(_task)
app.command()(replay.replay)
app.command()(models.models)
app.command()(models.classes)
app.command()(models.info)
app.command()(models.convert)
app.command()(evaluate.evaluate)
app.add_typer(study.app, name="study")
app.command()(check.check)
app.command("run")(run_kernel)
app.command()(profile.profile)
app.add_typer(bench.app, name="bench")
app.command()(machine.doctor)
app.command()(machine.warmup)


def main() -> None:
    """Run the command line; the entry point of the `minigen` script."""
    sys.exit(run(app))
