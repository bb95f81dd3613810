"""The plain CPU kernels: right by the specification of the fast ones, and lazy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import minigen
from minigen.bench import rungs
from minigen.checking.specs import SPECS
from minigen.cpu import products
from minigen.ops.attention import cpu as attention
from minigen.ops.conv2d import cpu as conv2d
from minigen.ops.conv2d import cpu_plain, winograd

FILES = sorted((Path(minigen.__file__).parent / "ops").glob("*/cpu_plain.py"))
NAMES = [
    node.name
    for path in FILES
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name in SPECS
]


def test_what_is_made_of_tiles_has_a_plain_kernel():
    assert {path.parent.name for path in FILES} == {"attention", "conv2d", "linear"}
    assert {one.function for one in rungs.RUNGS.values()} <= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_right(name):
    plain, _ = rungs.functions(name)
    report = minigen.check(name, plain, backend="numba")
    assert report.ok, str(report)


def test_it_would_be_called_wrong_if_it_were(monkeypatch):
    def shifted(x, w, bias, step, edge, y):
        convolve(x, w, bias, step, 1 - edge, y)

    convolve = cpu_plain._convolve
    monkeypatch.setattr(cpu_plain, "_convolve", shifted)
    report = minigen.check("conv3x3", cpu_plain.conv3x3, backend="numba")
    assert [finding.kind for finding in report.findings] == ["wrong value"]


def test_nobody_else_imports_it():
    code = (
        "import sys; from minigen import backends, pipeline; backends.table('numba'); "
        "print([name for name in sys.modules if name.endswith('cpu_plain')])"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, text=True) == "[]\n"


WAYS = {
    "panels, few rows": (products, "_multiply"),
    "panels, a dozen rows": (products, "_multiply"),
    "panels, many rows": (products, "_multiply"),
    "one query, keys fetched ahead": (attention, "_attention"),
    "four scores at a time": (attention, "_attention"),
    "keys side by side": (attention, "_attention"),
    "patches times panels": (conv2d, "_convolve"),
    "Winograd's products": (winograd, "convolve"),
}
"""The kernel that each rung is."""


@pytest.mark.parametrize("rung", rungs.RUNGS)
def test_the_sizes_of_a_rung_lead_to_it(rung, monkeypatch):
    taken, one = [], rungs.RUNGS[rung]
    for place in dict.fromkeys(WAYS.values()):
        monkeypatch.setattr(*place, lambda *_, place=place: taken.append(place))
    _, fast = rungs.functions(one.function)
    fast(*one.make(0))
    assert taken == [WAYS[rung]]


def test_a_table_of_medians():
    given = "attention", "4 queries", "panels"
    one = rungs.Timing(*given, [0.5, 0.004, 0.003], [0.001, 0.002, 0.1])
    cells = "`attention`", *given[1:], "4 ms", "2 ms", "2.0"
    assert rungs.rows([one])[1:] == [cells]


def test_both_are_timed_as_often(monkeypatch):
    calls = []
    both = [lambda *_, name=name: calls.append(name) for name in ("plain", "fast")]
    monkeypatch.setattr(rungs, "functions", lambda name: both)
    monkeypatch.setattr(rungs, "LEAST", 0.0)
    monkeypatch.setattr(rungs, "RUNGS", {"one": rungs._conv3x3(2, 1)})
    (found,) = rungs.measure(runs=3)
    assert (found.rung, len(found.plain), len(found.fast)) == ("one", 3, 3)
    assert calls == ["plain", "fast"] * 4
