"""Plans partition the unknown positions, for every order, schedule, grid and count."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigen import plans, rng
from minigen.errors import InputError
from minigen.orders import ORDERS, PER_IMAGE

SIZES = st.integers(1, 9)


@st.composite
def arguments(draw):
    rows, columns = draw(SIZES), draw(SIZES)
    n = rows * columns
    known = draw(st.lists(st.integers(0, n - 1), unique=True, max_size=n))
    unknown = [p for p in range(n) if p not in set(known)]
    names = st.sampled_from([*ORDERS, *PER_IMAGE])
    order = draw(st.one_of(names, st.permutations(unknown).map(tuple)))
    schedule = draw(st.sampled_from(plans.SCHEDULES))
    return {
        "grid": (rows, columns),
        "order": order,
        "schedule": schedule,
        "steps": draw(st.integers(1, 120)),
        "known": tuple(known),
        "seed": draw(st.integers(0, 2**64 - 1)),
    }


@given(arguments())
def test_partition(a):
    plan = plans.plan(**a)
    n = a["grid"][0] * a["grid"][1]
    assert sorted(plan.order + plan.known) == list(range(n))
    assert plan.known == a["known"]
    assert all(plan.groups), "no step is empty"
    assert sum(plan.counts) == n - len(a["known"])
    if a["schedule"] == "one":
        assert set(plan.counts) <= {1}
    else:
        assert len(plan.groups) <= a["steps"]
        if a["steps"] <= n - len(a["known"]):
            assert len(plan.groups) == a["steps"]


@pytest.mark.parametrize("schedule", plans.FREE)
def test_as_many_steps_as_tokens_draw_one_each(schedule):
    for n in range(1, 100):
        assert plans.counts(schedule, n, n) == (1,) * n


@pytest.mark.parametrize("n", [49, 64, 144])
def test_linear_leaves_its_share_rounded_down(n):
    for steps in range(1, n + 1):
        left = n - np.cumsum(plans.counts("linear", n, steps))
        assert left.tolist() == [n * s // steps for s in range(steps)][::-1]


@given(arguments(), st.integers(0, 2**32 - 2))
def test_an_image_s_own_plan_has_the_same_counts(a, image):
    plan = plans.plan(**{**a, "order": "random-each"})
    own = plan.of(image)
    assert own.counts == plan.counts and own.known == plan.known
    assert sorted(own.order) == sorted(plan.order)
    assert own.per_image is None and own.of(image) == own
    assert own == plans.plan(**{**a, "order": "random-each"}).of(image)


def test_every_image_has_a_random_order_of_its_own():
    plan = plans.plan((4, 4), "random-each", seed=5)
    random = plans.plan((4, 4), "random", seed=5)
    orders = {plan.of(image).order for image in (0, 1, 2, 2**32 - 2)}
    assert len(orders) == 4 and random.order not in orders
    assert plan.of(0) != plans.plan((4, 4), "random-each", seed=6).of(0)


@given(arguments())
def test_a_plan_is_a_function_of_its_arguments(a):
    assert plans.plan(**a) == plans.plan(**a)


@given(arguments())
def test_drawing_shows_every_position(a):
    plan = plans.plan(**a)
    cells = str(plan).split()
    assert len(cells) == a["grid"][0] * a["grid"][1]
    for step, group in enumerate(plan.groups):
        assert {cells[p] for p in group} == {"?" if plan.per_image else str(step)}
    assert {cells[p] for p in plan.known} <= {"."}


@given(st.integers(1, 300), st.integers(1, 400), st.sampled_from(("arccos", "cosine")))
def test_schedule_leaves_a_token_for_the_last_step(n, steps, schedule):
    sizes = plans.counts(schedule, n, steps)
    assert len(sizes) == steps and sum(sizes) == n
    assert (0 in sizes) == (steps > n)


def test_counts_of_the_original(golden):
    """Every step count of the original's two schedules, where it runs and where not."""
    cases = np.load(golden / "arpg" / "schedule" / "io.npz")
    compared = 0
    for name in cases:
        if not name.startswith("counts_"):
            continue
        _, schedule, n = name.split("_")
        for steps, row, valid in zip(
            cases["iters"], cases[name], cases[f"valid_{n}"], strict=True
        ):
            sizes = plans.counts(schedule, int(n), int(steps))
            assert list(sizes) == row[row >= 0].tolist()
            assert (0 not in sizes) == bool(valid)
            compared += 1
    assert compared > 0


def test_faithful_refuses_empty_steps():
    with pytest.raises(InputError, match="at most 16"):
        plans.plan((4, 4), steps=17, faithful=True)
    assert len(plans.plan((4, 4), steps=17).groups) == 16


def test_spiral_is_connected():
    order = plans.plan((7, 7), "spiral", "one").order
    for a, b in zip(order, order[1:], strict=False):
        assert abs(a // 7 - b // 7) + abs(a % 7 - b % 7) == 1


@given(SIZES, SIZES)
def test_border_goes_inwards_and_begins_each_ring_at_its_corners(rows, columns):
    order = plans.plan((rows, columns), "border", "one").order
    cells = [divmod(p, columns) for p in order]
    rings = [min(y, x, rows - 1 - y, columns - 1 - x) for y, x in cells]
    assert rings == sorted(rings)
    for r in set(rings):
        edges = {r, rows - 1 - r}, {r, columns - 1 - r}
        ring = [cells[i] for i, found in enumerate(rings) if found == r]
        corners = [y in edges[0] and x in edges[1] for y, x in ring]
        assert corners == sorted(corners, reverse=True)


@given(arguments())
def test_locality_follows_its_rule(a):
    """The rule of spec/orders.md, section 2, cell by cell, without arrays."""
    plan = plans.plan(**{**a, "order": "locality"})
    known = {divmod(p, a["grid"][1]) for p in plan.known}
    shuffled = [
        divmod(p, a["grid"][1])
        for p in range(a["grid"][0] * a["grid"][1])
        if p not in plan.known
    ]

    def score(cell):
        away = (math.dist(cell, other) for other in known)
        return sum(1 / d for d in away if d < 2)

    for group in plan.groups:
        taken = []
        for cell in (divmod(p, a["grid"][1]) for p in group):
            left = [c for c in shuffled if c not in known and c not in taken]
            free = [
                c
                for c in left
                if score(c) >= 1 and all(math.dist(c, t) >= 2 for t in taken)
            ]
            if free:
                assert cell in free
                assert score(cell) == pytest.approx(max(map(score, free)))
            elif taken:
                away = [min(math.dist(c, t) for t in taken) for c in left]
                assert min(math.dist(cell, t) for t in taken) == max(away)
            taken.append(cell)
        known |= set(taken)


def test_locality_takes_no_time_for_steps_that_take_no_token(monkeypatch):
    asked, permutation = [], rng.permutation
    monkeypatch.setattr(
        rng, "permutation", lambda *a, **b: asked.append(b) or permutation(*a, **b)
    )
    made = plans.plan((2, 2), "locality", "linear", steps=1000)
    assert len(made.order) == 4 and len(asked) == len(made.groups) == 4


def test_locality_follows_from_the_seed():
    made = {plans.plan((8, 8), "locality", seed=seed) for seed in range(20)}
    assert len(made) == 20


@pytest.mark.parametrize("order", ["halton", "subsample"])
def test_spread_orders_reach_every_quarter_early(order):
    first = plans.plan((8, 8), order, "one").order[:8]
    quarters = {(p // 8 // 4, p % 8 // 4) for p in first}
    assert len(quarters) == 4


@pytest.mark.parametrize(
    "change, said",
    [
        ({"order": "zigzag"}, "zigzag"),
        ({"order": (0, 0, 1)}, "more than once"),
        ({"order": (0, 1)}, "names 2"),
        ({"order": range(1, 17)}, "position 16"),
        ({"schedule": "square"}, "square"),
        ({"schedule": (8, 7)}, "add up to 15"),
        ({"schedule": (16, 0)}, "at least 1"),
        ({"steps": 0}, "steps 0"),
        ({"steps": 2.5}, "steps 2.5"),
        ({"known": (99,)}, "position 99"),
        ({"grid": (0, 4)}, "0 x 4"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_bad_input_is_named(change, said):
    with pytest.raises(InputError, match=said):
        plans.plan(**{"grid": (4, 4), **change})


def test_guidance_weight():
    assert plans.guidance_weight("linear", 4.0, 16, 16) == 4.0
    assert plans.guidance_weight("constant", 4.0, 1, 16) == 4.0
    with pytest.raises(InputError, match="cosine"):
        plans.guidance_weight("cosine", 4.0, 1, 16)
