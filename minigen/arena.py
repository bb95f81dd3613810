"""Memory for arrays of a device: asked for in large chunks, never moved."""

from __future__ import annotations

from dataclasses import dataclass, field

ALIGNMENT = 256
"""Addresses of arrays are multiples of it, as with CUDA's own allocator; in bytes."""


@dataclass(frozen=True)
class Block:
    """A piece of an arena, given back when the last array in it is deleted."""

    address: int
    size: int
    arena: Arena = field(repr=False)

    def __del__(self):
        self.arena.give_back(self)


class Arena:
    """Memory for arrays that come and go, asked for once and never moved.

    The same arrays taken and dropped in the same order lie at the same addresses, and
    memory stays where it is as long as the arena lives: a recorded run can rely on it.
    """

    def __init__(self, allocate, chunk):
        """allocate(size) returns (address, owner) of memory that lives with `owner`."""
        self._allocate = allocate
        self._chunk = chunk
        self._owners = []
        self._next = self._end = 0
        self._free = {}

    def take(self, size) -> Block:
        """Return a block of at least `size` bytes, reusing a free one of its size."""
        size = round_up(size)
        free = self._free.get(size)
        if free:
            return Block(free.pop(), size, self)
        if size > self._chunk:
            # memory of its own: what is left of the chunk stays for smaller ones
            return Block(self._grow(size), size, self)
        if self._next + size > self._end:
            self._next = self._grow(self._chunk)
            self._end = self._next + self._chunk
        self._next += size
        return Block(self._next - size, size, self)

    def give_back(self, block) -> None:
        """Let the next array of this size have the block."""
        self._free.setdefault(block.size, []).append(block.address)

    def _grow(self, size):
        address, owner = self._allocate(size + ALIGNMENT)
        self._owners.append(owner)
        return -(-address // ALIGNMENT) * ALIGNMENT


def round_up(size):
    """Return the bytes set aside for `size`: at most an eighth more, or ALIGNMENT.

    There are only a few sizes, so that arrays of a step fit into the blocks that other
    steps gave back.

    >>> round_up(1), round_up(257), round_up(5000), round_up(1_000_000)
    (256, 512, 5120, 1048576)
    """
    step = max(ALIGNMENT, 1 << max(size - 1, 0).bit_length() >> 4)
    return max(-(-size // step) * step, step)
