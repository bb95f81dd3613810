"""canvas: a new one, both halves of guidance, and tokens put in their places."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as hypothesis_strategies

from minigen import arrays
from minigen.ops.canvas import cpu, cuda, reference
from tests import strategies as st
from tests.tolerance import assert_same

schedules = hypothesis_strategies.integers(0, 99)
values = hypothesis_strategies.sampled_from((-1, 0, 7, 2**40))


def interpreter(schedule):
    return arrays.Interpreter(seed=schedule, watch=True)


def drawn_place(seed, b, n, m):
    """Return a canvas, tokens for it, and m of its positions in any order."""
    canvas, tokens = st.integers(seed, 99, b, n), 100 + st.integers(seed, 99, b, m)
    return canvas, tokens, np.random.default_rng(seed).permutation(n)[:m]


def test_the_cpu_runs_the_reference():
    for name in ("full", "zeros", "twice", "place"):
        assert getattr(cpu, name) is getattr(reference, name)


@given(st.b, st.d, values, schedules)
def test_full(b, n, value, schedule):
    device = interpreter(schedule)
    expected = reference.full((b, n), value)
    assert expected.dtype == np.int64 and (expected == value).all()
    assert_same(device.get(cuda.full(device, (b, n), value)), expected)


@given(st.b, st.d, schedules)
def test_zeros(b, n, schedule):
    device = interpreter(schedule)
    for shape in ((n,), (b, n), (b, 1, 2, n)):
        expected = reference.zeros(shape)
        assert expected.shape == shape and expected.dtype == np.float32
        assert not expected.any()
        assert_same(device.get(cuda.zeros(device, shape)), expected)


@given(st.b, st.d, st.seeds, schedules)
def test_twice(b, m, seed, schedule):
    device = interpreter(schedule)
    x = st.integers(seed, 2**40, b, m)
    expected = reference.twice(x)
    assert_same(expected[:b], x)
    assert_same(expected[b:], x)
    assert_same(device.get(cuda.twice(device, device.put(x))), expected)


@given(st.b, st.d, st.seeds, schedules, hypothesis_strategies.data())
def test_place(b, n, seed, schedule, data):
    m = data.draw(hypothesis_strategies.integers(0, n))
    canvas, tokens, positions = drawn_place(seed, b, n, m)
    before = canvas.copy()
    assert reference.place(canvas, tokens, positions) is canvas
    assert_same(canvas[:, positions], tokens)
    others = np.setdiff1d(np.arange(n), positions)
    assert_same(canvas[:, others], before[:, others])

    device = interpreter(schedule)
    moved = device.put(before)
    result = cuda.place(device, moved, device.put(tokens), device.put(positions))
    assert result is moved
    assert_same(device.get(moved), canvas)


def test_places_are_taken_from_a_view():
    # a step's positions are a piece of the plan's
    canvas, tokens, order = drawn_place(3, 2, 9, 9)
    device = interpreter(0)
    moved, plan = device.put(canvas), device.put(order)
    for first, last in ((0, 1), (1, 5), (5, 9)):
        step = np.ascontiguousarray(tokens[:, first:last])
        reference.place(canvas, step, order[first:last])
        cuda.place(device, moved, device.put(step), plan[first:last])
        assert_same(device.get(moved), canvas)


def test_nothing_is_nothing():
    device = interpreter(0)
    assert device.get(cuda.full(device, (2, 0), 1)).shape == (2, 0)
    assert device.get(cuda.zeros(device, (2, 0, 3))).shape == (2, 0, 3)
    assert device.get(cuda.twice(device, device.put(np.empty((2, 0))))).shape == (4, 0)
