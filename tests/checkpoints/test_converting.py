"""Converted files hold the same model, and say what they hold."""

import hashlib
import json
import os
from dataclasses import replace

import numpy as np
import pytest

import minigen
from minigen.checkpoints import (
    convert,
    describe,
    hash_weights,
    load_model,
    names,
    open_checkpoint,
)
from minigen.checkpoints.values import DTYPES
from minigen.errors import CheckpointError, InputError
from minigen.families import PRESETS, ArpgConfig, VqConfig
from tests.checkpoints.writing import write_legacy, write_zip
from tests.synth import synth

ARPG, VQ = PRESETS["arpg-mnist"], PRESETS["vq-mnist"]


def state_of(config, salt=""):
    return {name: synth(name, s, salt) for name, s in names.manifest(config).items()}


def case_config(golden, case):
    content = json.loads((golden / case / "case.json").read_text())
    family = {"arpg": ArpgConfig, "vq": VqConfig}[content["family"]]
    return family.from_upstream(content["config"])


@pytest.mark.parametrize("dtype", [None, *DTYPES])
@pytest.mark.parametrize(
    "source",
    [
        *(f"arpg/formats/weights/arpg{end}" for end in (
            "_zip.pt", "_legacy.pt", ".safetensors", "_bfloat16_legacy.pt",
            "_float16.pt", "_deepspeed.pt", "_fsdp_raw.pt",
        )),
        *(f"vq/tiny_formats/weights/vq{end}" for end in (
            ".pt", "_bfloat16_legacy.pt", "_float16.safetensors",
        )),
    ],
)  # fmt: skip
def test_a_converted_file_is_the_original_in_our_layout(
    golden, tmp_path, source, dtype
):
    config = case_config(golden, source.split("/weights/")[0])
    state = minigen.read_checkpoint(golden / source)
    expected = names.flatten(names.to_tree(config, state))
    destination = tmp_path / "ours.safetensors"
    report = convert(golden / source, destination, dtype, config=config)
    model = load_model(destination)
    found = names.flatten(model.weights)
    assert (model.config, list(found)) == (config, list(names.flatten(model.weights)))
    assert set(found) == set(expected)
    for name, array in expected.items():
        target = DTYPES[dtype] if dtype else array.dtype
        assert found[name].dtype == target
        assert found[name].tobytes() == array.astype(target).tobytes()
        assert found[name].flags.c_contiguous and found[name].flags.aligned
    assert report.parameters == sum(a.size for a in expected.values())
    assert (report.tensors, report.bytes) == (len(expected), destination.stat().st_size)
    assert report.hash == model.hash == hash_weights(config, found)
    assert (report.family, report.name) == (source.split("/")[0], "custom")


def test_an_original_loads_to_the_very_model_it_converts_to(tmp_path):
    for config, write in ((ARPG, write_zip), (VQ, write_legacy)):
        write(tmp_path / "original.pt", {"ema": state_of(config)})
        convert(tmp_path / "original.pt", tmp_path / "ours.safetensors")
        original = load_model(tmp_path / "original.pt")
        ours = load_model(tmp_path / "ours.safetensors")
        assert original.key == "ema"
        assert original.config == ours.config == config
        assert original.hash == ours.hash
        assert original.name == ours.name != "custom"
        one, two = names.flatten(original.weights), names.flatten(ours.weights)
        assert {k: v.tobytes() for k, v in one.items()} == {
            k: v.tobytes() for k, v in two.items()
        }
        for array in (*one.values(), *two.values()):
            assert array.flags.c_contiguous and array.flags.aligned
            assert not array.flags.writeable


def test_a_converted_file_is_mapped_at_aligned_places(tmp_path):
    write_zip(tmp_path / "original.pt", state_of(VQ))
    convert(tmp_path / "original.pt", tmp_path / "ours.safetensors")
    content = (tmp_path / "ours.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    assert (8 + size) % 64 == 0
    checkpoint = open_checkpoint(tmp_path / "ours.safetensors")
    header = json.loads(content[8 : 8 + size])
    for name, array in checkpoint.state.items():
        begin, end = header[name]["data_offsets"]
        if (end - begin) % 64 == 0:
            assert begin % 64 == 0
        assert array.flags.aligned and not array.flags.owndata
    weights = names.flatten(load_model(tmp_path / "ours.safetensors").weights)
    assert not any(array.flags.owndata for array in weights.values())


@pytest.mark.needs("safetensors")
def test_the_library_of_safetensors_reads_our_files(tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import load_file

    write_zip(tmp_path / "original.pt", state_of(ARPG))
    report = convert(tmp_path / "original.pt", tmp_path / "ours.safetensors")
    found = load_file(tmp_path / "ours.safetensors")
    expected = open_checkpoint(tmp_path / "ours.safetensors").state
    assert {k: v.tobytes() for k, v in found.items()} == {
        k: v.tobytes() for k, v in expected.items()
    }
    with safe_open(tmp_path / "ours.safetensors", "numpy") as file:
        metadata = file.metadata()
    assert metadata["minigen.hash"] == report.hash
    assert json.loads(metadata["minigen.config"])["family"] == "arpg"


def test_the_choice_of_weights_is_reported_and_can_be_overridden(tmp_path):
    content = {"model": state_of(ARPG), "ema": state_of(ARPG, "averaged"), "steps": 4}
    write_zip(tmp_path / "trained.pt", content)
    for key, chosen, other in ((None, "ema", "model"), ("model", "model", "ema")):
        report = convert(tmp_path / "trained.pt", tmp_path / "ours", key=key)
        assert (report.key, report.other_keys) == (chosen, (other,))
        expected = content[chosen]["head.weight"]
        found = load_model(tmp_path / "ours").weights["head"]
        assert np.array_equal(found, expected)
        assert describe(tmp_path / "trained.pt", key).hash == report.hash
    again = convert(tmp_path / "ours", tmp_path / "again", dtype="bfloat16")
    assert again.dtype == "bfloat16" and again.name == "arpg-mnist"


def test_a_number_of_heads_that_no_shape_shows_is_told_or_given(tmp_path):
    config = replace(ARPG, width=192, heads=6, tokens=16)
    write_zip(tmp_path / "original.pt", state_of(config))
    guessed = convert(tmp_path / "original.pt", tmp_path / "guessed")
    assert guessed.unseen == ("heads", "tokens", "rope_base", "norm_eps")
    assert guessed.config["heads"] == 3
    given = convert(tmp_path / "original.pt", tmp_path / "given", config=config)
    assert given.unseen == ()
    assert load_model(tmp_path / "given").config == config
    assert load_model(tmp_path / "original.pt", config=config).config == config
    with pytest.raises(CheckpointError, match="width is 128, given, .* show 192"):
        load_model(tmp_path / "given", config=ARPG)


def test_describe_knows_converted_original_and_strange_files(tmp_path):
    state = state_of(VQ)
    write_legacy(tmp_path / "original.pt", {"model": state})
    report = convert(tmp_path / "original.pt", tmp_path / "ours")
    original, ours = describe(tmp_path / "original.pt"), describe(tmp_path / "ours")
    for found in (original, ours):
        assert (found.family, found.name, found.dtype) == ("vq", "vq-mnist", "float32")
        assert (found.hash, found.hash_of) == (report.hash, "model")
        assert found.parameters == sum(a.size for a in state.values())
    assert (original.converted, original.intact) == (False, None)
    assert (ours.converted, ours.intact) == (True, True)
    write_zip(tmp_path / "strange", {"a": np.ones(3), "b": np.ones(4, np.float32)})
    strange = describe(tmp_path / "strange")
    assert (strange.family, strange.name, strange.config) == ("", "", None)
    assert "no known family" in strange.reason and strange.names == ("a", "b")
    assert (strange.dtype, strange.parameters, strange.hash_of) == ("mixed", 7, "file")
    content = (tmp_path / "strange").read_bytes()
    assert strange.hash == hashlib.sha256(content).hexdigest()


def test_a_changed_weight_of_a_converted_file_shows(tmp_path):
    write_zip(tmp_path / "original.pt", state_of(ARPG))
    convert(tmp_path / "original.pt", tmp_path / "ours")
    content = bytearray((tmp_path / "ours").read_bytes())
    content[-3] ^= 1
    (tmp_path / "ours").write_bytes(content)
    assert describe(tmp_path / "ours").intact is False


def test_the_hash_tells_models_apart_and_nothing_else(tmp_path):
    weights = names.flatten(names.to_tree(ARPG, state_of(ARPG)))
    expected = hash_weights(ARPG, weights)
    assert hash_weights(ARPG, dict(reversed(weights.items()))) == expected
    strided = {k: np.asfortranarray(v) for k, v in weights.items()}
    assert hash_weights(ARPG, strided) == expected
    changed = {k: v.copy() for k, v in weights.items()}
    changed["head"].view(np.uint32)[3, 4] ^= 1
    others = [
        hash_weights(ARPG, changed),
        hash_weights(replace(ARPG, heads=8), weights),
        hash_weights(ARPG, {**weights, "norm": weights["norm"].astype(np.float16)}),
        hash_weights(ARPG, {**weights, "norm": weights["out_norm"]}),
    ]
    assert len({expected, *others}) == 5


def test_bad_arguments_are_refused_before_anything_is_written(tmp_path):
    write_zip(tmp_path / "original.pt", state_of(ARPG))
    with pytest.raises(InputError, match="float32, bfloat16, float16"):
        convert(tmp_path / "original.pt", tmp_path / "ours", "int8")
    with pytest.raises(InputError, match="mkdir -p"):
        convert(tmp_path / "original.pt", tmp_path / "missing" / "ours")
    with pytest.raises(CheckpointError, match="cannot be read"):
        convert(tmp_path / "missing.pt", tmp_path / "ours")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        convert(tmp_path / "original.pt", tmp_path / "folder")
    assert sorted(os.listdir(tmp_path)) == ["folder", "original.pt"]


def test_a_file_is_converted_onto_itself(tmp_path):
    write_zip(tmp_path / "file", state_of(ARPG))
    report = convert(tmp_path / "file", tmp_path / "file")
    assert load_model(tmp_path / "file").hash == report.hash


def test_a_converted_file_that_lies_about_itself_is_refused(tmp_path):
    write_zip(tmp_path / "original.pt", state_of(ARPG))
    convert(tmp_path / "original.pt", tmp_path / "ours")
    content = (tmp_path / "ours").read_bytes()
    old = b'\\"layers\\": 6'
    assert content.count(old) == 1
    (tmp_path / "ours").write_bytes(content.replace(old, old[:-1] + b"8"))
    with pytest.raises(CheckpointError, match="self.3.attn_norm is missing"):
        load_model(tmp_path / "ours")
