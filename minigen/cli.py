"""The command line: `minigen sample arpg-mnist --class 7 --out seven.png`.

Each command lives in `minigen/commands/`; none imports NumPy or Numba before it runs.
"""

from __future__ import annotations

import typer

from minigen.commands import replay, sample

app = typer.Typer(
    name="minigen",
    help="Autoregressive image generators in NumPy and Numba, to read and to run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)

app.command()(sample.sample)
app.command()(sample.steps)
app.command()(replay.replay)


def main() -> None:
    """Run the command line; the entry point of the `minigen` script."""
    app()
