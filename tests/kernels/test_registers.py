"""What a kernel takes of a GPU, as its assembler says: registers, memory, spills."""

import numpy as np
import pytest

from minigen import target
from minigen.checking import header
from minigen.target import cuda
from tests.kernels import collect, compiled

pytestmark = pytest.mark.needs("compiler")

REGISTERS = 65536
"""Registers of a multiprocessor: a block that needs more cannot be launched."""

SHARED = 48 * 1024
"""Bytes of shared memory that a block may declare."""

RESERVED = 1024
"""Bytes that the system adds to a block's from compute capability 9.0 on."""


@pytest.mark.parametrize("name", collect.KERNELS)
def test_nothing_is_kept_in_slow_memory(name):
    reason = header.parse(collect.kernel(name)).reason
    for types, cc in compiled.variants(name):
        taken = compiled.resources(name, types, cc)
        assert (taken.spills, taken.stack) == (0, 0) or reason, (types, cc, taken)


@pytest.mark.parametrize("name", collect.KERNELS)
def test_a_block_fits_on_a_multiprocessor(name):
    for types, cc in compiled.variants(name):
        taken = compiled.resources(name, types, cc)
        threads = collect.signatures()[name][types].threads
        # registers are given out to whole warps, eight at a time
        warps, each = -(-threads // 32), -(-taken.registers // 8) * 8
        assert 0 < taken.registers <= 255
        assert warps * 32 * each <= REGISTERS, (types, cc, taken)


@pytest.mark.parametrize("name", collect.KERNELS)
def test_shared_memory_is_what_the_header_says(name):
    said = header.parse(collect.kernel(name))
    for types, cc in compiled.variants(name):
        launch = collect.signatures()[name][types]
        names = header.names(launch.kernel, said, launch.arguments)
        expected = header.evaluate(said.shared, names)
        assert expected <= SHARED
        if expected and cc >= compiled.NEW:
            expected += RESERVED
        assert compiled.resources(name, types, cc).shared == expected, (types, cc)


def test_a_local_array_with_indices_is_seen():
    def shuffle(x):
        local = cuda.local.array(64, np.float32)
        for k in range(64):
            local[k] = x[k]
        for k in range(64):
            x[k] = local[int(x[k])]

    types = target.argument_types((np.zeros(64, np.float32),))
    taken = target.link(target.compile_ptx(shuffle, types, (8, 0)), (8, 0))
    assert taken.stack >= 256
