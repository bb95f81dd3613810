"""Images from files: colours, the crop of the originals, and errors that help."""

import numpy as np
import pytest
from PIL import Image

from minigen.errors import InputError
from minigen.images import center_crop, read_image


def test_a_file_is_read_as_red_green_blue(tmp_path):
    path = tmp_path / "grey.png"
    Image.new("L", (5, 3), 200).save(path)
    image = read_image(path)
    assert image.shape == (3, 5, 3) and image.dtype == np.uint8
    assert (image == 200).all()


def test_the_middle_is_kept(tmp_path):
    # left third red, right third blue, the middle green: a square keeps the green
    picture = np.zeros((16, 48, 3), np.uint8)
    for i in range(3):
        picture[:, 16 * i : 16 * i + 16, i] = 255
    image = center_crop(picture, 16)
    assert (image == [0, 255, 0]).all()


def test_halving_averages_before_the_last_step():
    # a checkerboard of single pixels has only one average
    board = np.indices((64, 64)).sum(0) % 2 * 255
    image = center_crop(np.repeat(board[:, :, None], 3, 2).astype(np.uint8), 16)
    assert image.shape == (16, 16, 3)
    assert set(np.unique(image)) <= {127, 128}


@pytest.mark.parametrize("shape", [(7, 9), (31, 17), (64, 200), (500, 33)])
@pytest.mark.parametrize("size", [1, 8, 32])
def test_any_image_becomes_a_square(shape, size):
    assert center_crop(np.zeros((*shape, 3), np.uint8), size).shape == (size, size, 3)


def test_what_is_no_image_is_refused(tmp_path):
    path = tmp_path / "words.png"
    path.write_text("no image")
    with pytest.raises(InputError, match=r"words\.png"):
        read_image(path)
    with pytest.raises(InputError, match=r"missing\.png"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(InputError, match="cropped to 0"):
        center_crop(np.zeros((4, 4, 3), np.uint8), 0)
