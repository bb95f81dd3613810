"""Find the smallest case that fails, by hypothesis."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
from hypothesis import Phase, configuration

from minigen import kernel_cache
from minigen.checking.report import Finding

PATIENCE = 100
"""Cases that are tried to make a failing one smaller."""


def smallest(strategy, attempt: Callable, examples: int, seed: int) -> Finding | None:
    """Return what `attempt(case)` finds wrong in the smallest case found, or None.

    Everything is drawn from `seed`: the same call finds the same case. A smaller
    case must fail with the same kind of finding.
    """
    known, first = {}, []

    def goes_wrong(drawn):
        key = _key(drawn)
        if key not in known:
            if first and len(known) > first[1] + PATIENCE:
                return False
            known[key] = attempt(drawn)
            if known[key] is not None and not first:
                first.extend((known[key].kind, len(known)))
        return known[key] is not None and known[key].kind == first[0]

    settings = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
    )
    try:
        with _notes_elsewhere():
            drawn = hypothesis.find(
                strategy, goes_wrong, settings=settings, random=random.Random(seed)
            )
    except (hypothesis.errors.NoSuchExample, hypothesis.errors.Unsatisfiable):
        # all are well, or there is none
        return None
    finding = known[_key(drawn)]
    if attempt(drawn) is None:
        return replace(finding, message=f"{finding.message}\nbut not every time")
    return finding


@contextlib.contextmanager
def _notes_elsewhere():
    # hypothesis keeps what it works out in a folder, here not in the user's own
    before = getattr(configuration, "__hypothesis_home_directory", None)
    folder = kernel_cache.location().folder
    # where no kernels are kept, no notes can be
    home = (folder.parent if folder else Path(os.devnull)) / "hypothesis"
    configuration.set_hypothesis_home_dir(home)
    try:
        yield
    finally:
        configuration.set_hypothesis_home_dir(before)


def _key(drawn):
    digest = hashlib.blake2b()
    for part in _parts(drawn):
        digest.update(part)
    return digest.digest()


def _parts(value):
    if isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode()
        yield value.tobytes()
    elif isinstance(value, dict):
        for name, part in value.items():
            yield name.encode()
            yield from _parts(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _parts(part)
    else:
        yield f"{value!r};".encode()
