"""Small files that would take much time or memory."""

import time
import zipfile

import numpy as np
import pytest

import minigen
from minigen.errors import CheckpointError
from tests.checkpoints.tripwire import only_reading, refuse
from tests.checkpoints.writing import (
    name_of,
    pickle_of,
    write_legacy_pickle,
    write_record,
    write_zip,
    write_zip_pickle,
)

NAMESPACE = name_of("argparse", "Namespace")

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
    "a hundred thousand dicts": b"](" + b"}" * 100_000 + b"e",
    "two million nothings": b"](" + b"N" * 2_000_000 + b"e",
    "a list given to an object again and again": NAMESPACE
    + b")\x81](" + b"N" * 100_000 + b"eq\1" + b"bh\1" * 100_000 + b"b",
}  # fmt: skip


@pytest.mark.parametrize("save", [write_zip_pickle, write_legacy_pickle])
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
    write_zip_pickle(tmp_path / "file.pt", b"}(" + keys + b"u")
    refuse(tmp_path / "file.pt")


def test_names_without_end_are_refused(tmp_path):
    row = np.zeros(1, np.float32)
    write_zip(tmp_path / "file.pt", {"x" * 2000: row})
    refuse(tmp_path / "file.pt", "2000 characters")
    write_zip(tmp_path / "file.pt", {"w": row, "x" * 2000: "not an array"})
    assert list(minigen.read_checkpoint(tmp_path / "file.pt")) == ["w"]


def test_one_array_named_a_million_times_is_refused(tmp_path):
    storages = {}
    tensor = pickle_of(np.zeros(1, np.float32), storages)
    pickle = b"\x80\x02](" + tensor + b"q\0" + b"h\0" * 200_000 + b"e."
    with zipfile.ZipFile(tmp_path / "file.pt", "w") as file:
        write_record(file, "archive/data.pkl", pickle)
        write_record(file, "archive/data/0", bytes(4))
    refuse(tmp_path / "file.pt", "arrays")
