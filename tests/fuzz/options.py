"""Option sets drawn at random for every command, through the command line's parser.

    python -m tests.fuzz options --count 2000 --seed 0

Where a command would begin to draw, compile or measure it is stopped, most of the time:
what it asks for has been checked by then.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from pathlib import Path
from typing import get_type_hints
from unittest import mock

from minigen.catalogue import WEIGHTS
from minigen.errors import MinigenError
from tests.fuzz import running

WHOLES = (
    "0", "1", "2", "3", "-1", "64", "65537", "4294967294", "4294967295", "1000000000",
    "18446744073709551616", "9" * 5000, "2.0", "1e8", "nan", "x", "", " 2", "\uff13",
)  # fmt: skip
NUMBERS = (
    "0", "1", "0.5", "1.5", "-1", "-0.0", "nan", "inf", "-inf", "1e39", "1e308", "x",
    "", "1e-300", "4", "9" * 400,
)  # fmt: skip
CLASSES = (
    "7", "3,7", "0-9", "9-0", "3-", "-3", "10", "0-999999999", "", ",", "x", "\u00b2",
    "1e3", "0x1", "7,7,7", "9" * 5000, "0-9," * 2000 + "0",
)  # fmt: skip
MODELS = (
    "arpg-mnist", "arpg-mnist", "gpt-mnist", "aim-mnist", "arinar-mnist", "mar-mnist",
    "arpg-mnist-control", "vq-mnist", "kl-mnist", "judge-mnist", "arpg-mnits", "arpg-l",
    "aim-b", "gpt-b",
)  # fmt: skip
FILES = (
    "a.png", "a.gif", "a.json", "a.safetensors", "base.png", "text", "fifo", ".",
    "none", "none/a.png", "/dev/zero", "", "a\0b", "\ud800", "x" * 5000, "\x1b[31m.png",
)  # fmt: skip
NAMES = (
    "numpy", "numba", "cuda", "nunpy", "auto", "raster", "halton", "halten", "random",
    "arccos", "one", "linear", "constant", "released", "trained", "grid", "candidates",
    "confidence", "float32", "bfloat16", "float61", "arpg", "vq", "v1", "head", "ema",
    "kernels", "rms_norm", "steps=1,2", "steps=x", "top-k=1", "a=", "=", "text:f", "",
    "\x1b[0m", *MODELS,
)  # fmt: skip

GOOD = {
    "model": MODELS[:7], "source": ("weights.safetensors",), "generator": ("arpg-l",),
    "tokenizer": ("vq-mnist", "kl-mnist", "vq-16"), "classes": ("7", "3,7", "0-9"),
    "count": ("1", "2"), "steps": ("1", "16", "64"), "seed": ("0",), "first": ("9",),
    "order": ("raster", "confidence"), "schedule": ("arccos", "one", "linear"),
    "guidance": ("1", "0", "4.5", "-2"), "guidance_schedule": ("constant", "linear"),
    "guided_steps": ("1", "64"), "temperature": ("1", "0", "0.5"), "top_k": ("0", "5"),
    "top_p": ("1", "0.5"), "positions": ("released", "trained"), "columns": ("1", "3"),
    "guided_draw": ("candidates", "grid"), "batch": ("1", "8"), "scale": ("1", "2"),
    "backend": ("numpy", "numba", "interpreter", "auto"), "threads": ("1",),
    "out": ("a.png", "a.safetensors"), "gif": ("a.gif",), "steps_dir": ("all",),
    "picture": ("base.png",), "dtype": ("float32", "bfloat16"), "runs": ("1",),
    "sweep": ("steps=1,2", "order=raster,halton"), "key": ("ema",), "op": ("guide",),
    "examples": ("1", "2"), "family": ("arpg", "vq"), "behaviour": ("v1", "head"),
    "box": ("0,0,4,4", "8,8,24,24"), "keep": ("top", "centre"), "fit": ("crop", "pad"),
    "mask": ("base.png",), "border": ("4", "0,0,8,4"), "grid": ("8x8", "12x12", "3x2"),
    "tokens": ("1", "64"), "weights": ("float32",), "block": ("32",),
    "confidence_noise": ("0", "4.5"), "results": ("a.jsonl",), "table": ("a.md",),
    "control": ("base.png",),
}  # fmt: skip
"""Values that options are given most of the time, so that others are looked at too."""

OFTEN = {"sample": 6, "steps": 4, "evaluate": 4, "replay": 3, "convert": 3}
"""How much more often than others a command is drawn."""


class Enough(MinigenError):
    """Raised where a command would begin to work."""


def main(arguments) -> int:
    """Run drawn option sets, print what became of them, and return an exit status."""
    return running.main("options", arguments, 2000, prepare, draw, "called")


def prepare() -> dict:
    """Lay out files that options may name; return each command's parser and types."""
    from minigen.cli import app

    os.mkfifo("fifo")
    Path("text").write_text("no picture, no weights")
    shutil.copy(WEIGHTS / "arpg-mnist.safetensors", "weights.safetensors")
    how = "sample arpg-mnist -c 7 --steps 1 --backend numpy --out base.png"
    assert running.invoke(how.split()).exit_code == 0
    return dict(_leaves(app, ()))


def draw(chance: random.Random, commands: dict):
    """Return the arguments of a command, and a context to run it in."""
    often = [OFTEN.get(names[0], 1) for names in commands]
    (names,) = chance.choices([*commands], often)
    arguments = list(names)
    parser, types = commands[names]
    for parameter in parser.params:
        if parameter.name in ("install_completion", "show_completion"):
            # they write to the shell's own files
            continue
        given = parameter.required or parameter.param_type_name == "argument"
        if chance.random() < (0.97 if given else 0.25):
            if parameter.param_type_name == "option":
                arguments.append(chance.choice(parameter.opts))
            if not getattr(parameter, "is_flag", False):
                arguments.append(
                    _value(chance, parameter.name, types.get(parameter.name))
                )
    if chance.random() < 0.05:
        arguments.insert(chance.randrange(len(arguments)), chance.choice(NAMES))
    # few real images: one model, one step, the backend that compiles nothing
    real = names[0] in ("sample", "steps") and chance.random() < 0.05
    if real:
        arguments = [*names, "arpg-mnist", "-c", chance.choice(CLASSES[:3])]
        arguments += ["--backend", "numpy", "--steps", "1"]
        arguments += [
            "--scale",
            chance.choice(WHOLES),
            "--columns",
            chance.choice(WHOLES),
        ]
    return arguments, contextlib.nullcontext() if real else stopped()


@contextlib.contextmanager
def stopped():
    """Let every command stop where it would begin to draw, compile or measure."""
    places = (
        "minigen.sample.decode", "minigen.commands.machine.exercise",
        "minigen.bench.weights.draw", "minigen.bench.process.start",
        "minigen.bench.backends._run", "minigen.bench.rungs._seconds",
        "minigen.checking.referee.check_kernels",
        "minigen.checking.referee.check_function", "minigen.evaluate.look",
    )  # fmt: skip
    nothing = Path("kernels"), 0, 0
    with (
        mock.patch("minigen.doctor.clear_cache", lambda: nothing),
        contextlib.ExitStack() as stack,
    ):
        for place in places:
            stack.enter_context(mock.patch(place, _enough))
        yield


def _enough(*arguments, **options):
    raise Enough("here the work would begin")


def _leaves(app, names):
    from typer.main import get_command, get_command_name

    parsers = get_command(app).commands
    for info in app.registered_commands:
        name = info.name or get_command_name(info.callback.__name__)
        yield (*names, name), (parsers[name], get_type_hints(info.callback))
    for group in app.registered_groups:
        yield from _leaves(group.typer_instance, (*names, group.name))


def _value(chance, name, kind):
    if name in GOOD and chance.random() < 0.85:
        return chance.choice(GOOD[name])
    if chance.random() < 0.05:
        return chance.choice((*WHOLES, *NUMBERS, *FILES, *NAMES))
    if name == "classes":
        return chance.choice(CLASSES)
    if name in ("model", "generator", "tokenizer", "source"):
        return chance.choice((*MODELS, *MODELS, *FILES))
    if "int" in str(kind):
        return chance.choice(WHOLES)
    if "float" in str(kind):
        return chance.choice(NUMBERS)
    return chance.choice(FILES if "Path" in str(kind) else NAMES)
