"""Commands run one after the other in this process: what became of each is counted."""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import resource
import signal
import tempfile
import traceback
from pathlib import Path

from tests import parser

ENDS = ("done", "refused", "hang", "fault")
"""How a command may end: with status 0 or 1; with a message and status 2; not within
PATIENCE; with an exception that is none of ours, or without a message. The first two
are right."""

PATIENCE = 300
"""Seconds after which a command counts as one that never ends: none takes as many."""

MEMORY = 6 * 2**30
"""Bytes of addresses that all commands may have: what is more is a fault."""

SHOWN = 12
"""Findings that are printed."""


class Endless(BaseException):
    """Raised in a command that takes too long; nothing may catch it."""


def main(name, arguments, count, prepare, draw, verb) -> int:
    """Run drawn commands, print what became of them, and return an exit status.

    prepare(): is called in an empty folder; draw(chance, what it gave) returns the
    arguments of a command, or those and a context to run it in.
    """
    wanted = argparse.ArgumentParser(prog=f"python -m tests.fuzz {name}")
    wanted.add_argument("--count", type=int, default=count, help="commands in all")
    wanted.add_argument("--seed", type=int, default=0)
    given = wanted.parse_args(arguments)
    counts, findings = run(given.count, given.seed, prepare, draw)
    for finding in findings[:SHOWN]:
        print(finding)
    print(f"{given.count} times {verb}: " + ", ".join(f"{counts[e]} {e}" for e in ENDS))
    return int(bool(findings))


def run(count, seed, prepare, draw, first=0) -> tuple[collections.Counter, list[str]]:
    """Return how many commands ended in which of ENDS, and what is wrong.

    first: the number of the first case; from there on, `count` cases are drawn.
    """
    counts, findings = collections.Counter(), []
    with _fences(), tempfile.TemporaryDirectory() as folder, _at(folder):
        made = prepare()
        before = set(Path().iterdir())
        for number in range(first, first + count):
            drawn = draw(random.Random(f"{seed} {number}"), made)
            drawn = drawn if isinstance(drawn, tuple) else (drawn, None)
            end, about = _outcome(*drawn)
            counts[end] += 1
            if end not in ENDS[:2]:
                shown = " ".join(map(ascii, drawn[0]))
                findings.append(f"{end}: case {number}, {shown}\n{about}")
            _clear(before)
    return counts, findings


def invoke(arguments):
    """Run the command line in this process; return the result of Typer's runner."""
    from typer.testing import CliRunner

    from minigen.cli import app

    parser.keep()
    return CliRunner().invoke(app, arguments)


def _outcome(arguments, context):
    signal.alarm(PATIENCE)
    try:
        with context or contextlib.nullcontext():
            result = invoke(arguments)
    except Endless:
        return "hang", ""
    finally:
        signal.alarm(0)
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        return "fault", "".join(traceback.format_exception(error)[-3:])
    if result.exit_code in (0, 1):
        return "done", ""
    if result.exit_code == 2 and result.output.strip():
        return "refused", ""
    return "fault", f"status {result.exit_code}: {result.output[:200]!r}"


@contextlib.contextmanager
def _fences():
    def stop(*_):
        raise Endless

    limits = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, handler)


@contextlib.contextmanager
def _at(folder):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _clear(before):
    # what a command has written is not there for the next
    import shutil

    for path in set(Path().iterdir()) - before:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
