"""What a run cannot do without: bytes, operations, random numbers."""

from __future__ import annotations

from dataclasses import dataclass

FLOAT = 4  # bytes of a number that is kept from token to token


@dataclass(frozen=True)
class Work:
    """Bytes that must be read from memory and float operations that must be done."""

    bytes: float
    operations: float

    def seconds(self, ceilings) -> float:
        """Return the least time this work takes."""
        return max(self.bytes / ceilings.bandwidth, self.operations / ceilings.peak)


@dataclass(frozen=True)
class Cost:
    """What a call needs: it draws some tokens, with both halves of guidance.

    bytes: of the matrices, each time that a pass reads them, and of the keys and values
    it reads; products: multiplications, each with an addition; numbers: random ones;
    passes: of a network, each of which must wait for the one before.
    """

    bytes: int
    products: int
    numbers: int
    passes: int
