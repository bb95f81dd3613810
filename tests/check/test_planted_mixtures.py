"""Every bug planted into mixtures of Gaussians is called by its name."""

import pytest

import minigen
from tests.check import planted, planted_mixtures

PLACES = {(bug.op, bug.function): bug for bug in planted_mixtures.BUGS}


@pytest.mark.parametrize("bug", planted.params(planted_mixtures.BUGS))
def test_a_planted_bug_is_named(bug, tmp_path):
    where = planted.plant(bug, planted_mixtures.text_of(bug), tmp_path / "mine.py")
    report = minigen.check(bug.op, where, weights="float32")
    planted.expect_named(bug, report)


@pytest.mark.parametrize("bug", PLACES.values(), ids=lambda bug: bug.function)
def test_what_it_was_planted_into_is_well(bug, tmp_path):
    (tmp_path / "mine.py").write_text(planted_mixtures.text_of(bug))
    where = f"{tmp_path / 'mine.py'}:{bug.function}"
    report = minigen.check(bug.op, where, weights="float32", examples=2)
    assert report.ok, report
