"""Reading images from files, cropped as the tokenizers were trained to see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigen.errors import InputError


def read_image(path, size=None) -> np.ndarray:
    """Return the image in a file as uint8 (y x 3), cropped to size x size if given.

    Raises InputError if there is no such file or it holds no image.
    """
    from PIL import Image

    try:
        with Image.open(Path(path)) as file:
            image = np.array(file.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} cannot be read as an image ({error}); give a PNG or JPEG file"
        ) from None
    return image if size is None else center_crop(image, size)


def center_crop(image, size) -> np.ndarray:
    """Shrink an image (y x 3), uint8, to `size` on its short side and crop the middle.

    Halving by averages comes first, as long as twice the size is there, so that the
    final bicubic step never skips a pixel. Source: openai/guided-diffusion
    image_datasets.py::center_crop_arr, as in the training of all ImageNet models here.

    >>> center_crop(np.zeros((30, 50, 3), np.uint8), 8).shape
    (8, 8, 3)
    """
    from PIL import Image

    if size < 1 or min(image.shape[:2]) < 1:
        raise InputError(f"an image of shape {image.shape} cannot be cropped to {size}")
    picture = Image.fromarray(image)
    while min(picture.size) >= 2 * size:
        halves = (picture.width // 2, picture.height // 2)
        picture = picture.resize(halves, Image.Resampling.BOX)
    scale = size / min(picture.size)
    sides = (round(picture.width * scale), round(picture.height * scale))
    whole = np.array(picture.resize(sides, Image.Resampling.BICUBIC))
    top, left = (whole.shape[0] - size) // 2, (whole.shape[1] - size) // 2
    return whole[top : top + size, left : left + size]
