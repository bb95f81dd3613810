"""Every planted bug is called by its name; what it was planted into is well."""

import pytest

import minigen
from tests.check import planted, sound

COMPILED = {"compile", "float64", "spills"}
"""What only the compiler sees."""

PLANTED = [
    pytest.param(
        bug,
        id=f"{bug.op}: {bug.title}",
        marks=[pytest.mark.needs("compiler")] if bug.kind in COMPILED else [],
    )
    for bug in planted.BUGS
]
SOUND = sorted({(bug.op, bug.function) for bug in planted.BUGS})


@pytest.fixture
def mine(tmp_path):
    """The file that a student would write into."""
    return tmp_path / "mine.py"


def options(function):
    sums = function in (planted.TREE, planted.WARPS)
    return {"block": sound.THREADS} if sums else {}


@pytest.mark.in_parts
@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_named(bug, mine):
    where = planted.plant(bug, planted.text_of(bug.function), mine)
    report = minigen.check(bug.op, where, **options(bug.function))
    planted.expect_named(bug, report)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("title", [
    "a sum that takes another order in odd rows",
    "an njit function that wants one axis",
])  # fmt: skip
def test_it_is_no_luck_whether_a_way_to_call_is_tried(title, seed, mine):
    bug = next(bug for bug in planted.BUGS if bug.title == title)
    where = planted.plant(bug, planted.text_of(bug.function), mine)
    report = minigen.check(bug.op, where, examples=2, seed=seed)
    planted.expect_named(bug, report)


@pytest.mark.in_parts
@pytest.mark.parametrize(("op", "function"), SOUND, ids=str)
def test_what_it_was_planted_into_is_well(op, function):
    report = minigen.check(op, getattr(sound, function), **options(function))
    assert report.ok, report


def test_there_are_enough_of_them():
    titles = [bug.title for bug in planted.BUGS]
    assert len(planted.KERNELS) >= 20 and len(planted.FUNCTIONS) >= 10
    assert len({bug.kind for bug in planted.BUGS}) >= 15
    assert len(titles) - len(set(titles)) <= 1
