"""Numbers that are special: the same value on every backend, or the same error.

numpy is held against Numba, and against the CUDA kernels through the interpreter, where
an error is the device's flag. NaN goes through whatever is computed; where something is
chosen by numbers, they must be finite.
"""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigen import backends
from minigen.checking.specs import SPECS
from minigen.checking.tolerance import EPS, FACTOR
from minigen.errors import InputError, MinigenError, NotFiniteError
from minigen.ops.draw.spec import draw_errors
from minigen.ops.guide.spec import guide_magnitude
from tests.hosting import hosted
from tests.kernels import collect

TINY, HUGE = 1e-45, 1e38
VALUES = (0.0, -0.0, 1.0, -1.0, 0.5, 3.0, np.nan, np.inf, -np.inf)
VALUES += (HUGE, -HUGE, 1e-38, TINY, -TINY)
SHARES = (0.0, 1.0, 0.3, 2.0**-25, 1 - 2.0**-24, np.nan, -0.1, 1.1, np.inf)
FAR = 4 * 8 * 2.0**-24


def numbers(*shape, values=VALUES):
    """Return a strategy of float32 arrays of a shape, full of special values."""
    size = int(np.prod(shape))
    drawn = st.lists(st.sampled_from(values), min_size=size, max_size=size)
    return drawn.map(lambda found: np.float32(found).reshape(shape))


@pytest.fixture(scope="module")
def tables():
    device = hosted(backends.table("interpreter"))
    others = {"numba": backends.table("numba"), "interpreter": device}
    return {"numpy": backends.table("numpy")} | others


HUGE = np.finfo(np.float32).max / 10
"""A result beyond this may have overflowed on its way on one backend alone."""


def outcomes(tables, name, *arguments):
    """Return what each backend makes of a call: arrays, or the class of its error."""
    found = {}
    for backend, ops in tables.items():
        try:
            with np.errstate(all="ignore"):
                result = getattr(ops, name)(*arguments)
        except MinigenError as error:
            found[backend] = type(error)
        else:
            found[backend] = result if isinstance(result, tuple) else (result,)
    return found


def agree(tables, name, *arguments, far=FAR, size=0.0):
    """Assert that all backends come to the same, and return that.

    far: of the value; size: what else the roundings are of, where terms may cancel.
    """
    size = np.nan_to_num(FACTOR * EPS * size, nan=0.0, posinf=0.0) + 1e-30
    found = outcomes(tables, name, *arguments)
    expected = found["numpy"]
    for backend, result in found.items():
        said = f"{name}{arguments}: {expected} on numpy, {result} on {backend}"
        if isinstance(expected, type) or isinstance(result, type):
            assert result is expected, said
            continue
        for one, other in zip(expected, result, strict=True):
            # NumPy 1's isclose takes no array of sizes where a number is not finite
            with np.errstate(all="ignore"):
                same = abs(one - other) <= size + far * abs(other)
            same |= ~(np.isfinite(one) | np.isfinite(other))
            # a product that overflows does not where it is fused with a sum
            huge = np.fmin(abs(one), abs(other)) > HUGE
            assert (same | (huge & (np.isinf(one) | np.isinf(other)))).all(), said
    return expected


@given(
    numbers(1, 2, 4),
    st.sampled_from((1.0, 0.0, 1e-38, 1e38, 0.7)),
    st.sampled_from((0, 1, 2, 4, 9, -1)),
    st.sampled_from((1.0, 0.9, 0.5, 0.0, -1.0)),
)
def test_probabilities(tables, logits, temperature, top_k, top_p):
    (p,) = agree(tables, "probabilities", logits, temperature, top_k, top_p)
    with np.errstate(over="ignore"):
        scaled = logits / np.float32(max(temperature, 1e-5))
    for row, made in zip(scaled[0], p[0], strict=True):
        none = np.isnan(row).any() or row.max() == np.inf or row.max() == -np.inf
        assert np.isnan(made).all() if none else abs(made.sum() - 1) < 1e-6


@given(
    numbers(1, 1, 3, values=(0.0, 0.25, 0.5, 1.0, -0.5, np.nan, np.inf, HUGE, TINY)),
    numbers(1, 1, values=SHARES),
)
def test_draws(tables, p, u):
    found = outcomes(tables, "draw", p, u)
    fine = bool(np.isfinite(p).all() and p.min() >= 0 and p.max() > 0)
    for backend, result in found.items():
        if not fine:
            # of two errors in one call either may be told
            expected = {NotFiniteError} | ({InputError} if not 0 <= u <= 1 else set())
            assert result in expected, backend
        elif not 0 <= u <= 1:
            assert result is InputError, backend
        else:
            # at a boundary either neighbour
            assert draw_errors(p.astype(np.float64), u, result[0]).max() <= FACTOR, (
                backend, p, u, result,
            )  # fmt: skip
    if fine and u == 0:
        assert len({int(result[0].item()) for result in found.values()}) == 1


@given(
    numbers(2, 3, values=(0.0, 0.25, 0.5, np.nan, np.inf, -0.5, HUGE, TINY)),
    numbers(2, 1, values=(0.0, 1.0, 0.3, 0.7)),
)
def test_components(tables, weights, u):
    agree(tables, "draw_component", weights, u)


@given(numbers(1, 1, values=SHARES))
def test_uniforms_outside_are_refused_by_every_draw(tables, u):
    half, zero = np.full((1, 2), 0.5, np.float32), np.zeros((1, 2), np.float32)
    mixture = half, zero, zero
    calls = (("draw", half[None], u), ("draw_component", half, u))
    calls += (("draw_guided", *mixture, *mixture, u[0], 2.0, 1.0),)
    for name, *arguments in calls:
        result = agree(tables, name, *arguments, far=1e-3)
        assert (result is InputError) == (not 0 <= u <= 1), name


@given(numbers(2, 3), numbers(2, 3), st.sampled_from((1.0, 3.0, -2.0, 1e38)))
def test_candidates(tables, conditional, other, weight):
    agree(tables, "candidate_probabilities", conditional, other, weight)


@given(
    numbers(1, 2, 2),
    numbers(1, 2, 2),
    numbers(1, 2, 2),
    st.sampled_from((1.0, 0.0, 1e38, 1e-38)),
)
@example(
    np.float32([0, 0, -1e38, 0]).reshape(1, 2, 2),
    np.float32([0, 0, 0.5, 0]).reshape(1, 2, 2),
    np.float32([3, 0, 0, 0]).reshape(1, 2, 2),
    1e38,
)
def test_values_of_a_mixture(tables, means, logs, normals, stretch):
    k = np.array([[1, 0]])
    with np.errstate(all="ignore"):
        deviations = np.exp(logs[0, k].astype(np.float64) / 2)
        size = abs(means[0, k]) + abs(normals * deviations * stretch)
    agree(tables, "draw_value", k, means, logs, normals, stretch, size=size)
    agree(tables, "gather", means, np.array([[1]]))
    logits = np.concatenate([means, logs])
    with np.errstate(all="ignore"):
        size = guide_magnitude(logits, stretch)
    agree(tables, "guide", logits, stretch, size=size)


@given(numbers(1, 2, 2))
def test_only_finite_numbers_are_let_through(tables, x):
    result = agree(tables, "check_finite", x)
    assert (result is NotFiniteError) == (not np.isfinite(x).all())


LOGS = (0.0, 1.0, -1.0, 20.0, -86.9, -100.0, 79.0, 90.0, np.nan, np.inf, HUGE)


@given(
    numbers(1, 2, values=(0.5, 0.0, 1.0, np.nan, -0.5, np.inf)),
    numbers(1, 2, values=(0.0, 1.0, -3.0, 1e20, np.nan, -np.inf)),
    numbers(1, 2, values=LOGS),
    st.booleans(),
    st.sampled_from((1.0, 3.0, 1e38)),
    st.sampled_from((1.0, 0.5, 0.0, 1e20)),
)
def test_guided_draws(tables, weights, means, logs, swapped, weight, stretch):
    plain = np.float32([[0.4, 0.6]]), np.float32([[0, 2]]), np.float32([[0.5, 0]])
    pair = (plain, (weights, means, logs))[:: -1 if swapped else 1]
    given = *pair[0], *pair[1], np.float32([0.4]), weight, stretch
    found = outcomes(tables, "draw_guided", *given)
    kinds = {result if isinstance(result, type) else float for result in found.values()}
    assert len(kinds) == 1, (given, found)
    if kinds == {float}:
        assert all(np.isfinite(result[0]).all() for result in found.values())


WORDS = (-1, 0, 2**32 - 1, 2**32, -(2**40), 2**62, 2**63, 2**64 + 1)


@given(st.sampled_from(WORDS), st.sampled_from(WORDS))
def test_counters_are_taken_modulo_2_to_the_32(tables, step, index):
    key = np.uint32([7, 2**32 - 1])
    rows = np.array([0, 2**32 - 1, 2**32, -1, 2**40]), np.array([5, 2**32, -3, 0, 1])
    agree(tables, "uniforms", key, *rows, step, index, far=0)
    agree(tables, "uniforms_at", key, *rows, step, index, 3, far=0)
    agree(tables, "normals_at", key, *rows, step, index, 3, size=6.0)


def spoiled(spec):
    """Yield a case of an op again and again, each time with a NaN in another array."""
    case = collect.case(spec, {}, np.dtype(np.float32))
    for name, value in case.items():
        if not (isinstance(value, np.ndarray) and value.dtype.kind == "f"):
            continue
        for cells in (slice(None), slice(1)):
            copy = {n: np.array(v) if isinstance(v, np.ndarray) else v
                    for n, v in case.items()}  # fmt: skip
            copy[name].reshape(-1)[cells] = np.nan
            yield copy


@pytest.mark.parametrize(
    "other",
    [
        "numba",
        pytest.param("interpreter", marks=[pytest.mark.slow, pytest.mark.in_parts]),
    ],
)
@pytest.mark.parametrize("name", SPECS)
def test_nan_goes_through_every_op_alike(tables, name, other):
    """To the same numbers of the result, or it is refused: nothing swallows it."""
    for case in spoiled(SPECS[name]):
        found = []
        for one in ("numpy", other):
            arrays = {n: np.array(v) if isinstance(v, np.ndarray) else v
                      for n, v in case.items()}  # fmt: skip
            (result,) = outcomes({one: tables[one]}, name, *arrays.values()).values()
            whole = isinstance(result, type)
            found.append(result if whole else [np.isfinite(r).tolist() for r in result])
        assert found[0] == found[1]
