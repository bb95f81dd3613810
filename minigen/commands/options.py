"""The options that several commands share, each described once."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from minigen.checks import NO_CLASS, labels, outside, picture
from minigen.errors import InputError
from minigen.orders import ORDERS, PER_IMAGE
from minigen.words import complain


def ships(begun: str) -> list[str]:
    from minigen.catalogue import WEIGHTS

    names = sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))
    return [name for name in names if name.startswith(begun)]


def names(module: str, *tables: str) -> Callable[[str], list[str]]:
    """Return a shell completion for the names in tables, imported only when asked."""

    def complete(begun: str) -> list[str]:
        found = importlib.import_module(module)
        names = (name for table in tables for name in getattr(found, table))
        return [name for name in names if name.startswith(begun)]

    return complete


OWN = "the model's own"
"""What is shown as the default of an option that a model has a setting for."""

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model that ships, or a weight file.",
        autocompletion=ships,
    ),
]
Classes = Annotated[
    list[str],
    typer.Option(
        "--class",
        "-c",
        metavar="N|NAME",
        help="Class to draw: 7, or several: 3,7 or 0-9, or none; or, of ImageNet's "
        "1000, a name, as `minigen classes` lists them; may be repeated.",
    ),
]


def count(said: str, most: int | None = None):
    """Return an option that takes a number of 1 .. most; said: its help."""
    return typer.Option(min=1, max=most, metavar="N", help=said)


Count = Annotated[int, count("Images of each class.")]
Seed = Annotated[
    int, typer.Option(metavar="N", help="The same seed draws the same images.")
]
First = Annotated[
    int,
    typer.Option(
        min=0, metavar="N", help="Number of the first image, to split a run in parts."
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Decoding steps; 16, or a step for each token, if not said."
    ),
]
*_FIRST, _LAST = *ORDERS, *PER_IMAGE
Order = Annotated[
    str | None,
    typer.Option(
        show_default=OWN,
        metavar="NAME|LIST|FILE",
        autocompletion=names("minigen.orders", "ORDERS", "PER_IMAGE"),
        help=f"{', '.join(_FIRST)} (another for every image) or {_LAST} (the most "
        "certain first, of all that is unknown: slower); or the positions themselves, "
        "as 5,0,3, or a file with them. `minigen info MODEL` shows which settings are "
        "the model's own.",
    ),
]
OrderName = Annotated[
    str | None,
    typer.Option(
        show_default=OWN,
        metavar="NAME",
        autocompletion=names("minigen.orders", "ORDERS", "PER_IMAGE"),
        help="The order.",
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        show_default=OWN,
        metavar="NAME",
        help="Tokens a step: arccos, cosine, linear or one.",
        autocompletion=names("minigen.plans", "SCHEDULES"),
    ),
]
_GUIDANCE = "Guidance weight: 1 is no guidance, more follows the class more closely."
Guidance = Annotated[
    float | None, typer.Option(show_default=OWN, metavar="X", help=_GUIDANCE)
]
GuidanceWeight = Annotated[float, typer.Option(metavar="X", help=_GUIDANCE)]
GuidanceSchedule = Annotated[
    str | None,
    typer.Option(
        show_default=OWN, metavar="NAME", help="linear: rises to the weight; constant."
    ),
]
GuidedSteps = Annotated[
    int | None,
    typer.Option(metavar="N", help="Guide the first N steps only; all, if not said."),
]
Temperature = Annotated[
    float | None,
    typer.Option(show_default=OWN, metavar="X", help="Below 1 safer, above 1 wilder."),
]
TopK = Annotated[
    int, typer.Option(metavar="N", help="Draw from the N likeliest; 0 is all.")
]
TopP = Annotated[
    float,
    typer.Option(metavar="X", help="Draw from the likeliest that reach X; 1 is all."),
]
Positions = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Of AiM: released, as the original draws, or trained, one row earlier.",
    ),
]
GuidedDraw = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Of ARINAR: candidates, as the original draws under guidance, or grid, "
        "the exact density.",
    ),
]
ConfidenceNoise = Annotated[
    float,
    typer.Option(
        metavar="X",
        help="Of the order confidence: how much chance, falling to none, decides which "
        "tokens are kept.",
    ),
]
Reading = Annotated[
    str | None,
    typer.Option(
        show_default=OWN,
        metavar="NAME",
        help="Of ARPG: block, the tokens of a step see each other, as the original "
        "draws; or causal, one after another, as it was trained.",
    ),
]
KnownReading = Annotated[
    str,
    typer.Option(metavar="NAME", help="Of ARPG: the same, of known tokens."),
]
Control = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Of a model with control: the picture of an outline, white on black, of "
        "the size of the images; every image follows it.",
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="The generator's tokenizer, if none ships."),
]
Backend = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        autocompletion=names("minigen.backends", "BACKENDS"),
        help="numpy, numba, cuda (an NVIDIA GPU), interpreter or ptx (CUDA kernels "
        "without a GPU: their source, thousands of times slower, or what the compiler "
        "makes of it, hundreds); auto is numpy for a few images of a small model, else "
        "the fastest that is here.",
    ),
]
Threads = Annotated[int | None, count("Threads of the numba backend.")]
Batch = Annotated[int | None, count("Images drawn together; pixels do not change.")]
StepsFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write the canvas after every step.")
]
Gif = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the steps as an animation.")
]
Out = Annotated[
    Path, typer.Option(metavar="FILE", help="The PNG; many images are a grid.")
]
OutOrFolder = Annotated[
    str,
    typer.Option(
        metavar="FILE|DIR/",
        help="The PNG, in which many images are a grid; a folder (one that is there, "
        "or with a slash) gets a file for each, and what was stopped goes on; - is "
        "standard output.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=names("minigen.show.files", "FORMATS"),
        help="Of the images in a folder: png, webp (lossless), jpg or npz; png, if "
        "not said.",
    ),
]
MemoryBudget = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="What drawing may take, as 4GB: so many images are drawn together.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|local:N",
        help="Let the workers of a Dask scheduler draw the images of a folder, or N "
        "workers here.",
    ),
]
Columns = Annotated[int | None, count("Columns of the grid.")]
Scale = Annotated[int, count("Show each pixel as N x N pixels.")]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Where in the file the weights lie: ema, model, ..."
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A JSON file with fields of the model's configuration, in our names or in "
        "those of the original's arguments: what no shape of the weights shows.",
    ),
]
FIELDS = {
    "heads": (int, "heads of attention"), "key_heads": (int, "heads of keys"),
    "encoder_heads": (int, "heads of the encoder"),
    "decoder_heads": (int, "heads of the decoder"),
    "tokens": (int, "tokens of an image: 576 for 384 x 384 pixels"),
    "multiple_of": (int, "what the hidden width is rounded to"),
    "hidden_multiplier": (float, "what the hidden width is multiplied by"),
    "rope_base": (float, "base of the rotation of positions"),
    "norm_eps": (float, "epsilon of norms"),
    "groups": (int, "groups of heads in a mixer"),
    "norm_first": (bool, "whether a mixer's norm is before its gate"),
    "step_min": (float, "least step size of a mixer"),
    "step_max": (float, "largest step size of a mixer"),
    "patch": (int, "latents on a side of a token"),
    "inner_schedule": (str, "constant, linear or cosine within a token of ARINAR"),
    "behaviour": (str, "version of ARINAR's code: v1 (the released weights) or head"),
    "noise_steps": (int, "steps of MAR's diffusion head"),
}  # fmt: skip
"""What no shape of a generator shows, as options: type and help, by the field."""

MORE_FIELDS = {
    "classes": (int, "classes, if the last row of their table is one"),
    "unit_codes": (bool, "whether the codes of a VQ tokenizer have length 1"),
    "scale": (float, "what latents of a KL tokenizer are multiplied by"),
}
"""The same of tokenizers, and what an option of a draw has the name of."""

LONGEST = 2**20
"""Bytes of a file with an order: of the longest, about half as many."""

_LIST = re.compile(r"\[?[0-9]{1,9}(?:[\s,]+[0-9]{1,9})*\]?")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def usual(
    *,
    classes: Classes,
    count: Count = 1,
    steps: Steps = None,
    seed: Seed = 0,
    guidance: Guidance = None,
    guidance_schedule: GuidanceSchedule = None,
    guided_steps: GuidedSteps = None,
    order: Order = None,
    schedule: Schedule = None,
    temperature: Temperature = None,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    positions: Positions = "released",
    guided_draw: GuidedDraw = "candidates",
    confidence_noise: ConfidenceNoise = 0.0,
    reading: Reading = None,
    known_reading: KnownReading = "causal",
    control: Control = None,
    first: First = 0,
    batch: Batch = None,
    columns: Columns = None,
    scale: Scale = 1,
    steps_dir: StepsFolder = None,
    gif: Gif = None,
    config: Config = None,
    tokenizer: Tokenizer = None,
    backend: Backend = "auto",
    threads: Threads = None,
    as_json: Json = False,
):
    """Take the options of every command that draws a picture; see `takes_usual`."""


def takes_usual(command: Callable) -> Callable:
    """Return a command that takes `**how`, with the options of `usual` in its place.

    And those of `FIELDS`.
    """
    shared = inspect.signature(usual, eval_str=True)
    return _takes(command, [*shared.parameters.values(), *_parameters(FIELDS)])


def takes_fields() -> Callable[[Callable], Callable]:
    """Return a decorator: a command takes an option for each field that may be open."""
    return lambda command: _takes(command, _parameters(FIELDS | MORE_FIELDS))


def _takes(command, more):
    # typer makes a command's options of its signature
    own = inspect.signature(command, eval_str=True)
    parameters = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    parameters += more
    command.__signature__ = own.replace(parameters=parameters)
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _parameters(named):
    metavars = {int: "N", float: "X", str: "NAME", bool: None}
    for name, (kind, said) in named.items():
        option = typer.Option(metavar=metavars[kind], help=f"Of the model: {said}.")
        annotation = Annotated[kind | None, option]
        keyword = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter(name, keyword, default=None, annotation=annotation)


def told(config: str | None, fields: dict):
    """Return what --config and the options of `FIELDS` say of a model."""
    from minigen.checkpoints.sources import telling

    return telling(config, fields, "from --{}")


def read_order(given: str | None) -> str | tuple[int, ...] | None:
    """Return an order: a name, or the positions that a text or a file lists.

    >>> read_order("halton"), read_order("5,0,3")
    ('halton', (5, 0, 3))
    """
    text, path = given, Path(given or "")
    with suppress(OSError, ValueError):
        # a name too long, or with NUL, is that of no file
        if given not in (*ORDERS, *PER_IMAGE) and path.is_file():
            if path.stat().st_size > LONGEST:
                raise InputError(
                    f"--order {given} is a file of more than {LONGEST} bytes"
                )
            text = path.read_text("utf-8", "replace").strip()
            if not _LIST.fullmatch(text):
                raise InputError(
                    f"--order {given} is a file without a list of positions; write "
                    "them as 5,0,3 or one a line"
                )
    if text is None or not _LIST.fullmatch(text):
        return given
    return tuple(map(int, re.findall("[0-9]+", text)))


def parse_numbers(option: str, given: str, example: str) -> tuple[int, ...]:
    """Return as many numbers from a text as an example has, or raise InputError.

    >>> parse_numbers("--grid", "8x16", "12x12")
    (8, 16)
    """
    pattern = re.sub("[0-9]+", "([0-9]{1,9})", example)
    found = re.fullmatch(pattern, given.strip())
    if not found:
        raise InputError(f"{option} {given[:60]!r} cannot be read; write {example}")
    return tuple(map(int, found.groups()))


def parse_classes(given: list[str], classes: int = 0) -> list[range]:
    """Return what the values of --class name, in their order, without expanding it.

    classes: of the model; if it has ImageNet's 1000, they have names too.

    >>> parse_classes(["3,7", "0-2", "none"])
    [range(3, 4), range(7, 8), range(0, 3), range(-1, 0)]
    >>> parse_classes(["golden retriever"], classes=1000)
    [range(207, 208)]
    """
    from minigen import imagenet

    ranges = []
    for part in (part.strip() for part in ",".join(given).split(",")):
        if part == "none":
            ranges.append(range(NO_CLASS, NO_CLASS + 1))
            continue
        first, dash, last = part.partition("-")
        if classes == imagenet.CLASSES and re.search("[^\\W\\d_]", part):
            number = imagenet.number_of(part)
            ranges.append(range(number, number + 1))
            continue
        if not re.fullmatch("[0-9]{1,9}(-[0-9]{1,9})?", part):
            raise InputError(
                f"--class {part[:60] or '(empty)'} is not a class number; write 7, or "
                "3,7, or 0-9, or none"
                + f" (names are for models of ImageNet's {imagenet.CLASSES} classes)"
                * (classes != imagenet.CLASSES)
            )
        ranges.append(range(int(first), int(last if dash else first) + 1))
        if not ranges[-1]:
            raise InputError(f"--class {part} names no class; write {last}-{first}")
    return ranges


def numbers(option: str, given: str) -> list[int]:
    """Return the numbers of at least 1 in a text such as "2,4,512"."""
    parts = [part.strip() for part in given.split(",")]
    if not all(re.fullmatch("[1-9][0-9]{0,5}", part) for part in parts):
        raise InputError(f"{option} {given[:60]!r} is not a list such as 2,4,512")
    return [*map(int, parts)]


Signature = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help='What the arrays are, such as "x (n d), w (d), eps -> y (n d)": of any '
        "kernel. The grammar is that of minigen/ops/README.md.",
    ),
]
Grid = Annotated[
    str | None,
    typer.Option(
        metavar="EXPR",
        help='Blocks, of any kernel: 4, n, or "(n + 31) // 32, d"; up to three.',
    ),
]
Block = Annotated[
    str | None,
    typer.Option(metavar="EXPR", help="Threads a block: 128, or 16,16; up to three."),
]
Dynamic = Annotated[
    str | None,
    typer.Option(metavar="EXPR", help="Bytes of dynamic shared memory: 4 * block."),
]
Dtypes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=DTYPE",
        help="Of an array or a number, such as ids=int32; repeatable. Default: "
        "float32, and int64 of an integer.",
    ),
]
Sizes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LETTER=N,N", help="Sizes to draw from, as n=32,64; repeatable."
    ),
]
Values = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=X,X",
        help="What to draw a number from, as eps=1e-5,1e-6; of an array x=0..1, the "
        "least and the most. Repeatable.",
    ),
]


def expect_pair(kernel, other, instead_of, against, signature) -> None:
    """Raise InputError unless any kernel comes with what it is held to."""
    if other is not None or instead_of is not None:
        raise InputError(
            f"--kernel and --as are about an op of ours; {kernel} is a kernel of yours"
        )
    for name, given in (("--against", against), ("--signature", signature)):
        if given is None:
            raise InputError(
                f"{kernel} needs {name}: write check FILE.py:KERNEL --against "
                'FILE.py:FUNCTION --signature "x (n d) -> y (n d)" --grid n --block 32'
            )


def whole(given: str):
    """Return a text that is a whole number as one; any other as it is."""
    return int(given) if re.fullmatch(r"\d{1,9}", given.strip()) else given


def dtypes(given: list[str] | None) -> dict | None:
    """Return {name: dtype} of the values of --dtype."""
    return given and dict(named("--dtype", "ids=int32", each) for each in given)


def sizes(given: list[str] | None) -> dict | None:
    """Return {letter: sizes} of the values of --size."""
    pairs = (named("--size", "n=32,64", each) for each in given or ())
    return {name: numbers("--size", text) for name, text in pairs} or None


def values(given: list[str] | None) -> dict | None:
    """Return {name: values to draw from, or least and most} of the values of --value.

    >>> values(["eps=1e-5,1", "x=0..2"])
    {'eps': (1e-05, 1.0), 'x': (0.0, 2.0)}
    """
    found = {}
    for each in given or ():
        name, text = named("--value", "eps=1e-5,1e-6", each)
        try:
            found[name] = tuple(map(float, re.split(r",|\.\.", text)))
        except ValueError:
            raise InputError(
                f"--value {each[:60]!r} holds what is no number; write eps=1e-5,1e-6 "
                "or x=0..1"
            ) from None
    return found or None


def named(option, form, given):
    """Return the two sides of NAME=VALUE, or raise InputError."""
    name, equals, value = given.partition("=")
    if not (equals and name.strip() and value.strip()):
        raise InputError(f"{option} {given[:60]!r} is not of the form {form}")
    return name.strip(), value.strip()


def read_labels(given: list[str], config, count: int = 1) -> tuple[list[int], int]:
    """Return a label for each image, and how many classes the values of --class name.

    config: of the generator, which says how many classes there are; count: images of
    each class. The number of images is checked before the ranges are expanded.
    """
    ranges = parse_classes(given, config.classes)
    for part in ranges:
        if outside(part, config.classes):
            labels(part, config.classes)
    named = sum(map(len, ranges))
    picture(
        named * count * config.tokens,
        f"draw fewer than {named * count} images, or in parts, with --first",
    )
    return [c for part in ranges for c in part for _ in range(count)], named


def warn_of(backend: str) -> None:
    """Warn on stderr that the backend is slow, if it is one for tests of kernels."""
    if backend == "ptx":
        complain(
            "ptx runs every instruction of every kernel in NumPy: it is for tests of "
            "kernels, and a model that ships takes minutes"
        )
    if backend == "interpreter":
        complain(
            "the interpreter runs every thread of every kernel in Python: it is for "
            "tests of kernels, and a model that ships takes hours"
        )


def use_threads(threads: int | None, backend: str) -> None:
    """Let kernels run on that many threads, or raise InputError."""
    if threads is None:
        return
    if backend != "numba":
        raise InputError(f"--threads is for the numba backend; this one is {backend}")
    from minigen.target import numba
    from minigen.threads import count

    most = numba.config.NUMBA_NUM_THREADS
    if threads > most:
        raise InputError(f"--threads {threads} is more than the {most} there are")
    # raises an error that says why, if threads cannot be started
    count()
    numba.set_num_threads(threads)
