"""A folder of images as `sample` fills it, made without a model: to be read.

python -m tests.made_folder DIR --count 50000     then: minigen evaluate DIR
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np

from minigen import many
from minigen.show import files
from minigen.show.recipe import Recipe

DIFFERENT = 100
"""Images that differ; the others are links to them."""


def make(folder: Path, count: int, side: int, format: str = "png") -> many.Manifest:
    """Fill a folder with images of side x side pixels; return its manifest."""
    recipe = Recipe("arpg-xxl", (0,), versions={"backend": "numba"})
    manifest = many.manifest_of(recipe, [i % 1000 for i in range(count)], format)
    folder.mkdir()
    chance = np.random.default_rng(0)
    for number in manifest.numbers:
        path = folder / manifest.name(number)
        if number >= DIFFERENT:
            os.link(folder / manifest.name(number % DIFFERENT), path)
            continue
        # as smooth as pictures are, or they would be larger than those
        coarse = chance.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
        image = coarse.repeat(8, 0).repeat(8, 1)
        image += chance.integers(0, 9, image.shape, np.uint8)
        own = {"labels": [0]}
        path.write_bytes(files.encode(format, image, own, np.zeros((16, 16), int)))
    text = json.dumps(many.to_json(manifest))
    (folder / many.MANIFEST).write_text(text)
    return manifest


def main() -> None:
    """Make the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.made_folder")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=256)
    given = parser.parse_args()
    make(given.folder, given.count, given.side)


if __name__ == "__main__":
    main()
