"""Draws from the guided density of a feature on a GPU, interpreted."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as hs

from minigen import arrays
from minigen.checking.specs import SPECS, worst
from minigen.errors import ShapeError
from minigen.ops.guided_mixture import cpu, cuda
from tests import strategies as st
from tests.kernels.collect import Recorder
from tests.ops.test_guided_mixture import both
from tests.tolerance import FACTOR, assert_same

NAMES = "weights", "means", "logs", "other_weights", "other_means", "other_logs"
g = hs.integers(1, 4)


def run(given, u, weight=2.5, stretch=1.0, watch=None):
    """Return what draw_guided makes of six arrays (b g) and uniforms (b).

    watch: the number of a schedule; every launch is held against its header then.
    """
    device = arrays.Interpreter() if watch is None else Recorder(seed=watch)
    moved = [device.put(each) for each in (*given, u.astype(np.float32))]
    y = cuda.draw_guided(device, *moved, weight, stretch)
    if watch is not None:
        assert [launch.findings() for launch in device.launches] == [[]]
    return device.get(y)


def error(given, u, weight, stretch, y):
    """Return how far off the draws are, by the specification."""
    case = dict(zip(NAMES, given, strict=True)) | {"uniforms": u.astype(np.float32)}
    case |= {"weight": weight, "stretch": stretch}
    return worst(SPECS["draw_guided"], case, y)


@example(g=4, scale=4.0, weight=3.0, stretch=0.7, seed=5, schedule=1)
@settings(max_examples=3)
@given(g, hs.sampled_from((1.0, 3.0)), hs.sampled_from((0.0, 1.0, 3.0)),
       hs.sampled_from((0.7, 1.3)), st.seeds, hs.integers(0, 99))  # fmt: skip
def test_close_to_the_reference(g, scale, weight, stretch, seed, schedule):
    given, u = both(seed, 1, g, scale), np.random.default_rng(seed).random(1)
    y = run(given, u, weight, stretch, watch=schedule)
    assert error(given, u, weight, stretch, y) <= FACTOR


def test_a_larger_uniform_draws_a_larger_value():
    rows = 9
    given = [np.repeat(each, rows, axis=0) for each in both(4, 1, 2)]
    u = np.linspace(0, 1, rows)
    y = run(given, u)
    assert (np.diff(y) > 0).all()
    assert error(given, u, 2.5, 1.0, y) <= FACTOR
    # where the density is not about to vanish, so near is float32
    expected = cpu.draw_guided(*given, u, 2.5, 1.0)
    assert abs(y - expected)[1:-1].max() < 1e-5


def test_a_row_has_the_same_bits_in_any_batch():
    given, u = both(7, 2, 2), np.float32([0.3, 0.8])
    y = run(given, u)
    for i in range(2):
        assert_same(
            run([each[i : i + 1] for each in given], u[i : i + 1]), y[i : i + 1]
        )


def test_the_judge_knows_another_temperature_and_another_guidance():
    given, u = both(7, 4, 3), np.float32([0.1, 0.3, 0.8, 0.99])
    for weight, stretch in ((2.5, 1.001), (2.51, 1.0)):
        y = cpu.draw_guided(*given, u, weight, stretch)
        assert error(given, u, weight, stretch, y) <= FACTOR
        assert error(given, u, 2.5, 1.0, y) > FACTOR


def test_the_coldest_draw_is_a_mean():
    given, u = both(3, 1, 1), np.array([0.5])
    assert abs(run(given, u, 1.0, 0.0) - given[1][:, 0]).max() < 1e-5
    # so narrow that all points are one
    one, far = np.ones((1, 1), np.float32), np.full((1, 1), 1000, np.float32)
    y = run([one, far, -40 * one, one, far, -40 * one], u)
    assert y.tolist() == [1000.0]


def test_lines_of_all_slopes_are_divided():
    below = cuda._below.py_func
    one, nothing = np.float32(1), np.float32(0)
    for a, b in ((one, one), (one, nothing), (nothing, one), (one, np.float32(1e-30))):
        for r in np.float32([0, 0.25, 1]):
            s = float(below(r, a, b))
            area = (a + (b - a) * s / 2) * s / ((a + b) / 2)
            assert abs(area - r) < 1e-6


def test_what_makes_no_sense_is_refused():
    given, u = both(3, 1, 33), np.ones(1)
    with pytest.raises(ShapeError, match="has 33 components, expected at most 32"):
        run(given, u)
