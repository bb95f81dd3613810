"""Make the page of the live model, live.html: arpg-mnist in a browser, in one file.

python lessons/live/build.py --out site

The page holds the weights as they ship, in base 64: a page that is opened from a disk
can fetch nothing. Its model is `arpg.js`, its face `page.js`. A second build makes the
same bytes.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import numpy as np  # noqa: E402

import minigen  # noqa: E402
from minigen import orders, plans, rng  # noqa: E402
from minigen.catalogue import WEIGHTS  # noqa: E402
from minigen.pipeline import GREY, STEPS  # noqa: E402
from minigen.show import lesson  # noqa: E402

GENERATOR, TOKENIZER = "arpg-mnist", "vq-mnist"

FIXED = [name for name in orders.ORDERS if name not in ("random", "locality")]
"""The orders that depend on the grid alone; the page makes random ones of its own."""


def page() -> bytes:
    """Return the page: one HTML file, UTF-8, that asks no network for anything."""
    parts = {name: read(name) for name in ("page.css", "arpg.js", "page.js")}
    for name in (GENERATOR, TOKENIZER):
        file = (WEIGHTS / f"{name}.safetensors").read_bytes()
        parts[name] = base64.b64encode(file).decode()
    pipe = minigen.load(GENERATOR, backend="numpy")
    parts["data"] = json.dumps(data(pipe), separators=(",", ":"))
    parts["story"] = base64.b64encode(story(pipe)).decode()
    text = read("page.html")
    for name, part in parts.items():
        mark = "{{" + name + "}}"
        assert text.count(mark) == 1, f"page.html needs one {mark}"
        text = text.replace(mark, part)
    return text.encode()


def read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8").strip()


def data(pipe) -> dict:
    """Return what the page is told beside the weights: numbers, lists and names.

    settings: the model's own; orders: positions, by name; stamps: for each code the
    mean patch of the digits that have it, 4 x 4 grey values in a row, as in lesson 01;
    digits: the tokens of two handwritten digits of each class; ramp: colours, low to
    high; grey: of unknown cells; order_image: a counter of random orders.
    """
    images = lesson.digits(str(HERE.parent / "digits.png"))
    tokens, factor = pipe.encode(images), pipe.tokenizer_config.factor
    rows, columns = pipe.grid
    patches = images[..., 0].reshape(-1, rows, factor, columns, factor).swapaxes(2, 3)
    patches, used = patches.reshape(-1, factor * factor), tokens.ravel()
    stamps = np.full((pipe.config.vocabulary, patches.shape[-1]), GREY, np.uint8)
    for code in np.unique(used):
        stamps[code] = patches[used == code].mean(0)
    return {
        "settings": pipe.settle() | {"steps": STEPS},
        "orders": {name: orders.ORDERS[name](rows, columns) for name in FIXED},
        "schedules": list(plans.SCHEDULES),
        "stamps": stamps.tolist(),
        "digits": tokens.reshape(len(tokens), -1).tolist(),
        "ramp": lesson.RAMP.tolist(),
        "grey": GREY,
        "order_image": rng.ORDER_IMAGE,
    }


def story(pipe) -> bytes:
    """Return a picture for where no JavaScript runs: five steps of a run, a PNG."""
    steps = list(pipe.steps([7], seed=0, steps=16))
    shown = [steps[i] for i in np.linspace(0, len(steps) - 1, 5).round().astype(int)]
    frames = [lesson.canvas(pipe, step) for step in shown]
    captions = [f"step {step.index + 1} of {step.steps}" for step in shown]
    buffer = io.BytesIO()
    lesson.board([frames], captions).save(buffer, "png")
    return buffer.getvalue()


def main() -> None:
    """Write the page to a folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    made = page()
    (out / "live.html").write_bytes(made)
    print(f"{out / 'live.html'}: {len(made) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
