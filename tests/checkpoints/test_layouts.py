"""Where weights lie in files of trainers, folders and shards; what other files are."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from minigen.checkpoints import convert, describe, load_model, names, open_checkpoint
from minigen.cli import app
from minigen.errors import CheckpointError
from minigen.families import FAMILIES, AimConfig, ArpgConfig, KlConfig, VqConfig
from minigen.finding import tokenizer_of
from tests.checkpoints.tripwire import refuse
from tests.checkpoints.writing import safetensors, write_legacy, write_zip
from tests.synth import synth

ARPG = ArpgConfig(
    width=8, layers=2, heads=1, vocabulary=4, classes=2, multiple_of=1, tokens=256
)
VQ = VqConfig(base=32, multipliers=(1,), latent=4, codes=5, code_size=2)
AIM = AimConfig(width=8, layers=1, vocabulary=4, classes=2, state_size=4, head_size=4)
KL = KlConfig(base=32, multipliers=(1,), blocks=1, channels=2, attention=())


def state_of(config, salt=""):
    return {name: synth(name, s, salt) for name, s in names.manifest(config).items()}


def under(prefix, state):
    return {f"{prefix}{name}": array for name, array in state.items()}


def inside(part, state):
    """Put a part into every name behind its first two."""
    return {
        ".".join([*n.split(".")[:2], part, *n.split(".")[2:]]): a
        for n, a in state.items()
    }


WEIGHTS, AVERAGE = state_of(ARPG), state_of(ARPG, "average")
COUNT, LOSS = np.array(7), {"loss.disc.weight": np.ones((3, 3), np.float32)}
BROKEN = {**AVERAGE, "norm.weight": np.ones(3, np.float32)}

LAYOUTS = {
    "lightning": (
        {"state_dict": under("model.", WEIGHTS)}, WEIGHTS, "state_dict.model",
    ),
    "lightning with an average": (
        {"state_dict": {**under("net.", WEIGHTS), **under("net_ema.", AVERAGE)}},
        AVERAGE,
        "state_dict.net_ema",
    ),
    "an average of its own wrapper": (
        {"state_dict": {**under("model.", WEIGHTS), **under("ema.module.", AVERAGE)}},
        AVERAGE,
        "state_dict.ema",
    ),
    "a count of updates": (
        {"ema": {"n_averaged": COUNT, **under("module.", AVERAGE)}, "model": WEIGHTS},
        AVERAGE,
        "ema",
    ),
    "forward module": ({"model": under("_forward_module.", WEIGHTS)}, WEIGHTS, "model"),
    "compiled layers": ({"model": inside("_orig_mod", WEIGHTS)}, WEIGHTS, "model"),
    "checkpointed layers": (
        {"model": under("module.", inside("_checkpoint_wrapped_module", WEIGHTS))},
        WEIGHTS,
        "model",
    ),
    "a key that nobody knows": (
        {"net": WEIGHTS, "optimizer": {"state": [np.ones(3)]}}, WEIGHTS, "net",
    ),
    "an average that is none": ({"ema": BROKEN, "model": WEIGHTS}, WEIGHTS, "model"),
}  # fmt: skip


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_model_is_found_where_it_lies(tmp_path, write, kind):
    content, expected, key = LAYOUTS[kind]
    write(tmp_path / "file.pt", content)
    model = load_model(tmp_path / "file.pt")
    assert (model.config, model.key) == (ARPG, key)
    found = names.to_upstream(ARPG, model.weights)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert convert(tmp_path / "file.pt", tmp_path / "ours").key == key
    assert load_model(tmp_path / "file.pt", key).hash == model.hash


def test_the_places_that_were_not_read_are_named(tmp_path):
    content = {**under("student.", WEIGHTS), **under("teacher.", AVERAGE)}
    write_zip(tmp_path / "file.pt", content)
    found = describe(tmp_path / "file.pt")
    assert (found.key, found.other_keys) == ("student", ("teacher",))
    assert load_model(tmp_path / "file.pt", "teacher").key == "teacher"


def test_what_is_left_out_is_listed(tmp_path):
    average = {f"model_ema.{n.replace('.', '')}": a for n, a in state_of(KL).items()}
    whole = {**state_of(KL), **LOSS, **average}
    moments = [{"exp_avg": np.ones(3)}, {"exp_avg": np.ones(3)}]
    write_zip(tmp_path / "file.pt", {"state_dict": whole, "optimizer_states": moments})
    expected = {"loss.*": 1, "model_ema.*": len(average), "optimizer_states": 2}
    assert describe(tmp_path / "file.pt").left_out == expected
    assert convert(tmp_path / "file.pt", tmp_path / "ours").left_out == expected
    assert describe(tmp_path / "ours").left_out == {}
    said = CliRunner().invoke(app, ["info", str(tmp_path / "file.pt")]).stdout
    assert "arrays left out" in said and "1 under loss.*" in said
    # beside a model under a prefix, and beside a model that was preferred
    inner = {**under("model.", state_of(VQ)), **under("lpips.", LOSS)}
    write_zip(tmp_path / "file.pt", {"state_dict": inner, "model": AVERAGE})
    found = describe(tmp_path / "file.pt", "state_dict.model")
    assert found.family == "vq"
    assert found.left_out == {"state_dict.lpips": 1, "model": len(AVERAGE)}


def test_a_tokenizer_is_found_beside_a_generator_under_a_prefix(tmp_path):
    both = {**under("net.vqvae.", state_of(VQ)), **under("net.mamba.", state_of(AIM))}
    write_zip(tmp_path / "file.pt", {"state_dict": both})
    model = load_model(tmp_path / "file.pt")
    assert (model.family, model.key) == ("aim", "state_dict.net")
    found = tokenizer_of(tmp_path / "file.pt", FAMILIES["vq"])
    assert found.family == "vq" and found.path == model.path


def test_a_tokenizer_beside_what_its_training_needs(tmp_path):
    for config, family in ((VQ, "vq"), (KL, "kl")):
        state = state_of(config)
        flat = {f"model_ema.{n.replace('.', '')}": a for n, a in state.items()}
        more = flat if family == "kl" else {}
        write_zip(tmp_path / "file.pt", {"state_dict": {**state, **LOSS, **more}})
        model = load_model(tmp_path / "file.pt")
        assert (model.family, model.key) == (family, "state_dict")
        lower = under("first_stage_model.", {**state, **LOSS})
        write_zip(tmp_path / "inner.pt", {"state_dict": {**lower, **LOSS}})
        inner = load_model(tmp_path / "inner.pt")
        assert inner.key == "state_dict.first_stage_model"
        assert inner.hash == model.hash


def shard(path, arrays):
    entries, at = {}, 0
    for name, array in arrays.items():
        ends = [at, at + array.nbytes]
        entries[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": ends}
        at = ends[1]
    content = safetensors(entries, 0)
    path.write_bytes(content + b"".join(a.tobytes() for a in arrays.values()))


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_model_in_several_files_is_read_by_its_index(tmp_path, suffix):
    listed = list(WEIGHTS)
    stem = {"safetensors": "model", "bin": "pytorch_model"}[suffix]
    files = {f"{stem}-{i}-of-3.{suffix}": listed[i::3] for i in range(3)}
    for name, arrays in files.items():
        write = shard if suffix == "safetensors" else write_zip
        write(tmp_path / name, {array: WEIGHTS[array] for array in arrays})
    index = tmp_path / f"{stem}.{suffix}.index.json"
    weight_map = {array: name for name, arrays in files.items() for array in arrays}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    write_zip(tmp_path / "whole.pt", WEIGHTS)
    expected = load_model(tmp_path / "whole.pt").hash
    for path in (tmp_path, index):
        assert load_model(path).hash == expected
        found = describe(path)
        assert found.hash == expected and "3 files" in found.container
        assert found.bytes == sum((tmp_path / n).stat().st_size for n in files)
    convert(tmp_path, tmp_path / "ours")
    assert load_model(tmp_path / "ours").hash == expected
    if suffix == "bin":
        # a bit of a shard is flipped: where every byte is read, it is found
        whole = (tmp_path / next(iter(files))).read_bytes()
        at = whole.index(next(iter(WEIGHTS.values())).tobytes())
        damaged = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        (tmp_path / next(iter(files))).write_bytes(damaged)
        for read in (describe, lambda path: convert(path, tmp_path / "ours")):
            with pytest.raises(CheckpointError, match="model-0-of-3.*check sum"):
                read(tmp_path)
    first = tmp_path / next(iter(files))
    first.rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="is missing; download all files"):
        open_checkpoint(index)
    write(first, {"other": WEIGHTS["norm.weight"]})
    with pytest.raises(CheckpointError, match="are not those that it names"):
        open_checkpoint(index)


@pytest.mark.parametrize("text", [
    "[]", "{", "{}", '{"weight_map": {}}', '{"weight_map": 3}', "[" * 10**5,
    '{"weight_map": {"w": 3}}', '{"weight_map": {"w": "../a.bin"}}',
    '{"weight_map": {"w": "/etc/passwd"}}', '{"weight_map": {"w": "a\\u001b.bin"}}',
    '{"weight_map": {"w": "model.safetensors.index.json"}}',
    '{"weight_map": {"w": "%s.bin"}}' % ("a" * 400),
    '{"weight_map": {"w": "a.bin", "w": "b.bin"}}', '{"weight_map": {"w": NaN}}',
])  # fmt: skip
def test_an_index_that_lies_is_refused(tmp_path, text):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(text)
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(path)
    assert str(refused.value).startswith(f"{path}: it")


@pytest.mark.parametrize("name", ["checkpoint-last.pth", "consolidated.pth"])
def test_folders_of_trainers_are_opened(tmp_path, name):
    write_zip(tmp_path / name, {"model": WEIGHTS})
    assert load_model(tmp_path).path.name == name


def test_other_folders_say_what_they_are(tmp_path):
    write_zip(tmp_path / "best.pt", {"model": WEIGHTS})
    with pytest.raises(CheckpointError, match=r"a folder with none .* as best\.pt"):
        open_checkpoint(tmp_path)
    (tmp_path / ".metadata").write_bytes(b"")
    (tmp_path / "__0_0.distcp").write_bytes((tmp_path / "best.pt").read_bytes())
    for path in (tmp_path, tmp_path / ".metadata", tmp_path / "__0_0.distcp"):
        with pytest.raises(CheckpointError, match="torch.distributed.*dcp_to_torch"):
            open_checkpoint(path)


@pytest.mark.parametrize("content, said", [
    (b"\x1f\x8b\x08\0", "compressed with gzip"), (b"GGUF\3\0\0\0", "a GGUF file"),
    (b"\x89HDF\r\n\x1a\n\0", "an HDF5 file"), (b"\x93NUMPY\1\0", "array of NumPy"),
    (b"\x08\x08\x12\x07pytorch", "an ONNX program"), (b"BZh91AY", "with bzip2"),
    (b"\x80\4\x95\0", "a pickle that torch.save did not write"), (b"{}", "in JSON"),
    (b"PK\5\6" + bytes(18), "an empty zip file"), (b"\x89PNG\r\n", "a picture"),
    (bytes(100), "with zeros alone"), (b"version https://git-lfs", "of Git LFS"),
])  # fmt: skip
def test_other_files_are_called_what_they_are(tmp_path, content, said):
    (tmp_path / "file").write_bytes(content)
    refuse(tmp_path / "file", said)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_file_is_called_one(tmp_path, save):
    save(tmp_path / "file.npz", w=np.zeros(1000))
    refuse(tmp_path / "file.npz", "an npz file")


def test_metadata_may_be_null_and_new_types_are_named(tmp_path):
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    path = tmp_path / "file.safetensors"
    path.write_bytes(safetensors({"__metadata__": None, "w": entry}, 8))
    assert list(open_checkpoint(path).state) == ["w"]
    for kind in ("F8_E8M0", "F4", "F6_E2M3"):
        path.write_bytes(safetensors({"w": {**entry, "dtype": kind}}, 8))
        refuse(path, f"'w' has the element type '{kind}'")


@pytest.mark.parametrize("arguments, tokens", [
    ({"image_size": 384, "downsample_size": 16}, 576),
    ({"image_size": 256, "downsample_size": 8}, 1024),
    ({"image_size": 384}, 256),
])  # fmt: skip
def test_arguments_of_a_training_tell_the_tokens(tmp_path, arguments, tokens):
    write_zip(tmp_path / "file.pt", {"model": WEIGHTS, "args": arguments})
    model = load_model(tmp_path / "file.pt")
    assert model.config.tokens == tokens
    assert ("tokens" in model.unseen) == (len(arguments) == 1)


@pytest.mark.parametrize("value", ["x", 0, None, -1])
def test_arguments_that_make_no_sense_are_refused(tmp_path, value):
    arguments = {"image_size": 256, "downsample_size": value}
    write_zip(tmp_path / "file.pt", {"model": WEIGHTS, "args": arguments})
    if value == -1:
        # so many of the other sign would be as many
        arguments["image_size"] = 2**40
        write_zip(tmp_path / "file.pt", {"model": WEIGHTS, "args": arguments})
    with pytest.raises(CheckpointError, match="arguments of its training are wrong"):
        load_model(tmp_path / "file.pt")
