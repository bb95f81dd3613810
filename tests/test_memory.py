"""What is said of memory beforehand is what processes took."""

import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minigen
from minigen import memory
from minigen.bench.weights import state
from minigen.catalogue import TOKENIZERS
from minigen.families import PRESETS, GeneratorConfig
from minigen.pipeline import Pipeline
from minigen.show import recipe

GENERATORS = {n: c for n, c in PRESETS.items() if isinstance(c, GeneratorConfig)}
RESULTS = Path(__file__).parent / "bench_results"

DRAW = """
import sys
from minigen.bench.worker import peak_bytes
from minigen.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(peak_bytes())
"""


def test_parts_follow_what_is_drawn():
    def found(grid=(16, 16), together=25, batch=1, size=4):
        names = PRESETS["arpg-l"], PRESETS["vq-16"]
        return memory.needed(*names, grid, together, batch, size)

    one = found()
    numbers = sum(
        array.size for name in ("arpg-mnist", "vq-mnist")
        for _, array in state(PRESETS[name])
    )  # fmt: skip
    small = memory.needed(PRESETS["arpg-mnist"], PRESETS["vq-mnist"], (8, 8), 4)
    assert small.weights == 4 * numbers
    assert found(size=2) == replace(one, weights=one.weights // 2)
    wide = found((16, 64))
    assert wide.pixels == 4 * one.pixels
    # a key and a value of each token, and of the class
    assert wide.kept * 257 == one.kept * 1025
    assert found(batch=3).kept == 3 * one.kept
    assert found(batch=3).pixels == one.pixels
    assert found(together=50).step == 2 * one.step
    # a full-size decoder: 128 numbers for each of 256 x 256 pixels, four times
    assert one.pixels == 4 * 256 * 256 * 128 * 4


@pytest.mark.parametrize("path", sorted(RESULTS.glob("cpu-*znver4.json")), ids=str)
def test_no_measured_process_took_more(path):
    """Those that `minigen bench cpu` kept: numba, at full size."""
    result = json.loads(path.read_text())["found"]
    job = result["job"]
    configs = PRESETS[job["generator"]], PRESETS[job["tokenizer"]]
    side = configs[0].side
    size = 4 if job["dtype"] == "float32" else 2
    # at most a quarter of the tokens is drawn in a step of 16
    said = memory.needed(*configs, (side, side), side * side // 4, job["batch"], size)
    taken = result["sides"]["minigen"]["peak_bytes"]
    assert 0.5 * said.total < taken < said.total


@pytest.mark.slow
@pytest.mark.parametrize("grid", ["8x8", "32x64"])
def test_a_process_takes_no_more_than_was_said(grid, tmp_path):
    """On a grid where the maps are larger than all else, too."""
    out = tmp_path / "a.png"
    options = ["--class", "7", "--backend", "numba", "--out", str(out), "--steps", "4"]
    drawn = subprocess.run(
        [sys.executable, "-c", DRAW, "expand", "arpg-mnist", "--grid", grid, *options],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    taken = int(drawn.stdout.splitlines()[-1])
    rows, columns = map(int, grid.split("x"))
    names = PRESETS["arpg-mnist"], PRESETS["vq-mnist"]
    said = memory.needed(*names, (rows, columns), rows * columns)
    assert 0.2 * said.total < taken < said.total


@pytest.mark.parametrize("name", [n for n in GENERATORS if n not in TOKENIZERS])
def test_every_released_model_has_a_memory(name):
    config = PRESETS[name]
    tokenizer = PRESETS["vq-16" if hasattr(config, "vocabulary") else "kl-16"]
    said = memory.needed(config, tokenizer, (config.side, config.side), 64)
    assert min(said.weights, said.kept, said.step, said.pixels) > 0


def test_a_sheet_takes_no_more_than_itself(monkeypatch):
    """Of many images a part at a time is made, and laid where it belongs."""
    count, blank = 1000, np.zeros((recipe.TOGETHER, 32, 32, 3), np.uint8)
    monkeypatch.setattr(Pipeline, "decode", lambda self, tokens: blank[: len(tokens)])
    pipe = minigen.load("arpg-mnist", backend="numpy")
    how = recipe.Recipe("arpg-mnist", (7,) * count, columns=40)
    tracemalloc.start()
    sheet = recipe.sheet(pipe, how, np.zeros((count, 8, 8), np.int64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sheet.shape == (25 * 34 - 2, 40 * 34 - 2, 3)
    assert sheet.nbytes < peak < 1.5 * sheet.nbytes
