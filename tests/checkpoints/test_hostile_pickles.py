"""Pickles that are no data are refused, and nothing is run."""

from pathlib import Path

import numpy as np
import pytest

import minigen
from minigen.checkpoints import pickle_machine
from minigen.errors import CheckpointError
from tests.checkpoints.tripwire import only_reading, refuse
from tests.checkpoints.writing import (
    Code,
    name_of,
    pickle_of,
    write_legacy,
    write_legacy_pickle,
    write_zip,
    write_zip_pickle,
)

FILES = Path(__file__).parent / "files"
WEIGHTS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2)}

TUPLE = b"(" + pickle_of("touch /tmp/minigen_was_here", {}) + b"t"


def call(module, name, arguments=TUPLE):
    """Instructions that call `module.name`."""
    return name_of(module, name) + arguments + b"R"


REBUILD = name_of("torch._utils", "_rebuild_tensor_v2")
ORDERED = name_of("collections", "OrderedDict")
NAMESPACE = name_of("argparse", "Namespace")

HOSTILE = {
    "os.system": call("os", "system"),
    "posix.system": call("posix", "system"),
    "eval": call("builtins", "eval"),
    "eval of python 2": call("__builtin__", "eval"),
    "exec": call("builtins", "exec"),
    "import": call("importlib", "import_module"),
    "subprocess": call("subprocess", "Popen"),
    "torch.load": call("torch", "load"),
    "torch.hub": call("torch.hub", "load"),
    "numpy load": call("numpy", "load"),
    "a function of ours": call("minigen.checkpoints.reader", "map_file"),
    "a class of ours": call("minigen.checkpoints.load", "Model"),
    "a module of ours": name_of("minigen", "config"),
    "the machine itself": call("minigen.checkpoints.pickle_machine", "run"),
    "only a mention": name_of("os", "system"),
    "a nested name": call("collections", "OrderedDict.__init__.__globals__"),
    "attributes of a known class": call("torch", "FloatStorage.__reduce__"),
    "stack global": b"X\2\0\0\0osX\6\0\0\0system\x93" + TUPLE + b"R",
    "stack global of numbers": b"K\1K\2\x93",
    "nested reduce": call(
        "collections", "OrderedDict", b"(" + call("os", "system") + b"t"
    ),
    "reduce in a rebuild": REBUILD + b"(" + call("os", "system") + b"t" + b"R",
    "function as a hook": REBUILD + b"(" + name_of("os", "system") + b"t" + b"R",
    "extension 1": b"\x82\x01",
    "extension 2": b"\x83\x01\x00",
    "extension 4": b"\x84\x01\x00\x00\x00",
    "inst": b"(X\2\0\0\0lsios\nsystem\n",
    "obj": b"(" + name_of("os", "system") + b"X\2\0\0\0lso",
    "newobj": name_of("os", "system") + TUPLE + b"\x81",
    "text persistent id": b"Pstorage\n",
    "persistent id of numbers": b"K\1Q",
    "persistent id of a module": b"(X\6\0\0\0module" + name_of("os", "system") + b"tQ",
    "call of a storage class": call("torch", "FloatStorage"),
    "call of a dtype": call("torch", "float32"),
    "call of a number": b"K\1)R",
    "call of a namespace's state": NAMESPACE + b")\x81}b)R",
    "arguments that are no tuple": ORDERED + b"]R",
    "device of nothing": call("torch", "device", b")"),
    "sizes in a list": call("torch", "Size", b"]\x85"),
    "tensor of a tuple": REBUILD + b"()K\0))\x89NtR",
    "parameter of a number": call(
        "torch._utils", "_rebuild_parameter", b"K\1\x88N\x87"
    ),
    "tensor with attributes of a number": call(
        "torch._tensor", "_rebuild_from_type_v2", b"(K\1K\1K\1K\1t"
    ),
    "state of a number": b"K\1}b",
    "state of a list": b"]}b",
    "state of a class": ORDERED + b"}b",
    "next buffer": b"\x97",
    "integer of protocol 0": b"I1\n",
    "string of protocol 0": b"S'a'\n",
    "long of a length below zero": b"\x8b\xff\xff\xff\xff",
    "protocol 1": b"\x80\1",
    "protocol 6": b"\x80\6",
    "list as key": b"}]K\3s",
    "huge integer as key": b"}\x8a\x09" + b"\1" * 9 + b"K\3s",
    "item of a tuple": b")K\1a",
    "items of a number": b"K\1(K\2e",
    "odd items": b"}(K\1u",
    "nothing to pop": b"0",
    "no mark": b"e",
    "unknown memo": b"h\7",
    "nothing to memorise": b"q\0",
    "two values": b"K\1K\2",
    "no value": b"",
    "text that is none": b"X\1\0\0\0\xff",
    "name that is none": b"c\xff\n\xff\n",
    "name without end": b"c" + b"a" * 300,
    "name without end, of the stack": b"X\1\0\0\0aX\0\1\0\0" + b"." * 256 + b"\x93",
    "zero": b"\0",
}


HARMLESS = {
    "getattr": call("builtins", "getattr", b"(" + ORDERED + b"X\x03\0\0\0popt"),
    "numpy scalar": call("numpy._core.multiarray", "scalar"),
    "newobj with options": ORDERED + b")}\x92",
    "OrderedDict of pairs": ORDERED + b"]\x85R",
    "namespace of a number": NAMESPACE + b"K\1\x85R}b",
    "set": name_of("builtins", "set") + b"(]tR",
    "byte array": b"\x96\1\0\0\0\0\0\0\0a",
    "frozenset": b"(\x91",
    "tuple as key": b"}K\1K\2\x86K\3s",
    "class as key": b"}" + ORDERED + b"K\3s",
    "a random generator": call("numpy.random._pickle", "__generator_ctor", b")"),
    "a metric": call("torchmetrics.classification.accuracy", "Accuracy", b")"),
    "a dataclass": name_of("__main__", "Config") + b")\x81}X\1\0\0\0aK\1sb",
    "an enum": call("project.modes", "Mode", b"K\1\x85"),
    "a list of a class of its own": name_of("collections", "deque") + b")R(K\1e",
    "a dict of a class of its own": name_of("easydict", "EasyDict") + b")\x81}bNNs",
    "a lambda by its name": call("functools", "partial", b")"),
    "a method of an object": call(
        "builtins", "getattr", b"(" + name_of("a", "B") + b")RX\3\0\0\0runt"
    ),
    "a number as key": b"}G" + bytes(8) + b"K\3s",
    "a key with a class in it": b"}" + ORDERED + b"K\1\x86K\3s",
    "a long of four bytes of length": b"\x8b\1\0\0\0\1",
    "text of Python 2": b"U\2\xc3(T\1\0\0\0a\x86",
}
"""Python objects that lie beside weights: what stands for them can do nothing."""


WHOLE = {"no value", "two values", "nothing to memorise"}
"""Wrong as a whole pickle, right as a part of one."""


@pytest.mark.parametrize("save", [write_zip_pickle, write_legacy_pickle])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_pickle_that_is_no_data_is_refused(tmp_path, save, kind):
    save(tmp_path / "file.pt", HOSTILE[kind])
    refuse(tmp_path / "file.pt")


@pytest.mark.parametrize("save", [write_zip_pickle, write_legacy_pickle])
@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind not in WHOLE])
def test_hostile_parts_beside_weights_are_refused_too(tmp_path, save, kind):
    content = {"model": {}, "callbacks": [Code(HOSTILE[kind])]}
    save(tmp_path / "file.pt", pickle_of(content, {}))
    refuse(tmp_path / "file.pt")


@pytest.mark.parametrize("save", [write_zip_pickle, write_legacy_pickle])
@pytest.mark.parametrize("kind", HARMLESS)
def test_what_is_no_data_is_inert_beside_weights(tmp_path, save, kind):
    assert kind not in HOSTILE
    save(tmp_path / "file.pt", pickle_of({"beside": Code(HARMLESS[kind])}, {}))
    with only_reading(tmp_path / "file.pt"):
        try:
            assert minigen.read_checkpoint(tmp_path / "file.pt") == {}
        except CheckpointError as error:
            # nothing else lies in this file
            assert "it holds no arrays, but objects of" in str(error)
    write = {write_zip_pickle: write_zip, write_legacy_pickle: write_legacy}[save]
    write(tmp_path / "file.pt", {"model": WEIGHTS, "beside": [Code(HARMLESS[kind])]})
    with only_reading(tmp_path / "file.pt"):
        state = minigen.read_checkpoint(tmp_path / "file.pt")
    assert {name: array.tolist() for name, array in state.items()} == {
        name: array.tolist() for name, array in WEIGHTS.items()
    }


def test_objects_are_named_and_never_made(tmp_path):
    beside = {"metric": Code(HARMLESS["a metric"]), "mode": Code(HARMLESS["an enum"])}
    write_zip(tmp_path / "file.pt", {"model": WEIGHTS, **beside})
    checkpoint = minigen.checkpoints.open_checkpoint(tmp_path / "file.pt")
    assert checkpoint.objects == (
        "torchmetrics.classification.accuracy.Accuracy",
        "project.modes.Mode",
    )
    said = minigen.checkpoints.describe(tmp_path / "file.pt")
    assert said.objects == checkpoint.objects
    write_zip(tmp_path / "file.pt", beside["metric"])
    refuse(tmp_path / "file.pt", "no arrays, but objects of torchmetrics.*Accuracy")
    write_zip(tmp_path / "file.pt", WEIGHTS["w"])
    assert list(minigen.read_checkpoint(tmp_path / "file.pt")) == [""]
    write_zip(tmp_path / "file.pt", {"model": beside["metric"]})
    refuse(tmp_path / "file.pt", "no arrays, but objects of torchmetrics.*Accuracy")


@pytest.mark.parametrize("name", ["conjugate", "meta", "module", "quantized", "sparse"])
def test_tensors_without_plain_values_are_refused(name):
    refuse(FILES / f"refused_{name}.pt")


def test_a_torchscript_program_is_refused():
    refuse(FILES / "refused_script.pt", "TorchScript")


def test_the_name_asked_for_is_told(tmp_path):
    write_zip_pickle(tmp_path / "file.pt", HOSTILE["os.system"])
    refuse(tmp_path / "file.pt", "'os.system'.*nothing was run")


def test_namespaces_are_inert_and_metadata_of_dicts_ignored(tmp_path):
    state = b"}X\4\0\0\0nameX\1\0\0\0xs"
    namespace = Code(NAMESPACE + b")\x81" + state + b"b")
    ordered = Code(ORDERED + b")R}X\t\0\0\0_metadata}sb")
    content = {"args": namespace, "model": WEIGHTS, "history": ordered}
    write_zip(tmp_path / "file.pt", content)
    with only_reading(tmp_path / "file.pt"):
        checkpoint = minigen.checkpoints.open_checkpoint(tmp_path / "file.pt")
    assert checkpoint.arguments == {"name": "x"}
    assert set(checkpoint.state) == {"w", "b"}


def test_the_instructions_of_pickle_are_the_ones_torch_writes():
    code = Path(pickle_machine.__file__).read_text()
    assert "import pickle" not in code and "__import__" not in code
