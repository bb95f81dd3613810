"""inpaint, outpaint, edit and expand as a user meets them on the command line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import minigen
from minigen import tasks
from minigen.cli import app
from minigen.commands import options as o
from minigen.errors import InputError
from minigen.show import files

QUICK = ("-c", "3", "--backend", "numpy", "--steps", "2")


@pytest.fixture(scope="module")
def pipe():
    return minigen.load("arpg-mnist", backend="numpy")


@pytest.fixture
def run(tmp_path, monkeypatch, pipe):
    """Run the command line in a folder with digit.png, a seven, and mask.png."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    Image.fromarray(pipe.sample([7], seed=4, steps=4)[0]).save("digit.png")
    mask = np.zeros((32, 32), np.uint8)
    mask[9:20, 3:30] = 255
    Image.fromarray(mask).save("mask.png")

    def invoke(line):
        result = CliRunner().invoke(app, line.split())
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    return invoke


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


MASKS = {
    "--mask mask.png": lambda size: pixels("mask.png")[..., 0] > 127,
    "--box 9,3,20,30": lambda size: tasks.box((9, 3, 20, 30), size),
    "--keep top": lambda size: tasks.keep("top", size),
    "--keep centre": lambda size: tasks.keep("centre", size),
}


@pytest.mark.parametrize("paste", ["", "--paste"])
@pytest.mark.parametrize("how", MASKS)
def test_both_faces_draw_the_same(run, pipe, how, paste):
    digit = pixels("digit.png")
    run(f"inpaint arpg-mnist digit.png {how} {paste} {' '.join(QUICK)} --count 2")
    mask = MASKS[how](digit.shape[:2])
    drawn = pipe.inpaint(digit, mask, 3, count=2, steps=2, paste=bool(paste))
    shown, recipe = files.read_png("inpaint.png")
    assert np.array_equal(shown[:, :32], drawn.images[0])
    assert np.array_equal(shown[:, 34:], drawn.images[1])
    pipe.save(drawn, "saved.png")
    stored = files.read_png("saved.png")[1]
    assert {**recipe, "columns": None} == stored
    assert "all 2112 pixels are the same" in run("replay inpaint.png")


@pytest.mark.parametrize("model, line", [
    ("arpg-mnist", "edit MODEL digit.png --keep bottom --order locality --paste"),
    ("arpg-mnist", "outpaint MODEL digit.png --border 8 --known-reading block"),
    ("arpg-mnist", "outpaint MODEL digit.png --border 0,8,4,0 --paste --count 2"),
    ("arpg-mnist", "outpaint MODEL digit.png --grid 8x12 --order random-each"),
    ("arpg-mnist", "expand MODEL --grid 5x12 --order confidence --count 2"),
    ("gpt-mnist", "inpaint MODEL digit.png --keep top --schedule one --paste"),
    ("aim-mnist", "edit MODEL digit.png --box 26,0,32,32 --schedule one"),
    ("arinar-mnist", "inpaint MODEL digit.png --box 4,4,12,12 --guidance 1"),
    ("mar-mnist", "edit MODEL digit.png --box 4,4,8,8 --guidance 1 --paste"),
])  # fmt: skip
def test_every_task_is_drawn_again_from_its_recipe_alone(run, model, line):
    line = line.replace("MODEL", model) + " -c 3 --backend numpy --out a.png"
    run(line + ("" if "one" in line else " --steps 2"))
    os.remove("digit.png")
    assert "pixels are the same" in run("replay a.png")


def test_json_names_the_file_and_the_recipe(run):
    found = json.loads(run(f"expand arpg-mnist --grid 2x3 --json {' '.join(QUICK)}"))
    assert found["files"] == ["expand.png"] and found["recipe"]["grid"] == [2, 3]


@pytest.mark.parametrize("how, size", [("crop", (32, 32)), ("pad", (32, 32)),
                                       ("stretch", (32, 32))])  # fmt: skip
def test_a_picture_of_any_size_comes_in(run, how, size):
    Image.new("RGB", (57, 41), (0, 90, 0)).save("wide.png")
    run(f"inpaint arpg-mnist wide.png --box 0,0,9,9 --fit {how} {' '.join(QUICK)}")
    assert pixels("inpaint.png").shape[:2] == size
    said = run("replay inpaint.png")
    assert "all 1024 pixels are the same" in said


def modes(picture):
    """Yield the same grey picture in several modes."""
    grey = Image.fromarray(picture[..., 0])
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    yield from (grey, grey.convert("P"), grey.convert("RGBA"), grey.convert("LA"), deep)


def test_a_picture_of_any_mode_comes_in(run):
    grey = np.asarray(Image.open("digit.png").convert("L"))[..., None].repeat(3, -1)
    Image.fromarray(grey).save("grey.png")
    run(f"edit arpg-mnist grey.png --keep top --paste {' '.join(QUICK)}")
    expected = pixels("edit.png")
    for picture in modes(grey):
        picture.save("other.png")
        run(f"edit arpg-mnist other.png --keep top --paste {' '.join(QUICK)}")
        assert np.array_equal(pixels("edit.png"), expected), picture.mode


def test_an_order_is_a_list_or_a_file(run):
    line = f"inpaint arpg-mnist digit.png --box 0,0,4,12 {' '.join(QUICK)}"
    run(f"{line} --order 2,0,1")
    Path("order.txt").write_text("[2, 0,\n1]\n")
    first = files.read_png("inpaint.png")
    run(f"{line} --order order.txt")
    again = files.read_png("inpaint.png")
    assert first[1] == again[1] and first[1]["order"] == [2, 0, 1]
    assert np.array_equal(first[0], again[0])


@pytest.mark.parametrize("content", ["", "a", "1,", "1;2", "-1", "1.5", "9" * 10])
def test_a_file_without_positions_is_no_order(tmp_path, content):
    path = tmp_path / "order"
    path.write_text(content)
    with pytest.raises(InputError, match="without a list of positions"):
        o.read_order(str(path))


def test_a_long_file_is_no_order(tmp_path):
    path = tmp_path / "order"
    path.write_text("0," * o.LONGEST)
    with pytest.raises(InputError, match="more than 1048576 bytes"):
        o.read_order(str(path))


ASK = " ".join(QUICK)
WRONG = {
    f"inpaint arpg-mnist digit.png {ASK}": "by one of --mask, --box and --keep; give",
    f"edit arpg-mnist digit.png --keep top --box 0,0,1,1 {ASK}": "leave the others out",
    f"inpaint arpg-mnist none.png --keep top {ASK}": "there is no file none.png",
    f"inpaint arpg-mnist digit.png --mask none.png {ASK}": "there is no file none.png",
    f"inpaint arpg-mnist digit.png --mask small.png {ASK}": "mask small.png is 30 x 31",
    f"inpaint arpg-mnist digit.png --mask black.png {ASK}": "the mask hides nothing",
    f"inpaint arpg-mnist deep.png --keep top {ASK}": "cannot be read as a PNG or JPEG",
    f"inpaint arpg-mnist small.png --keep top {ASK}": "a token 4 x 4; say --fit crop",
    f"inpaint mar-mnist wide.png --keep top {ASK}": "positions of a grid of 8 x 8",
    f"inpaint gpt-mnist digit.png --keep bottom {ASK}": "row by row, and position 0",
    f"inpaint arpg-mnist digit.png --box 0,0,40,4 {ASK}": "marks nothing, or more",
    f"inpaint arpg-mnist digit.png --box 0,0,4 {ASK}": "write 8,8,24,24",
    f"inpaint arpg-mnist digit.png --keep tpo {ASK}": "did you mean top",
    f"inpaint arpg-mnist digit.png --keep top --fit padd {ASK}": "did you mean pad",
    f"inpaint arpg-mnist digit.png --keep top {ASK} -c 12": "class 12 is not one",
    f"inpaint arpg-mnist digit.png --keep top {ASK} --order 60,61": "names 2 unknown",
    f"inpaint arpg-mnist digit.png --keep top {ASK} --out a.gif": "should end in .png",
    f"outpaint arpg-mnist digit.png {ASK}": "a border in pixels, or the grid",
    f"outpaint arpg-mnist digit.png --border 3 {ASK}": "multiples of 4",
    f"outpaint arpg-mnist digit.png --border 4 --fit pad {ASK}": "crop or stretch it",
    f"outpaint arpg-mnist digit.png --grid 8x8 {ASK}": "leaves nothing to draw",
    f"outpaint mar-mnist digit.png --border 4 {ASK}": "has learned the positions",
    f"expand arpg-mnist --grid 8 {ASK}": "write 8x16",
    f"expand arpg-mnist --grid 0x16 {ASK}": "grid 0 x 16 has 0 positions",
    f"expand arpg-mnist --grid 999x999 {ASK}": "998001 positions; expected 1 .. 65536",
    "expand aim-mnist --grid 8x16 -c 3 --backend numpy": "has learned the positions",
}


@pytest.mark.parametrize("line, said", WRONG.items())
def test_bad_input_is_refused_and_nothing_written(run, monkeypatch, line, said):
    monkeypatch.setattr("minigen.sample.decode", lambda *_, **__: pytest.fail("drawn"))
    Image.new("L", (30, 31), 255).save("small.png")
    Image.new("L", (32, 32)).save("black.png")
    Image.new("L", (40, 32)).save("wide.png")
    Image.new("I", (32, 32), 2**20).save("deep.tiff")
    os.rename("deep.tiff", "deep.png")
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == 2, (result.output, result.exception)
    assert said in " ".join(result.output.split())
    assert {*os.listdir()} == {
        "digit.png", "mask.png", "small.png", "black.png", "wide.png", "deep.png"
    }  # fmt: skip
