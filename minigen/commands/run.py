"""run: launch a kernel once, or run a program that uses numba.cuda, without a GPU."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from minigen.commands import options as o
from minigen.commands.terminal import complain, reported, say_json, say_text
from minigen.errors import InputError, KernelError
from minigen.words import escaped, table

FEW = 24
"""Numbers of an array that are shown; more are left out in the middle."""


@reported
def run(
    what: Annotated[
        str,
        typer.Argument(
            metavar="FILE:KERNEL|PROGRAM",
            help="A kernel, or a program.py, which is run as it stands.",
        ),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARG]...", help="Of a program; after --, if with -."),
    ] = None,
    signature: o.Signature = None,
    grid: o.Grid = "1",
    block: o.Block = "32",
    dynamic: o.Dynamic = None,
    array: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE.npy", help="An argument of the kernel; repeatable."
        ),
    ] = None,
    dtype: o.Dtypes = None,
    size: o.Sizes = None,
    value: o.Values = None,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="What is drawn into arrays.")
    ] = 0,
    schedule: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Schedule of threads; none: in order."),
    ] = None,
    schedules: Annotated[
        int | None,
        o.count("Run as many schedules, and say where results differ.", 1000),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Write what the kernel wrote."),
    ] = None,
    watch: Annotated[
        bool, typer.Option(help="Look for faults; without, it is several times faster.")
    ] = True,
    as_json: o.Json = False,
):
    """Run a kernel on the interpreter, thread by thread, and print what came out.

    Arrays are drawn from a signature, at size 8 if --size says none, or read from
    files. Printed are the arrays that the kernel wrote, how often each cell was read
    and written, barriers, and shared memory; or a fault, with its line, and exit
    status 1.

    A program.py is run as it stands: for its numba.cuda a GPU is pretended.
    """
    if ":" not in what:
        _program(what, words or [], schedule, watch)
        return
    if words:
        raise InputError(f"{what} is a kernel and takes no words; {words[0]!r} is one")
    from minigen.checking import anybody, loading, once
    from minigen.writing import check_writable

    if save is not None:
        check_writable(save, ".npz")
    subject = loading.subject(loading.load(what, "run"), as_kernel=True)
    if subject.kind != "kernel":
        raise InputError(f"{subject.name} is compiled for a CPU; run takes a kernel")
    values = o.values(value) or {}
    given = _arrays(array or [])
    if signature is None:
        # numbers by name; there is nothing to draw
        kinds = o.dtypes(dtype) or {}
        given |= {n: _number(each, kinds.get(n)) for n, each in values.items()}
    try:
        found = once.run(
            subject, grid, block, signature=signature, given=given,
            dynamic=dynamic or 0, seed=seed, schedule=schedule, watch=watch,
            schedules=None if schedules is None else range(schedules),
            choices=anybody.choices(o.dtypes(dtype), o.sizes(size), values),
        )  # fmt: skip
    except KernelError as error:
        if as_json:
            say_json({"ok": False, "kind": error.kind, "message": error.message})
        else:
            say_text(str(error))
        raise typer.Exit(1) from None
    if save is not None:
        _save(save, found)
    if as_json:
        say_json({"ok": True} | _data(found))
    else:
        say_text(_text(found))


def _program(path, words, schedule, watch):
    import runpy

    from minigen import simt

    if not Path(path).is_file():
        raise InputError(
            f"{path} was not found; give a program, or a kernel as FILE.py:KERNEL"
        )
    before = list(sys.argv)
    sys.argv[:] = [path, *words]
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        with simt.cuda(seed=schedule, watch=watch):
            runpy.run_path(path, run_name="__main__")
    except KernelError as error:
        say_text(str(error))
        raise typer.Exit(1) from None
    except Exception:
        # the program's own, as Python shows it
        complain(*traceback.format_exc().splitlines())
        raise typer.Exit(1) from None
    finally:
        sys.argv[:] = before
        del sys.path[0]


def _arrays(given):
    import numpy as np

    from minigen.commands.options import named

    found = {}
    for each in given:
        name, file = named("--array", "x=x.npy", each)
        try:
            found[name] = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"--array {name}: {file} cannot be read: {error}"
            ) from None
        if not isinstance(found[name], np.ndarray):
            raise InputError(f"--array {name}: {file} holds several arrays; give one")
    return found


def _number(values, dtype):
    from minigen.checking import anybody

    if len(values) != 1:
        raise InputError(
            "without a signature --value gives one number; an array is given by --array"
        )
    value = values[0]
    if dtype is not None:
        return anybody.dtype_of("--dtype", dtype).type(value)
    return int(value) if value == int(value) else value


def _save(path, found):
    import numpy as np

    from minigen.writing import replace_file

    with replace_file(path) as file:
        np.savez(file, **found.outputs)


def _data(found):
    report = found.report
    return {
        "kernel": found.kernel,
        "grid": found.grid,
        "block": found.block,
        "threads": report.threads,
        "barriers": report.barriers,
        "shared_bytes": report.shared_bytes,
        "outputs": {name: value.tolist() for name, value in found.outputs.items()},
        "reads": {name: _span(each) for name, each in report.reads.items()},
        "writes": {name: _span(each) for name, each in report.writes.items()},
        "unwritten": {n: int(cells.sum()) for n, cells in found.unwritten.items()},
        "differs": {n: int(cells.sum()) for n, cells in report.differs.items()},
        "float64": report.float64,
    }


def _span(counts):
    return [int(counts.min()), int(counts.max())] if counts.size else [0, 0]


def _text(found):
    import numpy as np

    report, lines = found.report, []
    for name, value in found.outputs.items():
        shape = " ".join(map(str, value.shape))
        with np.printoptions(threshold=FEW, edgeitems=3, precision=6, linewidth=80):
            text = str(value)
        lines += [f"{name} ({shape}) {value.dtype}", text, ""]
    if not found.outputs:
        lines += ["nothing was written", ""]
    rows = [("array", "reads a cell", "writes a cell")]
    for name in report.reads:
        rows.append((name, _times(report.reads[name]), _times(report.writes[name])))
    if len(rows) > 1:
        lines += [table(rows, right=(1, 2)), ""]
    blocks = " x ".join(map(str, found.grid))
    threads = " x ".join(map(str, found.block))
    lines.append(
        f"{found.kernel}: grid {blocks}, block {threads}: {report.threads} threads, "
        f"{report.barriers} barriers, {report.shared_bytes} bytes of shared memory"
    )
    for name, cells in found.unwritten.items():
        lines.append(f"note: {int(cells.sum())} cells of {name} were never written")
    for name, cells in report.differs.items():
        count = int(cells.sum())
        lines.append(f"note: {count} cells of {name} depend on the schedule")
    for line in report.float64:
        lines.append(f"note: a float64 is kept in a narrower array at {escaped(line)}")
    return "\n".join(lines)


def _times(counts):
    least, most = _span(counts)
    return str(most) if least == most else f"{least}..{most}"
