"""Every command with every model that ships: it works, or says why there is nothing."""

import gzip
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from minigen import backends
from minigen.catalogue import TOKENIZERS, WEIGHTS
from minigen.cli import app
from minigen.commands.machine import exercise
from minigen.evaluate import FILES
from minigen.families import FAMILIES, PRESETS, family_of
from minigen.show import files

MODELS = sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))

OTHERS = sorted(set(MODELS) - set(TOKENIZERS))
"""Tokenizers and the classifier."""

QUICK = ("--backend", "numpy", "--guidance", "1")
DRAW = (*QUICK, "-c", "3")


@pytest.fixture
def minigen(tmp_path, monkeypatch):
    """Run the command line in an empty folder; return what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments, status=0):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.stdout if status == 0 else result.output

    return run


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A folder of digits in MNIST's four files: a few, drawn by chance."""
    folder = tmp_path_factory.mktemp("digits")
    rng = np.random.default_rng(0)
    for images, labels in FILES.values():
        for name, sizes in ((images, (3, 28, 28)), (labels, (3,))):
            head = bytes([0, 0, 8, len(sizes)]) + np.array(sizes, ">u4").tobytes()
            values = rng.integers(0, 256 if len(sizes) > 1 else 10, sizes, np.uint8)
            (folder / name).write_bytes(gzip.compress(head + values.tobytes()))
    return folder


def control(model, folder):
    """Return the options of a model with control: to draw, and to measure it."""
    if not getattr(PRESETS[model], "control", 0):
        return (), ()
    picture = folder / "outline.png"
    files.write_png(picture, np.zeros((32, 32, 3), np.uint8), {})
    return ("--control", picture), ("--data", folder)


def raster(model):
    """Return the option of a single step, for models that have the choice."""
    one = family_of(PRESETS[model]).settings["schedule"] == "one"
    return () if one else ("--steps", "1")


def test_the_models_are_those_of_the_families():
    shipped = {type(PRESETS[name]) for name in MODELS}
    assert shipped == {family.config for family in FAMILIES.values()}


@pytest.mark.parametrize("model", sorted(TOKENIZERS))
def test_a_generator_draws_steps_replays_and_is_measured(model, minigen, digits):
    asked, data = control(model, digits)
    one = (model, *DRAW, *raster(model), *asked)
    minigen("sample", *one, "--gif", "a.gif", "--steps-dir", "all", "--out", "a.png")
    assert "agrees" in minigen("replay", "a.png", "--backend", "numpy")
    found = json.loads(minigen("steps", *one, "--json"))
    assert found["recipe"] == files.read_png("a.png")[1] | {
        "columns": None,
        "drawn": None,
    }
    few = (*raster(model), *data, "--count", "2", "--json")
    (row,) = json.loads(minigen("evaluate", model, *QUICK, *few))["results"]
    assert row["images"] == 2 and row["distance"] > 0


@pytest.mark.parametrize("model", OTHERS)
def test_what_is_no_generator_says_so_and_is_measured(model, minigen, digits):
    for command in ("sample", "steps"):
        said = minigen(command, model, *DRAW, status=2)
        assert "a generator was expected" in said
        assert ("as its tokenizer" in said) == (model in TOKENIZERS.values())
    assert "--data DIR" in minigen("evaluate", model, status=2)
    count = ("--count", "2", "--data", digits, "--json")
    said = minigen("evaluate", model, "--backend", "numpy", *count)
    (row,) = json.loads(said)["results"]
    assert row["images"] == 2
    for name in TOKENIZERS:
        if TOKENIZERS[name] != model:
            said = minigen("sample", name, *DRAW, "--tokenizer", model, status=2)
            assert "tokenizer" in said


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_described_and_converted(model, minigen):
    assert model in minigen("models")
    found = json.loads(minigen("info", model, "--json"))
    assert found["name"] == model and found["intact"]
    minigen("convert", model, "a.safetensors", "--dtype", "bfloat16")
    found = json.loads(minigen("info", "a.safetensors", "--json"))
    assert (found["name"], found["dtype"]) == (model, "bfloat16")
    minigen("bench", "weights", model, "--out", "b.safetensors")
    assert model in minigen("info", "b.safetensors")


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_warmed_up(model, monkeypatch):
    # the same run as on numba, where every kernel that is new takes a while
    used, table = set(), backends.table("numpy")

    class Listening:
        def __getattr__(self, name):
            used.add(name)
            return getattr(table, name)

    monkeypatch.setattr(backends, "table", lambda name, device=None: Listening())
    exercise(model, backend="numpy")
    assert {"conv3x3", "group_norm_swish"} <= used
    if model in TOKENIZERS:
        assert {"from_pixels", "conv3x3_half", "upsample"} <= used


@pytest.mark.in_parts
@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_the_kernels_of_a_model_are_compiled(model, minigen):
    minigen("warmup", model)
    found = json.loads(minigen("warmup", model, "--json"))
    assert found["compiled"] == []


@pytest.mark.needs("numba")
def test_a_tokenizer_is_for_generators(minigen):
    said = minigen("warmup", "judge-mnist", "--tokenizer", "vq-mnist", status=2)
    assert "--tokenizer is for generators" in said


@pytest.mark.in_parts
@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(TOKENIZERS))
def test_a_generator_is_timed_beside_its_twin(model, minigen):
    few = ("--steps", "2") if raster(model) else ("--tokens", "2")
    few += ("--every", "2") if TOKENIZERS[model] == "kl-mnist" else ()
    command = ("bench", "cpu", model, "--runs", "1", "--backend", "numpy")
    found = json.loads(minigen(*command, *few, "--json"))
    assert found["job"]["tokenizer"] == TOKENIZERS[model]


def test_models_that_are_compared_are_timed(minigen):
    few = ("--backend", "numpy", "--runs", "1", "--tokens", "1")
    said = minigen("bench", "heads", "arinar-mnist", "mar-mnist", *few)
    assert "arinar-mnist" in said
    for model in OTHERS:
        said = minigen("bench", "cpu", model, status=2)
        assert f"{model!r} is not" in said
