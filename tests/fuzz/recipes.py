"""Recipes in pictures, edited at random: replayed, or refused in one message.

python -m tests.fuzz recipes --count 2000 --seed 0
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

from minigen import plans
from minigen.orders import ORDERS, PER_IMAGE
from tests.fuzz import running

BASES = (
    "arpg-mnist -c 7 --steps 1",
    "arpg-mnist -c 7 --steps 2 --order random --schedule arccos --scale 2",
    "arpg-mnist -c 3,7 --steps 1 --first 5 --top-k 3",
    "mar-mnist -c 1 --steps 1 --guidance 1",
    "arpg-mnist-control -c 3 --steps 1 --control base0.png",
)
"""Pictures whose recipes are edited."""

WORDS = (
    "", " ", "7", "numpy", "arpg-mnist", "arpg-mnits", "vq-mnist", "judge-mnist", "kl",
    "a\0b", "\x1b[31mred", "line\nline", "\ud800", "\U0001f600", "x" * 5000, "fifo",
    "/dev/zero", ".", "/", "/etc/passwd", "-1", "nan", "0" * 64, *ORDERS,
    *PER_IMAGE, *plans.SCHEDULES, "constant", "released", "trained", "grid",
    "candidates",
)  # fmt: skip
NUMBERS = (
    0, 1, 2, 3, 7, 9, 10, 64, 65, 255, 1000, 2**16, 2**16 + 1, 2**31, 2**32 - 2,
    2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64, 10**30, 0.0, 0.5, 1.0, 1.5, 2.0, 1e-300,
    1e38, 1e39, 1e308, float("nan"), float("inf"),
)  # fmt: skip


def main(arguments) -> int:
    """Replay edited recipes, print what became of them, and return an exit status."""
    return running.main("recipes", arguments, 2000, prepare, draw, "replay")


def prepare() -> list[dict]:
    """Draw the pictures in the current folder; return their recipes."""
    from minigen.show.files import read_png

    os.mkfifo("fifo")
    recipes = []
    for number, base in enumerate(BASES):
        out = f"base{number}.png"
        how = f"sample {base} --backend numpy --out {out}"
        running.invoke(how.split())
        recipes.append(read_png(out)[1])
    return recipes


def draw(chance: random.Random, recipes: list[dict]) -> list[str]:
    """Write edited.png, a picture with an edited recipe; return how to replay it."""
    number = chance.randrange(len(recipes))
    text = edited(chance, recipes[number])
    write(chance, Path(f"base{number}.png"), text)
    return ["replay", "edited.png", "--backend", "numpy"]


def edited(chance, recipe) -> str:
    """Return a recipe as JSON, of which something has been changed."""
    recipe = dict(recipe)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        name = chance.choice([*recipe, "extra"])
        if chance.random() < 0.1:
            recipe.pop(name, None)
        else:
            recipe[name] = value(chance, recipe.get(name))
    text = json.dumps(recipe)
    way = chance.random()
    if way < 0.05:
        return chance.choice(("[", '{"a":')) * 10 ** chance.randrange(6)
    if way < 0.1:
        return json.dumps(value(chance, recipe))
    if way < 0.15:
        at = chance.randrange(len(text))
        return (
            text[:at] + chance.choice(("", '"', "}", "9" * 5000, "\0")) + text[at:][1:]
        )
    if way < 0.2:
        return text[:-1] + f', "{chance.choice([*recipe, "model"])}": 1}}'
    return text


def value(chance, old, depth=0):
    """Return something to put in the place of a value."""
    way = chance.randrange(9 if depth < 3 else 6)
    if way == 0:
        return chance.choice((None, True, False))
    if way in (1, 2):
        return chance.choice(NUMBERS) * chance.choice((1, 1, 1, -1))
    if way in (3, 4):
        return chance.choice(WORDS)
    if way == 5:
        return str(old) if chance.random() < 0.5 else [old]
    if way == 6:
        return {
            str(i): value(chance, old, depth + 1) for i in range(chance.randrange(4))
        }
    if way == 7:
        return [chance.randrange(10)] * chance.choice((0, 1, 2, 64, 10**5))
    return [value(chance, old, depth + 1) for _ in range(chance.randrange(5))]


def write(chance, base, text) -> None:
    """Write edited.png: the pixels of a picture with a text in one of three chunks."""
    from PIL import Image, PngImagePlugin

    info, way = PngImagePlugin.PngInfo(), chance.random()
    if way < 0.8:
        info.add_text("minigen", text)
    elif way < 0.9:
        # a bomb, now and then
        info.add_text("minigen", text + " " * chance.choice((0, 0, 10**8)), zip=True)
    else:
        info.add_itxt("minigen", text, zip=chance.random() < 0.5)
    with Image.open(base) as picture:
        picture.save("edited.png", pnginfo=info)
