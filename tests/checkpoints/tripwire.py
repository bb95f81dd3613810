"""Watch what Python does while a file is read: it may open and map that file only.

An audit hook sees every import, every `exec`, every file opened, every process
started, whoever asks for it. It cannot be removed again, so one is installed and
switched: by the first test that needs it, and all that do come last (conftest.py),
since it makes looking at a frame eight times as slow, as the interpreter does often.
"""

import builtins
import functools
import os
import sys
from contextlib import contextmanager

import pytest

from minigen.checkpoints import read_checkpoint
from minigen.errors import CheckpointError

# hypothesis looks at frames whenever memory happens to be collected
HARMLESS = {"mmap.__new__", "builtins.id", "object.__getattr__", "sys._getframe"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_watched = {"path": None, "seen": []}


def _hook(event, arguments):
    path = _watched["path"]
    if path is None or event in HARMLESS:
        return
    if event == "open" and str(arguments[0]) == path and not arguments[2] & WRITING:
        return
    _watched["seen"].append((event, repr(arguments)[:200]))


@functools.cache
def _install():
    sys.addaudithook(_hook)


@contextmanager
def only_reading(path):
    """Fail if anything but opening and mapping `path` for reading happens inside."""

    def tripped(*arguments, **options):
        _watched["seen"].append(("called", repr(arguments)[:200]))

    _install()
    names = ((os, "system"), (builtins, "eval"), (builtins, "exec"))
    saved = [getattr(module, name) for module, name in names]
    _watched.update(path=str(path), seen=[])
    for module, name in names:
        setattr(module, name, tripped)
    try:
        yield
    finally:
        for (module, name), function in zip(names, saved, strict=True):
            setattr(module, name, function)
        _watched["path"] = None
    assert not _watched["seen"], _watched["seen"]


def refuse(path, match=None):
    """Assert that reading `path` is refused in words that name it, and runs nothing."""
    with only_reading(path), pytest.raises(CheckpointError, match=match) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
