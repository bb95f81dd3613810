"""The least work of a run: bytes, operations, random numbers."""

from __future__ import annotations

from dataclasses import dataclass

FLOAT = 4  # bytes of a number of a KV cache or a state


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
    """The work of a guided call of a head, which draws some tokens.

    bytes: of the matrices, once for each pass, and of the keys and values; products:
    multiplications, each with an addition; numbers: random numbers; passes: of a
    network, one after the other.
    """

    bytes: int
    products: int
    numbers: int
    passes: int
