"""What a header may say, what it is taken to mean, and what is complained about."""

import re

import numpy as np
import pytest

from minigen import simt
from minigen.checking import header
from minigen.errors import KernelError

TILE = 16


def kernel(*lines):
    """Return a kernel with these lines as its docstring."""

    def _kernel(x, w, count, y):
        y[1, 0] = x[0, 0] + x[0, 0] * w[1]

    _kernel.__doc__ = "\n    ".join([*lines, ""])
    return _kernel


def about(block="row of x (n d)", traffic="x 2; writes y 1", shared="none"):
    """Return a kernel whose header differs in one place from a good one."""
    last = f"Shared memory: {shared}."
    return kernel(f"One block per {block}.", "Threads.", f"Reads {traffic}.", last)


def arguments():
    x, w = np.ones((3, 8), np.float32), np.ones(16, np.float32)
    return x, w, np.int32(5), np.ones((3, 8), np.float32)


def names(k):
    return header.names(k, header.parse(k), arguments())


def test_the_four_lines_are_read():
    said = header.parse(about(traffic="x 2, w min(n, d)..n; writes y 1"))
    assert said.block == "One block per row of x (n d)."
    assert said.threads == "Threads."
    assert said.axes == {"x": ("n", "d")}
    assert said.reads == {"x": "2", "w": "min(n, d)..n"}
    assert said.writes == {"y": "1"}
    assert (said.shared, said.reason) == ("0", "")


def test_a_fifth_line_is_a_reason():
    shared = "Shared memory: 4 * TILE bytes."
    said = header.parse(
        kernel("One block.", "Threads.", "Reads nothing; writes y 1.", shared, "Wide.")
    )
    assert (said.reads, said.shared, said.reason) == ({}, "4 * TILE", "Wide.")


@pytest.mark.parametrize(
    "words", ["{} and {} (n d)", "{}, {} are (n d)", "rows, {} and {} (n d)"]
)
def test_axes_may_be_those_of_several(words):
    assert header.parse(about(words.format("x", "y"))).axes == {
        "x": ("n", "d"),
        "y": ("n", "d"),
    }


def test_names_are_sizes_scalars_and_constants():
    found = names(about("row of x (n d); w is (2d), of some (that is, a few) y (3 8)"))
    assert found == {"TILE": 16, "count": 5, "n": 3, "d": 8}
    assert header.bounds("n..(d + TILE - 1) // TILE * count - -n", found) == (3, 8)


WRONG = {
    "has 1 lines of docstring": kernel("One block."),
    "as its third line 'Reads x 2, writes y 1.'": about(traffic="x 2, writes y 1"),
    "as its fourth line 'Shared memory: 128.'": kernel(
        "One block.", "Threads.", "Reads x 2; writes y 1.", "Shared memory: 128."
    ),
    "'z', which is no argument; those are x, w": about(traffic="z 1; writes y 1"),
    "does not say how often x is": about(traffic="x; writes y 1"),
    "counts x twice": about(traffic="x 1, x 2; writes y 1"),
    "axes (n d) of 'rows', which is no argument": about("rows (n d)"),
    "'f' holds f, which stands for nothing": about(traffic="x f; writes y 1"),
}  # fmt: skip
WRONG |= {
    f"{expression!r} cannot be worked out": about(traffic=f"x {expression}; writes y 1")
    for expression in ("n / 2", "x.shape[0]", "n ** d", "len(x)", "1.5", "True", "n +")
}


@pytest.mark.parametrize("complaint, wrong", WRONG.items(), ids=list(WRONG))
def test_a_header_that_is_none_is_refused(complaint, wrong):
    with pytest.raises(KernelError, match=re.escape(complaint)) as caught:
        header.parse(wrong)
    assert caught.value.kind == "header"


def test_what_would_run_code_is_refused_and_does_not_run():
    for expression in ("exec('raise SystemExit')", "(lambda: 1)()", "[n][0]"):
        with pytest.raises(KernelError, match="cannot be worked out"):
            header.evaluate(expression, {"n": 1})


def test_a_division_by_zero_is_complained_about():
    with pytest.raises(KernelError, match="divides by zero"):
        header.evaluate("4 // n", {"n": 0})


def test_axes_that_do_not_fit_the_launch_are_refused():
    for block in ("x (n)", "x (n 7)", "x (n d), w (d)", "x (2d n)", "x (d n), w (d)"):
        with pytest.raises(KernelError, match="says . is .* it was launched with"):
            names(about(block, traffic="y 1; writes y 1"))
    with pytest.raises(KernelError, match=r"says y is \(d n\).*\(3, 8\), where d is 8"):
        names(about("x (n d), y (d n)"))


def findings(k):
    report = simt.launch(k, 1, 1, *arguments(), seed=0)
    return header.verify(header.parse(k), report, names(k))


def test_what_a_run_did_otherwise_is_named():
    said = "header says {} times a cell{}, the kernel {}"
    assert findings(about(traffic="x 0..2, w 0..1; writes y 0..1")) == []
    assert findings(about(traffic="x 0..n - 2, w 0..1; writes y 0..1")) == [
        said.format("x is read 0 to 1", " (0..n - 2)", "read x[0, 0] 2 times")
    ]
    assert findings(about(traffic="x 0..2, w 1; writes y 0..1")) == [
        said.format("w is read 1", "", "read w[0] 0 times, and 14 other cells")
    ]
    assert findings(about(traffic="x 0..2; writes y 0, x 0..1", shared="64 bytes")) == [
        "header does not say that w is read, the kernel read w[1] 1 times",
        said.format("y is written 0", "", "wrote y[1, 0] 1 times"),
        "header says a block has 64 bytes of shared memory, the kernel took 0",
    ]
