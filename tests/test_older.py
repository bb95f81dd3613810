"""What version 0.1.0 wrote is read by this one.

The files in `older` were written by commit 39a277a, the last one before backend cuda:
the pictures by `minigen sample arpg-mnist --backend numpy`, whose weights are of 0.1.0
too, and the model by `minigen convert` from the golden file of that name.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import minigen
from minigen.checkpoints import hash_weights, load_model, names, open_checkpoint
from minigen.cli import app
from minigen.show import files
from minigen.show.recipe import from_json, to_json

OLDER = Path(__file__).parent / "older"
PICTURES = {
    # steps, labels and first of the recipe
    "seven": (16, (7,), 0),
    # the schedule leaves no choice of steps: 0.1.0 wrote those that were asked for
    "options": (None, (2, 4), 12),
    "step": (4, (3,), 0),
}


def test_a_converted_file_holds_the_model_that_it_was_made_of(golden):
    older = open_checkpoint(OLDER / "arpg_float16.safetensors")
    assert older.metadata["minigen.version"] == "0.1.0"
    model = load_model(OLDER / "arpg_float16.safetensors")
    source = golden / "arpg" / "formats" / "weights" / "arpg_float16.safetensors"
    state = minigen.read_checkpoint(source)
    wanted = names.flatten(names.to_tree(model.config, state))
    found = names.flatten(model.weights)
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes(), name
    assert older.metadata["minigen.hash"] == hash_weights(model.config, found)
    assert model.hash == older.metadata["minigen.hash"]


@pytest.mark.parametrize("name", PICTURES)
def test_a_recipe_is_read_and_drawn_again(name):
    path = OLDER / f"{name}.png"
    pixels, written = files.read_png(path)
    assert written["versions"]["minigen"] == "0.1.0" and "drawn" not in written
    recipe = from_json(written)
    assert (recipe.steps, recipe.labels, recipe.first) == PICTURES[name]
    # what a later version writes of it is read, too
    assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe
    replayed = CliRunner().invoke(app, ["replay", str(path), "--json"])
    assert replayed.exit_code == 0, replayed.output
    found = json.loads(replayed.stdout)
    assert found["agree"] and found["pixels"] == np.prod(pixels.shape[:2])
