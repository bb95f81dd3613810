"""What is no honest file of data is refused, and nothing is run."""

import json
import os
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import minigen
from minigen.checkpoints import describe, pickle_machine
from minigen.errors import CheckpointError
from tests.checkpoints.tripwire import only_reading
from tests.checkpoints.writing import (
    MAGIC,
    Code,
    View,
    name_of,
    pickle_of,
    write_legacy,
    write_record,
    write_zip,
)

FILES = Path(__file__).parent / "files"
WEIGHTS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2)}

TUPLE = b"(" + pickle_of("touch /tmp/minigen_was_here", {}) + b"t"
LISTS = {"many": b"](" + b"]" * 1000 + b"e"}


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
    "getattr": call("builtins", "getattr", b"(" + ORDERED + b"X\x03\0\0\0popt"),
    "import": call("importlib", "import_module"),
    "subprocess": call("subprocess", "Popen"),
    "torch.load": call("torch", "load"),
    "torch.hub": call("torch.hub", "load"),
    "numpy load": call("numpy", "load"),
    "numpy scalar": call("numpy._core.multiarray", "scalar"),
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
    "newobj with options": ORDERED + b")}\x92",
    "text persistent id": b"Pstorage\n",
    "persistent id of numbers": b"K\1Q",
    "persistent id of a module": b"(X\6\0\0\0module" + name_of("os", "system") + b"tQ",
    "call of a storage class": call("torch", "FloatStorage"),
    "call of a dtype": call("torch", "float32"),
    "call of a number": b"K\1)R",
    "call of a namespace's state": NAMESPACE + b")\x81}b)R",
    "arguments that are no tuple": ORDERED + b"]R",
    "OrderedDict of pairs": ORDERED + b"]\x85R",
    "namespace of a number": NAMESPACE + b"K\1\x85R}b",
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
    "set": name_of("builtins", "set") + b"(]tR",
    "byte array": b"\x96\1\0\0\0\0\0\0\0a",
    "next buffer": b"\x97",
    "frozenset": b"(\x91",
    "integer of protocol 0": b"I1\n",
    "string of protocol 0": b"S'a'\n",
    "long of four bytes of length": b"\x8b\1\0\0\0\1",
    "protocol 1": b"\x80\1",
    "protocol 6": b"\x80\6",
    "tuple as key": b"}K\1K\2\x86K\3s",
    "list as key": b"}]K\3s",
    "class as key": b"}" + ORDERED + b"K\3s",
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
    "zero": b"\0",
}

WHOLE = {"no value", "two values", "nothing to memorise"}
"""Wrong as a whole pickle, right as a part of one."""


def save_zip(path, instructions):
    with zipfile.ZipFile(path, "w") as file:
        write_record(file, "archive/data.pkl", b"\x80\x02" + instructions + b".")


def save_legacy(path, instructions):
    machine = pickle_of({"little_endian": True}, {})
    parts = [pickle_of(1001, {}), machine, instructions, pickle_of([], {})]
    path.write_bytes(MAGIC + b"".join(b"\x80\x02" + part + b"." for part in parts))


def refuse(path, match=None):
    """Assert that reading `path` is refused in words that name it, and runs nothing."""
    with only_reading(path), pytest.raises(CheckpointError, match=match) as caught:
        minigen.read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert not Path("/tmp/minigen_was_here").exists()


@pytest.mark.parametrize("save", [save_zip, save_legacy])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_pickle_that_is_no_data_is_refused(tmp_path, save, kind):
    save(tmp_path / "file.pt", HOSTILE[kind])
    refuse(tmp_path / "file.pt")


@pytest.mark.parametrize("save", [save_zip, save_legacy])
@pytest.mark.parametrize("kind", HOSTILE.keys() - WHOLE)
def test_hostile_parts_beside_weights_are_refused_too(tmp_path, save, kind):
    content = {"model": {}, "callbacks": [Code(HOSTILE[kind])]}
    save(tmp_path / "file.pt", pickle_of(content, {}))
    refuse(tmp_path / "file.pt")


@pytest.mark.parametrize("name", ["conjugate", "meta", "module", "quantized", "sparse"])
def test_tensors_without_plain_values_are_refused(name):
    refuse(FILES / f"refused_{name}.pt")


def test_a_torchscript_program_is_refused():
    refuse(FILES / "refused_script.pt", "TorchScript")


def test_the_name_asked_for_is_told(tmp_path):
    save_zip(tmp_path / "file.pt", HOSTILE["os.system"])
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


@pytest.fixture(params=["zip", "legacy", "safetensors", "torch zip", "torch legacy"])
def whole_file(request, tmp_path):
    """A small file of each kind: by our writers, and by torch."""
    path = tmp_path / "file"
    if request.param == "zip":
        write_zip(path, {"model": WEIGHTS})
    elif request.param == "legacy":
        write_legacy(path, {"model": WEIGHTS})
    elif request.param == "safetensors":
        path.write_bytes(safetensors(ENTRIES, 32))
    else:
        path.write_bytes((FILES / f"protocol4_{request.param[6:]}.pt").read_bytes())
    return path


def test_a_file_cut_short_at_any_byte_is_refused(whole_file):
    assert minigen.read_checkpoint(whole_file)
    for length in reversed(range(whole_file.stat().st_size)):
        os.truncate(whole_file, length)
        with pytest.raises(CheckpointError):
            minigen.read_checkpoint(whole_file)


def test_a_file_with_a_byte_more_is_refused(whole_file):
    whole_file.write_bytes(whole_file.read_bytes() + b"\0")
    refuse(whole_file)


def test_a_file_with_a_byte_removed_is_refused_or_reads_bounded(whole_file):
    content = whole_file.read_bytes()
    for at in range(0, len(content), 23):
        whole_file.write_bytes(content[:at] + content[at + 1 :])
        try:
            state = minigen.read_checkpoint(whole_file)
        except CheckpointError:
            continue
        # a byte of padding, comment or of a tensor's name: shapes still hold
        assert all(array.nbytes <= len(content) for array in state.values())


TENSOR = np.zeros(8, np.float32)
LYING_VIEWS = {
    "beyond the storage": View(TENSOR, 0, (9,), (1,)),
    "offset beyond": View(TENSOR, 8, (1,), (1,)),
    "negative offset": View(TENSOR, -1, (2,), (1,)),
    "negative stride": View(TENSOR, 7, (8,), (-1,)),
    "negative size": View(TENSOR, 0, (-8,), (1,)),
    "stride beyond": View(TENSOR, 0, (2, 4), (5, 1)),
    "sizes that overflow": View(TENSOR, 0, (2**62, 4), (0, 1)),
    "strides that overflow": View(TENSOR, 0, (2, 2), (2**63, 1)),
    "size past 64 bits": View(TENSOR, 0, (2**70,), (0,)),
    "repeated without end": View(TENSOR, 0, (2**40, 8), (0, 1)),
    "empty but huge": View(TENSOR, 0, (0, 2**61, 2**61), (1, 1, 1)),
    "fewer strides": View(TENSOR, 0, (2, 4), (1,)),
    "too many axes": View(TENSOR, 0, (1,) * 70, (1,) * 70),
    "sizes in a list": View(TENSOR, 0, [8], (1,)),
    "sizes of text": View(TENSOR, 0, ("8",), (1,)),
    "sizes of bools": View(TENSOR, 0, (True,), (1,)),
    "float offset": View(TENSOR, 0.0, (8,), (1,)),
}


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("kind", LYING_VIEWS)
def test_a_tensor_that_leaves_its_storage_is_refused(tmp_path, write, kind):
    # beside the weights, so that what is not read is checked as well
    write(tmp_path / "file.pt", {"model": WEIGHTS, "optimizer": LYING_VIEWS[kind]})
    refuse(tmp_path / "file.pt")


def replace(path, old, new, count=-1):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, count))


@pytest.mark.parametrize("count", [0, 7, 9, 2**31, 2**62, 2**70, -8])
@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_storage_of_another_size_than_its_bytes_is_refused(tmp_path, write, count):
    write(tmp_path / "file.pt", {"model": {"w": np.zeros(8, np.float32)}})
    spelled = [pickle_of("cpu", {}) + pickle_of(n, {}) for n in (8, count)]
    replace(tmp_path / "file.pt", *spelled)
    refuse(tmp_path / "file.pt")


@pytest.mark.parametrize("device", ["meta", "cuda:0"])
@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_tensors_of_any_device_read_but_meta(tmp_path, write, device):
    path = tmp_path / "file.pt"
    write(path, {"w": np.arange(4, dtype=np.int64)})
    content = path.read_bytes()
    old, new = pickle_of("cpu", {}), pickle_of(device, {})
    if write is write_zip:
        # the record grows: write the archive again around the changed pickle
        with zipfile.ZipFile(path) as file:
            records = {name: file.read(name) for name in file.namelist()}
        records["archive/data.pkl"] = records["archive/data.pkl"].replace(old, new)
        with zipfile.ZipFile(path, "w") as file:
            for name, record in records.items():
                write_record(file, name, record)
    else:
        path.write_bytes(content.replace(old, new))
    if device == "meta":
        refuse(path, "meta device")
    else:
        assert minigen.read_checkpoint(path)["w"].tolist() == [0, 1, 2, 3]


def test_a_storage_under_two_types_is_refused(tmp_path):
    first, second = np.zeros(2, np.float32), np.zeros(4, np.float32)
    write_legacy(tmp_path / "file.pt", {"a": first, "b": second})
    replace(tmp_path / "file.pt", b"X\1\0\0\x001", b"X\1\0\0\x000")
    refuse(tmp_path / "file.pt")


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_the_other_byte_order_is_refused(tmp_path, write):
    if write is write_zip:
        write_zip(tmp_path / "file.pt", WEIGHTS, byteorder=b"big")
    else:
        write_legacy(tmp_path / "file.pt", WEIGHTS)
        old = pickle_of("little_endian", {})
        replace(tmp_path / "file.pt", old + b"\x88", old + b"\x89")
    refuse(tmp_path / "file.pt", "byte order")


# zip structure ------------------------------------------------------------------


def rezip(path, change):
    """Write a whole file, then let `change` write an archive of its records."""
    write_zip(path, {"model": WEIGHTS})
    with zipfile.ZipFile(path) as file:
        records = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        change(file, records)


def write_all(file, records):
    for name, record in records.items():
        file.writestr(zipfile.ZipInfo(name), record)


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up", "archive/../../up", "a\\b", "C:/x", "a//b", "./a", "a\nb"],
)
def test_a_path_out_of_the_archive_is_refused(tmp_path, name):
    # the writer would mend such a name, so it is put into the finished file
    stand_in = "x" * len(name)

    def change(file, records):
        write_all(file, {**records, stand_in: b"data"})

    rezip(tmp_path / "file.pt", change)
    replace(tmp_path / "file.pt", stand_in.encode(), name.encode())
    refuse(tmp_path / "file.pt", "path that leads out")


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_compressed_record_is_refused_unread(tmp_path, size):
    def change(file, records):
        write_all(file, records)
        bomb = zipfile.ZipInfo("archive/data/9")
        bomb.compress_type = zipfile.ZIP_DEFLATED
        file.writestr(bomb, b"\0" * size)

    rezip(tmp_path / "file.pt", change)
    refuse(tmp_path / "file.pt", "compressed")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_record_twice_is_refused(tmp_path):
    def change(file, records):
        write_all(file, records)
        write_all(file, {"archive/data.pkl": HOSTILE["os.system"]})

    rezip(tmp_path / "file.pt", change)
    refuse(tmp_path / "file.pt", "two records")


def test_two_archives_in_one_are_refused(tmp_path):
    def change(file, records):
        write_all(file, {**records, "other/data.pkl": records["archive/data.pkl"]})

    rezip(tmp_path / "file.pt", change)
    refuse(tmp_path / "file.pt", "data.pkl")


def test_a_zip_without_weights_is_refused(tmp_path):
    np.savez(tmp_path / "file.npz", w=np.zeros(3))
    refuse(tmp_path / "file.npz", "not one of torch.save")


def entry_of(content, name):
    """Where the central directory's entry of `name` begins."""
    at = content.rfind(name) - 46
    assert content[at : at + 4] == b"PK\1\2"
    return at


FIELDS = {
    "flags": (8, 2), "method": (10, 2), "packed": (20, 4), "size": (24, 4),
    "name": (28, 2), "extra": (30, 2), "comment": (32, 2), "header": (42, 4),
}  # fmt: skip


@pytest.mark.parametrize("value", [1, 2**16 - 1, 2**31 + 3, 2**32 - 1])
@pytest.mark.parametrize("field", FIELDS)
def test_a_lying_directory_entry_is_refused(tmp_path, field, value):
    path = tmp_path / "file.pt"
    write_zip(path, {"model": WEIGHTS})
    content = bytearray(path.read_bytes())
    offset, width = FIELDS[field]
    at = entry_of(content, b"archive/data/0") + offset
    content[at : at + width] = (value % 256**width).to_bytes(width, "little")
    path.write_bytes(content)
    refuse(path)


@pytest.mark.parametrize("field", [4, 8, 10, 12, 16, 20])
@pytest.mark.parametrize("value", [1, 255])
def test_a_lying_end_of_the_directory_is_refused(tmp_path, field, value):
    path = tmp_path / "file.pt"
    write_zip(path, {"model": WEIGHTS})
    content = bytearray(path.read_bytes())
    content[content.rfind(b"PK\5\6") + field] ^= value
    path.write_bytes(content)
    refuse(path)


def test_overlapping_records_are_refused(tmp_path):
    path = tmp_path / "file.pt"
    inner = np.zeros(64, np.float32)
    write_zip(path, {"a": inner, "b": np.ones(8, np.float32)})
    content = bytearray(path.read_bytes())
    header = struct.unpack_from(
        "<I", content, entry_of(content, b"archive/data/1") + 42
    )
    # a copy of the second record's header, inside the first record's data
    start = content.find(b"archive/data/0") + 200
    length = 30 + len("archive/data/1")
    content[start : start + length] = content[header[0] : header[0] + length]
    struct.pack_into("<H", content, start + 28, 0)
    at = entry_of(content, b"archive/data/1") + 42
    struct.pack_into("<I", content, at, start)
    path.write_bytes(content)
    refuse(path, "overlap")


def test_zip64_directories_read_and_lying_ones_do_not(tmp_path, monkeypatch):
    path = tmp_path / "file.pt"
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    write_zip(path, {"model": WEIGHTS})
    content = path.read_bytes()
    assert b"PK\6\6" in content and b"PK\6\7" in content
    assert minigen.read_checkpoint(path)["w"].tolist() == WEIGHTS["w"].tolist()
    for start in (content.rfind(b"PK\6\6"), content.rfind(b"PK\6\7")):
        for offset in (8, 16, 24, 32, 40, 48):
            if content[start : start + 4] == b"PK\6\7" and offset > 8:
                continue
            changed = bytearray(content)
            changed[start + offset + 4 * (offset == 8)] ^= 0x7F
            path.write_bytes(changed)
            with only_reading(path):
                try:
                    state = minigen.read_checkpoint(path)
                except CheckpointError:
                    continue
            # the versions that an archive says were used bind nothing
            assert state["w"].tolist() == WEIGHTS["w"].tolist()


# safetensors --------------------------------------------------------------------

ENTRIES = {
    "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "F64", "shape": [1], "data_offsets": [24, 32]},
}


def safetensors(header, size):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


def changed(**fields):
    return {**ENTRIES, "w": {**ENTRIES["w"], **fields}}


LYING_HEADERS = {
    "a gap": changed(data_offsets=[0, 20], shape=[5]),
    "an overlap": changed(data_offsets=[0, 28], shape=[7]),
    "a wrong shape": changed(shape=[3, 3]),
    "a negative size": changed(shape=[-2, -3]),
    "sizes that overflow": changed(shape=[2**32, 2**32, 0, 6]),
    "a size past 64 bits": changed(shape=[2**80]),
    "a size in text": changed(shape=["6"]),
    "a float size": changed(shape=[6.0]),
    "a bool size": changed(shape=[True, 6]),
    "no list of sizes": changed(shape=6),
    "too many axes": changed(shape=[1] * 70 + [6]),
    "offsets beyond": changed(data_offsets=[0, 2**40], shape=[2**38]),
    "offsets reversed": changed(data_offsets=[24, 0]),
    "negative offsets": changed(data_offsets=[-24, 0]),
    "three offsets": changed(data_offsets=[0, 24, 24]),
    "an unknown dtype": changed(dtype="F4"),
    "a dtype that is a list": changed(dtype=["F32"]),
    "a field more": changed(extra=1),
    "a field less": {"w": {"dtype": "F32", "shape": [8]}},
    "an entry of text": {"w": "F32"},
    "an entry of null": {"w": None},
    "metadata of numbers": {**ENTRIES, "__metadata__": {"a": 1}},
    "metadata of text": {**ENTRIES, "__metadata__": "a"},
    "a name twice": b'{"w": %b, "w": %b}' % ((json.dumps(ENTRIES["w"]).encode(),) * 2),
    "no JSON": b"{nothing}",
    "JSON cut short": json.dumps(ENTRIES).encode()[:-1],
    "not a number": b'{"w": NaN}',
    "nested without end": b'{"w":' + b"[" * 100_000 + b"}",
    "digits without end": b'{"w":' + b"1" * 100_000 + b"}",
    "no text": b'{"\xff": 1}',
    "one tensor less": {"w": ENTRIES["w"]},
}


@pytest.mark.parametrize("kind", LYING_HEADERS)
def test_a_lying_safetensors_header_is_refused(tmp_path, kind):
    path = tmp_path / "file.safetensors"
    path.write_bytes(safetensors(LYING_HEADERS[kind], 32))
    refuse(path)


@pytest.mark.parametrize("size", [0, 1, 10**6, 2**31, 2**40, 2**63, 2**64 - 1])
def test_a_lying_header_size_is_refused(tmp_path, size):
    path = tmp_path / "file.safetensors"
    path.write_bytes(struct.pack("<Q", size) + safetensors(ENTRIES, 32)[8:])
    refuse(path)


# other files --------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, hint",
    [
        (b"", "empty"),
        (b"\0", "none of"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\0" * 257 + b"ustar  \0" + b"\0" * 300, "tar file"),
        (b"PK\3\4", "cut short"),
        (b"just text", "none of"),
        (b"\x93NUMPY\x01\0", "none of"),
    ],
)
def test_other_files_are_refused_with_a_hint(tmp_path, content, hint):
    path = tmp_path / "file"
    path.write_bytes(content)
    refuse(path, hint)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(CheckpointError, match="weight file"):
            minigen.read_checkpoint(path)
    with pytest.raises(CheckpointError):
        minigen.read_checkpoint("a\0b")


# time and memory ----------------------------------------------------------------

DEEP = b"]" * 50_000 + b"a" * 49_999
PAIRS = b")" + b"".join(b"q\0h\0\x86" for _ in range(5000))
CYCLE = b"]q\0h\0a"
SHARED = b"]q\0" + b"".join(
    b"](" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1])
    for i in range(200)
)

MODEL = b"}X\5\0\0\0model"
BOMBS = {
    "a list fifty thousand deep": MODEL + DEEP + b"s",
    "pairs of pairs, five thousand deep": MODEL + PAIRS + b"s",
    "a list that holds itself": MODEL + CYCLE + b"s",
    "two to the power of two hundred leaves": MODEL + SHARED + b"0" * 200 + b"s",
    "a million dicts": b"](" + b"}" * 1_000_000 + b"e",
    "three million nothings": b"](" + b"N" * 3_000_000 + b"e",
    "a list given to an object again and again": NAMESPACE
    + b")\x81](" + b"N" * 100_000 + b"eq\1" + b"bh\1" * 100_000 + b"b",
}  # fmt: skip


@pytest.mark.parametrize("save", [save_zip, save_legacy])
@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_neither_hang_nor_overflow(tmp_path, save, kind):
    path = tmp_path / "file.pt"
    save(path, BOMBS[kind])
    started = time.process_time()
    try:
        with only_reading(path):
            state = minigen.read_checkpoint(path)
        assert state == {}
    except CheckpointError:
        pass
    assert time.process_time() - started < 30


def test_equal_hashes_cannot_be_chosen(tmp_path):
    # integers that differ by 2**61 - 1 have equal hashes, and a dict of them is slow
    keys = b"".join(
        b"\x8a\x09" + (i * (2**61 - 1)).to_bytes(9, "little") + b"N" for i in range(100)
    )
    save_zip(tmp_path / "file.pt", b"}(" + keys + b"u")
    refuse(tmp_path / "file.pt")


def test_names_without_end_are_refused(tmp_path):
    row = np.zeros(1, np.float32)
    write_zip(tmp_path / "file.pt", {"x" * 2000: row})
    refuse(tmp_path / "file.pt", "2000 characters")


def test_one_array_named_a_million_times_is_refused(tmp_path):
    storages = {}
    tensor = pickle_of(np.zeros(1, np.float32), storages)
    pickle = b"\x80\x02](" + tensor + b"q\0" + b"h\0" * 200_000 + b"e."
    with zipfile.ZipFile(tmp_path / "file.pt", "w") as file:
        write_record(file, "archive/data.pkl", pickle)
        write_record(file, "archive/data/0", bytes(4))
    refuse(tmp_path / "file.pt", "arrays")


def test_the_instructions_of_pickle_are_the_ones_torch_writes():
    code = Path(pickle_machine.__file__).read_text()
    assert "import pickle" not in code and "__import__" not in code


def test_a_dishonest_configuration_is_refused_quickly(tmp_path):
    path = tmp_path / "file.safetensors"
    config = {"family": "arpg", "layers": 10**12}
    for text in (
        json.dumps(config),
        json.dumps({"family": "vq", "multipliers": [1] * 10_000}),
        json.dumps({"family": "judge", "widths": ["a"]}),
        json.dumps({"family": "arpg", "width": "1024"}),
        json.dumps({"family": "arpg", "hidden_multiplier": 1e308}),
        json.dumps({"family": "arpg", "hidden_multiplier": "x"}),
        json.dumps({"family": ["arpg"]}),
        "[]",
        "{",
        "[" * 100_000,
    ):
        metadata = {"minigen.config": text, "minigen.hash": "0"}
        header = {**ENTRIES, "__metadata__": metadata}
        path.write_bytes(safetensors(header, 32))
        started = time.process_time()
        with pytest.raises(CheckpointError):
            minigen.checkpoints.load_model(path)
        assert describe(path).family == ""
        assert time.process_time() - started < 10
