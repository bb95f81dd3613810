"""uniforms: both kernels give the reference's bits, whatever the counters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigen import arrays, rng
from minigen.cpu import philox
from minigen.ops.uniforms import cpu, cuda, reference
from minigen.target import gpu_inline
from tests.tolerance import assert_same

WORD = st.integers(0, 2**32 - 1)
COUNTERS = st.lists(st.integers(0, 2**40), min_size=1, max_size=9)


def interpreted(key, images, positions, step, index, schedule=0):
    """Return what the kernel makes of host arrays, under a schedule of its threads."""
    device = arrays.Interpreter(seed=schedule, watch=True)
    moved = [device.put(np.asarray(a)) for a in (key, images, positions)]
    return device.get(cuda.uniforms(device, *moved, step, index))


def words(*key):
    return np.array(key, np.uint32)


@given(WORD, WORD, COUNTERS, COUNTERS, st.integers(0, 2**33), WORD, st.integers(0, 99))
def test_the_same_bits(low, high, images, positions, step, index, schedule):
    key, images, positions = words(low, high), np.array(images), np.array(positions)
    expected = reference.uniforms(key, images, positions, step, index)
    assert expected.dtype == np.float32
    result = interpreted(key, images, positions, step, index, schedule)
    assert_same(result, expected)
    assert_same(cpu.uniforms(key, images, positions, step, index), expected)


@given(st.integers(0, 2**64 - 1), st.integers(0, 255), st.integers(0, 3))
def test_the_same_numbers_as_by_seed(seed, step, index):
    images, positions = np.array([0, 3, 2**31]), np.arange(50)
    key = words(*rng.split_seed(seed))
    expected = rng.uniforms(seed, images, step, positions, index)
    assert_same(interpreted(key, images, positions, step, index), expected)


@given(WORD, st.lists(WORD, min_size=2, max_size=5), st.integers(0, 99))
def test_in_any_batch(low, images, schedule):
    key, positions = words(low, 7), np.array([5, 6, 2])
    together = interpreted(key, np.array(images), positions, 1, 0, schedule)
    for i, image in enumerate(images):
        for j, position in enumerate(positions):
            alone = interpreted(key, np.array([image]), np.array([position]), 1, 0)
            assert_same(alone[0, 0], together[i, j])


def test_more_numbers_than_a_block_has_threads():
    images, positions = np.arange(5), np.arange(33)
    assert images.size * positions.size > cuda.THREADS
    expected = reference.uniforms(words(1, 2), images, positions, 3, 0)
    assert_same(interpreted(words(1, 2), images, positions, 3, 0), expected)


@pytest.mark.parametrize("word", [0, 255, 256, 2**31, 2**32 - 257, 2**32 - 1])
def test_no_word_gives_0_or_1(monkeypatch, word):
    word = np.uint64(word)

    def rounds(c0, c1, c2, c3, k0, k1):
        return word, word, word, word

    # the kernel and the reference run the same ten rounds
    monkeypatch.setattr(cuda, "_rounds", gpu_inline(rounds))
    monkeypatch.setattr(reference, "_rounds", rounds)
    arguments = words(0, 0), np.array([0]), np.array([0]), 0, 0
    u = interpreted(*arguments)
    assert 0 < u[0, 0] < 1
    assert u[0, 0] == reference.uniforms(*arguments)
    assert u[0, 0] == philox.unit(word)


@pytest.mark.parametrize("b, m", [(0, 3), (2, 0)])
def test_none_are_none(b, m):
    given = words(0, 0), np.arange(b), np.arange(m)
    for made in (interpreted, cpu.uniforms):
        assert made(*given, 0, 0).shape == reference.uniforms(*given, 0, 0).shape
