"""Every bug planted into the step of Mamba-2 is called by its name."""

import inspect

import pytest

import minigen
from minigen.ops.mamba2_step import cuda
from tests.check import planted, planted_steps


@pytest.mark.parametrize("bug", planted.params(planted_steps.BUGS))
def test_a_planted_bug_is_named(bug, tmp_path):
    where = planted.plant(bug, inspect.getsource(cuda), tmp_path / "mine.py")
    report = minigen.check(bug.op, where, weights="float32")
    planted.expect_named(bug, report)


FIRST, *OTHERS = sorted({bug.function for bug in planted_steps.BUGS})


@pytest.mark.parametrize(
    "kernel", [FIRST, *(pytest.param(k, marks=pytest.mark.slow) for k in OTHERS)]
)
def test_what_it_was_planted_into_is_well(kernel, tmp_path):
    (tmp_path / "mine.py").write_text(inspect.getsource(cuda))
    where = f"{tmp_path / 'mine.py'}:{kernel}"
    report = minigen.check("mamba2_step", where, weights="float32", examples=2)
    assert report.ok, report
