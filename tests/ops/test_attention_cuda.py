"""attention on a GPU, interpreted: any schedule, any way through the kernels.

Every launch here is watched: for races, stray indices, reads of what nobody wrote (the
cache beyond its length is NaN), and traffic other than the headers say.
"""

from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as hypothesis_strategies

from minigen.ops.attention import cuda, reference
from minigen.ops.attention.spec import attention_magnitude
from minigen.ops.rows import cuda as rows
from tests import strategies as st
from tests.kernels.collect import Recorder
from tests.tolerance import assert_close, assert_same

choose = hypothesis_strategies.sampled_from
b = h = choose((1, 2))
m = choose((1, 2, 5, 17))
n = choose((1, 2, 3, 31, 33, 65))
few = choose((1, 2, 3, 5, 17))
"""Tokens of a case that runs several times."""

e = choose((3, 4, 8, 12, 36))
narrow = choose((3, 4, 8, 12))
schedules = hypothesis_strategies.integers(0, 99)


def run(launcher, *arguments, schedule=0, split=True):
    """Return what a launcher makes of host arrays, and the kernels that it launched.

    split: tiles are split over blocks wherever there is more than one; else never,
    but for heads that are too wide.
    """
    device = Recorder(seed=schedule)
    moved = [device.put(a) if isinstance(a, np.ndarray) else a for a in arguments]
    with mock.patch.object(cuda, "FEW", 2**31 if split else 0):
        y = device.get(launcher(device, *moved))
    for launch in device.launches:
        assert launch.findings() == [], launch.name
    return y, [
        launch.name.removeprefix("attention.cuda.") for launch in device.launches
    ]


def attention(q, k, v, length, **how):
    return run(cuda.attention, q, k, v, length, **how)[0]


def causal(q, k, v, **how):
    return run(cuda.attention_causal, q, k, v, k.shape[1], **how)[0]


def inputs(seed, b, m, n, h, e):
    """Return q (b m h e), k and v (b n h e)."""
    return [st.floats(seed + i, b, s, h, e) for i, s in enumerate((m, n, n))]


def assert_attends(y, q, k, v, length=None):
    """Assert that y is attention, causal over all keys if no length is given."""
    function = reference.attention if length else reference.attention_causal
    length = length or k.shape[1]
    wide = (a.astype(np.float64) for a in (q, k[:, :length], v[:, :length]))
    expected = function(*wide, length)
    assert_close(y, expected, attention_magnitude(q, k, v, length, function))


@example(b=1, m=2, n=66, h=1, e=68, split=False, seed=0, schedule=0)
@given(b, m, n, h, e, hypothesis_strategies.booleans(), st.seeds, schedules)
def test_close_to_the_reference(b, m, n, h, e, split, seed, schedule):
    q, k, v = inputs(seed, b, m, n, h, e)
    length = n - seed % min(n, 3)
    # what lies beyond the length must not be read
    k[:, length:] = v[:, length:] = np.nan
    y = attention(q, k, v, length, schedule=schedule, split=split)
    assert_attends(y, q, k, v, length)


@example(b=1, n=3, h=1, e=68, seed=0, schedule=0)
@given(b, few, h, narrow, st.seeds, schedules)
def test_causal_close_to_the_reference(b, n, h, e, seed, schedule):
    arrays = inputs(seed, b, n, n, h, e)
    assert_attends(causal(*arrays, schedule=schedule), *arrays)


@pytest.mark.parametrize("split", [True, False])
@given(m, choose((0, 1, 30, 60, 64, 65)), narrow, st.seeds, schedules)
def test_causal_queries_have_the_bits_of_one(split, m, before, e, seed, schedule):
    """m tokens after others in a cache: one call has the bits of a call for each."""
    length = before + m
    q, k, v = inputs(seed, 1, m, length + 2, 1, e)
    k[:, length:] = v[:, length:] = np.nan
    how = {"schedule": schedule, "split": split}
    y, kernels = run(cuda.attention_causal, q, k, v, length, **how)
    if e % 4 == 0:
        tiles = ["_attention_split", "_attention_join"]
        assert kernels == (tiles if split and length > 64 else ["_attention_causal"])
    assert_attends(y, q, k[:, :length], v[:, :length])
    for t in (0, m - 1):
        one = attention(q[:, t : t + 1], k, v, before + t + 1)
        assert_same(one, y[:, t : t + 1])


@given(choose((1, 2, 3, 5)), h, narrow, st.seeds)
def test_one_token_a_step_has_the_same_bits_as_causal(n, h, e, seed):
    q, k, v = inputs(seed, 1, n, n, h, e)
    expected = causal(q, k, v)
    device = Recorder(seed=seed)
    keys, values = (device.put(np.full_like(k, np.nan)) for _ in range(2))
    for i in range(n):
        new = device.put(k[:, i : i + 1]), device.put(v[:, i : i + 1])
        assert rows.append(device, keys, new[0], i) is keys
        assert rows.append(device, values, new[1], i) is values
        one = device.put(q[:, i : i + 1])
        y = device.get(cuda.attention(device, one, keys, values, i + 1))
        assert_same(y, expected[:, i : i + 1])
    assert_same(device.get(keys), k)
    assert_same(device.get(values), v)


@example(m=5, n=65, e=4, seed=0, schedule=0)
@given(m, few, choose((4, 12)), st.seeds, schedules)
def test_a_query_has_the_same_bits_in_any_batch(m, n, e, seed, schedule):
    q, k, v = inputs(seed, 2, m, n, 1, e)
    y = attention(q, k, v, n, schedule=schedule, split=True)
    order = np.random.default_rng(seed).permutation(m)
    y_permuted = attention(q[:, order], k, v, n, schedule=schedule + 1, split=False)
    assert_same(y_permuted, y[:, order])
    i = seed % m
    one = attention(q[1:, i : i + 1], k[1:], v[1:], n)
    assert_same(one, y[1:, i : i + 1])


@pytest.mark.parametrize("length", [64, 65, 128, 129])
def test_the_bits_do_not_tell_whether_tiles_were_split(length):
    q, k, v = inputs(length, 1, 2, 130, 1, 4)
    k[:, length:] = v[:, length:] = np.nan
    walked, kernels = run(cuda.attention, q, k, v, length, split=False)
    assert kernels == ["_attention"]
    split, kernels = run(cuda.attention, q, k, v, length, split=True)
    tiles = ["_attention_split", "_attention_join"]
    assert kernels == (["_attention"] if length <= 64 else tiles)
    assert_same(walked, split)
    assert_attends(walked, q, k, v, length)


def test_a_tile_of_which_a_query_sees_nothing():
    """The second tile of 64 says nothing to the first queries, and that is no NaN."""
    arrays = inputs(0, 1, 67, 67, 1, 4)

    def split(device, q, k, v):
        return cuda._split(device, q, k, v, 1, 1)

    walked = causal(*arrays, split=False)
    assert_same(run(split, *arrays)[0], walked)
    assert_attends(walked, *arrays)
    for i in (0, 63, 64, 66):
        one = attention(arrays[0][:, i : i + 1], *arrays[1:], i + 1)
        assert_same(one, walked[:, i : i + 1])


@pytest.mark.in_parts
@pytest.mark.parametrize("e", [4, 6])
@pytest.mark.parametrize("r", [1, 2])
def test_shared_heads_are_heads_repeated(r, e):
    """Heads 2 i and 2 i + 1 share head i, whatever the way through the kernels."""
    q = st.floats(r, 2, 19, 2 * r, e)
    k, v = st.floats(r + 1, 2, 66, r, e), st.floats(r + 2, 2, 66, r, e)
    repeated = np.repeat(k, 2, axis=2), np.repeat(v, 2, axis=2)
    for split in (True, False):
        y = attention(q, k, v, 66, split=split)
        assert_same(y, attention(q, *repeated, 66, split=split))
    y = causal(q, k[:, :19], v[:, :19])
    assert_same(y, causal(q, *(a[:, :19] for a in repeated)))
    assert_attends(y, q, *(a[:, :19] for a in repeated))


@given(few, h, narrow, st.seeds)
def test_causal_rows_do_not_see_what_follows(n, h, e, seed):
    q, k, v = inputs(seed, 1, n, n, h, e)
    y = causal(q, k, v)
    half = (n + 1) // 2
    k[:, half:] = v[:, half:] = 7.0
    assert_same(causal(q, k, v, schedule=1)[:, :half], y[:, :half])


def test_one_key_returns_its_value_and_zero_keys_the_mean():
    q, k, v = inputs(0, 1, 5, 4, 2, 64)
    assert (attention(q, k, v, 1) == v[:, :1]).all()
    mean = v.astype(np.float64).mean(axis=1, keepdims=True)
    size = abs(v.astype(np.float64)).mean(axis=1, keepdims=True)
    y = attention(q, np.zeros_like(k), v, 4)
    assert_close(y, np.broadcast_to(mean, y.shape), np.broadcast_to(size, y.shape))


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("split", [True, False])
def test_scores_that_overflow_without_care(sign, split):
    q, k, v = inputs(0, 1, 3, 66, 1, 12)
    # the highest score comes last, or first: everything before, or after, vanishes
    q, k = abs(q) * np.float32(1000), sign * np.sort(abs(k), axis=1)
    assert_attends(attention(q, k, v, 66, split=split), q, k, v, 66)
    assert_attends(causal(q, k[:, :3], v[:, :3]), q, k[:, :3], v[:, :3])


def test_one_wide_head_as_in_the_tokenizer():
    arrays = inputs(0, 1, 3, 3, 1, 512)
    y, kernels = run(cuda.attention, *arrays, 3, split=False)
    assert kernels == ["_attention_split", "_attention_join"]
    assert_attends(y, *arrays, 3)
    y, kernels = run(cuda.attention_causal, *arrays, 3, split=False)
    assert kernels == ["_attention_split", "_attention_join"]
    assert_attends(y, *arrays)


@pytest.mark.parametrize("e", [128, 132])
def test_the_widest_head_that_is_held_and_the_next(e):
    arrays = inputs(0, 1, 2, 65, 1, e)
    y, kernels = run(cuda.attention, *arrays, 65, split=False)
    assert len(kernels) == (1 if e <= cuda.HELD else 2)
    assert_attends(y, *arrays, 65)


@given(b, m, few, h, narrow, st.seeds, schedules)
def test_the_naive_kernel(b, m, n, h, e, seed, schedule):
    q, k, v = inputs(seed, b, m, n, h, e)
    y, kernels = run(cuda.attention_naive, q, k, v, n, schedule=schedule)
    assert kernels == ["_attention_naive"]
    assert_attends(y, q, k, v, n)


def test_heads_that_16_bytes_do_not_divide_take_the_naive_kernel():
    arrays = inputs(0, 1, 3, 3, 2, 6)
    for launcher, length in ((cuda.attention, (3,)), (cuda.attention_causal, ())):
        y, kernels = run(launcher, *arrays, 3)
        assert kernels == ["_attention_naive"]
        assert_attends(y, *arrays, *length)
