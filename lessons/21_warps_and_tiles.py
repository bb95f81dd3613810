# %% [markdown]
# # 21 · Warps and tiles
#
# A correct kernel can still be slow, most often because it reads memory too often or in
# a bad order. Here three kernels compute one product, y = x wᵀ, and the interpreter
# counts how often each number is fetched.
#
# ![The numbers of w that 32 threads ask for in one instruction, in two
# ways](pictures/21_warps_and_tiles.png)
#
# *Runs on the CPU; `pip install ".[check]"`.*

# %%
import numpy as np
from numba import cuda

from minigen import profiling, simt, target
from minigen.gpu import warps
from minigen.gpu.warps import warp_sum
from minigen.ops.linear import cuda as ours
from minigen.show import lesson as show

rows, width, features = 8, 64, 32
rng = np.random.default_rng(0)
x = rng.standard_normal((rows, width)).astype(np.float32)
w = rng.standard_normal((features, width)).astype(np.float32)
rungs, loads = {}, {}

# %% [markdown]
# ## A warp asks for 32 numbers at once
#
# Threads run in *warps* of 32, whose addresses go to memory together. Memory answers in
# *sectors* of 32 bytes, eight neighbouring float32, whether all are needed or not.
#
# The picture shows the cells of w: yellow is what a warp asks for in one instruction,
# green is what is fetched with it. On the left each thread walks along a row of its
# own, on the right the whole warp walks along one row.

# %%
row, column = np.indices(w.shape)
lanes = np.arange(32)
asked = {"a row a thread": (lanes, 0 * lanes), "a row a warp": (0 * lanes, lanes)}
tiles, sectors = [], {}
for way, cells in asked.items():
    sector = (row * width + column) * 4 // 32
    carried = np.isin(sector, sector[cells])
    sectors[way] = len(np.unique(sector[cells]))
    picture = carried * 2.0
    picture[cells] = 3
    tiles.append(show.colours(picture, 5, 0, 3))
captions = [f"{way}\n{count} sectors" for way, count in sectors.items()]
show.save("21_warps_and_tiles.png", show.board([tiles], captions, ["w (32 x 64)"]))

# %% [markdown]
# ## Rung one: a thread for each result
#
# Each thread multiplies a row of x with one of w. If compiled, sectors are counted
# too.


# %%
@cuda.jit
def naive(x, w, y):
    row, column = cuda.blockIdx.x, cuda.threadIdx.x
    total = np.float32(0)
    for k in range(x.shape[1]):
        total += x[row, k] * w[column, k]
    y[row, column] = total


# %%
def climb(kernel, grid, block):
    """Run a rung and check its results; keep its report."""
    name, y = kernel.__name__, np.empty((rows, features), np.float32)
    report = rungs[name] = simt.launch(kernel, grid, block, x, w, y, seed=0)
    assert np.allclose(y, x @ w.T, atol=1e-4)
    reads = {each: float(report.reads[each].mean()) for each in ("x", "w")}
    print(name, "reads each number of", reads, "times")
    if target.has_compiler():
        loads[name] = profiling.count(kernel, grid, block, x, w, y).loads
        print("sectors a load, and the least that would do:", *loads[name])


climb(naive, rows, features)

# %% [markdown]
# ## Rung two: tiles
#
# A block of 8 x 8 threads computes 8 x 8 results. It fetches 8 columns of its rows of x
# and of w into shared memory, then every thread adds eight products from there. One
# barrier ensures that a tile is complete before it is read, the other that all have
# read it before it is overwritten.
#
# **Predict.** x has 8 rows, w has 32. `naive` fetches each number of w 8 times, and
# each of x 32 times. How often does `tiled` fetch them?


# %%
@cuda.jit
def tiled(x, w, y):
    tiles = cuda.shared.array((2, 8, 8), np.float32)
    j, i = cuda.threadIdx.x, cuda.threadIdx.y
    row, column = 8 * cuda.blockIdx.y, 8 * cuda.blockIdx.x
    total = np.float32(0)
    for k in range(0, x.shape[1], 8):
        tiles[0, i, j] = x[row + i, k + j] if row + i < len(x) else np.float32(0)
        tiles[1, i, j] = w[column + i, k + j]
        cuda.syncthreads()
        for c in range(8):
            total += tiles[0, i, c] * tiles[1, j, c]
        cuda.syncthreads()
    if row + i < len(x):
        y[row + i, column + j] = total


# %%
climb(tiled, (features // 8, rows // 8), (8, 8))

# %% [markdown]
# **Reveal.** Once for each block that needs it: those of w once, as there is one block
# of rows, those of x 4 times, as there are four blocks of features.

# %% [markdown]
# ## Rung three: a warp for each feature
#
# While an image is drawn, x has few rows. With one row all 64 threads of a tile still
# fetch w, but 56 have nothing to add. Instead, let a warp take one row of w, its lanes
# side by side as in the right picture above. A weight is fetched once, and multiplied
# with all rows of x while it is in a register.
#
# Then each lane holds a partial sum. Lanes of a warp can read each other's registers
# without a barrier: a *shuffle*. `warp_sum` takes five rounds, in each of which a lane
# adds what a partner has. The picture shows which lanes the number of lane 11 has
# reached after each round.

# %%
show.source(warps.warp_sum.py_func)
heard = [lanes == 11]
for away in (16, 8, 4, 2, 1):
    heard.append(heard[-1] | heard[-1][lanes ^ away])
rounds = ["start", *(f"{away} away" for away in (16, 8, 4, 2, 1))]
strips = [[show.colours(h[None], 14, 0, 1)] for h in heard]
caption = "lanes 0 to 31 (yellow: has the number of lane 11)"
show.save("21_shuffle.png", show.board(strips, [caption], rounds))


# %%
@cuda.jit
def skinny(x, w, y):
    totals = cuda.local.array(8, np.float32)
    column, lane = cuda.blockIdx.x, cuda.threadIdx.x
    for row in range(8):
        totals[row] = np.float32(0)
    for k in range(lane, w.shape[1], 32):
        weight = w[column, k]
        for row in range(8):
            totals[row] += x[row, k] * weight
    for row in range(8):
        total = warp_sum(totals[row])
        if lane == 0:
            y[row, column] = total


# %%
climb(skinny, features, 32)
few = simt.launch(tiled, (features // 8, 1), (8, 8), x[:1], w, np.zeros((1, features)))
adding = few.writes["y"].sum() // few.blocks
print(f"one row: {adding} of a tile's 64 threads have something to add")

# %% [markdown]
# ## What each rung fetches
#
# Tiles and warps both fetch a weight once for eight rows. Tiles fetch x less often, but
# x is small and stays in the cache. With one row a warp still uses all its lanes, so
# the kernel is chosen by the number of rows. Compiled, `naive` takes 16.5 sectors a
# load, where 2.5 would do.

# %%
most = max(report.reads["x"].max() for report in rungs.values())
means = {n: [r.reads[n].mean() for r in rungs.values()] for n in ("w", "x")}
tiles = [
    [show.bars([mean], 110, 110, high=most, numbers=[f"{mean:g}"]) for mean in row]
    for row in means.values()
]
show.save("21_reads.png", show.board(tiles, list(rungs), ["w, times", "x, times"]))
for name, report in rungs.items():
    fetched = 4 * sum(report.reads[a].sum() for a in ("x", "w"))
    print(f"{name}: {fetched / (rows * width * features):.3f} bytes a multiplication,"
          f" {report.barriers} barriers")  # fmt: skip

# %% [markdown]
# ## The kernels that ship
#
# They take any shape, and weights of four or two bytes. Each header's third line is
# tested against such counts.

# %%
kernels = [
    kernel
    for name, kernel in vars(ours).items()
    if name.startswith("_linear") and hasattr(kernel, "py_func")
]
for kernel in kernels:
    print(kernel.__name__)
    print("   ", kernel.__doc__.strip())

# %% [markdown]
# ## What was taught

# %%
reads = {name: report.reads for name, report in rungs.items()}
assert sectors == {"a row a thread": 32, "a row a warp": 4}, "side by side fetches less"
assert (reads["naive"]["w"] == rows).all(), "naive fetches a weight for every row"
assert (reads["tiled"]["w"] == rows // 8).all(), "a tile fetches it once for 8 rows"
assert (reads["tiled"]["x"] == features // 8).all(), "and x once for 8 features"
assert (reads["skinny"]["w"] == 1).all(), "a warp fetches a weight once for all rows"
assert not loads or loads["naive"] == (16.5, 2.5), "32 sectors of w, and one of x"
assert not loads or loads["skinny"] == loads["tiled"] == (4, 4), "as few as may be"
assert rungs["skinny"].barriers == 0, "a shuffle needs no barrier"
assert few.reads["w"].min() == 1 and adding == 8, "one row: all fetch w, 8 of 64 add"
assert heard[-1].all(), "after five rounds all 32 lanes have the number"
assert len(kernels) >= 4, "every rung has a kernel of its own name"

# %% [markdown]
# ## Exercises
#
# `lessons/exercises/21_warps_and_tiles.py`; `python lessons/check.py 21` checks them.
#
# 1. `sectors`: how many sectors does a warp fetch for the cells that its lanes ask for?
# 2. `answers`: shared memory has 32 banks of four bytes, and a bank answers one address
#    at a time. How often must the slowest one answer? How wide a tile lets the eight
#    threads that read one of its columns not wait?
# 3. `warp_max`: a kernel in which every lane gets the largest number of its warp,
#    without shared memory and without a barrier.
