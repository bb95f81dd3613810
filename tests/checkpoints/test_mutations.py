"""Thousands of damaged weight files: each is refused or reads to something bounded."""

import time
import tracemalloc
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from minigen.checkpoints import load_model, open_checkpoint
from minigen.errors import CheckpointError
from tests import parts
from tests.checkpoints.mutations import mutated
from tests.checkpoints.tripwire import only_reading

REPEATED = 2**20
"""Bytes that a tensor may have beyond its file, by repeating an element."""


def try_files(golden, path, count, first=0):
    """Read `count` damaged files; return how many were refused and how many read.

    first: a number; another draws other files.
    """
    outcomes = Counter()
    tracemalloc.start()

    @seed(first)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def read_one(data):
        content = data.draw(mutated(golden))
        # a file system may flush a file written over, but not one written anew
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        tracemalloc.reset_peak()
        before, started = tracemalloc.get_traced_memory()[0], time.process_time()
        with only_reading(path):
            outcomes[read(path, len(content))] += 1
        taken = tracemalloc.get_traced_memory()[1] - before
        # an instruction takes a byte and makes an object of at most some hundred
        assert taken < 200 * len(content) + 2 * REPEATED, taken
        assert time.process_time() - started < 20

    try:
        read_one()
    finally:
        tracemalloc.stop()
    return outcomes


def read(path, size):
    try:
        checkpoint = open_checkpoint(path)
    except CheckpointError as error:
        assert str(error).startswith(f"{path}: ")
        return "refused"
    for array in checkpoint.state.values():
        assert not array.flags.writeable
        assert array.nbytes <= max(size, REPEATED)
        # every element lies in the file, or reading it would fault
        assert len(array.tobytes()) == array.nbytes
    try:
        load_model(path)
    except CheckpointError:
        return "read"
    return "loaded"


def test_damaged_files(golden, tmp_path):
    outcomes = try_files(golden, tmp_path / "file", 300)
    assert outcomes.total() >= 300
    assert outcomes["refused"] and outcomes["read"]


@pytest.mark.slow
def test_ten_thousand_damaged_files(golden, tmp_path):
    first, count = parts.share(10_000)
    outcomes = try_files(golden, tmp_path / "file", count, first)
    print(dict(outcomes))
    assert outcomes.total() >= count
    assert outcomes["refused"] and outcomes["read"] and outcomes["loaded"]
