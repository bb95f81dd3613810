"""inpaint, edit, outpaint, expand: some tokens are known, or the grid is another."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from minigen.commands import options as o
from minigen.commands.sample import draw
from minigen.commands.terminal import reported
from minigen.errors import InputError

Picture = Annotated[
    Path, typer.Argument(metavar="PICTURE", help="A PNG, JPEG or WebP file.")
]
Mask = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="A picture of the same size, white where it is redrawn."
    ),
]
Box = Annotated[
    str | None,
    typer.Option(
        metavar="Y0,X0,Y1,X1",
        help="Redraw a box of pixels: its first row and column, and those behind it.",
    ),
]
Keep = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Redraw everything but the top, bottom, left, right or centre half.",
        autocompletion=o.names("minigen.tasks", "KEPT"),
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Bring a picture of any size to the model's: crop it, pad it (what is "
        "added is drawn), or stretch it.",
        autocompletion=o.names("minigen.tasks", "FITS"),
    ),
]
Paste = Annotated[
    bool,
    typer.Option(
        "--paste",
        help="Keep the pixels that are not redrawn exactly as they are; else what the "
        "tokenizer makes of them is shown.",
    ),
]
Border = Annotated[
    str | None,
    typer.Option(
        metavar="N|T,B,L,R",
        help="Pixels to draw on every side, or at the top, bottom, left and right.",
    ),
]
Grid = Annotated[
    str | None,
    typer.Option(
        metavar="ROWSxCOLUMNS",
        help="Tokens of the result, as 8x16. A grid larger than that of training is an "
        "extrapolation.",
    ),
]


@reported
@o.takes_usual
def inpaint(
    model: o.ModelName,
    picture: Picture,
    mask: Mask = None,
    box: Box = None,
    keep: Keep = None,
    fit: Fit = None,
    paste: Paste = False,
    out: o.Out = Path("inpaint.png"),
    **how,
):
    """Draw a part of a picture anew: a mask, a box, or all but a half.

    Whatever token a redrawn pixel touches is redrawn; --class is that of the picture.
    """
    task = partial(inpainting, picture, mask, box, keep, fit)
    draw(model, out, task=task, paste=paste, **how)


@reported
@o.takes_usual
def edit(
    model: o.ModelName,
    picture: Picture,
    mask: Mask = None,
    box: Box = None,
    keep: Keep = None,
    fit: Fit = None,
    paste: Paste = False,
    out: o.Out = Path("edit.png"),
    **how,
):
    """Draw a part of a picture anew, as another class: --class is what it becomes."""
    task = partial(inpainting, picture, mask, box, keep, fit)
    draw(model, out, task=task, paste=paste, **how)


@reported
@o.takes_usual
def outpaint(
    model: o.ModelName,
    picture: Picture,
    border: Border = None,
    grid: Grid = None,
    fit: Fit = None,
    paste: Paste = False,
    out: o.Out = Path("outpaint.png"),
    **how,
):
    """Draw what lies around a picture: a border, or a grid with it in the middle."""
    task = partial(outpainting, picture, border, grid, fit)
    draw(model, out, task=task, paste=paste, **how)


@reported
@o.takes_usual
def expand(
    model: o.ModelName,
    grid: Annotated[
        str,
        typer.Option(metavar="ROWSxCOLUMNS", help="Tokens of the result, as 8x16."),
    ],
    out: o.Out = Path("expand.png"),
    **how,
):
    """Draw images on another grid than that of training, larger or not square.

    The model has seen no such positions: what it draws there is an extrapolation.
    """
    draw(model, out, grid=parse_grid(grid), **how)


def parse_grid(given):
    return o.parse_numbers("--grid", given, "8x16")


def inpainting(picture, mask, box, keep, fit, pipe):
    """Return the `tasks.Task` of these options, for a pipeline."""
    from minigen import tasks
    from minigen.images import read_image

    given = [name for name in (mask, box, keep) if name is not None]
    if len(given) != 1:
        raise InputError(
            "what is redrawn is said by one of --mask, --box and --keep; "
            + ("leave the others out" if given else "give one of them")
        )
    image = read_image(picture)
    size = image.shape[:2]
    if box is not None:
        marked = tasks.box(o.parse_numbers("--box", box, "8,8,24,24"), size)
    elif keep is not None:
        marked = tasks.keep(keep, size)
    else:
        marked = read_image(mask).mean(-1) > 127
        if marked.shape != size:
            y, x = marked.shape
            raise InputError(
                f"the mask {mask} is {x} x {y} pixels, and its picture {size[1]} x "
                f"{size[0]}; make both alike"
            )
    tasks.check_mask(marked, size)
    image, marked = _fitted(picture, image, marked, fit, pipe)
    return tasks.inpainting(image, marked, pipe.tokenizer_config.factor)


def outpainting(picture, border, grid, fit, pipe):
    """Return the `tasks.Task` of these options, for a pipeline."""
    import numpy as np

    from minigen import tasks
    from minigen.images import read_image

    if border is not None:
        example = "8,8,0,0" if "," in border else "8"
        border = o.parse_numbers("--border", border, example)
        border = border if len(border) == 4 else border[0]
    if fit == "pad":
        raise InputError(
            "--fit pad is not for outpaint, which draws around the picture anyway; "
            "crop or stretch it"
        )
    image = read_image(picture)
    nothing = np.zeros(image.shape[:2], bool)
    image, _ = _fitted(picture, image, nothing, fit, pipe)
    grid = None if grid is None else parse_grid(grid)
    return tasks.outpainting(image, pipe.tokenizer_config.factor, border, grid)


def _fitted(picture, image, mask, fit, pipe):
    """Return an image and its mask at a size that the model takes."""
    from minigen import tasks

    factor = pipe.tokenizer_config.factor
    size = tuple(n * factor for n in pipe.grid)
    if fit is not None:
        return tasks.fit(image, mask, size, fit)
    y, x = image.shape[:2]
    if y % factor or x % factor:
        raise InputError(
            f"{picture} is {x} x {y} pixels, and a token {factor} x {factor}; say "
            f"--fit crop, pad or stretch, to bring it to {size[1]} x {size[0]}, or cut "
            "it to whole tokens"
        )
    return image, mask
