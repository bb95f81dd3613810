"""Make pages of the lessons: one HTML file each, and an index, that open from a disk.

python lessons/build.py --out site          all lessons, and the reference
python lessons/build.py --out site 00 05    these, and the index
python lessons/build.py --index             write the index, lessons/README.md

A lesson is run cell by cell; what its cells print and draw becomes part of its page,
which asks no network for anything. A second build makes the same bytes.
`pip install ".[site]"` brings what pages need; --index needs nothing.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from lessons import api, pages  # noqa: E402
from minigen.errors import BackendError  # noqa: E402


def record(path: Path) -> list[list]:
    """Run a lesson in this process; return for each cell what it shows, in turn.

    These are pairs: "text" and a string; "source" and {text, path}; "picture" and
    {name, alt, size, png}, in base 64; "measured" and {}.
    """
    from minigen.show import lesson

    shown, printed = [], io.StringIO()

    def flush():
        if text := printed.getvalue():
            shown[-1].append(("text", text))
        printed.seek(0)
        printed.truncate()

    def listen(kind, data):
        flush()
        if kind == "measured" == (shown[-1] or [[""]])[-1][0]:
            return
        if kind == "picture":
            png = base64.b64encode(Path(data.pop("path")).read_bytes())
            data = {**data, "png": png.decode()}
        shown[-1].append((kind, data))

    # what a lesson defines is part of the program that runs, as without a page
    program = sys.modules["__main__"] = types.ModuleType("__main__")
    program.__file__ = str(path)
    lesson.listener = listen
    with redirect_stdout(printed):
        for cell in pages.split(path.read_text(encoding="utf-8")):
            shown.append([])
            if not cell.prose:
                # at its own lines: so errors and inspect.getsource find them
                text = "\n" * (cell.line - 1) + cell.text
                exec(compile(text, str(path), "exec"), vars(program))
                flush()
    return shown


def run(lesson: pages.Lesson) -> list[list] | None:
    """Run a lesson in a process of its own; return what `record` does.

    Returns None, and says why, where something that the lesson needs is not installed:
    there is no compiler of NVIDIA's for macOS. Raises SystemExit if the lesson fails:
    with its traceback, and the line of the lesson.
    """
    start, path = time.perf_counter(), str(lesson.path)
    with tempfile.TemporaryDirectory() as folder:
        told = {
            "PYTHONPATH": str(HERE.parent),
            "MINIGEN_PICTURES": folder,
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
        }
        result = Path(folder) / "shown.json"
        done = subprocess.run(
            [sys.executable, __file__, "--record", path, "--out", result],
            env={**os.environ, **told}, capture_output=True, encoding="utf-8",
        )  # fmt: skip
        last = done.stderr.strip().rpartition("\n")[2]
        if last.startswith(f"{BackendError.__module__}.{BackendError.__name__}: "):
            print(f"{path} is left out: {last.partition(': ')[2]}", flush=True)
            return None
        if done.returncode:
            lines = re.findall(rf'File "{re.escape(path)}", line (\d+)', done.stderr)
            where = ", line ".join([path, *lines[-1:]])
            raise SystemExit(f"{done.stderr}\n{where}: {last}")
        shown = json.loads(result.read_text(encoding="utf-8"))
    print(f"{path}: {time.perf_counter() - start:.1f} s", flush=True)
    return shown


def live(out: Path) -> None:
    """Make the page of the live model, if there is one."""
    program = HERE / "live" / "build.py"
    if program.is_file():
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
        command = [sys.executable, program, "--out", out]
        subprocess.run(command, env=environment, check=True)


def build(out: Path, numbers: list[str], jobs: int) -> None:
    """Write the pages of lessons and the index; without numbers, all there are."""
    lessons = pages.every()
    wanted = [one for one in lessons if one.name[:2] in numbers or not numbers]
    if unknown := {*numbers} - {one.name[:2] for one in lessons}:
        raise SystemExit(f"there is no lesson {', '.join(sorted(unknown))}")
    out.mkdir(parents=True, exist_ok=True)
    if not numbers:
        live(out)
        text = api.page(out)
        (out / "api.html").write_text(text, encoding="utf-8", newline="\n")
    with ThreadPoolExecutor(jobs) as pool:
        found = list(zip(wanted, pool.map(run, wanted), strict=True))
    made = [(lesson, shown) for lesson, shown in found if shown is not None]
    # pages of an earlier build stay, and links lead to them
    names = {lesson.name for lesson, _ in made}
    names |= {page.stem for page in out.glob("*.html")}
    linked = [lesson for lesson in lessons if lesson.name in names]
    for lesson, shown in made:
        path = out / f"{lesson.name}.html"
        text = pages.page(lesson, shown, linked, out)
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"{path}: {len(text) / 1000:.0f} kB", flush=True)
    text = pages.front(pages.INDEX.read_text(encoding="utf-8"), linked, out)
    (out / "index.html").write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("numbers", nargs="*", metavar="NN", help="lessons, such as 00")
    parser.add_argument("--out", type=Path, help="the folder for the pages")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at a time")
    parser.add_argument("--index", action="store_true", help="write lessons/README.md")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.index:
        text = pages.INDEX.read_text(encoding="utf-8")
        text = pages.index(text, pages.every())
        pages.INDEX.write_text(text, encoding="utf-8", newline="\n")
    elif not given.out:
        parser.error("say where to: --out site")
    elif given.record:
        given.out.write_text(json.dumps(record(given.record)), encoding="utf-8")
    else:
        build(given.out, given.numbers, given.jobs)


if __name__ == "__main__":
    main()
