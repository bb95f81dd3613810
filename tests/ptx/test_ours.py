"""Every launcher on the backend ptx: the reference's result, no race, nothing read that
nobody wrote, and no shuffle or product whose lanes the compiler has parted."""

from dataclasses import dataclass, field

import pytest

from minigen import arrays, ptx
from minigen.checking import specs
from minigen.checking.tolerance import FACTOR
from tests.kernels import collect

pytestmark = pytest.mark.needs("compiler")


@dataclass
class Counter:
    """A device that runs what kernels are compiled to, and counts what met apart."""

    tensor_cores: bool = True
    apart: dict = field(default_factory=dict)

    def __post_init__(self):
        self.device = arrays.Ptx()
        self.empty, self.put, self.get = (
            self.device.empty,
            self.device.put,
            self.device.get,
        )
        self.write, self.flag = self.device.write, self.device.flag

    def launch(self, kernel, grid, block, *arguments):
        """Run a kernel; nothing is launched where there are no blocks."""
        grid, block = arrays.dimensions(grid, block)
        if 0 not in grid:
            program = ptx.program(kernel, arguments)
            counts = ptx.Counts(program)
            program.launch(grid, block, arguments, counts, watch=True)
            met = {program.place_of(line): n for line, n in counts.met.items() if n}
            if met:
                self.apart[kernel.py_func.__name__] = met


@pytest.mark.in_parts
@pytest.mark.slow
@pytest.mark.parametrize("name", collect.LAUNCHERS)
def test_every_launcher_is_compiled_to_what_the_reference_says(name):
    for case in collect.distinct(name):
        device = Counter()
        result = collect.run(name, case, device)
        assert specs.worst(collect.LAUNCHERS[name], case, result) <= FACTOR
        assert device.apart == {}


def test_a_launcher_is_compiled_to_what_the_reference_says():
    test_every_launcher_is_compiled_to_what_the_reference_says("rms_norm.rms_norm")
