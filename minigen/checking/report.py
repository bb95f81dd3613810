"""The result of a check, as data and as text."""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass

from minigen.words import escaped, table


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    kind: a word or two for a program to look at, such as "race" or "wrong value";
    message: what, where, and in which line; case: the smallest arguments at which it
    happens, in words; function, backend, kernel: who was checked.

    >>> wrong = Finding("wrong value", "y[0] is 3.0; expected 2.0", "x (1) float32")
    >>> Report((), (wrong,)).ok
    False
    """

    kind: str
    message: str
    case: str = ""
    function: str = ""
    backend: str = ""
    kernel: str = ""


@dataclass(frozen=True)
class Row:
    """What was measured while one function, or one of its kernels, was checked.

    cases: how many were tried; worst: the largest error of those that passed, in eps32
    of the magnitude (4 are allowed); traffic: how often each cell of an array is read
    and written; shared: bytes a block; registers, spills, stack: of a thread.

    >>> Row("silu", "numba", "", cases=22, worst=1.62, ok=True).worst
    1.62
    """

    function: str
    backend: str
    kernel: str
    cases: int
    worst: float
    ok: bool
    traffic: str = ""
    shared: int | None = None
    registers: int | None = None
    spills: int | None = None
    stack: int | None = None


@dataclass(frozen=True)
class Report:
    """All that a check found. Print it to read it, or ask `report.ok`.

    rows: what was measured, a `Row` for each function (or kernel) on each backend;
    findings: what is wrong, a `Finding` each; notes: what was not looked at, and how to
    change that.

    >>> Report((Row("silu", "numpy", "", cases=22, worst=1.62, ok=True),), ())
        function  backend  cases  worst
    ok  silu      numpy       22   1.62
    <BLANKLINE>
    all is well: 22 cases, off by 1.62 eps at most (4 allowed)
    """

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def __str__(self) -> str:
        parts = [
            _measured(self.rows),
            *map(_described, self.findings),
            "\n".join(f"note: {note}" for note in self.notes),
            _verdict(self),
        ]
        return "\n\n".join(part for part in parts if part)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


WIDTH = 86
"""Columns of what is said about a fault."""

MANY = 8
"""Lines of a table from which on reads and writes are left out."""

_HEAD = ("", "function", "backend", "kernel", "cases", "worst", "reads; writes")
_HEAD += ("shared", "registers")


def _measured(rows):
    lines = [_HEAD]
    for row in rows:
        memory = [f"+ {row.spills} B spilled" if row.spills else ""]
        memory += [f"+ {row.stack} B stack" if row.stack else ""]
        registers = " ".join(filter(None, [_text(row.registers), *memory]))
        kernel = "" if row.kernel == row.function else row.kernel
        lines.append((
            "ok" if row.ok else "BAD", row.function, row.backend, kernel, row.cases,
            f"{row.worst:.2f}" if row.cases and row.ok else "-", row.traffic,
            "" if row.shared is None else f"{row.shared} B", registers,
        ))  # fmt: skip
    # where there are many, each takes one line of a screen
    if len(lines) > MANY:
        lines = [(*line[:6], "", *line[7:]) for line in lines]
    used = [
        i for i, head in enumerate(_HEAD) if not head or any(r[i] for r in lines[1:])
    ]
    narrow = [[line[i] for i in used] for line in lines]
    numbers = {"cases", "worst", "shared"}
    right = [k for k, i in enumerate(used) if _HEAD[i] in numbers]
    return table(narrow, right)


def _described(finding):
    who = f"{finding.function} on {finding.backend}"
    if finding.kernel not in ("", finding.function):
        who = f"{finding.kernel} ({who})"
    lines = [f"{who}: {finding.kind}", *finding.message.split("\n")]
    if finding.case:
        lines.append(f"smallest case: {finding.case}")
    return "\n  ".join(part for line in lines for part in _wrapped(escaped(line)))


def _wrapped(line):
    # what is quoted of a source stays in one piece
    indent = line[: len(line) - len(line.lstrip())]
    if "at " in line and ".py:" in line:
        return [line]
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent) or [""]


def _verdict(report):
    count = sum(row.cases for row in report.rows)
    if report.ok:
        worst = max((row.worst for row in report.rows), default=0.0)
        return f"all is well: {count} cases, off by {worst:.2f} eps at most (4 allowed)"
    what = ", ".join(dict.fromkeys(f.kind for f in report.findings))
    number = len(report.findings)
    return f"{number} fault{'s' * (number > 1)} found: {what}"


def _text(value):
    return "" if value is None else str(value)
