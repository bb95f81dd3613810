"""No weight shows which version of ARINAR's code a file is for: none is guessed."""

import json
import shutil

import numpy as np
import pytest

import minigen
from minigen.checkpoints import convert, describe, load_model, names, safetensors_file
from minigen.errors import CheckpointError, InputError
from minigen.families import ArinarConfig, from_dict, to_dict
from tests.checkpoints.writing import write_zip
from tests.models.stand_in import stand_in, stand_in_state
from tests.tolerance import assert_same

CONFIG = ArinarConfig(
    width=24, encoder_width=16, encoder_layers=1, decoder_layers=1, encoder_heads=1,
    decoder_heads=1, buffer=3, classes=5, tokens=9, channels=4, mixtures=3,
    inner_width=16, inner_layers=1,
)  # fmt: skip
FIRST = {"num_gaussians": 4, "vae_embed_dim": 4, "lr": 1e-4, "temperature": 1.0}
"""Some arguments that the first version of the training script records."""


@pytest.fixture
def original(tmp_path):
    """A file as training leaves it, without arguments."""
    path = tmp_path / "checkpoint-last.pth"
    write_zip(path, {"model_ema": stand_in_state(CONFIG)})
    return path


@pytest.fixture
def ours(tmp_path):
    return tmp_path / "arinar.safetensors"


def test_an_original_is_not_loaded_before_one_is_told(original, ours):
    for load in (load_model, minigen.load):
        with pytest.raises(CheckpointError) as refused:
            load(original)
        said = str(refused.value)
        assert f"minigen convert {original} OUT.safetensors --behaviour" in said
        assert "v1 for the released weights (4 heads" in said
        assert "head for those of later code (16 heads" in said
    assert load_model(original, config=CONFIG).config.behaviour == "v1"
    # what is assumed is said to be
    assert "behaviour" in describe(original).unseen
    for behaviour in ("v1", "head"):
        report = convert(original, ours, behaviour=behaviour)
        assert load_model(ours).config.behaviour == behaviour
        assert report.config["behaviour"] == behaviour
        assert "behaviour" not in report.unseen


def test_nor_is_it_converted(original, ours):
    with pytest.raises(InputError, match="say behaviour v1 for the released weights"):
        convert(original, ours)
    with pytest.raises(InputError, match="behaviour 'v2' is not known"):
        convert(original, ours, behaviour="v2")
    assert not ours.exists()


def test_a_converted_file_is_believed_until_another_is_told(original, ours, tmp_path):
    convert(original, ours, behaviour="head")
    again = tmp_path / "again.safetensors"
    report = convert(ours, again, behaviour="v1")
    assert report.config["behaviour"] == "v1"
    assert load_model(again).hash == report.hash != load_model(ours).hash
    assert convert(ours, again).config["behaviour"] == "head"
    assert again.read_bytes() == ours.read_bytes()


def test_a_converted_file_says_it(original, ours):
    head = from_dict({**to_dict(CONFIG), "behaviour": "head"})
    convert(original, ours, config=head)
    model = load_model(ours)
    assert model.config == head and model.config.inner_heads == 16
    expected = names.flatten(stand_in(CONFIG))
    for name, array in names.flatten(model.weights).items():
        assert_same(np.asarray(array), expected[name])


def test_one_that_does_not_say_it_is_refused(original, ours):
    convert(original, ours, behaviour="v1")
    content = ours.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + size]
    found = json.loads(header)["__metadata__"]["minigen.config"]
    less = {k: v for k, v in json.loads(found).items() if k != "behaviour"}
    written, changed = (json.dumps(json.dumps(c)) for c in (json.loads(found), less))
    assert written.encode() in header
    # what is cut out of the header is put at its end, where spaces are allowed
    header = header.replace(written.encode(), changed.encode()).ljust(size)
    ours.write_bytes(content[:8] + header + content[8 + size :])
    assert safetensors_file.read(ours.read_bytes())
    with pytest.raises(CheckpointError, match="names no behaviour; convert the orig"):
        load_model(ours)


@pytest.mark.parametrize(
    "later, expected",
    [
        ({}, "v1"),
        # each commit with 16 heads has one of these at least
        ({"model_type": "mar"}, "head"),
        ({"head_type": "ar_gmm"}, "head"),
        ({"bilevel_schedule": "constant"}, "head"),
        ({"feature_group": 1}, "head"),
        ({"use_nf": False}, "head"),
    ],
)
def test_the_arguments_of_a_training_show_it(tmp_path, ours, later, expected):
    source = tmp_path / "checkpoint-last.pth"
    arguments = FIRST | later
    write_zip(source, {"model_ema": stand_in_state(CONFIG), "args": arguments})
    loaded = load_model(source)
    assert loaded.config.behaviour == expected
    assert "behaviour" not in loaded.unseen
    assert convert(source, ours).config["behaviour"] == expected
    assert loaded.sources["behaviour"].words == "from the file's training arguments"
    # what is told is believed before
    other = {"v1": "head", "head": "v1"}[expected]
    report = convert(source, ours, behaviour=other)
    assert report.config["behaviour"] == other
    assert report.sources["behaviour"].kind == "option"


def test_arguments_of_another_script_show_nothing(tmp_path):
    source = tmp_path / "checkpoint-last.pth"
    arguments = {"lr": 1e-4, "vae_embed_dim": 4}
    write_zip(source, {"model_ema": stand_in_state(CONFIG), "args": arguments})
    with pytest.raises(CheckpointError, match="nothing in it shows"):
        load_model(source)


def test_arguments_that_the_weights_contradict_are_refused(tmp_path):
    config = from_dict({**to_dict(CONFIG), "inner_width": 12})
    source = tmp_path / "checkpoint-last.pth"
    arguments = FIRST | {"head_type": "ar_gmm"}
    write_zip(source, {"model_ema": stand_in_state(config), "args": arguments})
    with pytest.raises(CheckpointError, match="inner_width 12 does not divide into 16"):
        load_model(source)


def test_a_file_of_the_golden_cases_shows_it(golden, ours):
    source = golden / "arinar" / "mae_tiny" / "checkpoint-last.pth"
    report = convert(source, ours)
    assert report.config["behaviour"] == "head" and report.key == "model_ema"


@pytest.mark.parametrize(
    "version, expected",
    [({"head_type": "ar_gmm"}, "head"), ({"upstream_version": "v1"}, "v1"), ({}, "")],
)
def test_a_folder_may_describe_it(original, tmp_path, version, expected):
    folder = tmp_path / "hub"
    folder.mkdir()
    shutil.copy(original, folder / "pytorch_model.bin")
    arguments = {
        "encoder_embed_dim": 16, "decoder_embed_dim": 24, "encoder_depth": 1,
        "decoder_depth": 1, "encoder_num_heads": 2, "decoder_num_heads": 3,
        "buffer_size": 3, "class_num": 5, "img_size": 48, "vae_embed_dim": 4,
        "num_gaussians": 3, "inner_ar_width": 16, "inner_ar_depth": 1,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(arguments | version))
    if expected:
        found = load_model(folder)
        assert found.config.behaviour == expected
        # the heads of the outer model are believed too
        assert found.config.decoder_heads == 3
        assert found.unseen == ("norm_eps", "inner_schedule")
    else:
        with pytest.raises(CheckpointError, match="nothing in it shows"):
            load_model(folder)
