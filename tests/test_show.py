"""Pictures: what a sheet holds, what a PNG remembers, and what a failure leaves."""

import json

import numpy as np
import pytest
from PIL import Image

from minigen.errors import InputError, ShapeError
from minigen.show import files, grid
from minigen.show.recipe import Recipe, from_json, to_json


def images(count, size=4):
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (count, size, size, 3)).astype(np.uint8)


def test_one_image_is_returned_as_it_is():
    batch = images(1)
    assert np.array_equal(grid.grid(batch), batch[0])


@pytest.mark.parametrize("count, columns", [(2, 2), (5, 2), (6, 3), (7, 9)])
def test_every_image_stands_in_its_place(count, columns):
    batch = images(count)
    sheet = grid.grid(batch, columns)
    across = min(columns, count)
    for i, image in enumerate(batch):
        y, x = i // across * (4 + grid.GAP), i % across * (4 + grid.GAP)
        assert np.array_equal(sheet[y : y + 4, x : x + 4], image)
    # what is no image is paper
    assert (sheet == grid.PAPER).all(-1).sum() >= sheet[..., 0].size - 16 * count


def test_classes_get_a_row_each():
    assert grid.columns_for(8, classes=2) == 4
    assert grid.columns_for(10, classes=10) == 4
    assert grid.columns_for(1) == 1


def test_a_grid_refuses_what_is_no_image():
    with pytest.raises(ShapeError, match="float32"):
        grid.grid(images(2).astype(np.float32))


def test_enlarging_repeats_pixels():
    image = images(1)[0]
    large = grid.enlarge(image, 3)
    assert large.shape == (12, 12, 3)
    assert np.array_equal(large[1::3, 2::3], image)


def test_text_shows_bright_where_it_is_bright():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2, 2:] = 255
    assert grid.text(image, colours=False).split("\n") == ["  @@", "    "]


def test_text_shows_both_pixels_of_a_character_in_colour():
    image = np.array([[[1, 2, 3]], [[4, 5, 6]]], np.uint8)
    assert grid.text(image, colours=True).startswith("\x1b[38;2;1;2;3;48;2;4;5;6m")


def test_text_of_a_large_picture_is_at_most_as_wide_as_asked():
    lines = grid.text(np.full((256, 256, 3), 200, np.uint8), False, 64).split("\n")
    assert {len(line) for line in lines} == {64}
    assert len(lines) == 32


def test_a_png_carries_its_recipe(tmp_path):
    image = images(1)[0]
    recipe = Recipe(model="arpg-mnist", labels=(3, 7), order=(2, 1, 0), seed=2**60)
    path = files.write_png(tmp_path / "a.png", image, to_json(recipe))
    pixels, stored = files.read_png(path)
    assert np.array_equal(pixels, image)
    assert from_json(stored) == recipe
    with Image.open(path) as file:
        assert json.loads(file.text["minigen"])["labels"] == [3, 7]


def test_a_recipe_of_another_kind_is_refused():
    with pytest.raises(InputError, match="names no model"):
        from_json({"labels": [1]})
    with pytest.raises(InputError, match="holds 'flavour'"):
        from_json({"model": "m", "labels": [1], "flavour": "up"})


def test_a_png_without_recipe_says_so(tmp_path):
    Image.fromarray(images(1)[0]).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="carries no recipe"):
        files.read_png(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n1234"])
def test_what_is_no_png_says_so(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a PNG"):
        files.read_png(tmp_path / "a.png")
    with pytest.raises(InputError, match="there is no file"):
        files.read_png(tmp_path / "b.png")


def test_a_recipe_is_not_sought_in_a_picture_made_of_another(tmp_path):
    Image.fromarray(images(1)[0]).save(tmp_path / "a.webp")
    for read in (files.read_png, files.read_header):
        with pytest.raises(InputError, match="only a PNG that .* holds a recipe") as e:
            read(tmp_path / "a.webp")
        assert "save the picture" not in str(e.value)


def test_an_animation_has_every_frame(tmp_path):
    frames = [np.full((8, 8, 3), v, np.uint8) for v in (0, 90, 200)]
    path = files.write_gif(tmp_path / "a.gif", frames, seconds=0.6)
    with Image.open(path) as file:
        assert file.n_frames == 3
        seen = []
        for i in range(3):
            file.seek(i)
            seen.append(int(np.asarray(file.convert("RGB"))[0, 0, 0]))
    assert seen == [0, 90, 200]
