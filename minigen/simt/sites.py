"""Where in the source something happened, in words."""

from __future__ import annotations

import linecache
import os
import re

_HERE = os.path.dirname(__file__)

OURS = frozenset(os.path.join(_HERE, name) for name in os.listdir(_HERE))
"""The files of the interpreter, as their code objects name them."""


def outside(frame):
    """Return the nearest frame outwards that is not one of the interpreter's."""
    while frame.f_code.co_filename in OURS and frame.f_back is not None:
        frame = frame.f_back
    return frame


def line_of(code, instruction) -> int:
    """Return the line number of a byte offset in a code object."""
    for first, last, line in code.co_lines():
        if first <= instruction < last and line is not None:
            return line
    return code.co_firstlineno


def source(code, line) -> str:
    """Return the text of a line of the file that a code object is from."""
    return linecache.getline(code.co_filename, line).strip()


def describe(code, instruction) -> str:
    """Return "file:line: text of the line"."""
    line = line_of(code, instruction)
    return f"{os.path.basename(code.co_filename)}:{line}: {source(code, line)}"


def describe_frame(frame) -> str:
    """Return where a frame stands, skipping the interpreter's own."""
    return describe_calls(calls(frame, 1))


def calls(frame, count=None):
    """Return the kernel's calls that lead to a frame, the innermost first.

    Each is a site: (code, instruction). The interpreter's own frames are skipped.
    count: how many are wanted, if not all.
    """
    found, frame = [], outside(frame)
    while frame is not None and len(found) != count:
        code = frame.f_code
        if code.co_filename in OURS:
            break
        found.append((code, frame.f_lasti))
        frame = frame.f_back
    return tuple(found)


def describe_calls(sites) -> str:
    """Return "file:line: text, called from file:line: text ..."."""
    return ", called from ".join(describe(*site) for site in sites)


def assigned_name(frame) -> str:
    """Return the name on the left of "=" in the line that a frame stands at."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    match = re.match(r"\s*(\w+)\s*=", line)
    return match.group(1) if match else f"array of line {frame.f_lineno}"
