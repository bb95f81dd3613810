"""trace: a page of a user's own runs, in Python and on the command line."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

import minigen
from minigen.cli import app
from minigen.commands.trace import read_beside
from minigen.errors import InputError
from minigen.show import trace


def data_of(path):
    page = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'application/json">(.*?)</script>', page, re.S)[1])


@pytest.fixture(scope="module")
def pipe():
    return minigen.load("arpg-mnist", backend="numpy")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, status=0):
        result = CliRunner().invoke(app, [*map(str, arguments)])
        assert result.exit_code == status, result.output
        return result.output

    return call


def test_a_page_holds_both_runs(pipe, tmp_path):
    how = {"order": "spiral", "steps": 4, "seed": 2, "guidance": 3.0}
    beside = {"order": "halton", "temperature": 1.0}
    path = pipe.trace(tmp_path / "a.html", [7], beside=beside, **how)
    data = data_of(path)
    names = [run["name"] for run in data["runs"]]
    assert names[0].startswith("spiral, 4 steps") and names[1].startswith("halton")
    assert "temperature 1.0" in names[1] and data["lanes"] == 2
    for run, more in zip(data["runs"], ({}, beside), strict=True):
        steps = list(pipe.steps([7], **{**how, **more}))
        for frame, step in zip(run["frames"], steps, strict=True):
            assert frame["tokens"] == step.tokens[0].tolist()
            assert frame["new"] == step.positions.tolist()


def test_every_image_is_a_run_of_its_own(pipe, tmp_path):
    told = []
    path = pipe.trace(
        tmp_path / "a.html", [3, -1, 3], steps=2, first=5,
        progress=lambda *at: told.append(at),
    )  # fmt: skip
    data, steps = data_of(path), list(pipe.steps([3, -1, 3], steps=2, first=5))
    names = [run["name"].split(", border")[0] for run in data["runs"]]
    assert names == ["class 3, image 5", "no class", "class 3, image 7"]
    assert told == [(1, 2), (2, 2)]
    for image, run in enumerate(data["runs"]):
        for frame, step in zip(run["frames"], steps, strict=True):
            assert frame["tokens"] == step.tokens[image].tolist()


@pytest.mark.parametrize("order", ["random-each", "confidence"])
def test_orders_that_differ_from_image_to_image(pipe, tmp_path, order):
    path = pipe.trace(tmp_path / "a.html", [3, 7], order=order, steps=3)
    steps = list(pipe.steps([3, 7], order=order, steps=3))
    for image, run in enumerate(data_of(path)["runs"]):
        for frame, step in zip(run["frames"], steps, strict=True):
            assert frame["new"] == step.positions[image].tolist()
        assert len({p for f in run["frames"] for p in f["new"]}) == 64


def test_known_tokens_and_grids(pipe, tmp_path):
    known = np.full((4, 8), -1)
    known[0] = 5
    path = pipe.trace(tmp_path / "a.html", 3, known=known, grid=(4, 8), steps=2)
    data = data_of(path)
    assert data["grid"] == [4, 8] and data["runs"][0]["known"] == [*range(8)]


@pytest.mark.parametrize(
    "name", ["aim-mnist", "gpt-mnist", "arinar-mnist", "mar-mnist"]
)
def test_every_family_shows_what_it_has(name, tmp_path):
    pipe = minigen.load(name, backend="numpy")
    coded = name in ("aim-mnist", "gpt-mnist")
    known = np.full((8, 8), 5) if coded else np.zeros((8, 8, 4), np.float32)
    known[7, 4:] = -1 if coded else np.nan
    how = {"known": known} if coded else {"known": known, "steps": 2}
    data = data_of(pipe.trace(tmp_path / "a.html", 3, **how))
    (made,) = data["runs"]
    assert made["known"] == [*range(60)]
    for frame in made["frames"]:
        assert ("bits" in frame) == coded == ("vectors" not in frame)
        if coded:
            assert frame["open"] == frame["new"] and frame["keeps"] > 0


@pytest.mark.parametrize(
    "how, said",
    [
        ({"beside": {"colour": 3}}, "beside 'colour' is not known"),
        ({"beside": {"order": "spirla"}}, "did you mean spiral"),
        ({"beside": {"seed": 0}}, "changes nothing"),
        ({"schedule": "one", "beside": {"steps": 4}}, "changes nothing"),
        ({"labels": [1] * 17}, "17 runs were asked for"),
        ({"labels": [10]}, "class"),
        ({"path": "a.png"}, "should end in .html"),
        ({"known": np.zeros((8, 8), int)}, "every token is known"),
    ],
)
def test_what_no_page_can_show_is_refused(pipe, tmp_path, how, said):
    path, labels = how.pop("path", "a.html"), how.pop("labels", [7])
    with pytest.raises(InputError, match=said):
        pipe.trace(tmp_path / path, labels, **how)
    assert not [*tmp_path.iterdir()]


def test_beside_is_read_like_the_options():
    assert read_beside(["top-p=0.5", "steps=4"]) == {"top_p": 0.5, "steps": 4}
    assert read_beside(["order=2,0,1"]) == {"order": (2, 0, 1)}
    for bad in (["order"], ["=3"], ["steps="], ["model=a"], ["steps=x"], ["seed=-1"],
                ["steps=1", "steps=2"]):  # fmt: skip
        with pytest.raises(InputError, match="--beside"):
            read_beside(bad)
    assert {*trace.SETTINGS} >= {"order", "schedule", "steps"}


DRAW = ("arpg-mnist", "-c", "7", "--backend", "numpy", "--steps", "2")


def test_the_command_writes_a_page(run, tmp_path):
    said = run("trace", *DRAW, "--beside", "order=raster", "--out", "a.html")
    assert re.search(
        r"^a\.html  border, 2 steps; raster, 2 steps  \(\d+ kB\)$", said, re.M
    )
    assert [len(r["frames"]) for r in data_of(tmp_path / "a.html")["runs"]] == [2, 2]
    run("trace", *DRAW)
    assert (tmp_path / "trace.html").is_file()


def test_the_command_starts_from_a_picture(run, tmp_path):
    run("sample", *DRAW, "--out", "seven.png")
    run("trace", *DRAW, "--picture", "seven.png", "--keep", "top")
    (made,) = data_of(tmp_path / "trace.html")["runs"]
    assert made["known"] == [*range(32)]
    run("trace", *DRAW, "--picture", "seven.png", "--border", "4")
    data = data_of(tmp_path / "trace.html")
    assert data["grid"] == [10, 10] and len(data["runs"][0]["known"]) == 64
    run("trace", *DRAW, "--grid", "4x12")
    assert data_of(tmp_path / "trace.html")["grid"] == [4, 12]


@pytest.mark.parametrize(
    "options, said",
    [
        (("--keep", "top"), "name one with --picture"),
        (("--paste",), "name one with --picture"),
        (("--picture", "a.png", "--keep", "top", "--border", "4"), "one of the two"),
        (("--picture", "none.png", "--keep", "top"), "none.png"),
        (("--out", "a.png"), "should end in .html"),
        (("--beside", "order=rastr"), "did you mean raster"),
        (("--beside", "colour=1"), "cannot be read"),
        (("--class", "0-9", "--class", "0-9"), "21 runs"),
        (("--grid", "4"), "--grid"),
    ],
)
def test_the_command_refuses(run, tmp_path, options, said):
    output = run("trace", *DRAW, *options, status=2)
    assert said in output.replace("\n", " ")
    assert not [*tmp_path.glob("*.html")]
