"""The launch that runs now; there is one at a time."""

from __future__ import annotations

from sys import _getframe

from minigen.simt.sites import calls


class Running:
    """Holds the machine of the launch, for all functions that a kernel can call."""

    __slots__ = ("machine",)


running = Running()
running.machine = None


def site():
    """Return the calls in the kernel that led to our caller (see sites.calls).

    None for an unwatched launch, since looking them up takes time.
    """
    return calls(_getframe(2)) if running.machine.watch else None
