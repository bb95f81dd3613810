"""Run what the compiler made of a CUDA kernel: its PTX, on the CPU, without a GPU.

    from minigen import ptx
    ptx.launch(kernel, grid, block, x, w, y)

Or step by step, with all that a launch did counted:

    program = ptx.program(kernel, arguments)       # compile, read and translate once
    counted = ptx.Counts(program)
    program.launch(grid, block, arguments, counted)

`ptx.Program(text)` is a program of PTX from elsewhere.

A register is an array over lanes: the threads of as many blocks of the grid as run
together. One that is known to be the same in all lanes has a single cell. Each basic
block of the kernel is a Python function from the registers it reads to those that are
needed after it: `print(program.source)` shows them all.

numbers.py       types, and arithmetic with a GPU's rounding
memory.py        which array an address lies in
reading.py       the instructions and the variables of a PTX text
instructions.py  what each instruction is in NumPy
translation.py   from PTX to Python
machine.py       lanes, where they are, and what they load and store
together.py      shuffles, votes, barriers and matrix products
races.py         who touched a cell last, and whether that is ordered
compiling.py     from a kernel to its program
counts.py        instructions, sectors, bank conflicts

What is run has the types that the compiler gave it: a sum of two uint8 is an int64, a
literal 0.5 makes float64 of its line. These faults are found, and reported with the
thread, the line of the kernel and the line of the PTX:

- an address in no array, or that is no multiple of what is read there;
- two lanes that write different values to one cell in one instruction;
- `ld.global.nc` of an array that the launch writes;
- a barrier or a shuffle that some of the lanes it waits for never reach, or that the
  compiler has put in two places (`Counts.met` tells of shuffles that met all the same);
- a kernel that does not end, and more shared memory than a block has;
- with `watch`: races, and reads of shared memory that nobody wrote;
- an instruction that is not known here, or a function that is linked in later.

Products of mma are exact and summed in float64, where a GPU cuts bits off. sin, ex2 and
the like are rounded from float64, where a GPU errs by a unit or two. A NaN keeps its
bits, where a GPU makes 0x7fffffff of it. Lanes move in step, and stores happen in lane
order: one schedule of many.

Sources: NVIDIA, PTX ISA 8.7; of mma "Matrix Fragments for mma.m16n8k16 with floating
point type", checked against SM80_16x8x16_F32BF16BF16F32_TN in CUTLASS,
include/cute/atom/mma_traits_sm80.hpp.
"""

from minigen.ptx.compiling import launch, program
from minigen.ptx.counts import Counts
from minigen.ptx.translation import Program

__all__ = ["Counts", "Program", "launch", "program"]
