"""The reference of minigen's public names as one page, made of their docstrings.

`build.py` writes it beside the lessons, as api.html. Each name has a place of its own:
api.html#plan, api.html#Pipeline.sample, api.html#orders.raster, api.html#ops.linear.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import json
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import minigen
from lessons import pages

ABOUT = "Every public name of minigen, with its signature and its docstring."

PARTS = (
    "minigen", "minigen.errors", "minigen.orders", "minigen.plans", "minigen.tasks",
    "minigen.evaluate", "minigen.study", "minigen.images", "minigen.imagenet",
    "minigen.rng", "minigen.sample", "minigen.families", "minigen.checkpoints",
    "minigen.checking.report", "minigen.profiling", "minigen.simt", "minigen.ptx",
    "minigen.sameness", "minigen.signatures", "minigen.show.player",
    "minigen.show.lesson",
)  # fmt: skip
"""The modules of the page, in its order. The references of all ops follow."""

NEXT = "\n\n"
"""What stands between two paragraphs."""

WIDTH = 72
"""A signature that is longer than this has a line for each argument."""


SHAPES = re.compile(r"\([^()]*\)[?,][^:]*->|\([^()]*\) ->")
PAPER = re.compile(r"arXiv (\d{4}\.\d{4,5})")
LINK = r'<a href="https://arxiv.org/abs/\1">\g<0></a>'

Finder: TypeAlias = Callable[[str], str | None]
"""Gives the place of a name on the page, or None."""


@dataclass(frozen=True)
class Name:
    """A public name: its place on the page, what it is, its docstring, its level.

    title: as a program writes it; level: 3, or 4 for what belongs to a class.
    """

    place: str
    title: str
    value: object
    doc: str
    level: int = 3


@dataclass(frozen=True)
class Part:
    """A module, and the public names that are told of below its heading.

    others: its public names that are told of elsewhere, and their places there.
    """

    module: ModuleType
    title: str
    names: tuple[Name, ...]
    others: dict[str, str]

    @property
    def place(self) -> str:
        """Its place on the page."""
        return self.title.removeprefix("minigen.")


def parts() -> list[Part]:
    """Return all that the page tells, in its order; a name is told of once."""
    ops = sorted((Path(minigen.__file__).parent / "ops").glob("*/reference.py"))
    modules = [*PARTS, *(f"minigen.ops.{path.parent.name}.reference" for path in ops)]
    made, told = [], {}
    for module in map(importlib.import_module, modules):
        title = module.__name__.removesuffix(".reference")
        start = f"{title}.".removeprefix("minigen.")
        names, others = [], {}
        for name in public(module):
            value = getattr(module, name)
            if isinstance(value, ModuleType):
                others[name] = name
            elif callable(value) and value in told:
                others[name] = told[value]
            else:
                names += described(module, title, start + name, value)
                if callable(value):
                    told[value] = start + name
        made.append(Part(module, title, tuple(names), others))
    return made


def public(module: ModuleType) -> list[str]:
    """Return the public names of a module: `__all__`, or what is written in it.

    These are functions and classes without an underscore, and constants that have a
    text below them, in the order of the file.
    """
    if hasattr(module, "__all__"):
        return [*module.__all__]
    own = [
        name
        for name, value in vars(module).items()
        if name[0] != "_"
        and getattr(value, "__module__", None) == module.__name__
        and callable(value)
    ]
    lines = Path(module.__file__).read_text(encoding="utf-8").splitlines()
    names = [*(name for name in texts(module) if name[0] != "_"), *own]
    first = {
        name: next(
            (
                number
                for number, line in enumerate(lines)
                if re.match(rf"(def |class )?{name}\b", line)
            ),
            len(lines),
        )
        for name in names
    }
    return sorted(names, key=first.get)


def texts(module: ModuleType) -> dict[str, str]:
    """Return the texts that stand below constants of a module, by the names of these.

    Python keeps none of them, so they are read from the source.
    """
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    found = {}
    for one, below in itertools.pairwise(tree.body):
        targets = one.targets if isinstance(one, ast.Assign) else []
        targets = [one.target] if isinstance(one, ast.AnnAssign) else targets
        for target in targets:
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                text = below.value.value
                if isinstance(target, ast.Name) and isinstance(text, str):
                    found[target.id] = inspect.cleandoc(text)
    return found


def text_of(module: ModuleType, name: str) -> str:
    """Return the text of a constant, from the module in which it is written."""
    while name not in (found := texts(module)):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        where = [
            line.module
            for line in tree.body
            if isinstance(line, ast.ImportFrom)
            and name in [alias.asname or alias.name for alias in line.names]
        ]
        if not where:
            return ""
        module = importlib.import_module(where[0])
    return found[name]


def described(module, title, place, value) -> list[Name]:
    """Return a name and, of a class, its public methods and properties."""
    name = place.rpartition(".")[2]
    if not (inspect.isclass(value) or inspect.isfunction(inspect.unwrap(value))):
        return [Name(place, f"{title}.{name}", value, text_of(module, name))]
    found = [Name(place, f"{title}.{name}", value, inspect.getdoc(value) or "")]
    for part, member in vars(value).items() if inspect.isclass(value) else ():
        member = getattr(member, "__func__", member)
        field = part in getattr(value, "__dataclass_fields__", {})
        if part[0] == "_" or field:
            continue
        if inspect.isfunction(inspect.unwrap(member)) or is_property(member):
            doc = inspect.getdoc(member) or ""
            found.append(Name(f"{place}.{part}", f"{name}.{part}", member, doc, 4))
    return found


def is_property(value: object) -> bool:
    """Return whether it is a property, computed each time or once."""
    return type(value).__name__ in ("property", "cached_property")


class Text(str):
    """An annotation, which a signature shows as it is written."""

    __repr__ = str.__str__


def signature(name: Name) -> str:
    """Return how a name is called, or of a constant its value if that is short.

    >>> from lessons.api import Name
    >>> def scale(x: float, by: float = 2.0) -> float: ...
    >>> signature(Name("scale", "minigen.scale", scale, ""))
    'scale(x: float, by: float = 2.0) -> float'
    """
    title, value = name.title, name.value
    short = title if name.level == 4 else title.rpartition(".")[2]
    if is_property(value):
        getter = getattr(value, "fget", None) or value.func
        result = getter.__annotations__.get("return")
        return f"{short}: {result}" if result else short
    if inspect.isclass(value):
        bases = [base.__name__ for base in value.__bases__ if base is not object]
        short = f"class {short}" + f"({', '.join(bases)})" * bool(bases)
        if "__init__" not in vars(value):
            return short
        short = f"class {value.__name__}"
    elif not inspect.isfunction(inspect.unwrap(value)):
        text = f"{short} = {value!r}"
        plain = isinstance(value, (bool, int, float, str, tuple))
        return text if plain and len(text) <= WIDTH else short
    found = inspect.signature(value)
    kept = [one for key, one in found.parameters.items() if key not in ("self", "cls")]
    kept = [
        one.replace(annotation=written(one.annotation), default=named(one.default))
        for one in kept
    ]
    result = written(found.return_annotation)
    if inspect.isclass(value) or result == "None":
        result = inspect.Signature.empty
    found = found.replace(parameters=kept, return_annotation=result)
    text = f"{short}{found}"
    if len(text) <= WIDTH:
        return text
    lines = []
    for one in kept:
        if one.kind is one.KEYWORD_ONLY and not any("*" in line for line in lines):
            lines.append("    *,")
        lines.append(f"    {one},")
    end = text[len(f"{short}{found.replace(return_annotation=found.empty)}") :]
    return "\n".join([f"{short}(", *lines, f"){end}"])


def written(annotation) -> object:
    """Return an annotation so that a signature shows it without quotes."""
    return Text(annotation) if isinstance(annotation, str) else annotation


def named(default) -> object:
    """Return a default so that a signature shows it as a program has it.

    It is `...` where that would be no text of a program, or another one on each
    machine: of a function without a name, of a new list, of a file.
    """
    if default is inspect.Parameter.empty:
        return default
    if isinstance(default, str):
        return Text(json.dumps(default, ensure_ascii=False))
    text = getattr(default, "__name__", repr(default))
    return Text("..." if "<" in text or isinstance(default, Path) else text)


def page(out: Path) -> str:
    """Return the page of the reference, which is to lie in the folder `out`."""
    everything = parts()
    places = {}
    for part in everything:
        for name in part.names:
            places.setdefault(name.place, name.place)
            if name.level == 3:
                places.setdefault(name.title, name.place)
        places.setdefault(part.title, part.place)
        places.setdefault(part.place, part.place)
    types = class_places(everything)
    letters = ", ".join(
        f"<code>{letter}</code> {escape(word)}"
        for letter, word in minigen.LETTERS.items()
    )
    contents = "".join(
        f'<li><a href="#{part.place}"><code>{part.title}</code></a> '
        f"{inline(part.module.__doc__.split(NEXT)[0], {}.get, ())}</li>"
        for part in everything
    )
    body = [
        "<h1>Reference</h1>",
        f"<p>{ABOUT} What follows <code>&gt;&gt;&gt;</code> is run by the tests, and "
        "prints what stands below it.</p>",
        f"<p>The axes of arrays are written in these letters: {letters}.</p>",
        f'<ul class="contents">{contents}</ul>',
    ]
    for part in everything:
        body += section(part, places, types, out)
    links = '<nav aria-label="Lessons"><a href="index.html">All lessons</a></nav>'
    return pages.whole("Reference", "\n".join(body), ABOUT, links)


def class_places(parts: list[Part]) -> dict[str, str]:
    """Return the place of every class whose name no other class has."""
    names = [
        name for part in parts for name in part.names if inspect.isclass(name.value)
    ]
    called = Counter(name.value.__name__ for name in names)
    return {
        name.value.__name__: name.place
        for name in names
        if called[name.value.__name__] == 1
    }


def linked(html: str, place: Finder) -> str:
    """Return a signature in colours, in which the names of classes lead to these.

    >>> linked('<span class="n">Plan</span>', {"Plan": "plans.Plan"}.get)
    '<a href="#plans.Plan"><span class="n">Plan</span></a>'
    """

    def link(found):
        target = place(found[1])
        return f'<a href="#{target}">{found[0]}</a>' if target else found[0]

    return re.sub(r'<span class="n">([A-Z]\w*)</span>', link, html)


def section(
    part: Part, places: dict[str, str], types: dict[str, str], out: Path
) -> list[str]:
    """Return the heading of a module, its docstring, and its names, as HTML."""
    source = Path(part.module.__file__).resolve()
    html = [
        f'<h2 id="{part.place}"><code>{part.title}</code></h2>',
        f"<p>{pages.link(source, out)}</p>",
        prose(part.module.__doc__, partial(place_of, places, part.place)),
    ]
    listed = {n.title.rpartition(".")[2]: n.place for n in part.names if n.level == 3}
    listed |= part.others
    if len(listed) > 1:
        links = (
            f'<a href="#{place}"><code>{escape(name)}</code></a>'
            for name, place in listed.items()
        )
        html.append(f'<p class="names">{" ".join(links)}</p>')
    for name in part.names:
        level = name.level
        html += [
            f'<h{level} id="{name.place}"><code>{escape(name.title)}</code></h{level}>',
            linked(pages.highlighted(signature(name)), types.get),
            prose(
                name.doc, partial(place_of, places, name.place), arguments(name.value)
            ),
        ]
    return html


def place_of(places: dict[str, str], where: str, name: str) -> str | None:
    """Return the place of a name as a docstring at `where` has it, None if untold.

    >>> place_of({"Plan.of": "Plan.of"}, "Plan.counts", "of")
    'Plan.of'
    """
    scopes = where.split(".")
    tried = (".".join([*scopes[:size], name]) for size in range(len(scopes), -1, -1))
    return next((places[one] for one in tried if one in places), None)


def arguments(value: object) -> set[str]:
    """Return the names that a docstring explains: arguments, or fields of a class."""
    if inspect.isclass(value):
        return {*getattr(value, "__dataclass_fields__", {})}
    value = inspect.unwrap(value)
    return (
        {*inspect.signature(value).parameters} if inspect.isfunction(value) else {*()}
    )


def prose(doc: str, place: Finder, explained: Collection[str] = ()) -> str:
    """Return a docstring as HTML: its paragraphs, lists, examples, drawings, shapes.

    place: gives the place of a name, to which its mention in `...` leads, or None;
    explained: names of arguments.

    >>> text = "Return `x`, as `y`.\\n\\n- one\\n- two\\n\\nx: a <number>."
    >>> print(prose(text, {"y": "a.y"}.get, ["x"]))
    <p>Return <code>x</code>, as <a href="#a.y"><code>y</code></a>.</p>
    <ul><li>one</li><li>two</li></ul>
    <p><strong>x</strong>: a &lt;number&gt;.</p>
    """
    html = []
    for lines in blocks(inspect.cleandoc(doc)):
        text = "\n".join(lines)
        if text.startswith(">>> "):
            html.append(pages.highlighted(text, session=True))
        elif lines[0].startswith(" "):
            html.append(pages.highlighted(textwrap.dedent(text)))
        elif SHAPES.match(text):
            html.append(f'<pre class="out">{escape(text)}</pre>{legend(text)}')
        elif any(re.search(r"\S {2,}\S", line) for line in lines):
            html.append(f'<pre class="out">{escape(text)}</pre>')
        elif text.startswith("- "):
            items = re.split(r"^- ", text, flags=re.M)[1:]
            items = (inline(item, place, explained) for item in items)
            html.append(f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>")
        else:
            html.append(f"<p>{inline(text, place, explained)}</p>")
    return "\n".join(html)


def blocks(doc: str) -> list[list[str]]:
    """Cut a docstring into paragraphs and indented parts, which blank lines divide.

    An indented part goes on over blank lines, as code does.

    >>> blocks("One,\\nstill.\\n    code\\n\\n    code\\n\\nTwo.")
    [['One,', 'still.'], ['    code', '', '    code'], ['Two.']]
    """
    found: list[list[str]] = [[]]
    blank = False
    for line in doc.split("\n"):
        last = found[-1]
        if not line.strip():
            blank = True
            continue
        code = line.startswith("    ")
        was = bool(last) and last[0].startswith("    ")
        if last and was and code:
            last += [""] * blank + [line]
        elif last and not blank and (code == was or last[0].startswith((">>>", "- "))):
            last.append(line)
        else:
            found.append([line])
        blank = False
    return [lines for lines in found if lines]


def legend(text: str) -> str:
    """Return in words what the letters of a line of shapes are."""
    inside = " ".join(re.findall(r"\(([^()]*)\)", text))
    letters = dict.fromkeys(re.findall(r"(?<![a-z])[a-z](?![a-z])", inside))
    said = [
        f"<code>{letter}</code> {escape(minigen.LETTERS[letter])}"
        for letter in letters
        if letter in minigen.LETTERS
    ]
    return f'<p class="legend">{", ".join(said)}</p>' if said else ""


def inline(text: str, place: Finder, explained: Collection[str]) -> str:
    """Return a paragraph as HTML: `code`, links to names and to papers, arguments."""

    def strong(found):
        names = re.split("(, )", found[2])
        if not {*names[::2]} <= {*explained}:
            return found[0]
        return found[1] + "".join(
            name if name == ", " else f"<strong>{name}</strong>" for name in names
        )

    html = []
    for number, piece in enumerate(re.split(r"`([^`]+)`", " ".join(text.split()))):
        if number % 2:
            code, name = f"<code>{escape(piece)}</code>", piece.removesuffix("()")
            target = None if name in explained else place(name)
            html.append(f'<a href="#{target}">{code}</a>' if target else code)
            continue
        piece = PAPER.sub(LINK, escape(piece))
        html.append(re.sub(r"(^|[.;] )(\w+(?:, \w+)*)(?=: )", strong, piece))
    return "".join(html)
