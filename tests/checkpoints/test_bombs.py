"""Small files that would take much time or memory."""

import time
import tracemalloc
import zipfile
from contextlib import suppress

import numpy as np
import pytest

import minigen
from minigen.checkpoints import load_model, names
from minigen.checkpoints.reader import PRECEDENCE
from minigen.errors import CheckpointError
from tests.checkpoints.tripwire import only_reading, refuse
from tests.checkpoints.writing import (
    View,
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
    assert time.process_time() - started < 5


DOTS = b"X\0\0\1\0" + b"." * 2**16 + b"q\0X\1\0\0\0aq\1"
LONG = b"\x8a\xff" + b"\x7f" * 255 + b"q\0"
SLOW = {
    "a long name with dots, again and again": DOTS + b"h\0h\1\x930" * 5000,
    "keys of large numbers, again and again": b"}" + LONG + b"0(" + b"h\0" * 8
    + b"tq\x010(" + b"h\1N" * 12_000 + b"u",
}  # fmt: skip
"""Few bytes that would take much work or memory each."""


@pytest.mark.parametrize("save", [write_zip_pickle, write_legacy_pickle])
@pytest.mark.parametrize("kind", SLOW)
def test_no_byte_of_a_pickle_takes_much(tmp_path, save, kind):
    save(tmp_path / "file.pt", SLOW[kind])
    assert (tmp_path / "file.pt").stat().st_size < 100_000
    tracemalloc.start()
    with suppress(CheckpointError):
        minigen.read_checkpoint(tmp_path / "file.pt")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20e6


ONES = np.ones(4, np.float32)
REBUILD = name_of("torch._utils", "_rebuild_tensor_v2")


def memorised(count):
    return b"q" + bytes([count]), b"h" + bytes([count])


def spelled(text):
    return pickle_of(text, {})


def test_keys_that_share_their_weights_are_not_all_tried(tmp_path, monkeypatch):
    # five keys, in five, in five: under each the same dict, with names of many places
    put, get = memorised(0)
    tensor = spelled("t") + pickle_of(View(ONES, 0, (1,), (1,)), {}) + put
    others = (spelled(f"p{i}.q.r.w") + get for i in range(1500))
    pickle = b"}(" + tensor + b"".join(others) + b"u"
    for level in (1, 2, 3):
        put, get = memorised(level)
        pickle += (
            put + b"0}(" + b"".join(spelled(key) + get for key in PRECEDENCE) + b"u"
        )
    write_with_storage(tmp_path / "file.pt", pickle)
    assert (tmp_path / "file.pt").stat().st_size < 100_000
    tried, recognise = [], names.recognise
    monkeypatch.setattr(names, "recognise", lambda s: tried.append(0) or recognise(s))
    with pytest.raises(CheckpointError, match="no known family"):
        load_model(tmp_path / "file.pt")
    assert 8 < len(tried) < 2000


def test_few_bytes_name_few_arrays(tmp_path):
    put, get = memorised(0)
    one = pickle_of(View(ONES, 0, (1,) * 32, (0,) * 32), {})
    write_with_storage(tmp_path / "file.pt", b"](" + one + put + get * 40_000 + b"e")
    tracemalloc.start()
    refuse(tmp_path / "file.pt", "more than [0-9]+ arrays")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20e6


def write_with_storage(path, pickle):
    """Write a zip file of torch's: a pickle, and a storage 0 of ONES."""
    with zipfile.ZipFile(path, "w") as file:
        write_record(file, "archive/data.pkl", b"\x80\2" + pickle + b".")
        write_record(file, "archive/data/0", ONES.tobytes())


TENSOR = pickle_of(ONES, {})
ARGUMENTS = REBUILD + b"q\0" + TENSOR[len(REBUILD) : -1] + b"q\1R0"
PAIRED = b"](" + b"(X\1\0\0\0aNt" * 5000 + b"e\x85q\1"
REPEATED = {
    "one tensor rebuilt without end": ARGUMENTS + b"h\0h\1R0" * 80_000 + b"N",
    "one dict of pairs made without end": name_of("collections", "OrderedDict")
    + b"q\0"
    + PAIRED
    + b"R0"
    + b"h\0h\1R0" * 80_000
    + b"N",
    "one storage named without end": TENSOR[len(REBUILD) + 1 :].partition(b"Q")[0]
    + b"q\1Q0"
    + b"h\1Q0" * 100_000
    + b"N",
}


@pytest.mark.parametrize("kind", REPEATED)
def test_work_is_bounded_by_the_length_of_the_pickle(tmp_path, kind):
    write_with_storage(tmp_path / "file.pt", REPEATED[kind])
    started = time.process_time()
    refuse(tmp_path / "file.pt", "more work than its")
    assert time.process_time() - started < 2


def test_arrays_that_repeat_the_same_bytes_are_bounded_together(tmp_path):
    # each for itself is small
    one = np.ones(1, np.float32)
    views = {f"w{i}": View(one, 0, (400, 100), (0, 0)) for i in range(40)}
    path = tmp_path / "file.pt"
    write_zip(path, dict(list(views.items())[:4]))
    assert len(minigen.read_checkpoint(path)) == 4
    write_zip(path, views)
    refuse(path, "arrays take more than 8 times")
    large = np.ones(10_000, np.float32)
    write_zip(path, {f"w{i}": large for i in range(60)})
    refuse(path, "arrays take more than 8 times")


def test_nothing_deep_is_left_out_in_silence(tmp_path):
    def nested(depth):
        value = {"w": ONES}
        for _ in range(depth):
            value = {"d": value}
        return value

    write_zip(tmp_path / "file.pt", nested(20))
    assert list(minigen.read_checkpoint(tmp_path / "file.pt")) == ["d." * 20 + "w"]
    write_zip(tmp_path / "file.pt", nested(40))
    refuse(tmp_path / "file.pt", "nested more than 32 deep")


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
