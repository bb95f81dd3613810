"""Pictures of any model, task, plan, reading and batch: each is drawn again the same.

python -m tests.fuzz replays --count 200 --seed 0
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from pathlib import Path

from minigen import orders, plans, tasks
from minigen.models.arpg import READINGS
from tests.fuzz import running

MODELS = ("arpg-mnist",) * 5 + ("gpt-mnist", "aim-mnist", "arinar-mnist", "mar-mnist")
RASTER, VECTORS = MODELS[5:7], MODELS[7:]
DIGIT = "sample arpg-mnist -c 7 --steps 4 --backend numpy --out digit.png"


def main(arguments) -> int:
    """Draw and replay pictures, print how many were the same, and return a status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz replays")
    parser.add_argument("--count", type=int, default=200, help="pictures in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="numpy", help="what draws them")
    given = parser.parse_args(arguments)
    findings = run(given.count, given.seed, given.backend)
    for finding in findings[: running.SHOWN]:
        print(finding)
    same = given.count - len(findings)
    print(f"{same} of {given.count} pictures were drawn again the same")
    return int(bool(findings))


def run(count, seed, backend="numpy", first=0) -> list[str]:
    """Return what became of the pictures that were not drawn again the same.

    first: the number of the first case; from there on, `count` pictures are drawn.
    """
    before, findings = os.getcwd(), []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            running.invoke(DIGIT.split())
            for number in range(first, first + count):
                line = draw(random.Random(f"{seed} {number}"), backend)
                batch = random.Random(number).randint(1, 4)
                findings += [f"case {number}, {line}\n{x}" for x in wrong(line, batch)]
        finally:
            os.chdir(before)
    return findings


def wrong(line, batch) -> list[str]:
    """Draw a picture, and it again; return what is wrong: one text, or none."""
    drawn = running.invoke([*line.split(), "--out", "a.png"])
    if drawn.exit_code:
        return [f"not drawn: {drawn.output} {drawn.exception!r}"]
    again = running.invoke(["replay", "a.png", "--batch", str(batch), "--json"])
    Path("a.png").unlink()
    try:
        return (
            [] if json.loads(again.stdout)["verdict"] == "identical" else [again.output]
        )
    except ValueError:
        return [f"{again.output} {again.exception!r}"]


def draw(chance: random.Random, backend) -> str:
    """Return the command line that draws a picture."""
    model = chance.choice(MODELS)
    tried = ["sample", "inpaint", "edit"]
    if model not in (*VECTORS, "aim-mnist"):
        # of a model that is not bound to the grid of training
        tried += ["expand"] if model in RASTER else ["expand", "outpaint", "outpaint"]
    task = chance.choice(tried)
    line = f"{task} {model}"
    if task in ("inpaint", "edit"):
        line += " digit.png " + (_end(chance) if model in RASTER else _hole(chance))
    elif task == "outpaint":
        border = ",".join(str(4 * chance.randint(0, 2)) for _ in range(3))
        line += f" digit.png --border {border},4"
    elif task == "expand":
        line += f" --grid {chance.randint(1, 10)}x{chance.randint(1, 10)}"
    if task not in ("sample", "expand") and chance.random() < 0.5:
        line += " --paste"
    line += f" -c {chance.randrange(10)} --count {chance.randint(1, 3)}"
    line += f" --seed {chance.getrandbits(64)} --first {chance.randrange(9)}"
    line += f" --batch {chance.randint(1, 4)} --backend {backend}"
    if model not in RASTER:
        line += _plan(chance, model)
    if model == "arpg-mnist":
        readings = (chance.choice([*READINGS]) for _ in range(2))
        line += " --reading {} --known-reading {}".format(*readings)
    if model in VECTORS:
        return f"{line} --guidance 1"
    how = ("", " --temperature 1.5", " --top-k 5", " --guidance 1", " --top-p 0.9")
    return line + chance.choice(how)


def _plan(chance, model):
    # heads of vectors are slow
    few, names = (2, orders.ORDERS) if model in VECTORS else (5, _ORDERS)
    line = f" --steps {chance.randint(1, few)} --order {chance.choice([*names])}"
    return line + f" --schedule {chance.choice(plans.FREE)}"


_ORDERS = (*orders.ORDERS, *orders.PER_IMAGE)


def _hole(chance):
    if chance.random() < 0.3:
        return f"--keep {chance.choice(tasks.KEPT)}"
    (y0, y1), (x0, x1) = (sorted(chance.sample(range(33), 2)) for _ in range(2))
    return f"--box {y0},{x0},{y1},{x1}"


def _end(chance):
    return chance.choice(("--keep top", f"--box {chance.randrange(32)},0,32,32"))
