"""Drawn programs of reads, writes, atomics and barriers: a race is found if and only if
two accesses are not ordered by the definition, spelled out below with vector clocks.
"""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minigen import simt
from minigen.errors import KernelError
from minigen.target import cuda

# two threads in each of two warps, in each of two blocks
LANES = (0, 1, 32, 33)
ALL = list(itertools.product((0, 1), LANES))

touches = st.dictionaries(
    st.sampled_from(ALL),
    st.tuples(st.sampled_from(["read", "write", "atomic"]), st.integers(0, 2)),
    min_size=1,
    max_size=2,
)
steps = st.one_of(touches, touches, st.sampled_from(["block", "grid", "warp", "part"]))


def kernel_of(program):
    def kernel(cells):
        me = cuda.blockIdx.x, cuda.threadIdx.x
        lane = me[1] % 32
        for step in program:
            if step == "block":
                cuda.syncthreads()
            elif step == "grid":
                cuda.cg.this_grid().sync()
            elif step == "warp":
                cuda.syncwarp()
            elif step == "part":
                # the first two lanes of each warp, in a pair or not at all
                if lane < 2:
                    cuda.syncwarp(0b11)
            elif me in step:
                kind, cell = step[me]
                if kind == "read":
                    cells[cell]
                elif kind == "write":
                    cells[cell] = 1.0
                else:
                    cuda.atomic.add(cells, cell, 1.0)

    return kernel


def together(step):
    """Return the groups of threads that a barrier makes wait for each other."""
    if step == "grid":
        return [ALL]
    if step == "block":
        return [[t for t in ALL if t[0] == block] for block in (0, 1)]
    return [[(b, lane), (b, lane + 1)] for b in (0, 1) for lane in (0, 32)]


def has_race(program):
    """Tell by vector clocks: what each thread knows of how far each other one is."""
    known = {t: dict.fromkeys(ALL, 0) for t in ALL}
    accesses = []
    for step in program:
        if isinstance(step, dict):
            for thread, (kind, cell) in step.items():
                now = known[thread]
                for other, when, before, where in accesses:
                    harmless = {kind, before} in ({"read"}, {"atomic"})
                    if where != cell or other == thread or harmless:
                        continue
                    if now[other] <= when:
                        return True
                accesses.append((thread, now[thread], kind, cell))
            continue
        for group in together(step):
            joined = {t: max(known[member][t] for member in group) for t in ALL}
            for member in group:
                joined[member] += 1
            for member in group:
                known[member] = dict(joined)
    return False


@given(st.lists(steps, max_size=8), st.none() | st.integers(0, 2**32))
def test_a_race_is_found_where_there_is_one_and_nowhere_else(program, seed):
    found = False
    try:
        simt.launch(kernel_of(program), 2, 34, np.zeros(3), seed=seed, typed=False)
    except KernelError as fault:
        assert fault.kind == "race"
        found = True
    assert found == has_race(program)


def test_the_definition_itself():
    first, second, third = (0, 0), (0, 1), (0, 32)
    write, read = {first: ("write", 0)}, {second: ("read", 0)}
    assert has_race([write, read])
    assert not has_race([write, "warp", read])
    assert has_race([write, "warp", {third: ("read", 0)}])
    assert not has_race([write, "block", {third: ("read", 0)}])
    assert has_race([write, "block", {(1, 0): ("read", 0)}])
    assert not has_race([write, "grid", {(1, 0): ("read", 0)}])
    assert has_race([{first: ("atomic", 0)}, read])
    assert not has_race([{first: ("atomic", 0)}, {second: ("atomic", 0)}])
