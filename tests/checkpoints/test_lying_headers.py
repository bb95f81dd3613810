"""Safetensors files that lie, configurations that lie, and other files."""

import json
import os
import struct
import time
from pathlib import Path

import pytest

import minigen
from minigen.checkpoints import describe
from minigen.errors import CheckpointError
from tests.checkpoints.tripwire import refuse
from tests.checkpoints.writing import safetensors

ENTRIES = {
    "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "F64", "shape": [1], "data_offsets": [24, 32]},
}


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
    "metadata twice": b'{"__metadata__": {"a": "1", "a": "2"}}',
    "infinity": b'{"w": 1e999}',
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
        (b"\x93NUMPY\x01\0", "array of NumPy"),
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
    for path in ("a\0b", "x" * 3000, "\ud800"):
        with pytest.raises(CheckpointError):
            minigen.read_checkpoint(path)


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
