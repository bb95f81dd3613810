# %% [markdown]
# # 20 · Your first kernel
#
# A GPU runs one function, a *kernel*, in thousands of threads at once, and each thread
# asks which one it is. This lesson writes a kernel, breaks it in three ways, and reads
# what is found. No GPU is needed: `minigen.simt` interprets a kernel on the CPU, one
# thread at a time, in an order that a seed decides.
#
# ![Twenty cells, and which thread of which block wrote
# each](pictures/20_first_kernel.png)
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
from minigen.show import frames
from minigen.show import lesson as show

rng = np.random.default_rng(0)

# %% [markdown]
# ## Which thread am I?
#
# Threads are grouped in blocks. A launch says how many blocks, and how many threads
# each has: below, 3 blocks of 8. From the number of its block and its own number in it,
# a thread computes which cell is its own. There are 24 threads and 20 cells, so an `if`
# keeps the last four threads from writing.


# %%
@cuda.jit
def who_am_i(blocks, threads):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i < blocks.size:
        blocks[i] = cuda.blockIdx.x
        threads[i] = cuda.threadIdx.x


blocks, threads = np.zeros(20, np.int32), np.zeros(20, np.int32)
simt.launch(who_am_i, 3, 8, blocks, threads)
strips = [[show.numbered(row[None], 26, 0, 12)] for row in (blocks, threads)]
show.save(
    "20_first_kernel.png", show.board(strips, ["cells 0 to 19"], ["block", "thread"])
)

# %% [markdown]
# ## Fault 1: an index outside of the array
#
# Without the `if`, the last four threads write behind the end of the array. On a GPU
# that may go unnoticed. The interpreter names the thread, the cell and the line.


# %%
@cuda.jit
def unguarded(blocks):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    blocks[i] = cuda.blockIdx.x


def fault(kernel, *launch, **options):
    """Return what the interpreter finds wrong with a kernel, or None."""
    try:
        simt.launch(kernel, *launch, **options)
    except KernelError as error:
        return error


print(beyond := fault(unguarded, 3, 8, blocks))

# %% [markdown]
# ## A block works together
#
# RMSNorm divides a row by its root mean square. Here one block takes one row. Thread t
# adds up the squares of cells t, t + 8, t + 16, and so on. Then every thread needs the
# sum over all threads. Each writes its part into *shared memory*, which all threads of
# a block can read, and waits at a *barrier*, `syncthreads`, until all have arrived.


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


# %% [markdown]
# Before a launch, y is filled with a marker (`poison`), so that a cell which no thread
# writes is noticed.

# %%
x, w = rng.standard_normal((3, 20)).astype(np.float32), np.ones(20, np.float32)
y, eps = np.empty_like(x), np.float32(1e-5)
simt.poison(y)
report = simt.launch(norm, 3, 8, x, w, eps, y)
expected = reference.rms_norm(x[None], w, 1e-5)[0]
print("largest difference from the reference:", abs(y - expected).max())
print(report.threads, "threads met at", report.barriers, "barriers, one in each block")

# %% [markdown]
# ## Fault 2: a missing barrier
#
# **Predict.** The same kernel without its barrier is run in twelve orders of its
# threads, each thread from its start to its end. Of the 60 cells of y, about how many
# are right: all, half, or one in eight?


# %%
@cuda.jit
def no_barrier(x, w, eps, y):
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
    """Return for each cell of y whether it is right in one order of the threads."""
    simt.poison(y)
    simt.launch(kernel, 3, 8, x, w, eps, y, seed=seed, watch=False)
    return np.isclose(y, expected, rtol=1e-5).ravel()


cells = {k.__name__: [right(k, s) for s in range(12)] for k in (no_barrier, norm)}
for name, orders in cells.items():
    print(f"{name}: cells right in each order:", *(order.sum() for order in orders))
tiles = [[show.colours(np.array(orders) * 1.0, 8, 0, 1)] for orders in cells.values()]
caption = "60 cells of y (yellow: right); one row for each of 12 orders"
show.save("20_barrier.png", show.board(tiles, [caption], list(cells)))
print(race := fault(no_barrier, 3, 8, x, w, eps, y, seed=0))

# %% [markdown]
# **Reveal.** About one in eight: only the last thread of a block finds all eight parts;
# the others read cells of `partial` that nobody has written yet. Which thread is last
# depends on the order. A GPU runs threads side by side, so there such a kernel may be
# right for months.
#
# So the interpreter does more than try orders. Two threads that access one cell, one of
# them writing, with no barrier in between, are a *race*, whichever came first.
#
# The player shows every access to memory.

# %%
given = x[:1, :8], w[:8], eps, y[:1, :8]
runs = {k.__name__: (k, 1, 4, *given) for k in (norm, no_barrier)}
note = "Orange: the thread that runs, and the cell it touches. Dashed: it waits."
data = frames.threads(runs, "With a barrier, and without", note, seed=0)
show.player("threads", data, "20_threads")

# %% [markdown]
# ## Fault 3: a barrier that only some threads reach
#
# All threads of a block must reach a barrier. If some never do, the others wait for
# ever.


# %%
@cuda.jit
def five_wait(x, y):
    if cuda.threadIdx.x < 5:
        cuda.syncthreads()
    y[0, cuda.threadIdx.x] = x[0, cuda.threadIdx.x]


print(divergent := fault(five_wait, 1, 8, x, y))
print("with 5 threads, so that all of them reach it:", fault(five_wait, 1, 5, x, y))

# %% [markdown]
# ## How often is memory read?
#
# While one number arrives from memory, a GPU can multiply many times. So a kernel is
# judged by its traffic: how often each cell of an array is read and written. The third
# line of the header of the kernel that ships, `_rms_norm`, states it, and a test
# compares. `minigen check rms_norm --kernel FILE.py:NAME` tries a kernel of your own.

# %%
for name in ("x", "w", "y"):
    counts = np.unique(report.reads[name]), np.unique(report.writes[name])
    print(name, "read", *counts[0], "times a cell, written", *counts[1])
show.source(ours._rms_norm.py_func)

# %% [markdown]
# ## What was taught

# %%
found = [order.sum() for order in cells["no_barrier"]]
ways = {order.tobytes() for order in cells["no_barrier"]}
assert beyond.kind == "bounds", "an index behind the end is reported"
assert race.kind in ("race", "uninitialised"), "a missing barrier is found"
assert fault(norm, 3, 8, x, w, eps, y, seed=0) is None, "and only a missing one"
assert all(order.all() for order in cells["norm"]), "with its barrier: always right"
assert all(6 <= n <= 9 for n in found), "without it: the cells of one thread in eight"
assert len(ways) > 1, "and which cells these are depends on the order of the threads"
assert divergent.kind == "divergent barrier", "a barrier is for all threads of a block"
assert fault(five_wait, 1, 5, x, y) is None, "which 5 threads of 5 do reach"
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
