"""Philox: known answers, and draws that are a pure function of their names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigen import rng
from minigen.errors import InputError
from minigen.ops.uniforms import reference

WORD = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    "counter, key, words",
    # known answers of the authors' Random123 library (kat_vectors, philox4x32 10)
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_known_answers(counter, key, words):
    assert " ".join(f"{int(w):08x}" for w in rng.philox(counter, key)) == words


@given(st.tuples(WORD, WORD, WORD, WORD), st.tuples(WORD, WORD))
def test_equals_plain_integers(counter, key):
    """The vector form equals the paper's rounds in Python's own integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        low = 0xFFFFFFFF
        c = [(b >> 32) ^ c[1] ^ k[0], b & low, (a >> 32) ^ c[3] ^ k[1], a & low]
        k = [(k[0] + 0x9E3779B9) & low, (k[1] + 0xBB67AE85) & low]
    assert [int(w) for w in rng.philox(counter, key)] == c


@given(
    st.integers(0, 2**64 - 1),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=4),
    st.integers(0, 1000),
    st.lists(st.integers(0, 4096), min_size=1, max_size=5),
)
def test_a_draw_depends_on_its_name_only(seed, images, step, positions):
    together = rng.uniforms(seed, images, step, positions)
    for i, image in enumerate(images):
        for j, position in enumerate(positions):
            alone = rng.uniforms(seed, [image], step, [position])
            assert alone[0, 0] == together[i, j]
    assert together.dtype == np.float32
    assert together.min() > 0 and together.max() < 1


@pytest.mark.parametrize("word", [0, 1, 255, 256, 2**31, 2**32 - 257, 2**32 - 1])
def test_no_word_gives_0_or_1(monkeypatch, word):
    words = (np.full((1, 1), word, np.uint64),) * 4
    monkeypatch.setattr(reference, "philox", lambda counter, key: words)
    u = rng.uniforms(0, [0], 0, [0])[0, 0]
    assert 0 < u < 1
    assert abs(float(u) - (word + 0.5) / 2**32) <= 2**-24


def test_uniforms_are_uniform():
    """Mean, variance and neighbouring correlation of 2**16 draws, at five sigma."""
    u = rng.uniforms(1, np.arange(256), 0, np.arange(256)).astype(np.float64)
    n = u.size
    assert abs(u.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / n)
    assert abs(u.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / n)
    for a, b in ((u[1:], u[:-1]), (u[:, 1:], u[:, :-1])):
        assert abs(((a - 0.5) * (b - 0.5)).mean()) < 5 / 12 / np.sqrt(a.size)


@given(st.integers(0, 2**64 - 1), st.integers(1, 300))
def test_permutation(seed, n):
    order = rng.permutation(seed, n)
    assert sorted(order.tolist()) == list(range(n))
    assert np.array_equal(order, rng.permutation(seed, n))


def test_permutations_differ():
    assert len({tuple(rng.permutation(seed, 16)) for seed in range(200)}) == 200


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True, "7", None])
def test_bad_seed(seed):
    with pytest.raises(InputError, match="seed"):
        rng.permutation(seed, 4)
