"""Pages of lessons: self-contained files, the same bytes whenever they are built."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lessons import build, pages
from tests import sites

needs = [pytest.mark.needs("mdit_py_plugins"), pytest.mark.needs("latex2mathml")]
pytestmark = needs

LESSON = """\
# %% [markdown]
# # 98 · A lesson
#
# It has $x^2$ in it, and lesson 99 follows. A second sentence.
#
# ![A black square & no
# more](pictures/98_small.png)
#
# *Runs anywhere.*

# %%
import inspect

import numpy as np

from minigen import orders
from minigen.show import lesson as show

show.save("98_small.png", show.board([[np.zeros((9, 9, 3), np.uint8)]]))

# %% [markdown]
# ## A second part
#
#     y = a · x
#
# **Predict.** What is <b>?

# %%
def double(x):
    return 2 * x


print("before", {"a", "b", "c"})
show.source(orders.raster)
print(inspect.getsource(double), 1 < 2)
show.measured("it took 3 s")
show.save("98_other.png", show.board([[np.zeros((9, 9, 3), np.uint8)]], ["left"]))

# %% [markdown]
# **Reveal.** That.
#
# ## Exercises
"""


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Two lessons in a folder of their own; build(name) makes pages of them there."""
    paths = [tmp_path / "98_small.py", tmp_path / "99_small.py"]
    paths[0].write_text(LESSON, encoding="utf-8")
    paths[1].write_text(LESSON.replace("98", "99"), encoding="utf-8")
    monkeypatch.setattr(pages, "every", lambda: [pages.read(path) for path in paths])

    def make(name, *numbers):
        build.build(tmp_path / name, numbers or ("98", "99"), jobs=2)
        return tmp_path / name

    return make


def test_a_page_shows_what_a_lesson_prints_and_draws(two):
    text = (two("site") / "98_small.html").read_text(encoding="utf-8")
    assert "<h1>98 · A lesson</h1>" in text and "<math" in text
    assert '<a href="99_small.html">lesson 99</a>' in text
    assert "<pre><code>y = a · x\n</code></pre>" in text
    assert "What is &lt;b&gt;?" in text
    shown = sites.Shown(text)
    assert [*shown.pictures] == ["98_small", "98_other"]
    assert 'alt="A black square &amp; no more"' in text
    assert 'alt="columns: left"' in text
    assert shown.printed[0].startswith("before {")
    assert shown.printed[1].startswith("def double(x):\n    return 2 * x")
    assert shown.printed[1].endswith("2 * x\n True")
    assert len(shown.printed) == 2
    # what is measured stands in the code alone
    assert "<em>Measured" in text and text.count("it took 3 s") == 1
    assert "def raster(rows, columns" in shown.sources


def test_a_lesson_that_needs_what_is_not_here_is_left_out(two, tmp_path, capsys):
    text = LESSON.replace("98", "99").replace(
        "# %% [markdown]\n# **Reveal.**",
        "# %%\nfrom minigen.errors import BackendError\n\n"
        'raise BackendError("no compiler here; run X")\n\n'
        "# %% [markdown]\n# **Reveal.**",
    )
    (tmp_path / "99_small.py").write_text(text, encoding="utf-8")
    site = two("site")
    assert "99_small.py is left out: no compiler here; run X" in capsys.readouterr().out
    assert {page.name for page in site.glob("*.html")} == {
        "98_small.html",
        "index.html",
    }
    for page in ("98_small.html", "index.html"):
        assert "99_small.html" not in (site / page).read_text(encoding="utf-8")


def test_what_a_prediction_asks_for_is_folded(two):
    text = (two("site") / "98_small.html").read_text(encoding="utf-8")
    before, inside = text.split('<details class="reveal">')
    inside, after = inside.split("</details>", 1)
    assert "<strong>Predict.</strong>" in before
    assert "double" in inside and "<strong>Reveal.</strong>" in inside
    assert "Exercises" in after and "double" not in before + after


def test_a_prediction_that_nothing_reveals_is_an_error(two, tmp_path):
    path = tmp_path / "98_small.py"
    path.write_text(LESSON.replace("**Reveal.**", "Well."), encoding="utf-8")
    line = LESSON[: LESSON.index("# ## A second")].count("\n") + 1
    with pytest.raises(SystemExit, match=f"98_small.py, line {line}: nothing reveals"):
        two("site", "98")


def test_a_lesson_that_fails_names_its_line(two, tmp_path):
    path = tmp_path / "98_small.py"
    text = LESSON.replace("    return 2 * x", "    return x / 0")
    path.write_text(text.replace("print(inspect", "double(1), (inspect"), "utf-8")
    line = LESSON[: LESSON.index("    return 2")].count("\n") + 1
    with pytest.raises(SystemExit) as failed:
        two("site", "98")
    last = str(failed.value).rpartition("\n")[2]
    assert last == f"{path}, line {line}: ZeroDivisionError: division by zero"


def test_a_second_build_makes_the_same_bytes(two):
    first, second = two("first"), two("second")
    names = sorted(path.name for path in first.iterdir())
    assert names == ["98_small.html", "99_small.html", "index.html"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_links_lead_to_pages_that_are_built(two):
    lone = (two("one", "98") / "98_small.html").read_text(encoding="utf-8")
    assert "99_small.html" not in lone
    # a page of an earlier build is still there
    again = (two("one", "99") / "99_small.html").read_text(encoding="utf-8")
    assert 'rel="prev" href="98_small.html"' in again


def test_a_number_that_no_lesson_has_is_an_error(two):
    with pytest.raises(SystemExit, match="there is no lesson 97"):
        two("site", "97")


class Reader(HTMLParser):
    """What a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """Note a tag."""
        self.tags.append((tag, dict(attributes)))


NAMES = [*sorted(path.stem for path in pages.HERE.glob("[0-9]*.py")), "index", "api"]


@pytest.fixture(params=NAMES)
def made(request, site):
    """A page of the site: its path, its bytes, and its tags."""
    path = site / f"{request.param}.html"
    return path, path.read_bytes(), Reader(path.read_text(encoding="utf-8")).tags


@pytest.mark.slow
def test_a_page_is_one_file_of_at_most_1_5_mb(made):
    _, content, tags = made
    assert len(content) < 1.5e6
    loaded = [
        at[key] for _, at in tags for key in ("src", "srcset", "poster") if key in at
    ]
    assert all(each.startswith("data:") for each in loaded)
    assert not [at for tag, at in tags if tag in ("iframe", "object", "base", "form")]
    assert {at["href"] for tag, at in tags if tag == "link"} == {"data:,"}
    style = re.findall(r"<style>.*?</style>", content.decode(), re.S)
    assert "url(" not in "".join(style) and "@import" not in "".join(style)


@pytest.mark.slow
def test_links_of_a_page_lead_to_files_and_places(made):
    path, _, tags = made
    places = [at["id"] for _, at in tags if "id" in at]
    known = set(places)
    assert len(places) == len(known)
    for target in [at["href"] for tag, at in tags if tag == "a"]:
        if target.startswith("#"):
            assert target[1:] in known, target
        elif not re.match("https?://", target):
            assert Path(os.path.normpath(path.parent / target)).is_file(), target


@pytest.mark.slow
def test_a_page_can_be_heard(made):
    path, _, tags = made
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
    alts = [at.get("alt") for tag, at in tags if tag == "img"]
    assert all(alts) and bool(alts) == (path.stem != "api")
    assert ("a", {"class": "skip", "href": "#main"}) in tags
    assert dict(tags)["html"] == {"lang": "en"}
