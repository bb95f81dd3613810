"""Every bug planted into layer norm is called by its name."""

import inspect

import pytest

import minigen
from minigen.ops.layer_norm import cuda
from tests.check import planted, planted_layer_norm


@pytest.mark.parametrize("bug", planted.params(planted_layer_norm.BUGS))
def test_a_planted_bug_is_named(bug, tmp_path):
    where = planted.plant(bug, inspect.getsource(cuda), tmp_path / "mine.py")
    report = minigen.check(bug.op, where, weights="float32")
    planted.expect_named(bug, report)


@pytest.mark.parametrize(
    "kernel", sorted({bug.function for bug in planted_layer_norm.BUGS})
)
def test_what_it_was_planted_into_is_well(kernel, tmp_path):
    (tmp_path / "mine.py").write_text(inspect.getsource(cuda))
    where = f"{tmp_path / 'mine.py'}:{kernel}"
    report = minigen.check(
        kernel.removeprefix("_"), where, weights="float32", examples=2
    )
    assert report.ok, report
