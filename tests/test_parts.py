"""Four parts together are a whole search, and a commit takes one of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import parts


@pytest.mark.parametrize("count", [3, 40, 6000])
def test_the_parts_are_the_whole(count, monkeypatch):
    cases = []
    for part in range(parts.PARTS):
        monkeypatch.setenv("MINIGEN_PART", str(part))
        first, some = parts.share(count)
        cases += range(first, first + some)
    monkeypatch.setenv("MINIGEN_PART", "all")
    assert cases == [*range(count)] and parts.share(count) == (0, count)


def test_each_case_is_in_one_of_the_parts(monkeypatch):
    taken = []
    for part in range(parts.PARTS):
        monkeypatch.setenv("MINIGEN_PART", str(part))
        taken += {*"abcdefghij"} - {*parts.others([*"abcdefghij"])}
    monkeypatch.setenv("MINIGEN_PART", "all")
    assert sorted(taken) == [*"abcdefghij"] and parts.others([*"abcdefghij"]) == []


def test_tests_of_other_parts_are_left_out_unless_named():
    file = "tests/ops/test_attention_cuda.py"
    name = f"{file}::test_shared_heads_are_heads_repeated"
    whole, _ = collected(name)
    some, said = collected(file)
    assert len(whole) == 4 and len(whole & some) == 1 < len(some)
    assert "3 tests were left out: in another part of four" in said


def collected(where):
    """Return the tests that pytest would run of part 1, and what it says."""
    command = [sys.executable, "-m", "pytest", "--collect-only", where]
    root = Path(__file__).parents[1]
    env = {**os.environ, "PYTEST_ADDOPTS": "", "MINIGEN_PART": "1"}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    return {line for line in done.stdout.splitlines() if "::" in line}, done.stdout


def test_a_commit_takes_a_part(monkeypatch):
    monkeypatch.delenv("MINIGEN_PART", raising=False)
    taken = set()
    for commit in range(8):
        monkeypatch.setattr(parts, "_commit", lambda commit=commit: commit)
        taken.add(parts.share(8))
    assert taken == {(0, 2), (2, 2), (4, 2), (6, 2)}


def test_another_part_is_refused(monkeypatch):
    monkeypatch.setenv("MINIGEN_PART", "4")
    with pytest.raises(ValueError, match="MINIGEN_PART=4: wanted 0 to 3, or all"):
        parts.share(8)
