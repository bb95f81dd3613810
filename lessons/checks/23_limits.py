"""How the exercises of lesson 23 are checked: against the package, and by trying."""

from types import SimpleNamespace

from hypothesis import strategies as st

from checks import Exercise
from minigen.families.work import Work

few, sizes = st.integers(1, 9), st.integers(1, 99)


def by_trying(shared, own, operations, bandwidth, peak):
    """Return the first batch that is large enough, or 0."""
    for b in range(1, 1000):
        if b * operations * bandwidth >= (shared + b * own) * peak:
            return b
    return 0


def summed(shapes, rows, size):
    """Return bytes and operations, matrix by matrix and row by row."""
    read = sum(size * f * d for f, d in shapes)
    return read, sum(2 * f * d for _ in range(rows) for f, d in shapes)


EXERCISES = [
    Exercise(
        "work_of",
        {
            "shapes": st.lists(st.tuples(few, few), max_size=4),
            "rows": few,
            "size": st.sampled_from((2, 4)),
        },
        expected=summed,
    ),
    Exercise(
        "least_seconds",
        {"read": sizes, "operations": sizes, "bandwidth": few, "peak": few},
        expected=lambda read, operations, bandwidth, peak: Work(
            read, operations
        ).seconds(SimpleNamespace(bandwidth=bandwidth, peak=peak)),
    ),
    Exercise(
        "batch_at_limit",
        # small enough that a batch of 999 is tried where one is large enough
        {"shared": few, "own": few, "operations": few, "bandwidth": few, "peak": few},
        expected=by_trying,
        examples=200,
    ),
]
