"""A limit to how long a kernel may run: one that never ends would never say so."""

from __future__ import annotations

import ctypes
import threading
from contextlib import contextmanager

AGAIN = 1.0
"""Seconds after which it is tried again. An error is lost where Python has nobody to
give it to, such as in a callback of the garbage collector."""


@contextmanager
def limit(seconds):
    """Raise TimeoutError wherever this thread is once `seconds` have gone by.

    None: there is no limit.
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

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        yield
    finally:
        with lock:
            over.set()
            # it may have been raised, and not have arrived
            _raise(ours, None)


def _raise(thread, kind):
    error = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)
