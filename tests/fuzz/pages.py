"""Arrays that end, or begin, where memory that may not be touched begins, or ends.

A read or a write one number too far ends the process at once, instead of finding what
happened to lie there.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import mmap
import sys

import numpy as np

PAGE = mmap.PAGESIZE
ROOM = 256 * PAGE
COUNT = 64
"""Rooms that are used in turn: more than a call has arrays."""


def guarded(array, at_the_end=True):
    """Return a writable copy of an array, in C order, with a guard beside it.

    Arrays that fit no room, and all on Windows, have no guard.
    """
    array = np.asarray(array, order="C")
    if sys.platform == "win32" or not 0 < array.nbytes <= ROOM or array.dtype.hasobject:
        return array.copy()
    room = next(_rooms())
    start = ROOM - array.nbytes if at_the_end else 0
    placed = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    placed[...] = array
    return placed


@functools.cache
def _rooms():
    return itertools.cycle([_room() for _ in range(COUNT)])


def _room():
    # a guard, the room, and a guard
    memory = mmap.mmap(-1, ROOM + 2 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    for guard in (address, address + PAGE + ROOM):
        if libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(PAGE), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    return np.frombuffer(memory, np.uint8, ROOM, PAGE)
