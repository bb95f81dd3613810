"""What a lesson is, what the index says of it, and its page as HTML.

A lesson is cut into cells (`split`). Its first cell is all that the index says of it
(`index`); `page` sets the cells and what they showed in HTML. `build.py` does the rest.
"""

from __future__ import annotations

import base64
import os
import re
import textwrap
from dataclasses import dataclass
from functools import cache
from html import escape
from math import ceil
from pathlib import Path
from string import Template

HERE = Path(__file__).resolve().parent
INDEX = HERE / "README.md"
SITE = HERE / "site"
"""The folder of the template of a page and its style sheet."""

MADE = {"live/build.py": "live.html", "api.py": "api.html"}
"""Programs that make other pages, and these pages."""

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


def page(lesson: Lesson, shown: list[list], lessons: list[Lesson], out: Path) -> str:
    """Return the page of a lesson, which is to lie in the folder `out`.

    lessons: those that links may lead to. What lies between a prediction and its end is
    folded. Raises SystemExit for a prediction that nothing reveals.
    """
    parts, open_since = [], 0
    for cell, things in zip(lesson.cells, shown, strict=True):
        if not cell.prose:
            parts.append(highlighted(cell.text))
            parts += [thing(lesson, kind, data) for kind, data in things]
            continue
        text = re.sub(r"!\[[^]]+\]\(pictures/\S+\)\n*", "", cell.text)
        html = placed(markdown(linked(text, lessons)), lessons, out)
        if open_since and text.startswith("**Reveal.**"):
            # what stands below a heading is about something else
            answer, heading, rest = html.partition("<h2>")
            html = f"{answer}</details>{heading}{rest}"
            open_since = 0
        parts.append(html)
        if text.split("\n\n")[-1].startswith("**Predict.**"):
            if open_since:
                break
            parts.append('<details class="reveal"><summary>Run it, and see</summary>')
            open_since = cell.line
    if open_since:
        raise SystemExit(f"{lesson.path}, line {open_since}: nothing reveals this")
    foot = f"<p>This page shows a run of the program {link(lesson.path, out)}.</p>"
    body = "\n".join([*parts, exercises(lesson, out)])
    return whole(lesson.title, body, lesson.lead, neighbours(lesson, lessons), foot)


def thing(lesson: Lesson, kind: str, data) -> str:
    """Return as HTML one thing that a cell of a lesson shows."""
    if kind == "text":
        return f'<pre class="out">{escape(data.rstrip())}</pre>'
    if kind == "source":
        caption, text = f"<figcaption>{escape(data['path'])}</figcaption>", data["text"]
        return f'<figure class="source">{caption}{highlighted(text)}</figure>'
    if kind == "measured":
        return "<p><em>Measured: each run prints other numbers. Run it.</em></p>"
    if kind == "player":
        from minigen.show import player

        return player.embed(**data)
    name = data["name"].removesuffix(".png")
    alt = lesson.alt if name == lesson.name else data["alt"]
    width, height = data["size"]
    return (
        f'<figure class="picture" id="{escape(name)}"><img alt="{escape(alt)}" '
        f'width="{width}" height="{height}" style="min-width: min({width}px, 34rem)" '
        f'src="data:image/png;base64,{data["png"]}"></figure>'
    )


def linked(text: str, lessons: list[Lesson]) -> str:
    """Make links of the words `lesson NN`, where that lesson is one of those given."""
    names = {lesson.name[:2]: lesson.name for lesson in lessons}
    return re.sub(
        r"\b([Ll]esson\s(\d\d))\b",
        lambda found: (
            f"[{found[1]}]({names[found[2]]}.html)" if found[2] in names else found[1]
        ),
        text,
    )


def exercises(lesson: Lesson, out: Path) -> str:
    """Return the functions to write, folded: where they are, how they are checked."""
    stub = HERE / "exercises" / lesson.path.name
    if not stub.is_file():
        return ""
    return (
        f"<details><summary>The functions to write</summary><p>In {link(stub, out)};"
        f" <code>python lessons/check.py {lesson.name[:2]}</code> checks them.</p>"
        f"{highlighted(stub.read_text(encoding='utf-8').rstrip())}</details>"
    )


def neighbours(lesson: Lesson, lessons: list[Lesson]) -> str:
    """Return links to the index, and to the lessons before and after this one."""
    at = lessons.index(lesson)
    near = {"prev": lessons[max(at - 1, 0) : at], "next": lessons[at + 1 : at + 2]}
    links = [
        f'<a rel="{rel}" href="{other.name}.html">{escape(other.title)}</a>'
        for rel, others in near.items()
        for other in others
    ]
    links.insert(0, '<a href="index.html">All lessons</a>')
    return '<nav aria-label="Lessons">{}</nav>'.format("\n".join(links))


def link(path: Path, out: Path) -> str:
    """Return a link from a page in `out` to a file of the repository."""
    name = os.path.relpath(path, HERE.parent).replace(os.sep, "/")
    target = os.path.relpath(path, out).replace(os.sep, "/")
    return f'<a href="{escape(target)}"><code>{escape(name)}</code></a>'


def placed(body: str, lessons: list[Lesson], out: Path) -> str:
    """Return HTML in which links from lessons/ are links from a page in `out`."""
    built = {lesson.path.name: f"{lesson.name}.html" for lesson in lessons}
    built |= {name: page for name, page in MADE.items() if (out / page).is_file()}

    def target(found):
        name = found[1]
        if (HERE / name).exists():
            name = built.get(name) or os.path.relpath(HERE / name, out)
        return f'href="{name.replace(os.sep, "/")}"'

    return re.sub(r'href="([^"]+)"', target, body)


def front(text: str, lessons: list[Lesson], out: Path) -> str:
    """Return the index as a page. text: that of lessons/README.md."""

    def picture(found):
        png = base64.b64encode((HERE / found[1]).read_bytes()).decode()
        return f'<img src="data:image/png;base64,{png}"'

    body = re.sub(r'<img src="([^"]+)"', picture, placed(markdown(text), lessons, out))
    return whole("Lessons", body, "How autoregressive image generators draw and run")


def whole(title: str, body: str, about: str, links: str = "", foot: str = "") -> str:
    """Return a page, from its title, its parts in HTML, and a sentence about it."""
    template = Template((SITE / "page.html").read_text(encoding="utf-8"))
    sheet, script = style(), ""
    if "<step-player" in body:
        from minigen.show import player

        sheet, script = sheet + player.style(), f"<script>{player.script()}</script>"
    return template.substitute(
        title=escape(title), about=escape(about), style=sheet,
        links=links, body=body, foot=foot, script=script,
    )  # fmt: skip


@cache
def style() -> str:
    """Return the style sheet, with colours for code on light and on dark paper."""
    from pygments.formatters import HtmlFormatter

    light, dark = (
        HtmlFormatter(style=name).get_style_defs(".code")
        for name in ("default", "github-dark")
    )
    own = (SITE / "style.css").read_text(encoding="utf-8")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{own}"


def highlighted(code: str, session: bool = False) -> str:
    """Return Python code as HTML. session: it has prompts, and what Python answered."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonConsoleLexer, PythonLexer

    lexer = PythonConsoleLexer() if session else PythonLexer()
    spans = highlight(code.strip("\n"), lexer, HtmlFormatter(nowrap=True))
    return f'<pre class="code">{spans}</pre>'


@cache
def renderer():
    """Return the function that makes HTML of Markdown; formulas become MathML."""
    from latex2mathml.converter import convert
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    def formula(text, options):
        return convert(text, display="block" if options["display_mode"] else "inline")

    made = MarkdownIt("commonmark", {"html": False}).enable("table")
    dollarmath_plugin(made, allow_space=False, allow_digits=False, renderer=formula)
    return made.render


def markdown(text: str) -> str:
    """Return Markdown as HTML."""
    return renderer()(text)
