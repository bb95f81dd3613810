"""The command line: `minigen sample arpg-mnist --class 7 --out seven.png`.

Each command lives in `minigen/commands/`; none imports NumPy or Numba before it runs.
"""

from __future__ import annotations

from minigen.commands import bench, check, evaluate, machine, models, replay, sample
from minigen.commands.terminal import new_app

app = new_app("Autoregressive image generators in NumPy and Numba, for CPU and GPU.")

app.command()(sample.sample)
app.command()(sample.steps)
app.command()(replay.replay)
app.command()(models.models)
app.command()(models.info)
app.command()(models.convert)
app.command()(evaluate.evaluate)
app.command()(check.check)
app.add_typer(bench.app, name="bench")
app.command()(machine.doctor)
app.command()(machine.warmup)


def main() -> None:
    """Run the command line; the entry point of the `minigen` script."""
    app()
