# %% [markdown]
# # 21 · Warps and tiles
#
# A kernel that is right can still be slow, and nearly always for the same reason: it
# asks memory too often, or in the wrong order. Here one product, y = x wᵀ, climbs from
# a naive kernel to the shape of the ones that ship. At each rung the interpreter counts
# how often every number is fetched.
#
# ![How often three kernels fetch each number of w and of
# x](pictures/21_warps_and_tiles.png)
#
# *Runs on the CPU; `pip install ".[check]"`.*

# %%
import numpy as np
from numba import cuda

from minigen import simt
from minigen.gpu import warps
from minigen.gpu.warps import warp_sum
from minigen.ops.linear import cuda as ours
from minigen.show import lesson as show

rows, width, features = 8, 64, 32
rng = np.random.default_rng(0)
x = rng.standard_normal((rows, width)).astype(np.float32)
w = rng.standard_normal((features, width)).astype(np.float32)

# %% [markdown]
# ## A warp asks for 32 numbers at once
#
# Threads run in *warps* of 32: when a warp reads, its 32 addresses go to memory
# together. Memory answers in sectors of 32 bytes, eight float32 in a row, wanted or
# not. So it matters which 32 numbers they are.
#
# Below is w, a row of squares for each of its rows. Bright is what a warp asks for in
# one instruction, green is what comes along for nothing: on the left each thread walks
# along a row of its own, on the right the whole warp walks along one row.

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
show.save("21_sectors.png", show.board([tiles], list(asked)))
print("sectors for 32 numbers:", sectors)

# %% [markdown]
# ## Rung one: a thread for each result
#
# The plainest kernel. Thread (row, column) multiplies a row of x with a row of w. Both
# are fetched anew by every thread that needs them.


# %%
@cuda.jit
def naive(x, w, y):
    row, column = cuda.blockIdx.x, cuda.threadIdx.x
    total = np.float32(0)
    for k in range(x.shape[1]):
        total += x[row, k] * w[column, k]
    y[row, column] = total


# %%
rungs = {}


def climb(kernel, grid, block):
    """Run a rung and check its results; keep its report."""
    y = np.empty((rows, features), np.float32)
    report = rungs[kernel.__name__] = simt.launch(kernel, grid, block, x, w, y, seed=0)
    assert np.allclose(y, x @ w.T, atol=1e-4)
    reads = {name: float(report.reads[name].mean()) for name in ("x", "w")}
    print(kernel.__name__, "reads each number of", reads, "times")


climb(naive, rows, features)

# %% [markdown]
# ## Rung two: tiles
#
# Neighbouring results need the same rows. So a block of 8 x 8 threads takes 8 x 8
# results, and fetches a tile of 8 columns of x and of w into shared memory, each number
# once for the block. Then each thread takes eight products from there. Two barriers a
# tile: nobody may multiply before all is there, nor overwrite what others still need.


# %%
@cuda.jit
def tiled(x, w, y):
    tiles = cuda.shared.array((2, 8, 8), np.float32)
    j, i = cuda.threadIdx.x, cuda.threadIdx.y
    row, column = 8 * cuda.blockIdx.y, 8 * cuda.blockIdx.x
    total = np.float32(0)
    for k in range(0, x.shape[1], 8):
        tiles[0, i, j] = x[row + i, k + j]
        tiles[1, i, j] = w[column + i, k + j]
        cuda.syncthreads()
        for c in range(8):
            total += tiles[0, i, c] * tiles[1, j, c]
        cuda.syncthreads()
    y[row + i, column + j] = total


# %%
climb(tiled, (features // 8, rows // 8), (8, 8))

# %% [markdown]
# ## Rung three: a warp for each feature
#
# While an image is drawn, x has a few rows only and w is nearly all there is to read.
# Then a tile is mostly empty. Instead, a warp takes one row of w. Its lanes walk along
# the row side by side, as in the right picture above; each weight is fetched once, and
# meets all rows of x while it is in a register. What is left are 32 partial sums, one
# in each lane. Lanes of a warp can hand registers to each other, without memory and
# without a barrier: in five rounds, each with a partner half as far away, all have met.
#
# The picture starts with one number in one lane, and shows who has heard of it after
# each round.

# %%
show.source(warps.warp_sum.py_func)
heard = [lanes == 11]
for away in (16, 8, 4, 2, 1):
    heard.append(heard[-1] | heard[-1][lanes ^ away])
rounds = ["start", *(f"{away} away" for away in (16, 8, 4, 2, 1))]
strips = [[show.colours(h[None], 14, 0, 1)] for h in heard]
show.save("21_shuffle.png", show.board(strips, down=rounds))


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

# %% [markdown]
# ## What each rung fetches
#
# Above, how often each weight is fetched; below, each number of x. Both tiles and warps
# fetch a weight once for eight rows. Tiles fetch less of x; but x is small, and stays
# in the cache. With one row, a warp is as busy as with eight, while of a tile's 64
# threads 56 have nothing to do: so the kernel is chosen by the number of rows.

# %%
most = max(report.reads["x"].max() for report in rungs.values())
tiles = [
    [
        show.bars([report.reads[name].mean()], 120, 100, high=most)
        for report in rungs.values()
    ]
    for name in ("w", "x")
]
across = list(rungs)
show.save("21_warps_and_tiles.png", show.board(tiles, across, ["w", "x"]))
for name, report in rungs.items():
    fetched = 4 * sum(report.reads[a].sum() for a in ("x", "w"))
    print(f"{name}: {fetched / (rows * width * features):.3f} bytes a multiplication,"
          f" {report.barriers} barriers")  # fmt: skip

# %% [markdown]
# ## The kernels that ship
#
# The same rungs, for any shape, with weights of four or two bytes: sixteen bytes are
# read at once, a thread holds several results in registers, and the last one multiplies
# on the tensor cores. The third line of each header is held against such counts.

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
assert rungs["skinny"].barriers == 0, "a shuffle needs no barrier"
assert heard[-1].all(), "after five rounds all 32 lanes have heard of it"
assert len(kernels) >= 4, "every rung has a kernel of its own name"

# %% [markdown]
# ## Exercises
#
# 1. In `tiled`, take out the second barrier. Which two lines race, and why does the
#    first barrier not help?
# 2. Read `tiles[1, j, c]` again: the eight threads of a row read one column of a tile.
#    Shared memory has 32 banks of four bytes, and one bank answers one address at a
#    time. How wide would the tile have to be for them not to meet?
# 3. Let `naive` have its row in `threadIdx.x` and its column in `blockIdx.x`. The
#    counts are the same. Draw the first picture for it.
