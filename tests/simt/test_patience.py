"""Kernels that never end, and the limit that says so."""

import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import simt
from minigen.checking import kernels, search
from minigen.errors import KernelError
from minigen.simt.patience import limit
from minigen.target import cuda


def stuck(x, y):
    k = cuda.threadIdx.x
    while k < x.size:
        y[k] = x[k]


def idle(x, y):
    while cuda.threadIdx.x == 1:
        pass


def sound(x, y):
    y[cuda.threadIdx.x] = x[cuda.threadIdx.x]


@settings(max_examples=4)
@given(st.none() | st.integers(0, 99), st.booleans())
@pytest.mark.parametrize("kernel", [stuck, idle])
def test_a_kernel_without_an_end_is_named(kernel, seed, watch):
    x, y = np.zeros((2, 4), np.float32)
    how = {"seed": seed, "watch": watch, "patience": 0.05}
    with pytest.raises(KernelError, match="never came to an end") as caught:
        simt.launch(kernel, 1, 4, x, y, **how)
    assert caught.value.kind == "endless"
    assert "test_patience.py" in str(caught.value) and "thread" in str(caught.value)
    # the interpreter is as good as new
    simt.launch(sound, 1, 4, x, y, **how | {"patience": 60})


def test_time_that_is_not_used_up_leaves_nothing_behind():
    for _ in range(50):
        with limit(30):
            pass
    with limit(None):
        pass
    # one that is up just when it is over has been heard of by then, or never is
    for _ in range(50):
        with suppress(TimeoutError), limit(1e-4):
            time.sleep(1e-4)
    time.sleep(0.01)


def test_the_limit_is_of_its_own_block_alone():
    with pytest.raises(TimeoutError), limit(0.01):
        while True:
            pass
    assert sum(range(100_000)) == 4_999_950_000


def test_minigen_check_says_so(tmp_path, monkeypatch):
    import minigen

    monkeypatch.setattr(kernels, "PATIENCE", 0.1)
    monkeypatch.setattr(search, "PATIENCE", 1.0)
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from numba import cuda\n\n\n@cuda.jit\ndef swiglu(gate, up, y):\n"
        "    i = cuda.grid(1)\n    while i < y.size:\n        y[i] = gate[i] * up[i]\n"
    )
    report = minigen.check("swiglu", f"{mine}:swiglu", examples=1)
    assert not report.ok and [f.kind for f in report.findings] == ["endless"]
    assert "mine.py:" in str(report)
