"""How the exercises of lesson 25 are checked: by counts, a lane at a time."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise


@st.composite
def wanted(draw):
    """Draw what one to three warps of lanes want: few numbers, or any."""
    n, most = 32 * draw(st.integers(1, 3)), draw(st.sampled_from((0, 1, 9)))
    numbers = draw(st.lists(st.integers(0, most), min_size=n, max_size=n))
    return np.array(numbers, np.int64)


def walked(wanted):
    """Return (turns, lanes that took part), by walking through the loop."""
    turns = lanes = 0
    for first in range(0, len(wanted), 32):
        left = [int(number) for number in wanted[first : first + 32]]
        while any(left):
            turns += 1
            lanes += sum(number > 0 for number in left)
            left = [max(number - 1, 0) for number in left]
    return turns, lanes


def share(wanted):
    """Return the share of lanes that took part."""
    turns, lanes = walked(wanted)
    return lanes / (32 * turns) if turns else 1.0


def fewest(wanted):
    """Return the turns where lanes that want the most stand together."""
    return walked(sorted(wanted.tolist(), reverse=True))[0]


EXERCISES = [
    Exercise("turns", {"wanted": wanted()}, expected=lambda wanted: walked(wanted)[0]),
    Exercise("busy", {"wanted": wanted()}, expected=share),
    Exercise("sorted_turns", {"wanted": wanted()}, expected=fewest),
]
