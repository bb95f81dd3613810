"""Launch every kernel once, each array in memory of its own: for compute-sanitizer.

    compute-sanitizer --tool memcheck python -m tests.gpu.exercise

Within one large allocation a stray access would go unseen; here it leaves its array's.
"""

from __future__ import annotations

from minigen import arrays
from minigen.arena import Block
from minigen.checking import specs
from minigen.checking.strategies import WEIGHT_DTYPES
from tests.kernels import collect


class Exact:
    """An arena that asks for every block and gives it back, not a byte too many."""

    def __init__(self):
        self._owners = {}

    def take(self, size):
        address, owner = arrays._device_memory(max(size, 1))
        self._owners[address] = owner
        return Block(address, size, self)

    def give_back(self, block):
        del self._owners[block.address]


def main():
    device = arrays.Gpu()
    device._arena = Exact()
    for name, spec in collect.LAUNCHERS.items():
        for dtype in (WEIGHT_DTYPES[0], WEIGHT_DTYPES[-1]):
            for case in collect.routes(name, dtype):
                off = specs.worst(spec, case, collect.run(name, case, device))
                print(f"{name} {dtype}: {off:.2f} eps")
    print(f"all is launched: {device.launches} launches")


if __name__ == "__main__":
    main()
