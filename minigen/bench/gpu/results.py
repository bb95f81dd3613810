"""Results in a file that grows: a part that is there is not measured again."""

from __future__ import annotations

import json
from pathlib import Path

from minigen.errors import InputError
from minigen.writing import check_writable, write_file


def start(path: Path | None, about: dict) -> dict:
    """Return the results in a file, or empty ones about this machine and this job.

    Raises InputError if the file holds results of something else.
    """
    fresh = {"about": about, "parts": {}}
    if path is not None:
        check_writable(path)
    if path is None or not path.exists():
        return fresh
    try:
        found = json.loads(path.read_text())
        before = found["about"]
        found["parts"].keys()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{path} holds something else than results; give another file"
        ) from None
    changed = [name for name in about if before.get(name) != about[name]]
    if changed:
        was, now = (
            ", ".join(f"{name} {which.get(name, '-')}" for name in changed)
            for which in (before, about)
        )
        raise InputError(
            f"{path} holds results of {was}, this would be {now}; give another file"
        )
    return found


def save(path: Path | None, results: dict) -> None:
    """Write results, unless `path` is None."""
    if path is None:
        return
    write_file(path, (json.dumps(results, indent=1) + "\n").encode())
