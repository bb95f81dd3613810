"""minigen bench referee: what it times is right, and it prints what it timed."""

import numpy as np
import pytest

from minigen.bench.referee import measuring, worker
from minigen.bench.referee.kernels import CASES
from minigen.errors import MinigenError


def test_there_are_enough_kernels():
    assert len(CASES) >= 15


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_gives_the_same_watched_and_unwatched(name):
    answers = {
        side: worker.run(side, name)
        for side in ("interpreter", "interpreter, unwatched")
    }
    measuring._expect_same(name, answers)
    answers["interpreter, unwatched"]["arrays"][-1][0] += 1
    with pytest.raises(MinigenError, match="does not give what"):
        measuring._expect_same(name, answers)


def test_kernels_compute_what_their_names_say():
    def arrays(name):
        case = CASES[name]
        before = case.make(np.random.default_rng(0))
        after = worker.run("interpreter, unwatched", name)["arrays"]
        return [a for a in before if isinstance(a, np.ndarray)], after

    (x, _), (_, y) = arrays("softmax")
    e = np.exp(x - x.max(-1, keepdims=True))
    assert np.allclose(y, (e / e.sum(-1, keepdims=True)).ravel(), atol=1e-6)
    (a, b, _), (*_, c) = arrays("matmul_tiles")
    assert np.allclose(c, (a @ b).ravel(), atol=1e-4)
    (x,), (y,) = arrays("bitonic_sort")
    assert np.allclose(np.reshape(y, (2, 128)), np.sort(x.reshape(2, 128)))
    (q, k, v, _), (*_, y) = arrays("attention")
    e = np.exp(q @ k.T)
    assert np.allclose(y, (e / e.sum(-1, keepdims=True) @ v).ravel(), atol=1e-4)
    (ids, _), (_, counts) = arrays("histogram")
    assert counts == np.bincount(ids, minlength=32).tolist()


def test_the_table_holds_medians_and_leaves_out_what_was_refused():
    both = {"interpreter, unwatched": [0.5], "ptx, unwatched": [0.1]}
    times = {"simulator": [3.0, 1.0, 2.0], **both}
    one = measuring.Timing("axpy", 64, times)
    other = measuring.Timing("scan", 32, {**times, "ptx, unwatched": []})
    table = measuring.rows([one, other])
    assert table[1][:5] == ("`axpy`", "64", "2e+03 ms", "500 ms", "100 ms")
    assert table[1][5:] == ("4.0", "20.0", "5.0")
    assert table[2][4:] == ("-", "4.0", "-", "-")
    assert table[3][5:] == ("4.0", "20.0", "5.0")
