"""The reference: every public name is on its page, as its docstring tells of it."""

import ast
import doctest
import importlib
import inspect
import re
from html import unescape
from pathlib import Path

import pytest

import minigen
from lessons import api
from tests import missing

HERE = Path(__file__).parent
pytest.importorskip("numba")

TOLD = [(part, name) for part in api.parts() for name in part.names]

WITHOUT = {
    "minigen.images.open_picture": "doctest does not look into context managers",
}
"""Public functions and classes without an example, and why they have none."""


@pytest.fixture(scope="module")
def page():
    return api.page(HERE / "site")


def words(html):
    """Return the text of HTML without spaces."""
    return "".join(unescape(re.sub("<[^>]+>", "", html)).split())


def test_the_examples_of_the_page_maker_are_right():
    found = doctest.testmod(api)
    assert found.attempted > 5 and found.failed == 0


def test_every_public_name_has_a_place_and_a_docstring(page):
    assert not [name.title for _, name in TOLD if not name.doc]
    places = re.findall('id="([^"]+)"', page)
    assert len(places) == len({*places})
    assert {*minigen.__all__} <= {*places}
    for part in api.parts():
        for name in api.public(part.module):
            start = "" if part.title == "minigen" else f"{part.place}."
            assert (part.others.get(name) or start + name) in places, name
    for module in ("ops.linear", "Pipeline.sample", "orders.halton", "simt.launch"):
        assert module in places


def test_the_types_of_a_signature_lead_to_these(page):
    start = page.index('<h3 id="plan">')
    said = page[start : page.index("</pre>", start)]
    assert '<a href="#Plan">' in said
    # of two classes of one name it would be luck which is meant
    assert "Report" not in api.class_places(api.parts())


def test_a_name_without_a_docstring_is_seen():
    def told():
        """Do it."""

    def untold():
        pass

    found = api.described(None, "minigen.x", "x.untold", untold)
    assert [name.doc for name in found] == [""]
    found = api.described(None, "minigen.x", "x.told", told)
    assert [name.doc for name in found] == ["Do it."]


def test_every_public_function_and_class_has_an_example():
    # a constant shows what it is, and a method may be shown by its class
    lacking = {
        name.title
        for _, name in TOLD
        if name.level == 3 and is_code(name.value) and ">>>" not in name.doc
    }
    assert lacking == {*WITHOUT}


def is_code(value):
    """Say whether it is a function or a class."""
    return inspect.isclass(value) or inspect.isfunction(inspect.unwrap(value))


def test_every_example_of_the_page_is_one_that_doctest_finds():
    finder = doctest.DocTestFinder()
    told = [name for _, name in TOLD if is_code(name.value) and ">>>" in name.doc]
    assert told
    homes = {importlib.import_module(name.value.__module__) for name in told}
    found = {test.name for home in homes for test in finder.find(home) if test.examples}
    named = {f"{name.value.__module__}.{name.value.__qualname__}" for name in told}
    assert named <= found


def test_examples_that_need_a_part_are_named_as_doctest_names_them():
    for name in missing.EXAMPLES:
        home, _, short = name.rpartition(".")
        assert ">>>" in getattr(importlib.import_module(home), short).__doc__


def test_modules_that_the_readme_names_for_programs_are_told_of():
    text = (HERE.parent / "README.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", text, re.S)
    lines = re.findall(r"from (minigen\S*) import (.+)", "\n".join(programs))
    assert lines
    told = {part.module.__name__ for part in api.parts()} - {"minigen"}
    # a function for kernels, which have a README of their own
    told |= {"minigen.ops.intrinsics"} | {f"minigen.{name}" for name in minigen.__all__}
    for module, names in lines:
        wanted = [name.strip() for name in names.split("#")[0].split(",")]
        assert module in told or {f"{module}.{name}" for name in wanted} <= told, module


def test_the_page_says_all_that_docstrings_say():
    for part, name in [*TOLD, *((part, part.module) for part in api.parts())]:
        doc = name.doc if isinstance(name, api.Name) else part.module.__doc__
        html = re.sub('<p class="legend">.*?</p>', "", api.prose(doc, {}.get))
        doc = re.sub("^ *- ", "", inspect.cleandoc(doc), flags=re.M)
        assert words(html) == "".join(doc.replace("`", "").split()), name


def test_signatures_name_every_argument_and_its_default():
    for _, name in TOLD:
        said, value = api.signature(name), inspect.unwrap(name.value)
        assert " at 0x" not in said and "<lambda>" not in said
        if inspect.isfunction(value):
            short = name.title.rpartition(".")[2]
            said = short + said.partition(short)[2]
            made = ast.parse(f"def {said}: ...").body[0].args
            own = inspect.signature(value).parameters.values()
            names = [one.name for one in own if one.name not in ("self", "cls")]
            own = [one for one in own if one.default is not one.empty]
            kept = [*made.posonlyargs, *made.args, made.vararg, *made.kwonlyargs]
            kept = [one.arg for one in (*kept, made.kwarg) if one]
            assert kept == names, said
            defaults = [*made.defaults, *filter(None, made.kw_defaults)]
            assert len(defaults) == len(own), said


def test_shapes_papers_examples_and_names_are_shown(page):
    at = page.index('id="ops.rms_norm"')
    told = page[at : page.index("<h2", at)]
    assert "(b n d), (d) -&gt; (b n d)" in told
    assert "<code>b</code> batch, <code>n</code> tokens, <code>d</code> width" in told
    assert 'href="https://arxiv.org/abs/1910.07467"' in told
    assert '<span class="gp">&gt;&gt;&gt; </span>' in told
    at = page.index('id="plan"')
    told = page[at : page.index("<h3", at)]
    assert '<a href="#Plan.of"><code>Plan.of</code></a>' in told
    assert '<a href="#orders.ORDERS">' in told and "arccos, cosine, linear or" in told
    assert "<strong>grid</strong>: (rows, columns)" in told
    assert words(told).count(">>>") == minigen.plan.__doc__.count(">>>")
    missing = {*re.findall('href="#([^"]+)"', page)} - {
        *re.findall('id="([^"]+)"', page)
    }
    assert missing == set()


def test_a_docstring_cannot_write_html():
    html = api.prose("x <b> `<b>`\n\n    <b>\n\na  <b>\n\n- <b>\n\n>>> <b>", {}.get)
    assert "<b>" not in html and words(html).count("<b>") == 6


def test_the_page_is_the_same_whenever_it_is_made(page):
    assert page == api.page(HERE / "site")
    text = unescape(re.sub("<[^>]+>", "", page))
    assert str(HERE.parent) not in text and not re.search(r" at 0x|PosixPath", text)


@pytest.mark.slow
@pytest.mark.needs("mdit_py_plugins")
@pytest.mark.needs("latex2mathml")
def test_the_site_has_the_page_and_a_link_to_it(site):
    # made by another process
    assert (site / "api.html").read_text(encoding="utf-8") == api.page(site)
    assert 'href="api.html"' in (site / "index.html").read_text(encoding="utf-8")
