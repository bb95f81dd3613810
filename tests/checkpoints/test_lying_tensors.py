"""Files cut short, and tensors that are not where they are said to be."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

import minigen
from minigen.errors import CheckpointError
from tests.checkpoints.tripwire import refuse
from tests.checkpoints.writing import (
    View,
    pickle_of,
    replace_bytes,
    safetensors,
    write_legacy,
    write_record,
    write_zip,
)

FILES = Path(__file__).parent / "files"
WEIGHTS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2)}

ENTRIES = {
    "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "F64", "shape": [1], "data_offsets": [24, 32]},
}


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


def test_a_file_cut_short_at_any_byte_is_called_so(whole_file):
    assert minigen.read_checkpoint(whole_file)
    for length in reversed(range(whole_file.stat().st_size)):
        os.truncate(whole_file, length)
        # of a few bytes nothing can be said
        words = "cut short" if length > 32 else None
        with pytest.raises(CheckpointError, match=words):
            minigen.read_checkpoint(whole_file)


def test_a_file_with_a_byte_more_is_refused(whole_file):
    whole_file.write_bytes(whole_file.read_bytes() + b"\0")
    refuse(whole_file)


def test_a_file_with_a_byte_removed_is_refused_or_reads_bounded(whole_file):
    content = whole_file.read_bytes()
    for at in range(0, len(content), 23):
        whole_file.unlink()
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


@pytest.mark.parametrize("count", [0, 7, 9, 2**31, 2**62, 2**70, -8])
@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_storage_of_another_size_than_its_bytes_is_refused(tmp_path, write, count):
    write(tmp_path / "file.pt", {"model": {"w": np.zeros(8, np.float32)}})
    spelled = [pickle_of("cpu", {}) + pickle_of(n, {}) for n in (8, count)]
    replace_bytes(tmp_path / "file.pt", *spelled)
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
    replace_bytes(tmp_path / "file.pt", b"X\1\0\0\x001", b"X\1\0\0\x000")
    refuse(tmp_path / "file.pt")


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_the_other_byte_order_is_refused(tmp_path, write):
    if write is write_zip:
        write_zip(tmp_path / "file.pt", WEIGHTS, byteorder=b"big")
    else:
        write_legacy(tmp_path / "file.pt", WEIGHTS)
        old = pickle_of("little_endian", {})
        replace_bytes(tmp_path / "file.pt", old + b"\x88", old + b"\x89")
    refuse(tmp_path / "file.pt", "byte order")
