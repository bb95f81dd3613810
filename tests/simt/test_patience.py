"""Kernels that never end, and what says so."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigen
from minigen import simt
from minigen.checking import kernels
from minigen.errors import KernelError
from minigen.target import cuda

seeds = st.none() | st.integers(0, 99)


def reading(x, y):
    k = cuda.threadIdx.x
    while x[k] < 1:
        k = k % 2


def writing(x, y):
    k = cuda.threadIdx.x
    while k < x.size:
        y[k] = 0


def sound(x, y):
    y[cuda.threadIdx.x] = x[cuda.threadIdx.x]


@given(seeds)
@pytest.mark.parametrize("kernel", [reading, writing])
def test_a_kernel_without_an_end_is_named(kernel, seed):
    x, y = np.zeros((2, 4), np.float32)
    with pytest.raises(KernelError, match="there seems to be no end to") as caught:
        simt.launch(kernel, 1, 4, x, y, seed=seed, patience=1000)
    assert caught.value.kind == "endless"
    assert "test_patience.py" in str(caught.value) and "thread" in str(caught.value)


@given(seeds, st.integers(5, 12))
def test_reads_and_writes_are_what_patience_counts(seed, patience):
    x, y = np.zeros((2, 4), np.float32)
    if patience >= 8:
        simt.launch(sound, 1, 4, x, y, seed=seed, patience=patience)
    else:
        with pytest.raises(KernelError, match="endless"):
            simt.launch(sound, 1, 4, x, y, seed=seed, patience=patience)


def test_minigen_check_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "PATIENCE", 2000)
    monkeypatch.setattr(kernels, "BLOCKS", 200)
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from numba import cuda\n\n\n@cuda.jit\ndef swiglu(gate, up, y):\n"
        "    i = cuda.grid(1)\n    while i < y.size:\n        y[i] = gate[i] * up[i]\n"
    )
    report = minigen.check("swiglu", f"{mine}:swiglu")
    assert not report.ok and {f.kind for f in report.findings} == {"endless"}
    assert "mine.py:8" in str(report)
