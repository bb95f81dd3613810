"""Every bug planted into a scan is called by its name; the files are well without."""

import pytest

import minigen
from tests.check import planted_scans

SOUND = sorted({(bug.op, bug.kernel) for bug in planted_scans.BUGS})


@pytest.fixture
def mine(tmp_path):
    """The file that a student would write into."""
    return tmp_path / "mine.py"


@pytest.mark.parametrize(
    "bug", planted_scans.BUGS, ids=lambda bug: f"{bug.op}: {bug.title}"
)
def test_a_planted_bug_is_named(bug, mine):
    report = minigen.check(
        bug.op, planted_scans.write(bug, mine), weights="float32", examples=6
    )
    assert not report.ok
    finding = report.findings[0]
    assert finding.kind == bug.kind, str(report)
    for word in bug.words:
        said = f"{finding.message}\n{finding.case}"
        assert word in said, f"{word!r} is not in\n{report}"


@pytest.mark.parametrize(("op", "kernel"), SOUND, ids=str)
def test_what_it_was_planted_into_is_well(op, kernel, mine):
    mine.write_text(planted_scans.text_of(op))
    report = minigen.check(op, f"{mine}:{kernel}", weights="float32", examples=2)
    assert report.ok, report
