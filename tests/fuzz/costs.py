"""What hostile files take: seconds of the processor, and memory beyond an idle process.

    python -m tests.fuzz costs [--tests] [FOLDER ...]

Measured are the files of `tests/fuzz/hostile.py`; with --tests, all that
tests/checkpoints open; and those in FOLDERs, such as the corpus of `python -m
tests.fuzz files`, in subfolders named after the parts of `tests/fuzz/inputs.py`. Each
is read in a process of its own, a copy of one that has read a good file; many together
first, and alone where these take a tenth of what one may; status 1 where one takes it
all.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from minigen.words import table
from tests.fuzz import hostile
from tests.fuzz.files import LARGEST, MEMORY, SECONDS

SHOWN = 15
"""Rows of the table: the inputs that take most."""

TOGETHER = 50
"""Inputs that are measured together first."""

SETTLED = 8
"""Runs of the good file, after which its memory stays the same."""


def main(arguments) -> int:
    """Measure inputs, print those that take most, and return an exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz costs")
    parser.add_argument("--tests", action="store_true", help="what the tests open")
    parser.add_argument("folders", type=Path, nargs="*")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        made, kept = Path(folder, "made"), Path(folder, "kept")
        for (part, name), content in hostile.inputs().items():
            (made / part).mkdir(parents=True, exist_ok=True)
            (made / part / name).write_bytes(content)
        found = [
            (path.parent.name, path)
            for each in (made, *given.folders)
            for path in sorted(each.glob("*/*"))
            if path.suffix != ".txt"
        ]
        if given.tests:
            kept.mkdir()
            found += [("zip", path) for path in opened(kept)]
        return show(measured(found))


def opened(folder) -> list[Path]:
    """Run the tests of weight files; return copies of the files that they opened."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.fuzz.costs"]
    command += ["-m", "not slow", "tests/checkpoints"]
    environment = {**os.environ, "MINIGEN_KEEP": str(folder)}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL)
    return sorted(folder.iterdir())


def keep(folder: Path):
    """Let every weight file that is mapped from now on be copied, if it is small."""
    from minigen.checkpoints import reader

    map_file = reader.map_file

    def kept(path):
        data = map_file(path)
        if len(data) <= LARGEST:
            name = hashlib.sha1(data).hexdigest()[:12] + path.suffix
            (folder / name).write_bytes(data)
        return data

    reader.map_file = kept


if "MINIGEN_KEEP" in os.environ:
    keep(Path(os.environ["MINIGEN_KEEP"]))


def measured(found) -> list[tuple[float, int, str, Path, int]]:
    """Return (seconds, bytes beyond an idle process, part, path, its size) of each.

    Of those that were measured together, what all of them took.
    """
    from tests.fuzz.inputs import PARTS, seeds

    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in {part for part, _ in found} & set(PARTS):
            for content in seeds(part)[:1] * SETTLED:
                _try(PARTS[part], content, folder)
        for part, read in PARTS.items():
            paths = [path for each, path in found if each == part]
            contents = {
                path: path.read_bytes() for path in paths
                if path.stat().st_size <= LARGEST
            }  # fmt: skip
            if contents:
                idle = _run(read, seeds(part)[:1], folder)[1]
            for batch in batched(contents, TOGETHER):
                seconds, most = _run(read, map(contents.get, batch), folder)
                alone = seconds > SECONDS / 10 or most - idle > MEMORY / 10
                for path in batch:
                    if alone:
                        seconds, most = _run(read, [contents[path]], folder)
                    size = len(contents[path])
                    rows.append((seconds, most - idle, part, path, size))
    return rows


def show(rows) -> int:
    """Print the inputs that take most; return 1 where one takes more than it may."""
    most = sorted(rows, key=lambda row: -max(row[0] / SECONDS, row[1] / MEMORY))
    header = ("part", "input", "bytes", "seconds", "MB beyond idle")
    print(table([header, *(
        (part, path.name, f"{size:,}", f"{seconds:.2f}", f"{memory / 1e6:.1f}")
        for seconds, memory, part, path, size in most[:SHOWN]
    )], right=(2, 3, 4)))  # fmt: skip
    over = [row for row in rows if row[0] > SECONDS or row[1] > MEMORY]
    limits = f"{SECONDS} s of a processor or {MEMORY // 2**20} MiB"
    print(f"{len(rows)} inputs of at most {LARGEST:,} bytes")
    print(f"{len(over)} of them take more than {limits}")
    return int(bool(over))


def batched(items, size):
    """Yield lists of `size` items, the last of them perhaps shorter."""
    items = list(items)
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _run(read, contents, folder):
    # in a child: its memory is given back, and its own peak is measured
    child = os.fork()
    if child == 0:
        try:
            for content in contents:
                _try(read, content, folder)
        finally:
            os._exit(0)
    _, _, used = os.wait4(child, 0)
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def _try(read, content, folder):
    from minigen.errors import MinigenError

    with contextlib.suppress(MinigenError):
        read(content, folder)
