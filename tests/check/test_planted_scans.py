"""Every bug planted into a scan is called by its name; the files are well without."""

import pytest

import minigen
from tests.check import planted, planted_scans

SOUND = sorted({(bug.op, bug.function) for bug in planted_scans.BUGS})


@pytest.fixture
def mine(tmp_path):
    """The file that a student would write into."""
    return tmp_path / "mine.py"


@pytest.mark.parametrize("bug", planted.params(planted_scans.BUGS))
def test_a_planted_bug_is_named(bug, mine):
    where = planted.plant(bug, planted_scans.text_of(bug.op), mine)
    report = minigen.check(bug.op, where, weights="float32", examples=6)
    planted.expect_named(bug, report)


@pytest.mark.parametrize(("op", "kernel"), SOUND, ids=str)
def test_what_it_was_planted_into_is_well(op, kernel, mine):
    mine.write_text(planted_scans.text_of(op))
    report = minigen.check(op, f"{mine}:{kernel}", weights="float32", examples=2)
    assert report.ok, report
