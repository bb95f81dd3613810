"""In a notebook: plans and steps are pictures, and lessons run as notebooks too."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigen
from minigen.show.cells import KNOWN
from minigen.show.lesson import GAP, ORANGE
from tests import sites

LESSONS = sorted((Path(__file__).parents[1] / "lessons").glob("[0-9]*.py"))


def slow(test):
    """Mark a test that starts a kernel of Jupyter's."""
    for part in ("jupytext", "nbclient", "ipykernel"):
        test = pytest.mark.needs(part)(test)
    return pytest.mark.slow(test)


@pytest.fixture(scope="module")
def pipe():
    return minigen.load("arpg-mnist", backend="numpy")


def pixels(thing):
    return np.asarray(Image.open(io.BytesIO(thing._repr_png_())))


def share(picture, colour):
    """Return how many hundreds of pixels have a colour: edges of letters are few."""
    return int((picture == colour).all(-1).sum()) // 100


def test_a_plan_is_a_picture_of_its_steps():
    plan = minigen.plan((4, 4), order="raster", schedule="one")
    picture = pixels(plan)
    other = pixels(minigen.plan((4, 4), order="spiral", schedule="one"))
    assert picture.shape == other.shape and (picture != other).any()
    # no cell is known, and then a half of them
    assert share(picture, GAP) == 0
    half = pixels(minigen.plan((4, 4), order="raster", known=range(8)))
    differs = pixels(minigen.plan((4, 4), order="random-each"))
    assert 0 < share(half, GAP) < share(differs, GAP)


@pytest.mark.parametrize("name", ["arpg-mnist", "arinar-mnist"])
def test_a_step_is_a_picture_of_what_is_known(name):
    pipe = minigen.load(name, backend="numpy")
    steps = list(pipe.steps([3], seed=1, steps=4))
    known = [share(pixels(step), KNOWN) for step in steps]
    assert known == sorted(set(known)), "more is known after every step"
    assert share(pixels(steps[0]), GAP) > share(pixels(steps[-1]), GAP) == 0
    framed = share(pixels(steps[-1]), ORANGE)
    one = replace(steps[-1], positions=steps[-1].positions[..., :1])
    assert 0 < 2 * share(pixels(one), ORANGE) < framed, "new tokens are framed"


def test_a_pipeline_says_in_a_line_what_it_is(pipe):
    line = "Pipeline(arpg-mnist with vq-mnist on numpy: 10 classes, 8 x 8 tokens)"
    assert repr(pipe) == line
    strange = replace(pipe.generator, path=Path("a\x1b[31m\nb.safetensors"))
    shown = repr(replace(pipe, generator=strange))
    assert shown.isprintable() and "a\\x1b[31m\\nb with" in shown


@pytest.fixture
def executed(monkeypatch, tmp_path):
    """Return a function that runs cells of code, or a lesson; it returns outputs."""
    import jupytext
    import nbformat
    from nbclient import NotebookClient

    root = LESSONS[0].parents[1]
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.setenv("MINIGEN_PICTURES", str(tmp_path))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONHASHSEED", "0")

    def execute(*given):
        if isinstance(given[0], Path):
            notebook = jupytext.read(given[0])
        else:
            cells = [nbformat.v4.new_code_cell(text) for text in given]
            notebook = nbformat.v4.new_notebook(cells=cells)
        told = {"metadata": {"path": str(root / "lessons")}}
        client = NotebookClient(notebook, kernel_name="python3", resources=told)
        client.execute()
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        return [output for cell in cells for output in cell.outputs]

    return execute


def placeless(text):
    """Return a text without files and lines: a cell of a notebook has others."""
    return re.sub(r"\S+\.py:\d+", "FILE", text)


def printed(outputs):
    return "".join(each.text for each in outputs if each.output_type == "stream")


@slow
def test_a_notebook_shows_pictures_and_progress(executed):
    outputs = executed(
        "import minigen\npipe = minigen.load('arpg-mnist', backend='numpy')\npipe",
        "pipe.plan(steps=4)",
        "steps = list(pipe.steps([7], steps=4))\nsteps[-1]",
        "drawing = pipe.draw([7], steps=4, progress=lambda *done: print(done))",
    )
    shown = [each.data for each in outputs if "data" in each]
    assert shown[0]["text/plain"].startswith("Pipeline(arpg-mnist with vq-mnist")
    assert ["image/png" in data for data in shown] == [False, True, True]
    assert printed(outputs).split("\n")[:-1] == [f"({i}, 4)" for i in (1, 2, 3, 4)]


@pytest.mark.in_parts
@slow
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_as_a_notebook(path, executed, tmp_path):
    text = printed(executed(path))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text), "a control character"
    assert (tmp_path / f"{path.stem}.png").is_file()
    if sites.built():
        # another run, in another way, prints the same
        page = (sites.built() / f"{path.stem}.html").read_text(encoding="utf-8")
        for part in sites.Shown(page).printed:
            assert placeless(part) in placeless(text)
