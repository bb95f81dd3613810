"""What the tests of both scans share: cases, cuts, and the laws themselves."""

from __future__ import annotations

import numpy as np

from minigen.ops.selective_scan.spec import step_sizes
from tests import strategies as st
from tests.kernels.collect import Recorder


def scan_case(seed, b, n, c, r, s):
    """Return the arguments of selective_scan, for r groups of c channels."""
    width = r * c
    delta = step_sizes(seed, b, n, width)
    A_log = st.floats(seed + 1, width, s)
    B, C = st.floats(seed + 2, b, n, r, s), st.floats(seed + 3, b, n, r, s)
    D, state = st.floats(seed + 4, width), st.floats(seed + 5, b, width, s)
    return [st.floats(seed + 6, b, n, width), delta, A_log, B, C, D, state]


def ssd_case(seed, b, n, r, h, p, s):
    """Return the arguments of ssd, for r groups of h heads."""
    heads = r * h
    A_log, D = st.floats(seed + 1, heads), st.floats(seed + 4, heads)
    B, C = st.floats(seed + 2, b, n, r, s), st.floats(seed + 3, b, n, r, s)
    state = st.floats(seed + 5, b, heads, p, s)
    x = st.floats(seed + 6, b, n, heads, p)
    return [x, step_sizes(seed, b, n, heads), A_log, B, C, D, state]


def whole(function, case, *rest):
    """Run a scan without touching the state that is given."""
    return function(*case[:-1], case[-1].copy(), *rest)


def in_parts(function, case, cuts, *rest):
    """Run a scan on one part after the other, handing the state over."""
    x, delta, A_log, B, C, D, state = case
    state, parts = state.copy(), []
    pieces = [np.split(each, cuts, axis=1) for each in (x, delta, B, C)]
    for x, delta, B, C in zip(*pieces, strict=True):
        y, after = function(x, delta, A_log, B, C, D, state, *rest)
        assert after is state
        parts.append(y)
    return np.concatenate(parts, axis=1), state


def wide(case):
    """Return a case in float64."""
    return [each.astype(np.float64) for each in case]


def of_images(case, order):
    """Return a case with its images in another order."""
    x, delta, A_log, B, C, D, state = case
    return [x[order], delta[order], A_log, B[order], C[order], D, state[order]]


def on_device(launcher, schedule=0):
    """Return a launcher as a function of host arrays that moves the state on.

    Every launch is watched, and held against its header.
    """

    def run(*case):
        device = Recorder(seed=schedule)
        moved = [device.put(a) if isinstance(a, np.ndarray) else a for a in case]
        y, state = launcher(device, *moved)
        assert state is moved[6]
        for launch in device.launches:
            assert launch.findings() == [], launch.name
        case[6][...] = device.get(state)
        return device.get(y), case[6]

    return run
