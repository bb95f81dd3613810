"""The configuration in a file of ours, edited: refused as it is read, with a reason."""

import json
import struct
from dataclasses import fields

import pytest

from minigen.catalogue import WEIGHTS
from minigen.checkpoints import load_model
from minigen.errors import ConfigError, MinigenError
from minigen.families import FAMILIES, PRESETS, from_dict, to_dict

WRONG = {
    "int": [None, "x", 1.5, True, -1, 10**9, 10**400, [1], {}, float("nan")],
    "bool": [None, "x", 1, 0, [True]],
    "str": [None, 1, ["x"]],
    "float": [None, "x", True, 0, -1.0, float("nan"), float("inf"), [1.0]],
    "tuple[int, ...]": [None, "12", 3, [1.5], [None], [10**9], [1] * 10**5, [[1]]],
}

CASES = [
    (family, each.name, value)
    for family, kind in FAMILIES.items()
    for each in fields(kind.config)
    for value in WRONG[str(each.type).removesuffix(" | None")]
    if value is not None or "None" not in str(each.type)
    # a number that is 0 if nothing is said may be 0
    if type(each.default) is not float or each.default or value != 0
]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_what_its_dictionary_says(name):
    config = PRESETS[name]
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_a_value_of_another_type_or_size_is_refused():
    ours = {family: next(c for c in PRESETS.values() if type(c) is kind.config)
            for family, kind in FAMILIES.items()}  # fmt: skip
    for family, name, value in CASES:
        values = {**to_dict(ours[family]), name: value}
        with pytest.raises(ConfigError, match=rf"{name} is .*; expected"):
            from_dict(values)
    assert len(CASES) > 400


@pytest.mark.parametrize("name, field, value", [
    ("arpg-mnist", "norm_eps", "x"), ("arpg-mnist", "rope_base", None),
    ("arpg-mnist", "norm_eps", float("nan")), ("arpg-mnist", "tokens", 10**9),
    ("mar-mnist", "head_layers", 10**9), ("vq-mnist", "unit_codes", "no"),
    ("kl-mnist", "scale", 0), ("judge-mnist", "widths", [10**9] * 4),
])  # fmt: skip
def test_an_edited_file_is_refused_at_once(name, field, value, tmp_path):
    content = (WEIGHTS / f"{name}.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    config = json.loads(header["__metadata__"]["minigen.config"])
    header["__metadata__"]["minigen.config"] = json.dumps({**config, field: value})
    edited = json.dumps(header).encode()
    path = tmp_path / "edited.safetensors"
    path.write_bytes(struct.pack("<Q", len(edited)) + edited + content[8 + size :])
    with pytest.raises(MinigenError, match=f"{field} is .*convert the model again"):
        load_model(path)
