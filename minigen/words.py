"""Words for people: what a terminal is given, and what of it can do no harm.

Names come from files, and a file may come from anybody. Printed as it is, a name can
move the cursor, recolour or retitle the terminal, begin a line that looks like one of
ours, turn the reading order around, or end the program because its characters cannot be
encoded. So messages of errors (`minigen.errors`), cells of tables and lines of results
are printed as `printable` returns them, and nothing else in minigen prints.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence

LONGEST = 2000
"""Characters of a name or a message that are shown; of more, the middle is left out."""


def printable(text) -> str:
    r"""Return `text` as one line in which every character shows itself.

    What is not printable (`str.isprintable`: control characters, line ends, marks of
    reading order, lone surrogates, unassigned characters) is written as Python writes
    it in a string, and what is longer than LONGEST loses its middle.

    >>> printable("a\x1b[31m\nhash: ok \u202e")
    'a\\x1b[31m\\nhash: ok \\u202e'
    """
    text = str(text)
    if len(text) > LONGEST:
        left, right = text[: LONGEST * 3 // 4], text[-LONGEST // 4 :]
        text = f"{left} ... {len(text) - LONGEST} characters ... {right}"
    return escaped(text)


def escaped(text: str) -> str:
    """Return `text` with whatever is not printable as Python writes it in a string."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def gigabytes(size: float) -> str:
    """Return a size in bytes as one reads it.

    >>> gigabytes(319_845_376 * 4), gigabytes(1_400_000), gigabytes(16_400)
    ('1.28 GB', '1.40 MB', '16.40 KB')
    """
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size} B"


def duration(seconds: float) -> str:
    """Return a time as one reads it.

    >>> duration(12.345), duration(0.0123)
    ('12.35 s', '12.3 ms')
    """
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.1f} ms"


def remaining(seconds: float) -> str:
    """Return how long something will take, as roughly as it is known.

    >>> remaining(12000), remaining(300), remaining(7.4)
    ('3 h 20 min', '5 min', '8 s')
    """
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    if seconds <= 60:
        return f"{math.ceil(seconds)} s"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def table(rows: Sequence[Sequence], right: Sequence[int] = ()) -> str:
    """Align cells in columns two spaces apart; those numbered in `right` to the right.

    Cells are printable, whatever they hold: a row is one line.

    >>> print(table([("name", "size"), ("arpg", 3.5)], right=[1]))
    name  size
    arpg   3.5
    """
    cells = [list(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def markdown(rows: Sequence[Sequence], right: Sequence[int] = ()) -> str:
    """Return the rows, the first of them the header, as a Markdown table."""
    header, *rest = [list(map(printable, row)) for row in rows]
    rule = ["---:" if i in right else "---" for i in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rest))


def say(*lines, stream=None) -> None:
    """Print each of `lines` as exactly one line, to stdout if no stream is given.

    What the stream's encoding does not have is written as an escape, too.
    """
    stream = stream or sys.stdout
    if stream is None:
        # a program without a console has no stdout
        return
    text = "".join(f"{escaped(str(line))}\n" for line in lines or ("",))
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def complain(*lines) -> None:
    """Print each of `lines` as exactly one line, to stderr."""
    if sys.stderr is not None:
        say(*lines, stream=sys.stderr)


def say_json(values, indent: int | None = 2) -> None:
    """Print `values` for a machine: one JSON document of ASCII, all text as it is.

    JSON has no NaN and no infinity: they become null.
    """
    text = json.dumps(_finite(values), indent=indent, default=str, allow_nan=False)
    say(*text.split("\n"))


def _finite(values):
    if isinstance(values, float):
        return values if math.isfinite(values) else None
    if isinstance(values, dict):
        return {name: _finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return values
