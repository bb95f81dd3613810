# %% [markdown]
# # 20 · Your first kernel
#
# A GPU runs one function in thousands of threads at once, and the function has to ask
# which of them it is. This lesson writes such a function, a *kernel*, breaks it, and
# finds out what broke. No GPU is needed: `minigen.simt` runs the kernel's own source on
# the CPU, one thread after the other, in an order that a seed decides.
#
# ![A kernel's results in twelve orders of its threads, without its barrier and with
# it](pictures/20_first_kernel.png)
#
# *Runs on the CPU; `pip install ".[check]"`.*

# %%
import math

import numpy as np
from numba import cuda

from minigen import simt
from minigen.errors import KernelError
from minigen.ops.rms_norm import cuda as ours
from minigen.ops.rms_norm import reference
from minigen.show import lesson as show

rng = np.random.default_rng(0)

# %% [markdown]
# ## Which thread am I?
#
# Threads come in blocks. A launch says how many blocks, and how many threads in each:
# below 3 blocks of 8. Each thread finds its cell from the two numbers it knows itself
# by. There are 20 cells for 24 threads, so the last four have to keep their hands off.
#
# The picture has a square for each cell: above, the block that wrote it; below, the
# thread in that block.


# %%
@cuda.jit
def who_am_i(blocks, threads):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i < blocks.size:
        blocks[i] = cuda.blockIdx.x
        threads[i] = cuda.threadIdx.x


blocks, threads = np.zeros(20, np.int32), np.zeros(20, np.int32)
report = simt.launch(who_am_i, 3, 8, blocks, threads)
print("blocks ", *blocks, "\nthreads", *threads)
strips = [[show.colours(row[None], 24)] for row in (blocks, threads)]
show.save("20_who.png", show.board(strips, down=["block", "thread"]))

# %% [markdown]
# Without the `if`, the last threads would write behind the end. On a GPU that is
# somebody else's memory, and often nothing is heard of it until much later. The
# interpreter says which thread, which cell, and which line.


# %%
@cuda.jit
def out_of_hand(blocks):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    blocks[i] = cuda.blockIdx.x


def fault(kernel, *launch, **options):
    """Return what the interpreter has to say about a kernel."""
    try:
        simt.launch(kernel, *launch, **options)
    except KernelError as error:
        return error


print(beyond := fault(out_of_hand, 3, 8, blocks))

# %% [markdown]
# ## A block works together
#
# RMSNorm divides a row by its root mean square. One block takes one row. Thread t adds
# up the squares of the cells t, t + 8, t + 16, ...: neighbouring threads read
# neighbouring cells at the same time, which is what memory likes. Then every thread
# needs the sum of all threads. They leave their parts in *shared memory*, which the
# whole block sees, and wait at a barrier, `syncthreads`, until all have done so.


# %%
@cuda.jit
def norm(x, w, eps, y):
    partial = cuda.shared.array(128, np.float32)
    i, t, step = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    partial[t] = np.float32(0)
    for k in range(t, x.shape[1], step):
        v = x[i, k]
        partial[t] += v * v
    cuda.syncthreads()
    squares = np.float32(0)
    for other in range(step):
        squares += partial[other]
    scale = np.float32(1) / math.sqrt(squares / np.float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], step):
        y[i, k] = w[k] * (x[i, k] * scale)


# %%
x, w = rng.standard_normal((3, 20)).astype(np.float32), np.ones(20, np.float32)
y, eps = np.empty_like(x), np.float32(1e-5)
simt.poison(y)
report = simt.launch(norm, 3, 8, x, w, eps, y)
expected = reference.rms_norm(x[None], w, 1e-5)[0]
print("largest difference from the reference:", abs(y - expected).max())
print(report.threads, "threads met at", report.barriers, "barriers, one in each block")

# %% [markdown]
# ## The barrier, forgotten
#
# Now the same kernel without its barrier. Whether it works depends on who comes first.
# Below, each row of squares is one order of the threads, and each square one cell of y:
# green is right, dark is rubbish. On a GPU it may well be right for a year, until a
# faster card comes out.


# %%
@cuda.jit
def hurried(x, w, eps, y):
    partial = cuda.shared.array(128, np.float32)
    i, t, step = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    partial[t] = np.float32(0)
    for k in range(t, x.shape[1], step):
        v = x[i, k]
        partial[t] += v * v
    squares = np.float32(0)
    for other in range(step):
        squares += partial[other]
    scale = np.float32(1) / math.sqrt(squares / np.float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], step):
        y[i, k] = w[k] * (x[i, k] * scale)


# %%
def right(kernel, seed):
    """Return, for each cell, whether a schedule brings it out right."""
    simt.poison(y)
    simt.launch(kernel, 3, 8, x, w, eps, y, seed=seed, watch=False)
    return np.isclose(y, expected, rtol=1e-5).ravel().astype(float)


lucky = [np.stack([right(k, s) for s in range(12)]) for k in (hurried, norm)]
tiles = [[show.colours(cells, 8, 0, 1.5)] for cells in lucky]
show.save("20_first_kernel.png", show.board(tiles, down=["no barrier", "barrier"]))

# %% [markdown]
# Trying orders is not how the interpreter finds out. It remembers, for each cell, who
# touched it and which barriers lay before: two threads, one of them writing, with no
# barrier in between, are a *race*, in whatever order they came.

# %%
print(race := fault(hurried, 3, 8, x, w, eps, y, seed=0))

# %% [markdown]
# A barrier is for all. If only some threads of a block come to it, the others will
# never be met there: on a GPU the block hangs, or worse, does not.


# %%
@cuda.jit
def picky(x, y):
    if cuda.threadIdx.x < 5:
        cuda.syncthreads()
    y[0, cuda.threadIdx.x] = x[0, cuda.threadIdx.x]


print(divergent := fault(picky, 1, 8, x, y))

# %% [markdown]
# ## How often is memory asked?
#
# A GPU can multiply many times while it fetches a single number from memory. So a
# kernel is judged by its traffic. The report counts for each cell of each argument how
# often it was read and written, by the source: a row of x is read twice, a weight once
# for each row.
#
# This is the kernel that ships. It says in the third line of its header what the report
# says here, and a test holds it to that.

# %%
for name in ("x", "w", "y"):
    counts = np.unique(report.reads[name]), np.unique(report.writes[name])
    print(name, "read", *counts[0], "times a cell, written", *counts[1])
show.source(ours._rms_norm.py_func)

# %% [markdown]
# ## What was taught

# %%
assert beyond.kind == "bounds", "an index behind the end is named, not forgiven"
assert race.kind in ("race", "uninitialised"), "a missing barrier is found"
assert divergent.kind == "divergent barrier", "a barrier is for all threads of a block"
assert lucky[1].all(), "with its barrier a kernel is right in every order"
assert not lucky[0].all(), "without it, luck decides"
assert (report.reads["x"] == 2).all(), "x is read twice: once to sum, once to scale"
assert (report.reads["w"] == 3).all(), "a weight is read once for each of the 3 rows"

# %% [markdown]
# ## Exercises
#
# Write the answers into `lessons/exercises/20_first_kernel.py`, and let
# `python lessons/check.py 20` look at them.
#
# 1. `blocks_needed`: how many blocks does a launch need, so that every cell has a
#    thread?
# 2. `reverse`: a kernel that reverses an array in place, by one block. Where does its
#    barrier stand, and which race does the interpreter find without it?
# 3. `one_adder`: in `norm`, every thread adds up all of `partial`. Let thread 0 do it,
#    and leave the sum where all can read it. How many barriers does that take?
