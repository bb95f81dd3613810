"""Weight files of real life, and what is right for each: see cases/README.md."""

import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from minigen.checkpoints import convert, describe, load_model, open_checkpoint
from minigen.cli import app
from minigen.errors import CheckpointError
from tests.checkpoints.tripwire import only_reading

CASES = Path(__file__).parent / "cases"

READ = {
    "colon_in_archive_name.pt": ("", 1),
    "deep17_array_left_out.pt": ("", 1),
    "deepspeed_mp_rank_00_model_states.pt": ("module", 22),
    "lightning_model_prefix.ckpt": ("state_dict", 22),
    "lightning_1.4_callbacks_keyed_by_class.ckpt": ("state_dict", 22),
    "numpy1_scalar.pt": ("model", 22),
    "one_bit_flipped_crc_wrong.pt": ("", 1),
    "python2_lpips_alex.pth": ("", 5),
    "set_of_names.pt": ("model", 22),
    "trailing_newline.pt": ("", 1),
    "tuple_key.pt": ("model", 22),
    "zip_with_directory_entry.pt": ("", 1),
}
"""Key and number of arrays of those that are read."""

REFUSED = {
    "expand_bomb_arpg_40_layers.pt": "more than 8 times the 13824 bytes of the file",
    "float8_e8m0fnu.pt": "its tensor 'w' is of the element type float8_e8m0fnu",
    "legacy_cut_short.pt": "cut short or damaged: download it again",
    "meta_tensor.pt": "its tensor 'w' is on the meta device",
    "sparse.pt": "its tensor 'w' is sparse; call .to_dense()",
}
"""What is said of those of which no array can be made."""

NOT_LOADED = {
    "mar_head_layers_1e9.safetensors": "head_layers is 1000000000",
    "config_rope_base_null.safetensors": "rope_base is None",
    "config_norm_eps_text.safetensors": "norm_eps is 'x'",
    "config_norm_eps_nan.safetensors": "norm_eps is nan",
    "config_tokens_1e9.safetensors": "tokens is 1000000000",
}
"""Converted files whose configuration was edited."""


@pytest.mark.parametrize("name", READ)
def test_what_is_safe_is_read(name):
    with only_reading(CASES / name):
        checkpoint = open_checkpoint(CASES / name)
    key, count = READ[name]
    assert (checkpoint.key, len(checkpoint.state)) == (key, count)
    assert all(np.isfinite(array).all() for array in checkpoint.state.values())
    if count == 22:
        assert describe(CASES / name).family == "arpg"


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_none_is_refused_for_what_it_is(name):
    with only_reading(CASES / name), pytest.raises(CheckpointError) as refused:
        open_checkpoint(CASES / name)
    assert REFUSED[name] in str(refused.value)


@pytest.mark.parametrize("name", NOT_LOADED)
def test_an_edited_configuration_is_refused_at_once(name):
    started = time.process_time()
    with pytest.raises(CheckpointError, match=NOT_LOADED[name]):
        load_model(CASES / name)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("name", [
    "terminal_ansi.pt", "terminal_ansi.safetensors", "terminal_surrogate.safetensors",
])  # fmt: skip
def test_names_are_shown_and_never_obeyed(name):
    said = CliRunner().invoke(app, ["info", str(CASES / name)])
    printed = said.stdout
    assert said.exit_code == 0
    assert "not recognised" in printed
    assert all(line.isprintable() for line in printed.split("\n"))


@pytest.mark.parametrize("key", [None, "state_dict.model", "model"])
def test_a_prefix_of_lightning_is_taken_off_and_named(key):
    model = load_model(CASES / "lightning_model_prefix.ckpt", key)
    assert (model.family, model.key) == ("arpg", "state_dict.model")


def test_a_flipped_bit_is_found_where_every_byte_is_read(tmp_path):
    path = CASES / "one_bit_flipped_crc_wrong.pt"
    for read in (describe, lambda path: convert(path, tmp_path / "ours")):
        with pytest.raises(CheckpointError, match="'archive/data/0'.*check sum"):
            read(path)


def test_a_folder_of_shards_is_read_by_its_index():
    for path in (CASES / "sharded", CASES / "sharded" / "model.safetensors.index.json"):
        checkpoint = open_checkpoint(path)
        assert list(checkpoint.state) == ["w"]
        assert checkpoint.path.name == "model.safetensors.index.json"


@pytest.mark.parametrize("name, fields", [
    ("arinar_args_say_cosine.pth", {"inner_schedule": "cosine"}),
    ("arpg_args_say_512_pixels.pt", {"tokens": 1024}),
    ("hub_arpg_pretrainedconfig", {"heads": 2, "tokens": 64}),
])  # fmt: skip
def test_what_no_shape_shows_is_taken_from_what_the_file_says(name, fields):
    found = describe(CASES / name)
    assert {field: found.config[field] for field in fields} == fields
    assert not set(fields) & set(found.unseen)
