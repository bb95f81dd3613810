"""Run what the compiler made of a CUDA kernel: its PTX, on the CPU, without a GPU.

    from minigen import ptx
    program = ptx.program(kernel, arguments)       # compile, read and translate once
    program.launch(grid, block, arguments)         # NumPy arrays are changed in place
    counted = ptx.Counts(program)
    program.launch(grid, block, arguments, counted)

`ptx.Program(text)` is a program of PTX from elsewhere.

A register is an array over lanes: the threads of as many blocks of the grid as run
together. One that is known to be the same in all lanes has a single cell. Each basic
block of the kernel is a Python function from the registers it reads to those that are
needed after it: `print(program.source)` shows them all.

numbers.py       types, and arithmetic with a GPU's rounding
memory.py        which array an address lies in
translation.py   from PTX to Python
machine.py       lanes, where they are, and what they do together
compiling.py     from a kernel to its program
counts.py        instructions, sectors, bank conflicts

These faults are found, and reported with the thread and the line of the PTX, and with
the line of the kernel where it was compiled with `lineinfo`:

- an address in no array, or that is no multiple of what is read there;
- two lanes that write different values to one cell in one instruction;
- `ld.global.nc` of an array that the launch writes;
- a barrier or a shuffle that some of the lanes it waits for never reach;
- an instruction that is not known here.

Products of mma are exact and summed in float64, where a GPU cuts bits off. A NaN keeps
its bits, where a GPU makes 0x7fffffff of it. Races are not looked for: lanes move in
step, and stores happen in lane order.

Sources: NVIDIA, PTX ISA 8.7; of mma "Matrix Fragments for mma.m16n8k16 with floating
point type", checked against SM80_16x8x16_F32BF16BF16F32_TN in CUTLASS,
include/cute/atom/mma_traits_sm80.hpp.
"""

from minigen.ptx.compiling import program
from minigen.ptx.counts import Counts
from minigen.ptx.translation import Program

__all__ = ["Counts", "Program", "program"]
