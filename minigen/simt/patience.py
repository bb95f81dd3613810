"""A limit to how long a kernel may run: one that never ends would never say so."""

from __future__ import annotations

import ctypes
import gc
import threading
from contextlib import contextmanager

AGAIN = 0.5
"""Seconds after which it is tried again: an error is lost where Python has nobody to
give it to, such as in a `__del__`."""


@contextmanager
def limit(seconds):
    """Raise TimeoutError wherever this thread is once `seconds` have gone by.

    None: there is no limit. Within a limit no garbage is collected: a kernel that fills
    memory keeps the collector busy, and errors that come meanwhile are lost.
    """
    if seconds is None:
        yield
        return
    ours, lock, over = threading.get_ident(), threading.Lock(), threading.Event()

    def interrupt():
        wait = seconds
        while not over.wait(wait):
            with lock:
                if not over.is_set():
                    _raise(ours, TimeoutError)
            wait = AGAIN

    collected = gc.isenabled()
    gc.disable()
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        yield
    finally:
        if collected:
            gc.enable()
        with lock:
            over.set()
            # it may have been raised, and not have arrived
            _raise(ours, None)


def _raise(thread, kind):
    error = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)
