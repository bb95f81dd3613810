# %% [markdown]
# # 25 · What the compiler made of it
#
# A GPU does not run the kernel that you wrote, but what a compiler made of it, and that
# may have other branches. Where the lanes of a warp part, it runs each side in turn.
# Here the compiled kernel itself is read, run without a GPU, and counted.
#
# ![Which lanes of a warp run each block of a compiled loop](pictures/25_compiled.png)
#
# *Needs lesson 21. Runs on the CPU; `pip install ".[cuda13]"` brings the compiler.*

# %%
import numpy as np
from numba import cuda

import minigen
from minigen import profiling, ptx
from minigen.gpu.warps import ALL
from minigen.ops.intrinsics import slct
from minigen.ops.linear import cuda as ours
from minigen.show import frames
from minigen.show import lesson as show
from minigen.target import gpu_inline, gpu_kernel

x, y = np.arange(32), np.zeros(32, np.int64)

# %% [markdown]
# ## A loop, and the blocks it became
#
# Each thread halves its number until it is 1 or less, and counts how often. The picture
# shows, one after the other, the pieces that the compiled kernel consists of, and which
# of the 32 lanes run each piece (yellow): those with large numbers stay longer.


# %%
@gpu_kernel
def halvings(x, y):
    v, n = x[cuda.threadIdx.x], 0
    while v > 1:
        v, n = v >> 1, n + 1
    y[cuda.threadIdx.x] = n


runs = {"0 to 31": (halvings, 32, x, y), "all 31": (halvings, 32, np.full(32, 31), y)}
data = frames.compiled(runs, "One loop, 32 lanes", "Orange: lanes that run a block.")
shown = data["runs"][0]["frames"]
tiles = [np.isin(x, frame["panels"][0]["new"]).reshape(4, 8) * 1.0 for frame in shown]
board = [[show.colours(tile, 10, 0, 1) for tile in tiles]]
show.save("25_compiled.png", show.board(board, [one["say"] for one in shown]))

# %% [markdown]
# ## A page of PTX
#
# PTX is the language between the compiler and a GPU's own assembler. A register, such
# as `%rd5`, holds a number of each lane; `@%p1 bra` jumps in those lanes whose `%p1` is
# true. A *basic block* is a stretch that is entered at its start and left at its end.
#
# Below it is block 2, the loop, as the function of NumPy that runs here in its place: a
# register is an array, and all lanes are computed at once.


# %%
def page(program):
    """Print a compiled kernel, block by block."""
    for n, block in enumerate(program.blocks):
        print(f"block {n}")
        for one in block.instructions:
            print(f"  {one.text}")


program = ptx.program(halvings, (x, y))
page(program)
print(program.source.split("def ")[3])

# %% [markdown]
# **Predict.** Lane 31 halves four times, lanes 0 and 1 never. Now let every lane have
# 31. Does the warp run more instructions than before?

# %%
mixed = profiling.count(halvings, 1, 32, x, y)
alike = profiling.count(halvings, 1, 32, np.full(32, 31), y)
for name, one in {"0 to 31": mixed, "all 31": alike}.items():
    print(f"{name}: {one.total} instructions, {one.lanes:.0%} of the lanes take part,")
    print(f"  {one.divergent} branches part the warp")
show.player("threads", data, "25_lanes")

# %% [markdown]
# **Reveal.** Not one more. A warp runs a block as long as any of its lanes wants to;
# the others wait, dashed in the player, and save nothing.
#
# ## An `if` that parts nobody
#
# **Predict.** Half of the lanes find a negative number. In how many places does this
# kernel part its warp?


# %%
@cuda.jit
def absolute(x, y):
    v = x[cuda.threadIdx.x]
    if v < 0:
        v = -v
    y[cuda.threadIdx.x] = v


promised = gpu_kernel(absolute.py_func)
page(ptx.program(absolute, (x, y)))
signs, plain = (profiling.count(k, 1, 32, x - 16, y) for k in (absolute, promised))
print(f"parts its warp in {signs.divergent} places")
print(f"{plain.total} instructions where no index is negative, else {signs.total}")

# %% [markdown]
# **Reveal.** In none: there is an instruction for what the `if` does, `abs`. For others
# the compiler computes both sides and keeps one, with `selp`.
#
# One choice nobody wrote: `setp.lt` asks whether an index is negative, as Python would
# count it from the end. Kernels of minigen promise that none is.

# %% [markdown]
# ## A choice that became a branch
#
# Lanes of a warp swap halves of their sums by shuffles: each gives one of two numbers
# away and keeps the other. `cuda.selp` should choose without a branch. But the compiler
# may see that all choices hang on one question, ask it once, and copy what follows,
# shuffles too, into both arms. Lanes that have parted must then meet in every shuffle.


# %%
def folding(choose):
    """Return a kernel that leaves in each lane four of its eight sums, over two."""

    @gpu_kernel
    def fold(x, y):
        sums, lane = cuda.local.array(8, np.float32), cuda.threadIdx.x
        for s in range(8):
            sums[s] = x[s, lane]
        for s in range(4):
            low, high = sums[s], sums[s + 4]
            give, keep = choose(low, high), choose(high, low)
            y[s, lane] = keep + cuda.shfl_xor_sync(ALL, give, 16)

    return fold


# %%
by_selp = gpu_inline(lambda a, b: cuda.selp(cuda.laneid & 16 != 0, a, b))
by_slct = gpu_inline(lambda a, b: slct(b, a, np.int32(-(cuda.laneid & 16))))
folds = {"selp": folding(by_selp), "slct": folding(by_slct)}
x, y = np.ones((8, 32), np.float32), np.ones((4, 32), np.float32)
folded = {way: profiling.count(fold, 1, 32, x, y) for way, fold in folds.items()}
for way, one in folded.items():
    print(f"{way}: {one.instructions['shuffle']} shuffles, {one.apart} met apart")
show.source(ours._fold.py_func)
linear = minigen.profile("linear", {"n": 1, "d": 1024, "f": 64}).kernels[0]
warps = np.prod(linear.grid) * np.prod(linear.block) // 32
print(f"{linear.kernel}: {linear.instructions['shuffle'] // warps} shuffles a warp")

# %% [markdown]
# Both give the same sums, so no test of values tells them apart. `_fold` of our own
# products had `selp` until its counts were looked at: `minigen profile linear`.

# %% [markdown]
# ## What was taught

# %%
loops = [frame for frame in shown if frame["say"] == "block 2"]
assert len(loops) == 4, "a warp takes as long as its slowest lane"
assert alike.total == mixed.total, "and lanes that wait save nothing"
assert alike.divergent == 0 and alike.lanes == 1, "lanes that agree do not part"
assert mixed.divergent == 4 and mixed.lanes < 1, "those that do not are parted"
assert signs.divergent == 0 and signs.lanes == 1, "an if may leave no branch"
assert plain.total < signs.total, "an index that is promised costs less"
assert folded["selp"].instructions["shuffle"] == 8, "four, in both arms of a branch"
assert folded["selp"].apart == 4, "where lanes meet that had parted"
assert folded["slct"].instructions["shuffle"] == 4, "each shuffle once"
assert folded["slct"].apart == linear.apart == 0, "and nobody comes from elsewhere"
assert linear.instructions["shuffle"] == 31 * warps, "as in the kernel that ships"

# %% [markdown]
# ## Exercises
#
# `lessons/exercises/25_compiled.py`; `python lessons/check.py 25` checks them.
#
# 1. `turns`: each lane wants a number of turns of a loop. How many turns do the warps
#    of a block take together?
# 2. `busy`: what share of lanes takes part in these turns?
# 3. `sorted_turns`: you may choose which thread takes which work. How few turns can all
#    warps take together?
