"""Each CPU kernel is compiled once a run, however many processes run the tests.

A kernel that two of them need at the same moment would be compiled in both: neither
finds it in the cache yet. So one compiles and the other waits and reads.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from pathlib import Path
from unittest import mock


@contextlib.contextmanager
def once(folder: Path):
    """Let processes that share a folder compile a kernel one after the other."""
    if not importlib.util.find_spec("fcntl") or not importlib.util.find_spec("numba"):
        yield
        return
    import fcntl

    # first: it says where compiled kernels are kept
    importlib.import_module("minigen.target")
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.dispatcher import Dispatcher

    compile_now, held = Dispatcher.compile, set()

    def compile_in_turn(self, signature):
        function = self.py_func
        name = f"{function.__module__}.{function.__qualname__}"
        # a kernel compiles those that it calls, and these none that call it
        if name in held or not name.startswith("minigen."):
            return compile_now(self, signature)
        with global_compiler_lock, (folder / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            held.add(name)
            try:
                return compile_now(self, signature)
            finally:
                held.remove(name)

    with mock.patch.object(Dispatcher, "compile", compile_in_turn):
        yield
