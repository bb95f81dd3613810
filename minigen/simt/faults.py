"""Faults of threads that wait for each other, and their messages."""

from __future__ import annotations

import sys

from minigen.errors import KernelError
from minigen.simt.running import running
from minigen.simt.sites import describe_calls, describe_frame


def stop(kind, message):
    """Raise KernelError with the current line of the running thread."""
    raise KernelError(kind, f"{message}\n  at {describe_frame(sys._getframe(1))}")


def endless():
    """Raise KernelError: the running thread does what seems to have no end."""
    stop(
        "endless",
        f"{running.machine.current} goes round and round, and there seems to be no end "
        "to it; does the loop's condition ever become false?",
    )


def expect_same_barrier(waiting):
    """Raise KernelError unless all who meet at a barrier meet at the same one."""
    if _all_wait_alike(waiting):
        return
    message = (
        f"the {len(waiting)} threads of {_blocks(waiting)} wait at different barriers; "
        "let all of them come to the same one"
    )
    raise KernelError("divergent barrier", "\n".join([message, *_places(waiting)]))


def expect_same_instruction(threads, mask):
    """Raise KernelError unless all lanes that meet do so in the same instruction."""
    if _all_wait_alike(threads):
        return
    message = (
        f"the lanes of mask 0x{mask:08x} in {_blocks(threads)} meet in different "
        "instructions; name only lanes that come to the same line"
    )
    raise KernelError("mask", "\n".join([message, *_places(threads)]))


def _all_wait_alike(threads):
    waits = [thread.waits for thread in threads]
    return waits.count(waits[0]) == len(waits)


def expect_all_done(blocks):
    """Raise KernelError unless all threads ended, with the reason."""
    threads = [thread for block in blocks for thread in block.threads]
    left = [thread for thread in threads if not thread.done]
    if not left:
        return
    for block in blocks:
        for warp in block.warps:
            for mask, meeting in warp.meetings.items():
                _lanes_are_missing(warp, mask, meeting)
    for block in blocks:
        if block.waiting:
            _threads_are_missing(block.waiting, block.threads)
    _threads_are_missing(left, threads)


def _lanes_are_missing(warp, mask, meeting):
    here = [warp.threads[lane] for lane in meeting]
    named = [thread for thread in warp.threads if mask >> thread.lane & 1]
    missing = [thread for thread in named if thread.lane not in meeting]
    gone = [thread for thread in missing if thread.done]
    where = f"of mask 0x{mask:08x} in {_blocks(here)}"
    if gone:
        message = f"{_lanes(gone)} {where} exited, and {_lanes(here)} wait for them"
        raise KernelError("mask", "\n".join([message, *_places(here)]))
    message = f"{_lanes(missing)} {where} wait elsewhere than {_lanes(here)}"
    # what a lane waits for has a mask if it is other lanes
    kind = "mask" if all(len(t.waits) == 3 for t in missing) else "deadlock"
    raise KernelError(kind, "\n".join([message, *_places(here + missing)]))


def _threads_are_missing(waiting, expected):
    gone = [thread for thread in expected if thread.done]
    away = [t for t in expected if not t.done and t not in waiting]
    kinds = " and ".join(dict.fromkeys(thread.waits[0] for thread in waiting))
    message = (
        f"{len(waiting)} of {len(expected)} threads of {_blocks(expected)} arrived at "
        f"{kinds}; "
    )
    if away:
        kind, message = "deadlock", f"{message}{len(away)} wait elsewhere for ever"
    else:
        kind = "divergent barrier"
        message += f"{len(gone)} have exited, the first of them {gone[0]}"
    raise KernelError(kind, "\n".join([message, *_places(waiting + away)]))


def _blocks(threads):
    blocks = list(dict.fromkeys(str(thread.block.index) for thread in threads))
    return f"block {blocks[0]}" if len(blocks) == 1 else f"{len(blocks)} blocks"


def _lanes(threads):
    """Return "lane 3" or "lanes 3, 8-15"."""
    runs = []
    for lane in sorted(thread.lane for thread in threads):
        if runs and runs[-1][1] == lane - 1:
            runs[-1][1] = lane
        else:
            runs.append([lane, lane])
    texts = [str(a) if a == b else f"{a}-{b}" for a, b in runs]
    return f"lane{'s' * (len(threads) > 1)} {', '.join(texts)}"


def _places(threads):
    """Return one line for each site where some of the threads wait."""
    groups = {}
    for thread in threads:
        what, _, *mask = thread.waits
        if mask:
            what += f" with mask 0x{mask[0]:08x}"
        groups.setdefault((what, _place(thread)), []).append(thread)
    return [
        f"  {len(group)} wait in {what} (first: {group[0]}) at {site}"
        for (what, site), group in groups.items()
    ]


def _place(thread):
    site = thread.waits[1]
    if site is not None:
        return describe_calls(site)
    # nobody wrote it down, but the thread still stands there
    return describe_frame(thread.worker.gr_frame or sys._getframe())
