"""Exchange of values between the lanes of a warp: shuffles and votes.

All lanes that the mask names wait for each other, and each brings a value.
"""

from __future__ import annotations

from sys import _getframe

from minigen.simt import faults
from minigen.simt.running import running, site
from minigen.simt.sites import calls
from minigen.simt.threads import ALL, WARP


def syncwarp(mask=ALL):
    """Wait until the lanes that the mask names are here."""
    running.machine.meet_warp(mask, site(), "syncwarp")


def shfl_sync(mask, value, lane):
    """Return the value that a lane brought."""
    values = running.machine.meet_warp(mask, site(), "shfl_sync", value)
    try:
        return values[lane % WARP]
    except KeyError:
        _no_value(mask, lane % WARP)


def shfl_xor_sync(mask, value, flip):
    """Return the value of the lane whose number differs in the bits of `flip`."""
    machine = running.machine
    values = machine.meet_warp(mask, site(), "shfl_xor_sync", value)
    try:
        return values[machine.current.lane ^ flip]
    except KeyError:
        _no_value(mask, machine.current.lane ^ flip)


def shfl_up_sync(mask, value, delta):
    """Return the value of the lane `delta` below; the lowest keep their own."""
    machine = running.machine
    values = machine.meet_warp(mask, site(), "shfl_up_sync", value)
    lane = machine.current.lane - delta
    if lane < 0:
        return value
    try:
        return values[lane]
    except KeyError:
        _no_value(mask, lane)


def shfl_down_sync(mask, value, delta):
    """Return the value of the lane `delta` above; the highest keep their own."""
    machine = running.machine
    values = machine.meet_warp(mask, site(), "shfl_down_sync", value)
    lane = machine.current.lane + delta
    if lane >= WARP:
        return value
    try:
        return values[lane]
    except KeyError:
        _no_value(mask, lane)


def _no_value(mask, lane):
    thread = running.machine.current
    named = int(mask) >> int(lane) & 1
    why = (
        "the block does not have" if named else f"mask 0x{int(mask):08x} does not name"
    )
    faults.stop(
        "mask", f"{thread}, lane {thread.lane}, reads from lane {lane}, which {why}"
    )


def ballot_sync(mask, predicate):
    """Return a number whose bit i says whether the predicate is true in lane i."""
    values = running.machine.meet_warp(mask, site(), "ballot_sync", predicate)
    return sum(1 << lane for lane, value in values.items() if value)


def all_sync(mask, predicate):
    """Return whether the predicate is true in all named lanes."""
    values = running.machine.meet_warp(mask, site(), "all_sync", predicate)
    return all(values.values())


def any_sync(mask, predicate):
    """Return whether the predicate is true in any named lane."""
    values = running.machine.meet_warp(mask, site(), "any_sync", predicate)
    return any(values.values())


def eq_sync(mask, predicate):
    """Return whether the predicate is the same in all named lanes."""
    values = running.machine.meet_warp(mask, site(), "eq_sync", predicate)
    return len({bool(value) for value in values.values()}) == 1


def match_any_sync(mask, value):
    """Return which lanes brought the value that this one brought, as a mask."""
    values = running.machine.meet_warp(mask, site(), "match_any_sync", value)
    return sum(1 << lane for lane, other in values.items() if other == value)


def match_all_sync(mask, value):
    """Return (lanes, True) if all named lanes brought one value, else (0, False)."""
    values = running.machine.meet_warp(mask, site(), "match_all_sync", value)
    same = all(other == value for other in values.values())
    lanes = sum(1 << lane for lane in values)
    return (lanes, True) if same else (0, False)


def activemask():
    """Return the lanes that run this line together, as a mask."""
    return running.machine.meet_active(calls(_getframe(1)))


def lanemask_lt():
    """Return the lanes below this one, as a mask."""
    return (1 << running.machine.current.lane) - 1


def exchange(what, value):
    """Return {lane: value} of the whole warp, for the twin of a warp's instruction."""
    return running.machine.meet_warp(ALL, site(), what, value)


FUNCTIONS = [syncwarp, shfl_sync, shfl_xor_sync, shfl_up_sync, shfl_down_sync]
FUNCTIONS += [ballot_sync, all_sync, any_sync, eq_sync, match_any_sync, match_all_sync]
FUNCTIONS += [activemask, lanemask_lt]
