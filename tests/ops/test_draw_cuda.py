"""draw on a GPU: the reference's entries and tokens, but for near-ties that are stated.

The kernels compare sums of integers where the reference compares float64 ones. So
an entry, or a token, may differ only where the reference's own comparison is a
near-tie, by the bounds in `minigen/ops/draw/cuda.py`. That is asserted of every entry
and token here, and, where numbers are ordinary ones, that no near-tie came up at all.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as hypothesis_strategies

from minigen import arrays, simt
from minigen.checking import header
from minigen.errors import ShapeError
from minigen.ops.draw import cuda, reference
from minigen.ops.uniforms import reference as uniforms
from tests import strategies as st
from tests.tolerance import assert_close, assert_same

choose = hypothesis_strategies.sampled_from
v = choose((1, 3, 64, 65, 130))
m = choose((1, 2))
top_k = choose((-1, 0, 1, 2, 5, 40, 1000))
top_p = choose((-0.5, 0.0, 0.1, 0.5, 0.9, 0.999, 1.0, 1.5))
temperature = choose((0.0, 0.5, 1.0, 3.0))
kinds = choose(("normal", "wide", "ties", "holes"))
schedules = hypothesis_strategies.integers(0, 99)


def logits_of(kind, seed, *shape):
    """Return logits (b m v): normal, wide, with many ties, or with -inf among them."""
    logits = st.floats(seed, *shape, scale=20.0 if kind == "wide" else 1.5)
    if kind in ("ties", "holes"):
        logits = np.floor(logits)
    if kind == "holes":
        logits[..., ::3] = -np.inf
        logits[..., -1] = -0.0
    return logits


def checking(schedule):
    """Return a device that holds every launch against the header of its kernel.

    `launched` are the arguments of the launches so far.
    """

    def launch(kernel, grid, block, *arguments):
        report = simt.launch(kernel, grid, block, *arguments, seed=schedule)
        said = header.parse(kernel)
        assert header.verify(said, report, header.names(kernel, said, arguments)) == []
        device.launched.append(arguments)

    memory = arrays.Interpreter()
    moves = {"empty": memory.empty, "put": memory.put, "get": memory.get}
    flag = memory.put(np.zeros(1, np.int64))
    device = SimpleNamespace(**moves, flag=flag, launch=launch, launched=[])
    return device


def filtered(logits, t, k, p, schedule):
    """Return probabilities, and the logits as they were after the filters."""
    device = checking(schedule)
    y = device.get(cuda.probabilities(device, device.put(logits), t, k, p))
    z = device.launched[-1][0]
    return y, device.get(z).reshape(logits.shape)


def scaled(logits, t):
    """Return the logits as the reference filters them."""
    return logits / np.float32(max(t, reference.COLDEST))


def near_ties(z, k, p):
    """Return whether each entry is a near-tie of top_p (by the bound of cuda.py)."""
    size = z.shape[-1]
    bound = (4 + np.log(size)) * 2.0**-24 + size * 2.0**-46 + 2.0**-31
    wide = np.where(reference.keep(z, k, 1.0), z.astype(np.float64), -np.inf)
    order = np.argsort(-wide, axis=-1, kind="stable")
    weights = np.exp(wide - wide.max(axis=-1, keepdims=True))
    weights = np.take_along_axis(weights, order, -1)
    before = np.cumsum(weights, axis=-1) - weights
    before /= weights.sum(axis=-1, keepdims=True)
    near = np.zeros(z.shape, np.bool_)
    np.put_along_axis(near, order, abs(before - max(p, 0)) <= bound, -1)
    # the first entry stays, whatever p is
    np.put_along_axis(near, order[..., :1], False, -1)
    return near & (p < 1)


@given(kinds, m, v, temperature, top_k, top_p, st.seeds, schedules)
def test_the_filters_keep_what_the_reference_keeps(kind, m, v, t, k, p, seed, schedule):
    logits = logits_of(kind, seed, 1, m, v)
    y, z = filtered(logits, t, k, p, schedule)
    expected = scaled(logits, t)
    kept = reference.keep(expected, k, p)
    near = near_ties(expected, k, p)
    assert (((z > -np.inf) == kept) | near).all()
    assert_same(z[z > -np.inf], expected[z > -np.inf] + np.float32(0))

    # what is left is a softmax: an eps of a logit moves p by p (1 + 2 max |z|)
    wide = z.astype(np.float64)
    largest = abs(np.where(z > -np.inf, wide, 0)).max(axis=-1, keepdims=True)
    softmax = reference.probabilities(wide, 1.0, 0, 1.0)
    assert y.dtype == np.float32
    assert_close(y, softmax, softmax * (1 + 2 * largest))
    assert (y[z == -np.inf] == 0).all()


def test_near_ties_are_rare():
    """Of thousands of ordinary entries none is one, and all filters agree."""
    logits = st.floats(1, 1, 30, 100)
    device = arrays.Interpreter()
    kept = 0
    for k, p in ((0, 0.9), (40, 0.5)):
        y = device.get(cuda.probabilities(device, device.put(logits), 1.0, k, p))
        assert not near_ties(logits, k, p).any()
        assert_same(y > 0, reference.keep(logits, k, p))
        kept += (y > 0).sum()
    assert kept > 1000


@pytest.mark.parametrize("size", [1, 2, 4, 8, 64, 128])
@pytest.mark.parametrize("p", [0.0, 0.125, 0.25, 0.5, 0.75])
def test_equal_entries_stay_by_index(size, p):
    """Where all sums are exact in float64 too, a tie with top_p goes the same way."""
    _, z = filtered(np.full((1, 1, size), -0.7, np.float32), 1.0, 0, p, 3)
    kept = min(int(p * size) + 1, size)
    assert (z[0, 0] > -np.inf).tolist() == [True] * kept + [False] * (size - kept)
    assert_same(z > -np.inf, reference.keep(np.zeros((1, 1, size)), 0, p))


def test_a_negative_zero_ties_with_a_positive_one():
    logits = np.float32([[[-1, 0.0, -0.0, 0.0, -0.0]]])
    for k, p in ((1, 1.0), (0, 0.5), (2, 0.1)):
        _, z = filtered(logits, 1.0, k, p, 0)
        assert_same(z > -np.inf, reference.keep(logits, k, p))


def test_ranks_have_the_order_of_the_numbers():
    def ranks(x, y):
        y[cuda_module.threadIdx.x] = rank(x[cuda_module.threadIdx.x])

    cuda_module, rank = cuda.cuda, cuda._rank
    tiny, huge = np.float32(1e-45), np.finfo(np.float32).max
    x = np.float32([-np.inf, -huge, -2, -1, -0.1, -tiny, 0, tiny, 0.1, 1, 2, huge])
    y = np.zeros(x.size, np.int64)
    simt.launch(ranks, 1, x.size, x, y)
    assert (np.diff(y) > 0).all()
    assert (y > -(2**31)).all() and (y < 2**31).all()


@example(2**62 - 1, 2**31 - 1)
@example(2**31 - 1, 2**30)
@example(2**30, 2)
@given(
    hypothesis_strategies.integers(0, 2**62 - 1),
    hypothesis_strategies.integers(0, 2**31),
)
def test_a_part_of_a_sum_is_exact(total, shares):
    found = cuda._part.py_func(np.int64(total), np.int64(shares))
    assert type(found) is np.int64
    assert int(found) == total * shares >> 31


@settings(max_examples=5)
@given(kinds, v, top_k, top_p, st.seeds, schedules)
def test_a_row_has_the_same_bits_in_any_batch(kind, v, k, p, seed, schedule):
    logits = logits_of(kind, seed, 1, 3, v)
    u = np.random.default_rng(seed).random((1, 3), np.float32)
    y, _ = filtered(logits, 0.7, k, p, schedule)
    tokens = drawn(y, u, schedule)
    for i in range(3):
        one, _ = filtered(logits[:, i : i + 1], 0.7, k, p, schedule + 1)
        assert_same(one, y[:, i : i + 1])
        assert_same(drawn(one, u[:, i : i + 1], schedule + 1), tokens[:, i : i + 1])


def drawn(p, u, schedule=0):
    """Return the tokens that the kernel draws."""
    device = checking(schedule)
    return device.get(cuda.draw(device, device.put(p), device.put(u)))


def assert_drawn(p, u, tokens):
    """Assert that tokens are the reference's, or that a near-tie is between the two.

    Returns how many differ.
    """
    expected = reference.draw(p, u)
    sums = np.cumsum(p, axis=-1, dtype=np.float64)
    last = sums[..., -1:]
    away = abs(sums - u[..., None].astype(np.float64) * last)
    lost = np.where(u * np.float32(2**31) % 1 == 0, 0, 2.0**-31)[..., None]
    near = away <= p.shape[-1] * 2.0**-46 + lost * last
    k = np.arange(p.shape[-1])
    first, behind = np.minimum(tokens, expected), np.maximum(tokens, expected)
    between = (k >= first[..., None]) & (k < behind[..., None])
    assert (near | ~between).all()
    assert (np.take_along_axis(p, tokens[..., None], -1) > 0).all()
    return (tokens != expected).sum()


ends = np.float32([0, 1e-30, 2**-25, 2**-24, 0.5, np.nextafter(1, 0, dtype="f4"), 1])


@given(kinds, v, top_p, st.seeds, schedules)
def test_tokens_are_those_of_the_reference(kind, v, p, seed, schedule):
    logits = logits_of(kind, seed, 1, 3, v)
    probabilities = reference.probabilities(logits, 1.0, 0, p)
    u = np.random.default_rng(seed).random((1, 3), np.float32)
    u[0, 1] = ends[seed % len(ends)]
    assert_drawn(probabilities, u, drawn(probabilities, u, schedule))


def test_ordinary_draws_are_all_the_same():
    """Of 400 draws with the loop's own uniforms not one differs. Not watched."""
    logits = st.floats(2, 8, 50, 130, scale=2.0)
    p = reference.probabilities(logits, 1.0, 0, 1.0)
    u = uniforms.uniforms(np.uint32([1, 2]), np.arange(8), np.arange(50), 0, 0)
    device = arrays.Interpreter()
    tokens = device.get(cuda.draw(device, device.put(p), device.put(u)))
    assert assert_drawn(p, u, tokens) == 0


def test_a_near_tie_may_go_the_other_way():
    """Weights below 2**-46 are lost, but to u = 0: another finds one that is not."""
    p = np.full((1, 1, 65), 2.0**-47, np.float32)
    p[0, 0, 64] = 1
    u = np.full((1, 1), 2.0**-48, np.float32)
    assert reference.draw(p, u).tolist() == drawn(p, 0 * u).tolist() == [[0]]
    tokens = drawn(p, u)
    assert tokens.tolist() == [[64]]
    assert assert_drawn(p, u, tokens) == 1
    p[0, 0, :64] = 2.0**-46
    assert assert_drawn(p, u, drawn(p, u)) == 0
    with pytest.raises(AssertionError):
        assert_drawn(p, u + np.float32(0.5), np.int64([[0]]))


@pytest.mark.parametrize("size", [1, 9, 130])
def test_a_token_of_no_probability_is_never_drawn(size):
    for place in {0, size // 2, size - 1}:
        p = np.zeros((1, len(ends), size), np.float32)
        p[..., place] = 0.3
        assert (drawn(p, ends[None]) == place).all()
    # a row that has none at all gives a token that can be looked up
    assert (drawn(p * 0, ends[None]) == 0).all()


def test_tokens_come_as_often_as_their_probability_says():
    p = np.float32([0.5, 0.0, 0.125, 0.375])
    u = np.float32((np.arange(128) + 0.5) / 128)
    tokens = drawn(np.tile(p, (1, 128, 1)), u[None])
    assert np.bincount(tokens.ravel(), minlength=4).tolist() == [64, 0, 16, 48]


@pytest.mark.parametrize("kind", ["normal", "wide", "ties", "holes"])
def test_the_number_of_threads_changes_nothing(kind):
    """Sums of integers: any block comes to the same tokens, and keeps the same.

    Of 32 threads none holds all its entries in registers.
    """
    z = logits_of(kind, 4, 2, 32 * cuda.HELD + 70)
    p = reference.probabilities(z, 1.0, 0, 1.0)
    u = np.float32([0.25, 0.875])
    found = []
    for threads in (32, 64, 96):
        tokens, left = np.zeros(2, np.int64), z.copy()
        for kernel, arguments in (
            (cuda._draw, (p, u, tokens, np.zeros(1, np.int64))),
            (cuda._probabilities_top_k, (np.int64(60), left)),
            (cuda._probabilities_top_p, (np.int64(2**30), left)),
        ):
            simt.launch(kernel, 2, threads, *arguments, seed=threads, watch=False)
        found.append((tokens, left))
    for tokens, left in found[1:]:
        assert_same(tokens, found[0][0])
        assert_same(left, found[0][1])


def test_long_rows():
    """Blocks of the full size: filters, and VQ-16's vocabulary. Not watched."""
    device = arrays.Interpreter(seed=1)
    logits = st.floats(5, 1, 1, 4 * cuda.THREADS + 1, scale=2.0)
    y = device.get(cuda.probabilities(device, device.put(logits), 1.0, 900, 0.9))
    assert not near_ties(logits, 900, 0.9).any()
    assert_same(y > 0, reference.keep(logits, 900, 0.9))
    p = reference.probabilities(st.floats(6, 1, 1, 16384), 1.0, 0, 1.0)
    u = np.float32([[0.7071]])
    assert (
        assert_drawn(p, u, device.get(cuda.draw(device, *map(device.put, (p, u))))) == 0
    )


def test_what_does_not_fit_is_refused():
    device = arrays.Interpreter()
    long = device.empty((1, 1, cuda.MOST + 1))
    with pytest.raises(ShapeError, match="65537 entries, expected at most 65536"):
        cuda.draw(device, long, device.empty((1, 1)))
    with pytest.raises(ShapeError, match="65537 entries, expected at most 65536"):
        cuda.probabilities(device, long, 1.0, 0, 1.0)
    assert device.launches == 0
