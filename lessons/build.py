"""Make pages of the lessons: one HTML file each, and an index, that open from a disk.

python lessons/build.py --out site          all lessons, several at a time
python lessons/build.py --out site 00 05    these
python lessons/build.py --index             write the index, lessons/README.md

A lesson is run cell by cell; what its cells print and draw becomes part of its page,
which asks no network for anything. `pip install ".[site]"` brings what this needs; for
the index nothing is needed.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from dataclasses import dataclass
from math import ceil
from pathlib import Path

HERE = Path(__file__).resolve().parent
INDEX = HERE / "README.md"
TRACKS = {"How they draw": range(20), "How they run": range(20, 100)}
"""The headings of the index, and the numbers of the lessons below them."""

WORDS, LINES = 150, 15
"""Words of prose and lines of code that a reader takes in a minute."""


@dataclass(frozen=True)
class Cell:
    """A cell of a lesson: Markdown or code, and the line of the file it begins at."""

    prose: bool
    text: str
    line: int


@dataclass(frozen=True)
class Lesson:
    """A lesson, and what its first cell says of it.

    lead: its first two sentences; needs: the paragraph in italics; alt: what its first
    picture shows, in words: `![...](pictures/NN_name.png)`.
    """

    path: Path
    cells: tuple[Cell, ...]
    title: str
    lead: str
    needs: str
    alt: str

    @property
    def name(self) -> str:
        """Its file without the ending, such as 00_one_image."""
        return self.path.stem

    @property
    def minutes(self) -> int:
        """How long it takes to read."""
        words = sum(len(cell.text.split()) for cell in self.cells if cell.prose)
        lines = sum(len(cell.text.split("\n")) for cell in self.cells if not cell.prose)
        return ceil(words / WORDS + lines / LINES)


def read(path: Path) -> Lesson:
    """Read a lesson. Raises SystemExit, naming its line, where its first cell lacks."""
    cells = split(path.read_text(encoding="utf-8"))
    found = {"needs": "", "alt": "", "lead": ""}
    title, *paragraphs = cells[0].text.split("\n\n")
    for paragraph in paragraphs:
        text = " ".join(paragraph.split())
        picture = re.fullmatch(r"!\[(.+)\]\(pictures/(.+)\.png\)", text)
        if picture and picture[2] == path.stem:
            found["alt"] = picture[1]
        elif re.fullmatch(r"\*[^*].*[^*]\*", text):
            found["needs"] = text.strip("*")
        else:
            found["lead"] = found["lead"] or text
    found["lead"] = " ".join(re.split(r"(?<=[.?!])\s+", found["lead"])[:2])
    wanted = {
        "needs": "a paragraph in italics that says what it needs",
        "alt": f"the line ![what its picture shows](pictures/{path.stem}.png)",
        "lead": "a paragraph that says what it is about",
    }
    for name, text in found.items():
        if not text:
            raise SystemExit(f"{path}, line 1: the first cell lacks {wanted[name]}")
    return Lesson(path, cells, title.removeprefix("# "), **found)


def split(text: str) -> tuple[Cell, ...]:
    """Return the cells of a lesson's text, without the lines that divide them.

    >>> split("# %% [markdown]\\n# # Title\\n\\n# %%\\nx = 1")
    (Cell(prose=True, text='# Title', line=2), Cell(prose=False, text='x = 1', line=5))
    """
    cells, line = [], 1
    for part in re.split(r"^(?=# %%)", text, flags=re.M)[1:]:
        head, _, body = part.partition("\n")
        prose = "[markdown]" in head
        if prose:
            body = re.sub(r"^# ?", "", body, flags=re.M)
        cells.append(Cell(prose, body.rstrip(), line + 1))
        line += part.count("\n")
    return tuple(cells)


def index(text: str, lessons: list[Lesson]) -> str:
    """Return the text of the index, the lessons below the headings of the tracks."""
    for heading, numbers in TRACKS.items():
        before, line, rest = text.partition(f"## {heading}\n\n")
        after = rest[re.search(r"^## ", rest, re.M).start() :]
        entries = [entry(one) for one in lessons if int(one.name[:2]) in numbers]
        text = "".join([before, line, *entries, after])
    return text


def entry(lesson: Lesson) -> str:
    """Return the lines of the index on one lesson."""
    lines = [
        f"### [{lesson.title}]({lesson.path.name})",
        fill(lesson.lead),
        fill(f"![{lesson.alt}](pictures/{lesson.name}.png)"),
        fill(f"*{lesson.minutes} minutes to read. {lesson.needs}*"),
    ]
    return "".join(f"{line}\n\n" for line in lines)


def fill(text: str) -> str:
    """Break a paragraph into lines, as those of the repository are."""
    return textwrap.fill(text, 88, break_long_words=False, break_on_hyphens=False)


def every() -> list[Lesson]:
    """Return all lessons, in order."""
    return [read(path) for path in sorted(HERE.glob("[0-9]*.py"))]


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--index", action="store_true", help="write lessons/README.md")
    given = parser.parse_args()
    if given.index:
        INDEX.write_text(index(INDEX.read_text("utf-8"), every()), "utf-8")


if __name__ == "__main__":
    main()
