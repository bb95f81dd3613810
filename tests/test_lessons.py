"""Lessons are programs: they run, keep to their form, and end in assertions."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lessons import pages
from minigen import orders, plans
from minigen.show import lesson
from tests import sites

FOLDER = Path(__file__).parent.parent / "lessons"
LESSONS = sorted(FOLDER.glob("[0-9]*.py"))
PACKAGE = str(Path(plans.__file__).parent.parent)
BASE = {"numpy", "numba", "PIL", "minigen"}  # what `pip install .` brings

each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def cells(path):
    """Return the cells of a program: markdown or code, and their lines."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        assert found or line.startswith("# %%"), f"{path} does not begin with # %%"
        if line.startswith("# %%"):
            found.append(SimpleNamespace(markdown="[markdown]" in line, lines=[]))
        else:
            found[-1].lines.append(line)
    for cell in found:
        while cell.lines and not cell.lines[-1]:
            cell.lines.pop()
    return found


def functions_of_the_package():
    names = set()
    for file in Path(plans.__file__).parent.rglob("*.py"):
        tree = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        names |= {node.name for node in tree if isinstance(node, ast.FunctionDef)}
    return names


def named_before_sources(path):
    """Return the functions in code font in the paragraphs before what is printed."""
    found, names = cells(path), set()
    for prose, code in zip(found, found[1:], strict=False):
        if prose.markdown and any("show.source(" in line for line in code.lines):
            named = re.findall(r"`([A-Za-z_]\w*)(?:\(\))?`", "\n".join(prose.lines))
            names |= set(named)
    return names & functions_of_the_package()


def statements(cell):
    return ast.parse("\n".join(cell.lines)).body


def asserts(cell):
    return [
        node
        for statement in statements(cell)
        for node in ast.walk(statement)
        if isinstance(node, ast.Assert)
    ]


def test_no_lesson_is_missing():
    numbers = [int(path.stem[:2]) for path in LESSONS]
    assert len(numbers) == len(set(numbers)) >= 11
    # how they draw, and how they run
    assert {*numbers} <= {*range(16), *range(20, 26)}


def run(path, folder):
    """Run a lesson; return what it printed, and its pictures by their names.

    Where its page has been built, it ran then, and the page says it.
    """
    if sites.built():
        page = (sites.built() / f"{path.stem}.html").read_text(encoding="utf-8")
        shown = sites.Shown(page)
        return "\n".join([*shown.printed, shown.sources]), shown.pictures
    out = subprocess.run(
        [sys.executable, path],
        # the minigen under test, installed or not
        env={**os.environ, "PYTHONPATH": PACKAGE, "MINIGEN_PICTURES": str(folder)},
        capture_output=True,
        text=True,
    )
    assert out.returncode == 0, out.stderr
    drawn = {picture.stem: Image.open(picture) for picture in folder.glob("*.png")}
    return out.stdout, drawn


@pytest.mark.slow
@each_lesson
def test_a_lesson_runs_and_draws(path, tmp_path):
    printed, drawn = run(path, tmp_path)
    # a paragraph before a source speaks of nothing that is not printed
    for name in named_before_sources(path):
        assert re.search(rf"\b{name}\b", printed), f"`{name}` is not printed"
    assert all(name.startswith(path.stem[:3]) for name in drawn)
    text = path.read_text(encoding="utf-8")
    assert {*drawn} == set(re.findall(r'save\(\s*"([^"]+)\.png"', text))
    # the picture that the index shows is the one that the lesson draws
    shown = Image.open(FOLDER / "pictures" / f"{path.stem}.png")
    assert shown.size == drawn[path.stem].size


@each_lesson
def test_cells_are_few_and_short(path):
    code = [cell for cell in cells(path) if not cell.markdown]
    assert len(code) <= 12
    for cell in code:
        assert 0 < len(cell.lines) <= 15, cell.lines[0]
    assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 88


@each_lesson
def test_prose_is_short(path):
    prose = [line for cell in cells(path) if cell.markdown for line in cell.lines]
    words = sum(len(line.removeprefix("#").split()) for line in prose)
    assert words <= 600, words


@each_lesson
def test_a_lesson_lets_its_reader_predict_and_then_reveals(path):
    found, asked = cells(path), False
    for cell in found:
        paragraphs = "\n".join(cell.lines).split("\n#\n") if cell.markdown else []
        if any(text.startswith("# **Reveal.** ") for text in paragraphs):
            assert paragraphs[0].startswith("# **Reveal.** ") and asked
            asked = False
        predicts = [text.startswith("# **Predict.** ") for text in paragraphs]
        if any(predicts):
            assert sum(predicts) == predicts[-1] and not asked and cell is not found[-1]
            assert "?" in paragraphs[-1]
            asked = True
    assert not asked, "what was asked is not revealed"
    text = path.read_text(encoding="utf-8")
    assert "# **Reveal.** " in text


@each_lesson
def test_prose_opens_a_lesson_and_leads_to_every_picture(path):
    found = cells(path)
    assert found[0].markdown
    assert found[0].lines[0].startswith(f"# # {path.stem[:2]} · ")
    assert all(line.startswith("#") for c in found if c.markdown for line in c.lines)
    code = [cell for cell in found if not cell.markdown]
    first = "\n".join(line for cell in code[:2] for line in cell.lines)
    assert re.search(rf'save\(\s*"{path.stem}\.png"', first)


@each_lesson
def test_a_lesson_ends_with_what_was_taught(path):
    found = cells(path)
    last = [cell for cell in found if not cell.markdown][-1]
    assert len(asserts(last)) >= 4
    # each in words
    assert all(isinstance(node.msg, ast.Constant) for node in asserts(last))
    assert isinstance(statements(last)[-1], ast.Assert)
    exercises = found[-1]
    assert exercises.markdown and exercises.lines[0] == "# ## Exercises"
    count = sum(bool(re.match(r"# \d\. ", line)) for line in exercises.lines)
    assert 2 <= count <= 3


@each_lesson
def test_a_page_is_told_which_numbers_are_measured(path):
    # or else a second build would make another page
    text = path.read_text(encoding="utf-8")
    clocks = re.findall(r"\b(?:perf_counter|process_time|monotonic|time\.time)\b", text)
    assert not clocks or "show.measured(" in text


@each_lesson
def test_a_lesson_needs_the_base_install_only(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    assert {name.split(".")[0] for name in names} <= BASE | set(sys.stdlib_module_names)
    assert "source(" in path.read_text(encoding="utf-8"), "shows the package's source"


def test_the_index_says_of_every_lesson_what_its_first_cell_says():
    written = pages.INDEX.read_text(encoding="utf-8")
    made = pages.index(written, pages.every())
    assert made == written, "run `python lessons/build.py --index`"
    for path in LESSONS:
        assert f"({path.name})" in written
        assert f"(pictures/{path.stem}.png)" in written


def test_the_index_takes_what_a_lesson_says_now(tmp_path):
    path = tmp_path / "03_new.py"
    first = ["# 03 · New", "It is new. It is short. It ends.", "*Runs anywhere.*"]
    first.append("![A broken\nline](pictures/03_new.png)")
    lines = "\n\n".join(first).split("\n")
    path.write_text("\n".join(["# %% [markdown]", *(f"# {x}" for x in lines)]))
    lesson = pages.read(path)
    assert (lesson.lead, lesson.needs) == ("It is new. It is short.", "Runs anywhere.")
    made = pages.index(pages.INDEX.read_text(encoding="utf-8"), [lesson])
    assert "### [03 · New](03_new.py)\n\nIt is new. It is short.\n" in made
    assert "![A broken line](pictures/03_new.png)" in made
    assert "00_one_image.png" not in made and "## The digits" in made
    path.write_text(path.read_text().replace("pictures/03_new", "pictures/other"))
    with pytest.raises(SystemExit, match="03_new.py, line 1: the first cell lacks"):
        pages.read(path)


@each_lesson
def test_the_picture_of_the_index_is_committed(path):
    assert f"!pictures/{path.stem}.png" in (FOLDER / ".gitignore").read_text("utf-8")


def test_every_link_of_the_index_leads_somewhere():
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", index):
        assert target.startswith("https://") or (FOLDER / target).is_file(), target


def test_source_prints_the_function_as_it_stands(capsys):
    lesson.source(orders.spiral)
    printed = capsys.readouterr().out
    file = Path(orders.__file__).read_text(encoding="utf-8")
    assert printed.startswith("# minigen/orders.py\ndef spiral(rows, columns, *_):")
    assert printed.split("\n", 1)[1].strip() in file


def test_save_writes_where_it_is_told(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MINIGEN_PICTURES", str(tmp_path / "new"))
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    lesson.save("x.png", picture)
    assert (np.asarray(Image.open(tmp_path / "new" / "x.png")) == picture).all()
    assert "x.png (3 x 2)" in capsys.readouterr().out


def test_a_board_holds_its_pictures_unchanged():
    tile = np.full((10, 20, 3), 7, np.uint8)
    plain = np.asarray(lesson.board([[tile, tile]] * 3))
    assert (plain == 7).all(-1).sum() == 6 * 200
    captioned = np.asarray(lesson.board([[tile, tile]] * 3, ["a", "b"], ["c"] * 3))
    assert (captioned == 7).all(-1).sum() == 6 * 200
    assert captioned.shape[0] > plain.shape[0]
    assert captioned.shape[1] > plain.shape[1]


def test_captions_of_two_lines_take_the_width_of_the_longer():
    tile = np.zeros((40, 10, 3), np.uint8)
    boards = [lesson.board([[tile]], down=[said]) for said in ("wide", "wide\nwide")]
    assert boards[0].width == boards[1].width


def test_colours_rise_from_dark_to_bright_and_leave_gaps():
    painted = lesson.colours([[0.0, 0.5, 1.0, np.nan]], scale=2)
    assert painted.shape == (2, 8, 3)
    brightness = painted[0, ::2].sum(-1).astype(int)
    assert (np.diff(brightness[:3]) > 0).all()
    assert tuple(painted[0, 6]) == lesson.GAP
    clipped = lesson.colours([[-5.0, 5.0]], low=0, high=1)
    assert (clipped == lesson.colours([[0.0, 1.0]])).all()


def test_an_outline_frames_its_cell_and_nothing_else():
    picture = np.zeros((12, 12, 3), np.uint8)
    framed = lesson.outline(picture, [5], (3, 3), thick=1)
    expected = np.ones((4, 4), bool)
    expected[1:-1, 1:-1] = False
    assert (framed.any(-1)[4:8, 8:12] == expected).all()
    assert framed.any(-1).sum() == expected.sum()
    assert not picture.any(), "the picture that was given is left as it was"


def test_bars_are_as_tall_as_their_numbers():
    drawn = (lesson.bars([1, 2, 4], 30, 41) == lesson.BLUE).all(-1)
    assert drawn[:, [4, 14, 24]].sum(0).tolist() == [10, 20, 40]


def test_numbers_stand_over_their_bars():
    plain = lesson.bars([1, 2], 60, 60)
    drawn = lesson.bars([1, 2], 60, 60, numbers=["1 B", "2 B"])
    blue = (drawn == lesson.BLUE).all(-1)
    room = lesson.LETTER + 4
    assert blue.sum(0)[[10, 40]].tolist() == [round((59 - room) / 2), 59 - room]
    dark = (drawn < 128).all(-1) & ~blue
    tops = 59 - blue.sum(0)[[10, 40]]
    for half, top in zip((dark[:, :30], dark[:, 30:]), tops, strict=True):
        assert half.any() and np.flatnonzero(half.any(1)).max() < top
    assert not (plain < 128).all(-1).any()


def test_every_cell_bears_its_number():
    values = np.array([[0, 1], [2, 3]])
    drawn, plain = lesson.numbered(values, 20), lesson.colours(values, 20)
    written = (drawn != plain).any(-1).reshape(2, 20, 2, 20).any((1, 3))
    assert written.all()
    assert drawn[:20, :20].min(-1).max() > 200, "light on dark"
    assert drawn[20:, 20:].max(-1).min() < 100, "dark on light"
    corners = drawn[::19, ::19] == plain[::19, ::19]
    assert corners.all(), "and the colour shows around it"


def test_a_scale_shows_all_its_colours_and_its_ends():
    drawn = lesson.scale(0, 5, "mm", width=80)
    band = lesson.colours(np.linspace(0, 1, 80)[None])[0]
    assert (drawn[0] == band).all()
    words = (drawn[lesson.LETTER :] < 128).all(-1).any(0)
    assert words[:10].any() and words[-10:].any() and not words[30:40].any()


@pytest.mark.parametrize("logs", [(False, False), (True, True)])
def test_curves_pass_through_their_numbers(logs):
    x, ticks = [1, 2, 4], ([1, 4], [1, 16])
    lines = {"up": [1, 4, 16], "down": [16, 4, 1]}
    drawn = lesson.curves(lines, x, ("x, s", "y, m"), ticks, logs, size=(200, 100))
    box = drawn[40:141, 56:257]
    up = (box == lesson.BLUE).all(-1)
    down = (box == lesson.ORANGE).all(-1)
    assert up[-3:, :3].any() and up[:3, -3:].any()
    assert down[:3, :3].any() and down[-3:, -3:].any()
    # they cross at 2, which is half-way where both axes are logarithmic
    column, row = (100, 50) if logs[0] else (67, 80)
    assert (down | up)[row - 2 : row + 3, column - 2 : column + 3].any()
    assert not up[:3, :100].any() and (drawn[:40] == lesson.BLUE).all(-1).any()


def test_areas_stand_on_each_other():
    drawn = lesson.areas([[1, 2], [1, 2]], 41)
    counts = [(drawn == colour).all(-1).sum(0).tolist() for colour in lesson.LAYERS[:2]]
    assert counts == [[10, 20], [10, 20]]
    assert (drawn[:-1, 0] == lesson.PAPER).all(-1).sum() == 20
    assert (drawn[-2] == lesson.LAYERS[0]).all(), "the first row is the lowest"
    assert (lesson.areas([[1, 2], [1, 2]], 41, high=8) != lesson.PAPER).any(
        -1
    ).sum() < 42


def test_a_curve_passes_through_its_numbers_and_has_no_gaps():
    paper = np.full((22, 11, 3), lesson.PAPER, np.uint8)
    drawn = lesson.curve(paper, [0, 2, 1], high=4, thick=1)
    inked = (drawn == lesson.ORANGE).all(-1)
    assert inked[[20, 10, 15], [0, 5, 10]].all()
    assert inked[:, 0].sum() == 1
    assert inked.any(0).all(), "it is drawn in every column"
    for here, before in zip(inked.T[1:], inked.T, strict=False):
        assert (here & before).any(), "and each column meets the one before"
    assert (paper == lesson.PAPER).all(), "the picture that was given is left as it was"


def test_a_mark_stands_at_its_share_of_the_width():
    paper = np.full((5, 100, 3), lesson.PAPER, np.uint8)
    for share, columns in ((0, [0]), (0.25, [24, 25]), (1, [98, 99]), (7, [98, 99])):
        inked = (lesson.mark(paper, share) == lesson.ORANGE).all(-1)
        assert np.flatnonzero(inked.all(0)).tolist() == columns
        assert inked.sum() == 5 * len(columns)


def test_who_makes_a_page_is_told_what_is_shown(monkeypatch, tmp_path, capsys):
    told = []
    monkeypatch.setattr(lesson, "listener", lambda *what: told.append(what))
    monkeypatch.setenv("MINIGEN_PICTURES", str(tmp_path))
    lesson.source(orders.spiral, orders.raster)
    lesson.save("x.png", np.zeros((2, 3, 3), np.uint8))
    (kind, shown), (_, other), (last, picture) = told
    assert kind == "source" and shown["path"] == "minigen/orders.py"
    assert shown["text"].startswith("def spiral(") and "def raster(" in other["text"]
    assert last == "picture" and picture == {
        "path": tmp_path / "x.png",
        "name": "x.png",
        "size": (3, 2),
        "alt": "picture x.png",
    }
    captioned = lesson.board([[np.zeros((2, 3, 3), np.uint8)] * 2], ["a", "b"], ["c"])
    lesson.save("y.png", captioned)
    assert told[-1][1]["alt"] == "columns: a, b; rows: c"
    lesson.measured("3 s")
    assert told[-1] == ("measured", {})
    assert (tmp_path / "x.png").is_file() and capsys.readouterr().out == ""
