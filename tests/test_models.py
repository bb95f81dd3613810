"""What `minigen models` and `minigen info` say: settings, shares, commands."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import minigen
from minigen import catalogue
from minigen.cli import app
from minigen.errors import InputError
from minigen.families import FAMILIES, PRESETS

ROOT = Path(__file__).parents[1]
MODELS = {model.name: model for model in minigen.known_models()}
SHIPPED = [name for name, one in MODELS.items() if one.ships and one.settings]
RELEASED = [name for name, one in MODELS.items() if one.released]


def run(*arguments, status=0):
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


def told(*arguments):
    return json.loads(run(*arguments, "--json"))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_settings_that_are_shown_are_those_drawn_with(name):
    pipe = minigen.load(name, backend="numpy")
    used = pipe.settle()
    if name.startswith("arpg"):
        assert used["reading"] == pipe.options().reading
    else:
        del used["reading"]
    assert MODELS[name].settings == used
    assert told("models", name)["settings"] == used
    found = CliRunner().invoke(app, ["info", name, "--json"]).stdout
    assert json.loads(found)["settings"] == used
    assert pipe.plan() == minigen.plan(pipe.grid, used["order"], used["schedule"])
    said = run("models", name)
    assert all(str(used[key]) in said for key in ("order", "schedule", "guidance"))
    assert MODELS[name].agreement in said and catalogue.LICENCE in said


def test_the_list_has_the_settings_of_every_generator():
    rows = {row["name"]: row for row in told("models")}
    assert [*rows] == [*PRESETS] and rows["vq-8"] == told("models", "vq-8")
    said = run("models")
    for name, row in rows.items():
        family = FAMILIES[row["family"]]
        assert bool(row["settings"]) == bool(family.tokenizer)
        assert bool(row["agreement"]) == MODELS[name].ships
        assert row["agreement"] in said or not row["settings"]
    assert re.search(r"arpg-mnist +border +cosine +rising to 6.0 +0.8 +causal", said)
    assert told("info", "arpg-xl")["settings"] == rows["arpg-xl"]["settings"]


def test_what_was_measured_of_some_weights_is_not_said_of_others(tmp_path):
    ours, other = tmp_path / "ours.safetensors", tmp_path / "other.safetensors"
    shutil.copy(catalogue.WEIGHTS / "gpt-mnist.safetensors", ours)
    minigen.convert(ours, other, "float16")
    assert told("info", ours)["agreement"] == catalogue.AGREEMENT["gpt-mnist"]
    assert "drawn by    order raster, schedule one, guidance 2.0" in run("info", ours)
    found = told("info", other)
    assert (found["name"], found["agreement"]) == ("gpt-mnist", "")
    assert found["settings"] == told("info", ours)["settings"]


def test_the_shares_are_those_of_the_tables():
    tables = (ROOT / "minigen" / "weights" / "README.md").read_text(encoding="utf-8")
    assert {*catalogue.AGREEMENT} == {n for n, one in MODELS.items() if one.ships}
    for name, said in catalogue.AGREEMENT.items():
        (row,) = re.findall(rf"^\| `{name}` \| .*%.*$", tables, re.M)
        shares = [float(share) for share in re.findall(r"([\d.]+) %", row)]
        share = float(said.partition(" ")[0])
        assert min(abs(share - one) for one in shares) < 0.051, name


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_model_says_where_it_is_and_what_to_type(name):
    model, said = MODELS[name], run("models", name)
    assert re.fullmatch(
        r"https://(huggingface.co|github.com)/[\w./-]+", model.published
    )
    assert model.published in said
    first, second = model.commands
    assert f"\n  {first}\n  {second}\n" in said
    made = {"convert": f"{name}.safetensors", "info": model.released}
    verb, file, *rest = shlex.split(first)[1:]
    assert file == model.released and made[verb] in (file, *rest)
    assert shlex.split(second)[2] == made[verb]
    if model.tokenizer:
        tokenizer = MODELS[model.tokenizer]
        assert tokenizer.released in second and tokenizer.published in said
    # every option is one of that command
    for line in (first, second):
        verb, *rest = shlex.split(line)[1:]
        known = {o for p in get_command(app).commands[verb].params for o in p.opts}
        assert {word for word in rest if word.startswith("--")} <= known


def test_what_was_never_released_has_no_commands():
    for name in ("gpt-xl", "aim-1b", "arinar-h"):
        assert MODELS[name].commands == () and MODELS[name].published == ""
        assert "no weights of it were published" in run("models", name)


@pytest.mark.parametrize("name, own", [("arpg-l", "arpg-mnist"), ("aim-1b", ""),
    ("gpt-l-384", "gpt-mnist"), ("arinar-b", "arinar-mnist"), ("mar-b", "mar-mnist"),
])  # fmt: skip
def test_without_a_download_the_commands_draw_noise(name, own, tmp_path, monkeypatch):
    lines = MODELS[name].stand_ins
    assert "\n".join(f"  {line}" for line in lines) in run("models", name)
    assert told("models", name)["stand_ins"] == [*lines]
    make, *written, draw = map(shlex.split, lines)
    if not own:
        return
    monkeypatch.chdir(tmp_path)
    assert make == ["mkdir", "stand-ins"]
    Path("stand-ins").mkdir()
    # small models, in the place of large ones
    for words, small in zip(written, (own, catalogue.TOKENIZERS[own]), strict=True):
        monkeypatch.setitem(PRESETS, words[3], PRESETS[small])
        run(*words[1:])
    draw = ["7" if word == "golden retriever" else word for word in draw[1:]]
    steps = [] if MODELS[name].settings["schedule"] == "one" else ["--steps", "2"]
    run(*draw, *steps, "--backend", "numpy")
    assert Path("sample.png").is_file()


def test_what_ships_and_tokenizers_need_no_stand_ins():
    assert not any(MODELS[name].stand_ins for name in ("arpg-mnist", "vq-16", "kl-16"))
    with pytest.raises(InputError, match="how to draw with stand-in weights"):
        minigen.load("arpg-l")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, own", [("arpg-l", "arpg-mnist"), ("mar-b", "mar-mnist")]
)
def test_the_two_commands_draw(name, own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, decoder = MODELS[name], MODELS[MODELS[name].tokenizer]
    shutil.copy(MODELS[own].path, model.released)
    shutil.copy(MODELS[MODELS[own].tokenizer].path, decoder.released)
    convert, draw = map(shlex.split, model.commands)
    run(*convert[1:])
    # the small ones know ten classes
    words = ["7" if word == "golden retriever" else word for word in draw[1:]]
    words[words.index("--steps") + 1] = "2"
    assert "2 steps" in run(*words, "--backend", "numpy")
    assert Path("sample.png").is_file()


def test_help_says_which_options_are_the_models_own():
    for verb in ("sample", "inpaint", "evaluate"):
        options = {one.name: one for one in get_command(app).commands[verb].params}
        for name in catalogue.SETTINGS:
            assert options[name].default is None
            assert options[name].show_default == "the model's own", (verb, name)
        assert options["seed"].show_default is True
    assert "(the model's own)" in run("sample", "--help")


def test_a_misspelt_model_brings_the_near_one():
    assert "did you mean arpg-xxl?" in run("models", "arpg-xxxl", status=2)
    with pytest.raises(InputError, match="`minigen models arpg-l` says where"):
        minigen.load("arpg-l")
