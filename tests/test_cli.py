"""The command line as a user meets it: results, files, messages and exit status."""

import importlib.util
import json
import math
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from minigen import doctor, evaluate, extras, plans, target
from minigen import sample as loop
from minigen.bench import ceilings, weights
from minigen.catalogue import parameters
from minigen.checkpoints import convert, names, read_checkpoint
from minigen.cli import app
from minigen.families import FAMILIES, PRESETS, family_of
from minigen.orders import ORDERS, PER_IMAGE
from minigen.pipeline import Pipeline
from minigen.show import files
from minigen.show.recipe import from_json
from minigen.words import gigabytes

NAMES = {
    "G": "arpg-mnist", "R": "gpt-mnist", "M": "aim-mnist", "A": "arinar-mnist",
    "D": "mar-mnist", "T": "vq-mnist", "K": "kl-mnist",
}  # fmt: skip


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Stand-in weights of the small models, in files as the originals write them."""
    folder = tmp_path_factory.mktemp("models")
    paths = {}
    for name in NAMES.values():
        paths[name] = folder / f"{name}.safetensors"
        weights.write(PRESETS[name], paths[name])
    # no shape tells which code such a model was trained by
    original, path = paths["arinar-mnist"], folder / "converted.safetensors"
    convert(original, path, behaviour="head")
    return {**paths, "arinar-mnist": path}


@pytest.fixture
def minigen(models, tmp_path, monkeypatch):
    """Run the command line in an empty folder; NAMES' letters stand for files."""
    monkeypatch.chdir(tmp_path)
    # the width of help and errors does not depend on where the tests run, and a worker
    # finds the package that is under test
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("PYTHONPATH", str(doctor.Path(doctor.__file__).parents[1]))

    def run(*arguments, status=0):
        names = {letter: models[name] for letter, name in NAMES.items()}
        arguments = [str(names.get(a, a)) for a in arguments]
        result = CliRunner().invoke(app, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.stdout if status == 0 else result.output

    return run


DRAW = (
    "--tokenizer", "T", "--backend", "numpy", "--steps", "3", "--schedule", "arccos",
    "--guidance", "4",
)  # fmt: skip


def size(path):
    with Image.open(path) as file:
        return file.size


def test_one_image_is_one_png_with_its_recipe(minigen):
    said = minigen("sample", "G", "--class", "7", "--out", "seven.png", *DRAW)
    first, *others = said.splitlines()
    assert re.fullmatch(r"seven.png  1 image of 32 x 32, 3 steps, \d+\.\d\d s", first)
    # the original's file says nothing itself, and its shapes not all
    assert "heads 4: from the preset arpg-mnist" in others
    assert all(line.endswith(": from the preset arpg-mnist") for line in others)
    assert size("seven.png") == (32, 32)
    _, recipe = files.read_png("seven.png")
    assert recipe["labels"] == [7] and recipe["steps"] == 3 and recipe["seed"] == 0
    assert re.fullmatch("[0-9a-f]{64}", recipe["model_hash"])
    assert recipe["versions"]["backend"] == "numpy"
    assert recipe["versions"]["numpy"] == np.__version__


def test_no_class_is_a_class_that_can_be_asked_for(minigen):
    minigen("sample", "G", "-c", "none,3", "--out", "none.png", *DRAW)
    _, recipe = files.read_png("none.png")
    assert recipe["labels"] == [-1, 3]
    assert "the same" in minigen("replay", "none.png")


def test_older_pictures_were_read_in_blocks(minigen):
    minigen("sample", "G", "-c", "3", "--out", "new.png", "--reading", "causal", *DRAW)
    image, recipe = files.read_png("new.png")
    assert (recipe["reading"], recipe["known_reading"]) == ("causal", "causal")
    assert from_json(recipe).reading == "causal"
    del recipe["reading"], recipe["known_reading"]
    assert from_json(recipe).reading == "block"


def test_classes_are_rows_of_the_grid(minigen):
    minigen("sample", "G", "--class", "3,7", "--count", "3", "--out", "a.png", *DRAW)
    assert size("a.png") == (3 * 34 - 2, 2 * 34 - 2)
    minigen(
        "sample", "G", "-c", "3", "-c", "7", "--count", "3", "--out", "b.png", *DRAW
    )
    one, recipe = files.read_png("a.png")
    two, _ = files.read_png("b.png")
    assert recipe["labels"] == [3, 3, 3, 7, 7, 7]
    assert np.array_equal(one, two)


def test_batch_and_first_change_no_pixel(minigen):
    minigen("sample", "G", "-c", "0-2", "--columns", "3", "--out", "a.png", *DRAW)
    minigen("sample", "G", "-c", "0-2", "--columns", "3", "--batch", "1",
            "--out", "b.png", *DRAW)  # fmt: skip
    minigen("sample", "G", "-c", "2", "--first", "2", "--out", "c.png", *DRAW)
    whole, _ = files.read_png("a.png")
    assert np.array_equal(whole, files.read_png("b.png")[0])
    assert np.array_equal(whole[:, -32:], files.read_png("c.png")[0])


def test_steps_are_written_as_pictures_and_as_an_animation(minigen, tmp_path):
    minigen("sample", "G", "-c", "1", "--scale", "2", "--steps-dir", "all",
            "--gif", "all.gif", "--out", "a.png", *DRAW)  # fmt: skip
    names = sorted(path.name for path in (tmp_path / "all").iterdir())
    assert names == ["step-1.png", "step-2.png", "step-3.png"]
    last, recipe = files.read_png("all/step-3.png")
    assert np.array_equal(last, files.read_png("a.png")[0])
    assert size("a.png") == (64, 64) and recipe["step"] == 3
    with Image.open("all.gif") as file:
        assert file.n_frames == 3


def test_json_is_one_document(minigen):
    found = json.loads(minigen("sample", "G", "-c", "7", "--json", *DRAW))
    assert found["files"] == ["sample.png"] and found["images"] == 1
    assert found["recipe"]["labels"] == [7]


def test_steps_prints_a_line_a_step(minigen):
    lines = minigen("steps", "G", "-c", "7", *DRAW).splitlines()
    assert " ".join(lines[0].split()) == "step new known guidance probability entropy"
    rows = [line.split() for line in lines[1:]]
    counts = plans.counts("arccos", 64, 3)
    assert [int(row[1]) for row in rows] == list(counts)
    assert [int(row[2]) for row in rows] == np.cumsum(counts).tolist()
    assert rows[-1][3] == "4.00"
    found = json.loads(minigen("steps", "G", "-c", "7", "--json", *DRAW))
    assert sorted(p for s in found["steps"] for p in s["positions"]) == list(range(64))
    pictures = minigen("steps", "G", "-c", "7", "--pictures", *DRAW).splitlines()
    assert len(pictures) == 4 + 3 * 16


def test_replay_agrees_with_every_picture(minigen):
    minigen("sample", "G", "-c", "3,7", "--seed", "5", "--steps-dir", "all",
            "--out", "a.png", *DRAW)  # fmt: skip
    for picture in ("a.png", "all/step-1.png"):
        assert "agrees" in minigen("replay", picture, "--backend", "numpy")
    found = json.loads(minigen("replay", "a.png", "--backend", "numpy", "--json"))
    assert found["agree"] and found["different"] == 0 and found["changed"] == {}


def test_replay_sees_a_changed_pixel(minigen):
    minigen("sample", "G", "-c", "7", "--out", "a.png", *DRAW)
    pixels, recipe = files.read_png("a.png")
    pixels = pixels.copy()
    pixels[3, 4] ^= 8
    files.write_png("b.png", pixels, recipe)
    said = minigen("replay", "b.png", "--backend", "numpy", status=1)
    assert "differs: 1 of 1024 pixels, by 8 of 255 at most" in said
    files.write_png("c.png", pixels[:16], recipe)
    said = minigen("replay", "c.png", "--backend", "numpy", status=2)
    assert "32 x 16 pixels, and its recipe one of 32 x 32" in said


def test_replay_names_another_model(minigen, models, tmp_path):
    minigen("sample", "G", "-c", "7", "--out", "a.png", *DRAW)
    other = tmp_path / "other.safetensors"
    minigen("convert", "G", other, "--dtype", "bfloat16")
    said = minigen("replay", "a.png", "--model", other, "--backend", "numpy", status=1)
    assert "differs" in said and re.search(r"model +[0-9a-f]{64} +[0-9a-f]{64}", said)


BAD = [
    (["sample", "no-such", "-c", "7"], "neither a file nor a model that ships"),
    (["sample", "none.pt", "-c", "7"], "neither a file nor a model that ships"),
    (["sample", "arpg-l", "-c", "7"], "minigen models arpg-l"),
    (["sample", "G", "-c", "12", *DRAW], "0 .. 9"),
    (["sample", "G", "-c", "seven", *DRAW], "--class seven is not a class number"),
    (["sample", "G", "-c", "9-0", *DRAW], "names no class"),
    (["sample", "G", "-c", "7"], "--tokenizer FILE"),
    (["sample", "T", "-c", "7", *DRAW], "a generator was expected"),
    (["sample", "G", "-c", "7", "--tokenizer", "G"], "expected a VQ tokenizer"),
    (["sample", "G", "-c", "7", *DRAW, "--steps", "0"], "steps 0"),
    (["sample", "G", "-c", "7", *DRAW, "--backend", "abacus"], "'abacus' is not known"),
    (["sample", "G", "-c", "7", *DRAW, "--order", "up"], "order 'up' is not known"),
    (["sample", "G", "-c", "7", *DRAW, "--schedule", "up"], "schedule 'up'"),
    (
        ["sample", "G", "-c", "7", *DRAW, "--guidance-schedule", "up"],
        "'up' is not known",
    ),
    (["sample", "G", "-c", "7", *DRAW, "--temperature", "-1"], "temperature -1.0"),
    (["sample", "G", "-c", "7", *DRAW, "--seed", "-1"], "seed -1"),
    (["sample", "G", "-c", "7", *DRAW, "--out", "no/a.png"], "mkdir -p no"),
    (["sample", "G", "-c", "7", *DRAW, "--out", "a.jpg"], "should end in .png"),
    (["sample", "G", "-c", "7", *DRAW, "--gif", "a.png"], "should end in .gif"),
    (["sample", "G", "-c", "7", *DRAW, "--threads", "1"], "for the numba backend"),
    (["sample", "G", "-c", "7", "--count", "0"], "--count"),
    (["sample", "G"], "Missing option '--class'"),
    (["sample", "G", "-c", "7", "--colour", "red"], "No such option"),
    (["replay", "none.png"], "there is no file none.png"),
    (["info", "none.pt"], "neither a file"),
    (["convert", "none.pt", "a.safetensors"], "cannot be read"),
    (["convert", "G", "no/a.safetensors"], "mkdir -p no"),
    (["convert", "G", "a.safetensors", "--dtype", "int4"], "int4"),
    (["convert", "G", "a.safetensors", "--key", "ema"], "'ema'"),
    (["convert", "T", "a.safetensors", "--tokens", "9"], "family vq"),
    (["convert", "R", "a.safetensors", "--tokens", "9x"], "tokens"),
    (["convert", "R", "a.safetensors", "--tokens", "63"], "square number"),
    (["sample", "vq-mnist", "-c", "7"], "'vq-mnist' holds a vq model"),
    (["evaluate", "T"], "--data DIR"),
    (
        ["evaluate", "arpg-mnist", "--keep", "top"],
        "--keep takes its digits from --data",
    ),
    (["evaluate", "vq-mnist", "--keep", "top"], "--keep has no meaning for vq-mnist"),
    (["evaluate", "arpg-mnist", "--keep", "top", "--batch", "2"], "with --keep"),
    (["evaluate", "arpg-mnist", "--edit"], "--edit has no meaning for arpg-mnist"),
    (["evaluate", "T", "--data", "none"], "does not exist"),
    (["bench", "cpu", "arpg-l", "vq-mnist"], "belongs together"),
    (["bench", "cpu", "vq-16"], "choose from arpg-l"),
    (["bench", "weights", "gpt-5", "--out", "a.safetensors"], "did you mean gpt-"),
    (["bench", "weights", "vq-mnist", "--out", "a.pt"], "should end in .safetensors"),
    (["nonsense"], "No such command"),
]


@pytest.mark.parametrize("arguments, message", BAD, ids=lambda a: " ".join(a[:5]))
def test_what_cannot_be_is_one_message_and_status_2(
    minigen, tmp_path, arguments, message
):
    said = minigen(*arguments, status=2)
    assert message in said
    assert "Traceback" not in said
    # nothing was written, not even in part
    assert list(tmp_path.iterdir()) == []


def test_more_steps_than_tokens_are_merged(minigen):
    said = minigen("sample", "G", "-c", "7", *DRAW, "--steps", "80")
    steps = len(plans.plan((8, 8), schedule="arccos", steps=80).groups)
    assert f"{steps} steps" in said and steps <= 64
    assert "agrees" in minigen("replay", "sample.png", "--backend", "numpy")


@pytest.mark.parametrize("model", ["gpt-mnist", "aim-mnist"])
def test_a_raster_model_is_drawn_from_as_any_other(minigen, model):
    letter = {"gpt-mnist": "R", "aim-mnist": "M"}[model]
    one = (letter, "--tokenizer", "T", "--backend", "numpy", "-c", "7", "--json")
    found = json.loads(minigen("sample", *one))["recipe"]
    family = family_of(PRESETS[model])
    general = {**family.settings, **family.own.get(model, {})}
    assert {name: found[name] for name in general} == general
    guided = ("--guidance", "2", "--guided-steps", "9", "--seed", "3")
    constant = ("--guidance-schedule", "constant")
    said = json.loads(minigen("steps", *one, *guided, *constant))["steps"]
    assert [step["guidance"] for step in said] == [2.0] * 9 + [1.0] * 55
    assert [step["positions"] for step in said] == [[i] for i in range(64)]
    said = minigen("sample", *one, "--order", "halton", status=2)
    assert "one token a step in raster order" in said.replace("\n", " ")


def test_the_positions_of_aim_have_names(minigen):
    one = ("M", "--tokenizer", "T", "--backend", "numpy", "-c", "7", "--top-k", "1")
    for positions in ("trained", "released"):
        out = f"{positions}.png"
        minigen("sample", *one, "--positions", positions, "--out", out)
        assert files.read_png(out)[1]["positions"] == positions
        assert "agrees" in minigen("replay", out, "--backend", "numpy")
    images = [files.read_png(f"{name}.png")[0] for name in ("trained", "released")]
    assert not np.array_equal(*images)
    said = minigen("sample", *one, "--positions", "learned", status=2)
    assert "choose from trained, released" in said


@pytest.mark.parametrize("model", ["arinar-mnist", "mar-mnist"])
def test_a_model_of_latents_is_drawn_from_as_any_other(minigen, model):
    letter = {"arinar-mnist": "A", "mar-mnist": "D"}[model]
    one = (letter, "--tokenizer", "K", "--backend", "numpy", "-c", "7", "--steps", "2")
    found = json.loads(minigen("sample", *one, "--json"))["recipe"]
    family = family_of(PRESETS[model])
    general = {**family.settings, **family.own.get(model, {})}
    assert {name: found[name] for name in general} == general
    assert "agrees" in minigen("replay", "sample.png", "--backend", "numpy")
    lines = minigen("steps", *one, "--guidance", "1", "--pictures").splitlines()
    assert lines[0].split() == ["step", "new", "known", "guidance", "mean", "deviation"]
    assert lines[1].split()[:4] == ["1", "19", "19", "1.00"]
    said = minigen("sample", *one, "--top-k", "5", status=2)
    assert "leave them at 0 and 1" in said.replace("\n", " ")
    said = minigen("sample", letter, "--tokenizer", "T", "-c", "7", status=2)
    assert "expected a KL tokenizer" in said.replace("\n", " ")


def test_a_guided_feature_may_be_drawn_in_two_ways(minigen):
    one = ("--tokenizer", "K", "--backend", "numpy", "-c", "7", "--steps", "1")
    one += ("--guidance", "3")
    images = []
    for way in ("candidates", "grid"):
        minigen("sample", "A", *one, "--guided-draw", way, "--out", f"{way}.png")
        image, recipe = files.read_png(f"{way}.png")
        assert recipe["guided_draw"] == way
        images.append(image)
    assert not np.array_equal(*images)
    for letter, tokenizer in (("D", "K"), ("G", "T")):
        given = (letter, "--tokenizer", tokenizer, "-c", "7", "--guided-draw", "grid")
        said = minigen("sample", *given, status=2)
        assert "as ARINAR's are" in said.replace("\n", " ")


def test_what_no_shape_shows_can_be_said(minigen):
    said = minigen("convert", "R", "ours.safetensors")
    assert "\ntokens 64: from the preset gpt-mnist\n" in said
    said = minigen("convert", "R", "larger.safetensors", "--tokens", "144")
    assert "\ntokens 144: from --tokens\n" in said
    found = json.loads(minigen("info", "larger.safetensors", "--json"))
    assert found["config"]["tokens"] == 144 and found["name"] == "custom"


def test_convert_and_info(minigen):
    said = minigen("convert", "G", "ours.safetensors", "--dtype", "bfloat16")
    count = parameters(PRESETS["arpg-mnist"])
    assert said.startswith("ours.safetensors  2.")
    assert f"arpg-mnist of family arpg, {count:,} parameters in bfloat16" in said
    found = json.loads(minigen("info", "ours.safetensors", "--json"))
    assert found["converted"] and found["intact"] and found["dtype"] == "bfloat16"
    assert found["config"]["width"] == PRESETS["arpg-mnist"].width
    said = minigen("info", "G")
    assert f"{count:,} in 54 arrays" in said and "arpg-mnist" in said
    assert "319,845,376" in minigen("info", "arpg-l")
    # there are no weights to look at
    assert "give the file" in minigen("info", "arpg-l", "--check", status=2)


def test_info_tells_a_damaged_file(minigen, tmp_path):
    minigen("convert", "G", "ours.safetensors")
    content = bytearray((tmp_path / "ours.safetensors").read_bytes())
    content[-5] ^= 1
    (tmp_path / "bad.safetensors").write_bytes(content)
    assert "the file is damaged" in minigen("info", "bad.safetensors", status=1)


def test_info_names_the_first_array_that_is_not_finite(minigen, tmp_path):
    minigen("convert", "G", "ours.safetensors")
    said = minigen("info", "ours.safetensors", "--check")
    assert re.search("^finite +all numbers$", said, re.MULTILINE)
    content = bytearray((tmp_path / "ours.safetensors").read_bytes())
    content[-4:] = np.float32(np.nan).tobytes()
    (tmp_path / "bad.safetensors").write_bytes(content)
    said = minigen("info", "bad.safetensors", "--check", status=1)
    assert "holds 1 number that is not finite, the first at [" in said
    found = json.loads(minigen("info", "ours.safetensors", "--check", "--json"))
    assert found["not_finite"] == ""


def test_models_lists_every_preset(minigen):
    said = minigen("models")
    rows = json.loads(minigen("models", "--json"))
    assert [row["name"] for row in rows] == list(PRESETS)
    assert {row["name"]: row["parameters"] for row in rows}["vq-16"] == 71_883_403
    assert all(name in said for name in PRESETS)


def test_bench_weights_are_those_drawn_by_name(minigen, tmp_path):
    said = minigen("bench", "weights", "vq-mnist", "--out", "v.safetensors")
    size = gigabytes((tmp_path / "v.safetensors").stat().st_size)
    assert said == f"v.safetensors  {size}, vq-mnist in float32, stand-in weights\n"
    found = read_checkpoint(tmp_path / "v.safetensors")
    name = "decoder.conv_in.weight"
    assert np.array_equal(found[name], weights.draw(name, found[name].shape))


def test_doctor_names_what_is_missing(minigen, monkeypatch):
    monkeypatch.setitem(doctor.REQUIRED, "no-such-package", ("nothing", "1.0"))
    said = minigen("doctor", status=1)
    assert re.search(r"bad +no-such-package +- +not installed", said)
    assert 'pip install --upgrade "no-such-package>=1.0"' in said


def test_doctor_tells_a_package_that_is_too_old_or_broken(monkeypatch):
    monkeypatch.setitem(doctor.REQUIRED, "numpy", ("numpy", "99"))
    monkeypatch.setitem(doctor.REQUIRED, "rich", ("rich.no_such_module", "1"))
    found = [doctor.examine_package(name) for name in ("numpy", "rich", "typer")]
    assert [f.well for f in found] == [False, False, True]
    assert found[0].note == "older than 99"
    assert found[1].note.startswith("cannot be imported: ModuleNotFoundError")
    assert doctor.mending(found) == [
        'pip install --force-reinstall "numpy>=99" "rich>=1"'
    ]


@pytest.mark.needs("compiler")
def test_doctor_says_which_gpu_there_is(monkeypatch):
    device = SimpleNamespace(name="NVIDIA Imagined", compute_capability=(9, 0))
    core = SimpleNamespace(Device=lambda: device)
    monkeypatch.setattr(target, "core", core, raising=False)
    for there, found in ((True, "NVIDIA Imagined"), (False, "-")):
        monkeypatch.setattr(target, "has_gpu", lambda there=there: there)
        finding = doctor.extras()[-1]
        assert (finding.name, finding.found, finding.well) == ("gpu", found, there)
    assert finding.note == "no NVIDIA GPU, or no driver for it"
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    assert doctor.examine_gpu().mend == extras.install("cuda13")


def test_doctor_clears_the_cache_and_nothing_else(minigen, monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGEN_CACHE", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    for name in (f"kernels-{'a' * 12}", f"kernels-{'b' * 12}", "kernels-mine", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"1234")
    assert doctor.cache() == (tmp_path, 8, 2)
    assert doctor.clear_cache() == (tmp_path, 8, 2)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["kernels-mine", "other"]


def test_evaluate_reads_a_sweep(minigen):
    from minigen.commands.evaluate import parse_sweep
    from minigen.errors import InputError

    options = {"steps": 16, "guidance": 4.0, "order": "random", "top_k": 0}
    assert parse_sweep("guidance=1,2.5", options) == ("guidance", [1.0, 2.5])
    assert parse_sweep("top-k=5", options) == ("top_k", [5])
    for bad in ("steps", "steps=", "colour=1", "steps=one"):
        with pytest.raises(InputError, match="--sweep") as error:
            parse_sweep(bad, options)
        assert "did you mean" not in str(error.value)
    twice = ("--steps", "4", "--sweep", "steps=1,2")
    said = minigen("evaluate", "arpg-mnist", *twice, status=2)
    assert "--steps is given beside --sweep" in said


def test_evaluate_draws_every_class_in_turn(minigen, models, monkeypatch, tmp_path):
    asked = []

    def look(classifier, images, watch=None):
        # a classifier that sees threes only
        rng = np.random.default_rng(len(images))
        return rng.standard_normal((len(images), 4)), np.full(len(images), 3)

    sample = Pipeline.sample

    def listen(pipe, labels, **options):
        asked.append((list(labels), options["steps"]))
        return sample(pipe, labels, **options)

    monkeypatch.setattr(evaluate, "look", look)
    monkeypatch.setattr(evaluate, "load_judge", lambda backend: None)
    monkeypatch.setattr(
        evaluate, "read_statistics", lambda: evaluate.Statistics(np.zeros(4), np.eye(4))
    )
    monkeypatch.setattr(Pipeline, "sample", listen)
    draw = ("evaluate", "G", "--tokenizer", "T", "--backend", "numpy")
    said = minigen(*draw, "--count", "12", "--sweep", "steps=1,2", "--json")
    rows = json.loads(said)["results"]
    assert [(row["steps"], row["images"]) for row in rows] == [(1, 12), (2, 12)]
    # the first image of each row only compiles
    assert asked[1::2] == [([*range(10), 0, 1], 1), ([*range(10), 0, 1], 2)]
    assert all(row["agreement"] == pytest.approx(1 / 12) for row in rows)
    assert all(row["distance"] > 0 for row in rows)
    table = minigen(
        *draw, "--count", "2", "--sweep", "order=raster,spiral", "--markdown"
    )
    assert table.splitlines()[:2] == [
        "| order | agreement | distance | images/s |",
        "| ---: | ---: | ---: | ---: |",
    ]
    assert [line.split()[1] for line in table.splitlines()[2:]] == ["raster", "spiral"]
    raster = ("evaluate", "R", "--tokenizer", "T", "--backend", "numpy")
    (row,) = json.loads(minigen(*raster, "--count", "2", "--json"))["results"]
    assert row["steps"] == 64


@pytest.mark.twin
def test_bench_compares_in_turn(minigen, monkeypatch):
    once = ceilings.Ceilings(1e10, 1e11, 2)
    monkeypatch.setattr(ceilings, "measure", lambda threads: once)
    command = ("bench", "cpu", "arpg-mnist", "vq-mnist", "--steps", "2", "--runs", "2")
    found = json.loads(minigen(*command, "--backend", "numpy", "--json"))
    ours = found["sides"].pop("minigen")
    assert len(ours["runs"]) == 2
    for run in ours["runs"]:
        assert run["image"] == pytest.approx(run["tokens"] + run["pixels"])
    assert ours["peak_bytes"] > 1e7
    assert found["limit"]["image"]["seconds"] > 0
    assert len(found["sides"]) == bool(importlib.util.find_spec("torch"))
    for side in found["sides"].values():
        assert len(side["runs"]) == 2 and side["ratios"]["image"] > 0


def test_bench_counts_every_weight_once_a_step():
    config = PRESETS["arpg-l"]
    (one,) = family_of(config).work(config, [256], size=4, batch=1)
    # all but the table of embeddings and the norms; then what the cache holds
    tables = config.width * (config.vocabulary + config.classes + 3)
    norms = config.width * (4 * config.half + 2)
    cache = 2 * (config.half + 1) * 2 * 1 * config.width * 4
    assert one.bytes == 4 * (parameters(config) - tables - norms) + cache
    steps = family_of(config).work(
        config, plans.counts("arccos", 256, 64), size=2, batch=1
    )
    assert len(steps) == 64 and steps[0].bytes < steps[-1].bytes
    # a multiplication and an addition for each weight and row, as for any linear layer
    assert one.operations > 2 * 2 * 256 * config.width * config.vocabulary
    vq = PRESETS["vq-16"]
    decoder = family_of(vq).work(vq, (16, 16), size=4, batch=1)
    weights_ = {n: s for n, s in names.manifest(PRESETS["vq-16"]).items()
                if n.startswith(("decoder", "post_quant")) and len(s) == 4}  # fmt: skip
    assert decoder.bytes == 4 * sum(math.prod(s) for s in weights_.values())


def test_defaults_are_those_of_the_library(minigen):
    found = json.loads(minigen("sample", "G", "-c", "7", "--json", "--tokenizer", "T",
                               "--backend", "numpy"))["recipe"]  # fmt: skip
    own = FAMILIES["arpg"].own["arpg-mnist"]
    assert {name: found[name] for name in own} == own
    options = {**vars(loop.Options()), **own}
    assert {name: found[name] for name in options} == options
    help_ = minigen("sample", "--help")
    assert all(name in help_ for name in (*ORDERS, *PER_IMAGE, *plans.SCHEDULES))


@pytest.mark.parametrize("arguments", [["--help"], ["models"], ["sample", "--help"]])
def test_a_quick_command_imports_nothing_heavy(arguments):
    code = (
        "import sys; from minigen.cli import app; sys.argv[1:] = "
        + repr(arguments)
        + "\n"
        "try: app()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print('loaded', *sorted({n.split('.')[0] for n in sys.modules}))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    loaded = set(out.splitlines()[-1].split())
    assert "typer" in loaded
    assert not loaded & {"numba", "llvmlite", "torch", "PIL"}
    if arguments != ["models"]:
        assert "numpy" not in loaded


def test_an_error_goes_to_stderr_and_results_to_stdout(models, tmp_path):
    command = [sys.executable, "-m", "minigen", "sample", str(models["arpg-mnist"])]
    bad = subprocess.run([*command, "-c", "x"], capture_output=True, text=True)
    assert bad.returncode == 2 and bad.stdout == ""
    assert bad.stderr.startswith("minigen: --class x") and bad.stderr.count("\n") == 1
    good = subprocess.run(
        [*command, "-c", "1", "--steps", "2", "--backend", "numpy", "--tokenizer",
         str(models["vq-mnist"]), "--out", str(tmp_path / "a.png")],
        capture_output=True, text=True,
    )  # fmt: skip
    # a pipe is no terminal: no progress in it
    assert good.returncode == 0 and good.stderr == "" and "1 image" in good.stdout
