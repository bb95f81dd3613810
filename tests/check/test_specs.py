"""Specifications: one for each function; they tell wrong results from right ones."""

import inspect
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from minigen import backends
from minigen.checking import patterns, search, strategies
from minigen.checking.report import Finding
from minigen.checking.spec import each, reference, several
from minigen.checking.specs import SPECS, errors, expected
from minigen.checking.strategies import FULL, SEVERAL, SMALL
from minigen.checking.tolerance import FACTOR
from minigen.checking.verdict import described, judge, same_bits
from minigen.simt.pattern import poison

NAMES = list(SPECS)


def drawn(spec, sizes, count, route=MappingProxyType({})):
    """Return drawn cases, always the same."""
    found = []

    @settings(
        max_examples=count, database=None, derandomize=True, phases=[Phase.generate]
    )
    @given(strategies.cases(spec, sizes, route))
    def draw(case):
        found.append(case)

    draw()
    return found


def test_every_function_of_the_table_has_one():
    table = {name: op for op, names in backends.OPS.items() for name in names}
    assert {name: spec.op for name, spec in SPECS.items()} == table


@pytest.mark.parametrize("name", NAMES)
def test_cases_are_arguments_of_the_reference_in_their_order(name):
    spec = SPECS[name]
    wanted = list(inspect.signature(reference(spec)).parameters)
    found = [
        drawn(spec, FULL, 3),
        *(drawn(spec, SMALL, 3, r) for r in ({}, *spec.routes)),
    ]
    for cases in found:
        for case in cases:
            assert list(case) == wanted
            assert {*spec.batched, *spec.changes} <= {*case}


@pytest.mark.parametrize("name", [name for name in NAMES if SPECS[name].batched])
def test_cases_in_which_an_order_shows_have_several_rows(name):
    spec = SPECS[name]
    for case in drawn(spec, SEVERAL, 3):
        assert case[spec.batched[0]].shape[spec.axis] > 1


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_in_float32_is_right_and_anything_else_wrong(name):
    spec = SPECS[name]
    seen = 0
    for case in drawn(spec, FULL, 8):
        results = referred(spec, case)
        assert judge(spec, case, results)[0] is None, described(case)
        # of several results, each is wrong once
        for i, result in enumerate(several(results)):
            if result.size == 0:
                continue
            changed = result.reshape(-1).copy()
            changed[-1] = (
                changed[-1] * 2 + 1 if result.dtype.kind == "f" else changed[-1] ^ 2
            )
            wrong = changed.reshape(result.shape)
            if isinstance(results, tuple):
                wrong = (*results[:i], wrong, *results[i + 1 :])
            finding, worst = judge(spec, case, wrong)
            named = finding is not None and finding.kind == "wrong value"
            seen += (named and worst > FACTOR) / len(several(results))
    # a huge magnitude may allow it here and there
    assert seen >= 4


def referred(spec, case):
    """Return what the reference makes of a copy of a case."""
    given = {n: v.copy() if hasattr(v, "copy") else v for n, v in case.items()}
    return each(np.array, reference(spec)(**given))


def test_of_several_results_the_one_at_fault_is_named():
    spec = SPECS["causal_conv"]
    (case, *_) = drawn(spec, SMALL, 2)
    y, state = referred(spec, case)
    for wrong, kind, word in (
        (y, "type", "one result returned, expected 2 results"),
        ((y, state, y), "type", "3 results returned, expected 2 results"),
        ((y, None), "type", "NoneType was returned for state, expected an array"),
        ((y[0], state), "shape", "was returned for result[0]"),
        ((y, state.astype(np.float64)), "dtype", "was returned for state"),
        ((y, poison(state.copy())), "never written", "nobody wrote state[0, 0, 0]"),
        ((y + 9, state), "wrong value", "result[0][0, 0, 0] is"),
        ((y, state + 9), "wrong value", "state[0, 0, 0] is"),
    ):
        finding, worst = judge(spec, case, wrong)
        assert finding.kind == kind and worst > FACTOR
        assert word in finding.message


def test_of_several_results_the_first_that_differs_is_given():
    one, other = np.zeros((2, 3)), np.ones((2, 3))
    assert same_bits((one, one), (one, one)) is None
    assert same_bits((one, one), (one, other)) == (1, 0, 0)
    assert same_bits((one, one), (other, one)) == (0, 0, 0)


def test_a_token_of_no_probability_is_infinitely_wrong():
    case = {
        "probabilities": np.float32([[[0.25, 0.0, 0.75]]]),
        "uniforms": np.float32([[0.25]]),
    }
    off = [errors(SPECS["draw"], case, np.array([[k]])).item() for k in range(-1, 4)]
    assert off == [np.inf, 0.0, np.inf, 0.0, np.inf]


def test_top_p_may_fall_either_way_on_a_near_tie_but_not_elsewhere():
    logits = np.log(np.float32([[[0.5, 0.25, 0.25]]]))
    case = {"logits": logits, "temperature": 1.0, "top_k": 0}
    spec = SPECS["probabilities"]

    def off(top_p, *p):
        return errors(spec, {**case, "top_p": top_p}, np.float32([[p]])).max()

    # what comes before the second sums to 0.5, up to rounding
    assert off(0.5, 1, 0, 0) < FACTOR and off(0.5, 2 / 3, 1 / 3, 0) < FACTOR
    assert off(0.6, 1, 0, 0) > FACTOR and off(0.6, 2 / 3, 1 / 3, 0) < FACTOR
    # of equal ones the first stays
    assert off(0.5, 2 / 3, 0, 1 / 3) > FACTOR


def test_the_lowest_of_equally_near_codes_is_the_right_one():
    case = {"z": np.float32([[0.0]]), "codes": np.float32([[1.0], [-1.0], [2.0]])}
    off = [errors(SPECS["lookup"], case, np.array([k])).item() for k in range(3)]
    assert off[0] == 0.0 and off[1] == np.inf and off[2] == np.inf


def test_a_pixel_may_be_off_where_rounding_crosses_a_step():
    on_a_step = np.nextafter(np.float32(1 / 127.5), np.float32(0))
    case = {"x": on_a_step.reshape(1, 1, 1, 1)}
    spec = SPECS["to_pixels"]
    off = [errors(spec, case, np.uint8([[[[u]]]])).item() for u in (128, 129, 130)]
    assert off[0] <= FACTOR and off[1] <= FACTOR and off[2] > FACTOR


def test_expected_does_not_change_what_is_written_in_place():
    spec = SPECS["append"]
    (case, *_) = drawn(spec, SMALL, 2)
    before = case["cache"].copy()
    assert same_bits(expected(spec, case), before) is not None
    assert same_bits(case["cache"], before) is None


def test_the_smallest_case_is_found_and_keeps_its_kind():
    def attempt(drawn):
        n, kind = drawn
        return Finding("big" if kind else "odd", str(n)) if n > 9 or kind else None

    pairs = st.tuples(st.integers(0, 1000), st.just(False))
    finding = search.smallest(pairs, attempt, 100, 0)
    assert finding == Finding("odd", "10")
    assert search.smallest(st.tuples(st.just(3), st.just(False)), attempt, 9, 0) is None


def test_a_case_is_made_smaller_by_so_many_tries_however_long_they_take(monkeypatch):
    def goes_wrong(numbers):
        return len(set(numbers)) > 9 and sum(numbers) % 7 == 0

    def tried():
        tries = []

        def attempt(drawn):
            tries.append(goes_wrong(drawn))
            return Finding("odd", str(drawn)) if tries[-1] else None

        search.smallest(st.lists(st.integers(0, 2**30), min_size=20), attempt, 200, 0)
        return len(tries) - tries.index(True)

    # the first one, so many more, and the smallest once more
    assert tried() in range(search.PATIENCE, search.PATIENCE + 4)
    monkeypatch.setattr(search, "PATIENCE", 3 * search.PATIENCE)
    assert tried() in range(search.PATIENCE, search.PATIENCE + 4)


def test_what_goes_wrong_only_at_times_is_said_to():
    tries = []

    def attempt(drawn):
        tries.append(drawn)
        return Finding("race", "sometimes") if len(tries) == 1 else None

    finding = search.smallest(st.just(1), attempt, 5, 0)
    assert finding.message == "sometimes\nbut not every time"


def appearance(expected, result, **case):
    expected, result = np.array(expected, float), np.array(result, float)
    return patterns.appearance(case, result, expected, result != expected)


def test_appearances():
    rows = np.arange(1.0, 13).reshape(3, 4)
    assert "before 2, and wrong from there on" in appearance(
        rows, np.where(np.arange(4) < 2, rows, 0)
    )
    assert "wrong places" in appearance(rows[:, :3], rows[:, :3].T)
    assert "each is 2 times" in appearance(rows, rows * 2)
    assert "the same part of itself, 1.0e-06" in appearance(rows, rows * (1 + 1e-6))
    assert "sum over the row incomplete" in appearance(rows, rows * [[2], [3], [4]])
    assert "exp overflows" in appearance(
        rows, rows * np.nan, x=np.float32([100.0, -2.0])
    )
    wrong = rows.copy()
    wrong[1] += [5, -7, 9, 0]
    assert "only in rows 1 of 3" in appearance(rows, wrong)
    assert appearance(rows, rows + [[3, -5, 1, 2]] * 3) == ""
