"""Zip files whose records are not where or what the directory says."""

import struct
import zipfile

import numpy as np
import pytest

import minigen
from minigen.errors import CheckpointError
from tests.checkpoints.tripwire import only_reading, refuse
from tests.checkpoints.writing import replace_bytes, write_legacy, write_zip

WEIGHTS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2)}


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
    replace_bytes(tmp_path / "file.pt", stand_in.encode(), name.encode())
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
        write_all(file, {"archive/data.pkl": b"\x80\x02N."})

    rezip(tmp_path / "file.pt", change)
    refuse(tmp_path / "file.pt", "two records")


def test_two_archives_in_one_are_refused(tmp_path):
    def change(file, records):
        write_all(file, {**records, "other/data.pkl": records["archive/data.pkl"]})

    rezip(tmp_path / "file.pt", change)
    refuse(tmp_path / "file.pt", "data.pkl")


def test_a_zip_without_weights_is_refused(tmp_path):
    np.savez(tmp_path / "file.npz", w=np.zeros(3))
    refuse(tmp_path / "file.npz", "npz file")


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


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_what_transfers_put_behind_a_file_is_read_over(tmp_path, write):
    path = tmp_path / "file.pt"
    write(path, WEIGHTS)
    content = path.read_bytes()
    for behind in (b"\n", b"\r\n"):
        path.write_bytes(content + behind)
        assert minigen.read_checkpoint(path)["w"].tolist() == WEIGHTS["w"].tolist()
    for behind in (b"\n.", b"\n\n", b"x", content, bytes(2**16)):
        path.write_bytes(content + behind)
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
