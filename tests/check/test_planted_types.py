"""Bugs of typing and compiling are called by name, on the source and as compiled."""

import pytest

import minigen
from tests.check import planted, planted_types, typed

pytestmark = pytest.mark.needs("compiler")


def check(kernel, where, backend, examples):
    signature, grid, block, options = typed.SIGNED[kernel]
    return minigen.check(
        where, getattr(typed, f"{kernel}_reference"), signature, grid=grid, block=block,
        backend=backend, examples=examples, **options,
    )  # fmt: skip


@pytest.mark.parametrize("device", ["interpreter", "ptx"])
@pytest.mark.parametrize("bug", planted.params(planted_types.BUGS))
def test_a_planted_bug_is_named(bug, device, tmp_path):
    where = planted.plant(bug, planted_types.text_of(bug.op), tmp_path / "mine.py")
    planted.expect_named(bug, check(bug.op, where, device, 12))


@pytest.mark.parametrize("device", ["interpreter", "ptx"])
@pytest.mark.parametrize("kernel", typed.SIGNED)
def test_what_it_was_planted_into_is_well(kernel, device):
    report = check(kernel, getattr(typed, kernel), device, 6)
    assert report.ok, str(report)
