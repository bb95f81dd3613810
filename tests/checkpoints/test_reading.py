"""Every container reads to exactly the arrays that torch would give."""

import json
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import minigen
from minigen.checkpoints import open_checkpoint
from minigen.checkpoints.names import manifest
from minigen.errors import CheckpointError
from minigen.families import ArpgConfig
from tests.checkpoints.tripwire import only_reading
from tests.checkpoints.writing import View, write_legacy, write_zip
from tests.synth import synth

FILES = Path(__file__).parent / "files"
SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


def assert_same(found, expected):
    """Equal dtype, shape and bits."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


def read_case(golden, name):
    folder = golden / name
    return folder, json.loads((folder / "case.json").read_text())


def test_every_container_of_arpg_holds_the_same_weights(golden):
    folder, case = read_case(golden, "arpg/formats")
    shapes = manifest(ArpgConfig.from_upstream(case["config"]))
    for entry in case["weights"]["files"]:
        state = minigen.read_checkpoint(folder / entry["path"])
        assert set(state) == set(shapes)
        dtype = np.dtype(getattr(ml_dtypes, entry["dtype"], entry["dtype"]))
        for name, array in state.items():
            expected = synth(name, shapes[name], case["weights"]["synth_salt"])
            assert_same(array, expected.astype(dtype))
            assert not array.flags.writeable


def test_every_container_of_vq_holds_the_same_weights(golden):
    folder, case = read_case(golden, "vq/tiny_formats")
    for entry in case["weights"]["files"]:
        state = minigen.read_checkpoint(folder / entry["path"])
        dtype = np.dtype(getattr(ml_dtypes, entry["dtype"], entry["dtype"]))
        assert len(state) == 204
        for name, array in state.items():
            expected = synth(name, array.shape)
            if name == "quantize.codebook_used":
                expected = np.zeros(65536, np.float32)
            assert_same(array, expected.astype(dtype))


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_views_share_memory_and_odd_tensors_read(golden, kind):
    path = golden / f"arpg/formats/weights/odd_{kind}.pt"
    state = minigen.read_checkpoint(path)
    table = np.arange(24, dtype=np.float32).reshape(4, 6)
    expected = {
        "transposed": table.T,
        "row1": table[1],
        "tail": table.reshape(-1)[20:],
        "scalar": np.array(3.5, np.float32),
        "ints": np.arange(5),
        "flags": np.array([True, False, True]),
        "empty": np.zeros((0, 3), np.float32),
        "f64": np.linspace(0, 1, 3),
        "nested.list.0": np.ones(2, np.float32),
    }
    assert set(state) == set(expected)
    for name, array in expected.items():
        assert_same(state[name], array)
    assert state["transposed"].strides == table.T.strides
    assert np.shares_memory(state["transposed"], state["row1"])
    assert np.shares_memory(state["transposed"], state["tail"])


def test_a_training_file_reads_to_its_average_and_says_so(golden):
    folder, _ = read_case(golden, "arpg/train_steps")
    path = folder / "weights/0000004.pt"
    expected = np.load(folder / "io.npz")
    averaged = open_checkpoint(path)
    assert (averaged.key, averaged.keys) == ("ema", ("model",))
    assert_same(averaged.state["head.weight"], expected["ema.head.weight"])
    trained = open_checkpoint(path, key="model")
    assert (trained.key, trained.keys) == ("model", ("ema",))
    for name, array in trained.state.items():
        assert_same(array, expected[f"final.{name}"])
    assert len(trained.state) == 22
    moments = minigen.read_checkpoint(path, key="optimizer.state")
    assert moments["0.exp_avg"].shape == trained.state["embeddings.weight"].shape
    assert averaged.arguments


@pytest.mark.parametrize("kind", ["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_kind_of_tensor_reads_from_every_protocol(kind, protocol):
    table = np.arange(24, dtype=np.float32).reshape(4, 6)
    numbers = np.array([0, 1, 2, 100])
    expected = {
        "weight": np.array([[0.5, 2.0]], np.float32),
        "bias": np.array([-1.0], np.float32),
        "table": table,
        "transposed": table.T,
        "row": table[1],
        "tail": table[3, 2:],
        "expanded": np.full((2, 3), 7, np.float32),
        "scalar": np.array(3.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "attributed": np.array([1.0, -0.0], np.float32),
        "marked": np.array([2, 3], np.int16),
        "parameter": np.ones(3, np.float32),
    }
    for name in (
        *("float64", "float16", "int8", "int32", "int64", "uint8", "uint16", "uint32"),
        *("uint64", "complex64", "bool"),
    ):
        expected[name] = numbers.astype(name)
    for name in ("bfloat16", "float8_e5m2"):
        expected[name] = numbers.astype(np.float32).astype(getattr(ml_dtypes, name))
    path = FILES / f"protocol{protocol}_{kind}.pt"
    with only_reading(path):
        checkpoint = open_checkpoint(path)
    assert checkpoint.container == f"torch {kind}"
    assert set(checkpoint.state) == set(expected)
    for name, array in expected.items():
        assert_same(checkpoint.state[name], array)
    assert np.shares_memory(checkpoint.state["table"], checkpoint.state["row"])


def test_all_golden_weight_files_read(golden):
    files = [path for path in golden.rglob("*") if path.suffix in SUFFIXES]
    assert files
    # reading touches every byte; the values are compared with synth above
    arrays = [a for path in files for a in minigen.read_checkpoint(path).values()]
    assert len(arrays) > len(files)
    assert all(len(array.tobytes()) == array.nbytes for array in arrays)


@pytest.mark.needs("torch")
def test_all_golden_weight_files_are_read_as_torch_reads_them(golden):
    files = [path for path in golden.rglob("*") if path.suffix in SUFFIXES]
    assert sum(map(_compare_with_torch, files)) > len(files)


def _compare_with_torch(path):
    import torch

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        contents, keys = load_file(path), [None]
    else:
        contents = torch.load(path, map_location="cpu", weights_only=False)
        keys = [None, *(k for k, v in contents.items() if isinstance(v, dict))]
    count = 0
    for key in keys:
        checkpoint = open_checkpoint(path, key)
        expected = contents
        for part in checkpoint.key.split(".") if checkpoint.key else ():
            expected = expected[part]
        expected = dict(_tensors(expected, ""))
        assert list(checkpoint.state) == list(expected)
        for name, tensor in expected.items():
            found, tensor = checkpoint.state[name], tensor.detach()
            if tensor.dtype == torch.bfloat16:
                tensor = tensor.view(torch.int16)
                assert found.dtype == ml_dtypes.bfloat16
                found = found.view(np.int16)
            assert_same(found, tensor.numpy())
            longer = [n > 1 for n in found.shape]
            strides = np.array(found.strides, int)[longer] // found.itemsize
            assert not found.size or list(strides) == list(
                np.array(tensor.stride(), int)[longer]
            )
            count += 1
    return count


def _tensors(value, prefix):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(inner, (dict, list, tuple)):
            yield from _tensors(inner, f"{prefix}{key}.")
        elif hasattr(inner, "detach"):
            yield f"{prefix}{key}", inner


WEIGHTS = {"w": np.arange(3, dtype=np.float32)}
OTHER = {"w": np.ones(2, np.float32)}


@pytest.mark.parametrize(
    "content, key, chosen",
    [
        ({"model": OTHER, "ema": WEIGHTS}, None, "ema"),
        ({"model": OTHER, "ema": OTHER, "model_ema": WEIGHTS}, None, "model_ema"),
        ({"state_dict": OTHER, "module": WEIGHTS}, None, "module"),
        ({"module": OTHER, "model": WEIGHTS}, None, "model"),
        ({"model": WEIGHTS, "ema": OTHER}, "model", "model"),
        ({"model": OTHER, "best": WEIGHTS}, "best", "best"),
        ({"model": {"module": WEIGHTS}}, None, "model.module"),
        ({"ema": 0.999, "model": WEIGHTS}, None, "model"),
        ({"ema": {}, "model": WEIGHTS}, None, "model"),
        ({"steps": [OTHER, WEIGHTS]}, "steps.1", "steps.1"),
        (WEIGHTS, None, ""),
        ({"model.w": OTHER["w"], "ema.w": WEIGHTS["w"]}, "ema", "ema"),
        ({"ema": WEIGHTS, "w": WEIGHTS["w"]}, "", ""),
    ],
)
@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_weights_are_found_by_precedence_or_key(tmp_path, write, content, key, chosen):
    write(tmp_path / "file", content)
    checkpoint = open_checkpoint(tmp_path / "file", key)
    assert checkpoint.key == chosen
    assert_same(checkpoint.state["w"], WEIGHTS["w"])


@pytest.mark.parametrize("key", ["modle", "model.w", "steps", ".", "model."])
def test_an_unknown_key_is_refused_with_those_there_are(tmp_path, key):
    write_zip(tmp_path / "file", {"model": OTHER, "ema": WEIGHTS, "steps": 3})
    with pytest.raises(CheckpointError, match="ema, model"):
        open_checkpoint(tmp_path / "file", key)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_tied_tensors_share_memory_and_strange_strides_read(tmp_path, write):
    table = np.arange(12, dtype=np.float64)
    views = {
        "a": table,
        "tied": table,
        "overlapping": View(table, 1, (3, 4), (1, 1)),
        "every_third": View(table, 2, (3,), (3,)),
        "one": View(table, 11, (1, 1), (10**15, 7)),
    }
    write(tmp_path / "file", views)
    state = minigen.read_checkpoint(tmp_path / "file")
    assert np.shares_memory(state["a"], state["tied"])
    expected = np.lib.stride_tricks.sliding_window_view(table[1:7], 4)
    assert_same(state["overlapping"], np.ascontiguousarray(expected))
    assert_same(state["every_third"], table[2:9:3])
    assert_same(state["one"], table[11:].reshape(1, 1))


def test_arrays_outlive_the_checkpoint_and_are_mapped(tmp_path):
    write_zip(tmp_path / "file", {"w": np.arange(100_000, dtype=np.float32)})
    array = minigen.read_checkpoint(tmp_path / "file")["w"]
    assert not array.flags.owndata and array.flags.aligned
    assert array.sum(dtype=np.float64) == 100_000 * 99_999 / 2


def test_torch_is_not_needed():
    program = (
        "import sys, minigen\n"
        "sys.modules['torch'] = None\n"
        "state = minigen.read_checkpoint(sys.argv[1])\n"
        "assert len(state) == 25 and state['row'][1] == 7\n"
    )
    for kind in ("zip", "legacy"):
        path = FILES / f"protocol2_{kind}.pt"
        subprocess.run([sys.executable, "-c", program, path], check=True)
