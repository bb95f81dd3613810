"""`minigen check` as a user meets it: pages, JSON, exit status, a first hour."""

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import minigen
from minigen import extras, target
from minigen.checking import compiled, loading
from minigen.cli import app
from minigen.errors import InputError
from minigen.ops.rms_norm import cuda as rms_norm
from tests.check import planted, sound

ROOT = Path(minigen.__file__).parents[1]

FIRST = """\
import math

import numpy as np
from numba import cuda


@cuda.jit
def norm(x, w, eps, y):
    sums = cuda.shared.array(32, np.float32)
    i, t, d = cuda.blockIdx.x, cuda.threadIdx.x, x.shape[1]
    total = np.float32(0)
    for k in range(t, d, 32):
        total += x[i, k] * x[i, k]
    sums[t] = total
    cuda.syncthreads()
    total = np.float32(0)
    for j in range(32):
        total += sums[j]
    scale = np.float32(1) / math.sqrt(total / np.float32(d) + eps)
    for k in range(t, d, 32):
        y[i, k] = w[k] * (x[i, k] * scale)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run `minigen check` in an empty folder, and demand an exit status."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def check(*arguments, status=0):
        result = CliRunner().invoke(app, ["check", *map(str, arguments)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.output

    return check


def test_a_page_of_an_op_on_numpy_and_numba(run):
    said = run("upsample", "--backend", "numpy", "--examples", "5")
    head, row, _, verdict = said.splitlines()
    assert head.split() == ["function", "backend", "cases", "worst"]
    # five, and two of each of three layouts
    assert row.split() == ["ok", "upsample", "numpy", "11", "0.00"]
    assert verdict == "all is well: 11 cases, off by 0.00 eps at most (4 allowed)"
    assert "conv3x3_add" in run("conv2d", "--backend", "numba", "--examples", "2")


def test_the_page_of_a_kernel_has_traffic_and_memory(run):
    said = run("rms_norm", "--backend", "interpreter", "--examples", "3")
    row = said.splitlines()[1]
    assert "_rms_norm" in row and "x 2, w n; y 1" in row and "128 B" in row
    found = json.loads(
        run("rms_norm", "--backend", "interpreter", "--examples", "3", "--json")
    )
    (kernel,) = found["rows"]
    assert found["ok"] and found["findings"] == []
    assert kernel["shared"] == 128 and kernel["traffic"] == "x 2, w n; y 1"
    assert (kernel["registers"] is not None) == target.has_compiler()
    assert (
        any("pip install" in note for note in found["notes"]) != target.has_compiler()
    )


@pytest.mark.needs("compiler")
def test_registers_kept_in_memory_are_no_finding_if_the_header_gives_the_reason(
    tmp_path,
):
    bug = next(b for b in planted.KERNELS if b.kind == "spills")
    mine = tmp_path / "mine.py"
    where = planted.plant(bug, planted.text_of(bug.function), mine)
    how = {"block": sound.THREADS, "backend": "interpreter"}
    (finding,) = minigen.check("rms_norm", where, **how).findings
    assert finding.kind == "spills"

    head = "def rms_norm_warps(x, w, eps, y):\n"
    lines = inspect.cleandoc(sound.rms_norm_tree.py_func.__doc__).splitlines()
    lines[2:] = ["Reads x 3, w n; writes y 1.", "Shared memory: 128 bytes."]
    doc = "\n    ".join([f'    """{lines[0]}', *lines[1:], "Its index varies.", '"""'])
    mine.write_text(mine.read_text().replace(head, f"{head}{doc}\n"))
    report = minigen.check("rms_norm", where, **how)
    assert report.ok and report.rows[0].stack > 0, str(report)
    assert minigen.check("probabilities", backend="interpreter", examples=2).ok


def test_without_the_compiler_a_report_says_what_was_not_looked_at(monkeypatch):
    monkeypatch.setattr(target, "has_compiler", lambda: False)
    report = minigen.check("twice", backend="interpreter", examples=2)
    assert report.ok and report.notes == (compiled.note(),)
    assert f"run `{extras.install('cuda13')}`" in " ".join(str(report).split())
    assert report.rows[0].registers is None


def test_a_fault_is_exit_status_one_and_json_has_it_as_data(run, tmp_path):
    bug = next(b for b in planted.FUNCTIONS if b.kind == "dtype")
    where = planted.plant(bug, planted.text_of(bug.function), tmp_path / "mine.py")
    said = run("guide", "--kernel", where, status=1)
    assert said.splitlines()[1].startswith("BAD")
    assert "1 fault found: dtype" in said
    found = json.loads(run("guide", "--kernel", where, "--json", status=1))
    assert not found["ok"]
    assert found["findings"][0]["kind"] == "dtype"
    assert "logits (2 1 1)" in found["findings"][0]["case"]


def test_the_same_call_finds_the_same_case(tmp_path):
    bug = next(b for b in planted.FUNCTIONS if b.title == "halves swapped")
    where = planted.plant(bug, planted.text_of(bug.function), tmp_path / "mine.py")
    assert minigen.check("guide", where) == minigen.check("guide", where)
    other = minigen.check("guide", where, seed=7)
    assert not other.ok


USAGE = [
    (
        ["no_such_op"],
        "op 'no_such_op' is not known; a kernel that is no op of ours is checked with "
        "a function of yours: minigen check FILE.py:KERNEL --against FILE.py:FUNCTION",
    ),
    (["guide", "--backend", "abacus"], "backend 'abacus' is not known"),
    (["guide", "--examples", "0"], "examples"),
    (["guide", "--weights", "int8"], "weights 'int8' is not known"),
    (["guide", "--as", "_guide"], "give --kernel too"),
    (["guide", "--kernel", "none.py:f"], "none.py was not found"),
    (["guide", "--kernel", "mine.py"], "write FILE.py:NAME"),
    (["guide", "--kernel", "mine.py:gide"], "did you mean guide?"),
    (["guide", "--kernel", "mine.py:zz"], "it has guide, two, kernel, helper"),
    (["guide", "--kernel", "mine.py:number"], "3 cannot be called"),
    (["guide", "--kernel", "mine.py:two"], "two(a, b, c) cannot be called like guide("),
    (["--kernel", "mine.py:guide"], "say which op guide is to be"),
    (["guide", "--kernel", "mine.py:guide", "--as", "_guide"], "are for kernels"),
    (["guide", "--kernel", "mine.py:kernel"], "takes 2 arguments (a, b), but _guide"),
    (["guide", "--kernel", "mine.py:helper"], "is a device function"),
    (
        ["guide", "--kernel", "mine.py:kernel", "--as", "_guild"],
        "no kernel '_guild'; it has _guide",
    ),
    (
        ["guide", "--kernel", "mine.py:kernel", "--backend", "numba"],
        "is a CUDA kernel; it runs on interpreter, ptx or cuda, not on numba",
    ),
    (["linear", "--kernel", "mine.py:kernel"], "say which one it replaces with --as"),
    (["guide", "--kernel", "broken.py:f"], "broken.py:2: "),
    (["guide", "--kernel", "raises.py:f"], "raises.py:3: print(1 / 0)"),
]

MINE = """\
from numba import cuda

number = 3


def guide(logits, weight):
    return logits


def two(a, b, c):
    return a


@cuda.jit
def kernel(a, b):
    a[0] = b[0]


@cuda.jit(device=True)
def helper(a):
    return a
"""


@pytest.mark.parametrize(("arguments", "message"), USAGE, ids=lambda v: str(v)[:40])
def test_bad_usage_is_exit_status_two_and_says_what_to_do(run, arguments, message):
    Path("mine.py").write_text(MINE)
    Path("broken.py").write_text(
        "def f(:\n    pass\n".replace("(:", "():\n  return ((")
    )
    Path("raises.py").write_text("x = 1\n\nprint(1 / 0)\n")
    assert message in run(*arguments, status=2)


def test_loading_a_file_leaves_nothing_behind(tmp_path):
    (tmp_path / "beside.py").write_text("FACTOR = 2\n")
    file = tmp_path / "mine.py"
    file.write_text("from beside import FACTOR\n\ndef f():\n    return FACTOR\n")
    before, path = set(sys.modules), list(sys.path)
    assert loading.load(f"{file}:f")() == 2
    assert set(sys.modules) == before and sys.path == path
    assert sorted(p.name for p in tmp_path.iterdir()) == ["beside.py", "mine.py"]
    # what was edited is read anew
    file.write_text("def f():\n    return 5\n")
    assert loading.load(f"{file}:f")() == 5


def test_a_test_of_a_student_fails_with_the_report():
    def mine(x, w, eps):
        return np.zeros_like(x)

    report = minigen.check("rms_norm", mine)
    with pytest.raises(
        AssertionError, match=r"mine \(rms_norm on numpy\): wrong value"
    ):
        assert report.ok, str(report)
    assert minigen.check("rms_norm", sound.rms_norm).ok


def test_a_notebook_shows_the_report_as_a_page():
    report = minigen.check("twice", backend="numpy", examples=2)
    assert repr(report) == str(report)
    assert report._repr_html_() == f"<pre>{report}</pre>"


def test_the_word_and_the_package_do_not_stand_in_each_others_way():
    code = (
        "import minigen, minigen.checking.specs, minigen.commands.check\n"
        "print(minigen.check('twice', backend='numpy', examples=2).ok)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert out.stdout.strip() == "True", out.stderr


def test_a_missing_package_is_named_with_the_command_that_brings_it():
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from minigen.__main__ import main; main()"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, "check", "twice"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert out.returncode == 2 and out.stdout == ""
    assert extras.install("check") in out.stderr, out.stderr


def test_without_greenlet_the_other_backends_are_checked(monkeypatch):
    find = importlib.util.find_spec

    def without(name, *rest):
        return None if name == "greenlet" else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    report = minigen.check("twice", examples=2)
    ran = {row.backend for row in report.rows}
    assert ran == {"numpy", "numba"} | ({"ptx"} if target.has_compiler() else set())
    assert "takes greenlet" in str(report)


def test_a_kernel_of_a_lesson_is_launched_by_its_own_launcher():
    from minigen.ops.linear.cuda import _linear_naive

    report = minigen.check("linear", _linear_naive, examples=3)
    assert report.ok, report
    assert report.rows[0].kernel == "_linear_naive"


def test_a_kernel_that_is_never_launched_is_a_fault():
    from minigen.ops.linear.cuda import _linear_tensor

    report = minigen.check("linear", _linear_tensor, weights="float32", examples=2)
    assert [f.kind for f in report.findings] == ["never launched"]


def test_a_plain_function_is_a_kernel_where_that_is_said():
    def twice(x, y):
        i = grid(1)
        if i < x.size:
            y[0, i] = y[1, i] = x[i]

    grid = target.cuda.grid
    with pytest.raises(InputError, match="cannot be called like"):
        minigen.check("twice", twice)
    assert loading.subject(twice, as_kernel=True).kind == "kernel"


def test_a_copy_of_ours_is_well_until_it_is_broken(tmp_path):
    source = Path(rms_norm.__file__).read_text()
    file = tmp_path / "mine.py"
    file.write_text(source)
    report = minigen.check("rms_norm", f"{file}:_rms_norm", block=32, examples=5)
    assert report.ok, str(report)
    file.write_text(source.replace("math.sqrt(mean + eps)", "math.sqrt(mean) + eps"))
    report = minigen.check("rms_norm", f"{file}:_rms_norm", block=32)
    assert [f.kind for f in report.findings] == ["wrong value"], str(report)


def test_the_first_hour_of_a_student(tmp_path):
    """Break a kernel, hear what is wrong, mend it: as a new user, in a process."""
    file = tmp_path / "mine.py"

    def check(text, status):
        file.write_text(text)
        out = subprocess.run(
            [sys.executable, "-m", "minigen", "check", "rms_norm", "--kernel",
             "mine.py:norm", "--block", "32", "--examples", "6"],
            capture_output=True, text=True, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert out.returncode == status, out.stdout + out.stderr
        assert [p.name for p in tmp_path.iterdir()] == ["mine.py"]
        assert out.stderr == "" and len(out.stdout.splitlines()) < 24
        return out.stdout

    said = check(FIRST.replace("    cuda.syncthreads()\n", ""), 1)
    assert "norm (rms_norm on interpreter): race" in said
    assert "mine.py:14: sums[t] = total" in said
    assert "mine.py:17: total += sums[j]" in said
    said = check(FIRST, 1)
    assert "with w in float32 it is right" in said and "intrinsics.widen" in said
    text = FIRST.replace("w[k] *", "widen(w[k]) *")
    text = "from minigen.ops.intrinsics import widen\n" + text
    assert "all is well" in check(text, 0)
