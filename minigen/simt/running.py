"""The launch that runs now; there is one at a time."""

from __future__ import annotations

from sys import _getframe

from minigen.simt.sites import calls


class Running:
    """Where everything that a kernel can call finds the machine it runs on."""

    __slots__ = ("machine",)


running = Running()
running.machine = None


def site():
    """Return the calls in the kernel that led to our caller (see sites.calls).

    Looking them up takes time; an unwatched launch does without, and gets None.
    """
    return calls(_getframe(2)) if running.machine.watch else None
