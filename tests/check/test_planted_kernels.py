"""Every bug planted into our own kernels is called by its name."""

import pytest

import minigen
from tests.check import planted
from tests.check.planted_kernels import BUGS, text_of

SCANS = ("mamba2_step", "selective_scan", "ssd", "ssd_chunked")
"""Functions that take the interpreter long: fewer examples will do."""

SOUND = [
    # of Mamba-2's step one kernel is quick enough
    pytest.param(op, kernel, marks=[pytest.mark.slow] if "_step_" in kernel else [])
    for op, kernel in sorted({(bug.op, bug.function) for bug in BUGS})
]


@pytest.mark.in_parts
@pytest.mark.parametrize("bug", planted.params(BUGS))
def test_a_planted_bug_is_named(bug, tmp_path):
    where = planted.plant(bug, text_of(bug.op), tmp_path / "mine.py")
    examples = {"examples": 6} if bug.op in SCANS else {}
    planted.expect_named(
        bug, minigen.check(bug.op, where, weights="float32", **examples)
    )


@pytest.mark.in_parts
@pytest.mark.parametrize(("op", "kernel"), SOUND, ids=str)
def test_what_it_was_planted_into_is_well(op, kernel, tmp_path):
    (tmp_path / "mine.py").write_text(text_of(op))
    where = f"{tmp_path / 'mine.py'}:{kernel}"
    report = minigen.check(op, where, weights="float32", examples=2)
    assert report.ok, report
