# %% [markdown]
# # 23 · Where the time goes
#
# A processor waits either for memory or for its own arithmetic. Which of the two limits
# a model follows from the model's sizes, before anything runs. It decides what a larger
# batch, or weights of two bytes, can gain.
#
# ![Operations for each byte of memory, by images in a batch, for two generators and a
# decoder](pictures/23_limits.png)
#
# *Runs on NumPy alone.*

# %%
import math
import os
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # one thread is measured

import numpy as np

from minigen.checkpoints import names
from minigen.families import FAMILIES, PRESETS, arpg
from minigen.families.work import Work
from minigen.show import lesson as show

PARTS = {"arpg-l": [4] * 64, "aim-b": [1] * 256, "vq-16": (16, 16)}

# %% [markdown]
# ## Operations for each byte
#
# The package states the least work of a model: the bytes of weights, caches and states
# that must be read, and the additions and multiplications that must be done. Below, for
# an image of 256 tokens, how many operations there are for each byte: of ARPG-L in 64
# steps of 4 tokens, of AiM-B in 256 steps, and of the decoder that turns tokens into
# pixels.
#
# A processor has such a ratio too. Let this one read 40 billion bytes a second, and do
# 400 billion operations: 10 for each byte. What lies below that line waits for memory,
# what lies above it for arithmetic.


# %%
def work(name, batch, size=4):
    """Return the work of each step of a batch; size: bytes of a stored weight."""
    family = next(f for f in FAMILIES.values() if name in f.presets)
    found = family.work(PRESETS[name], PARTS[name], size, batch)
    return found if isinstance(found, list) else [found]


batches, lines = 2 ** np.arange(8), {"the processor": np.full(8, 10.0)}
for name in PARTS:
    runs = [work(name, int(batch)) for batch in batches]
    sums = [[sum(w.operations for w in run), sum(w.bytes for w in run)] for run in runs]
    lines[name] = np.divide(*np.transpose(sums))
axes, ticks = ("images in a batch", "operations a byte"), (batches, 10 ** np.arange(6))
show.save("23_limits.png", show.curves(lines, batches, axes, ticks, (True, True)))

# %% [markdown]
# A single image of ARPG waits for memory: each weight is read to be multiplied with a
# few numbers. The decoder uses each weight at every position of an image, so it waits
# for arithmetic even with one image.
#
# Here is how `work` counts for ARPG. A control: the bytes of its first step must be
# those of all matrices that a weight file is expected to hold.

# %%
show.source(arpg.work)
shapes = names.manifest(PRESETS["arpg-l"])
matrices = {n: s for n, s in shapes.items() if len(s) == 2 and "embed" not in n}
weights = 4 * sum(map(math.prod, matrices.values()))
step, next_one = (work("arpg-l", batch)[0].bytes for batch in (1, 2))
print(f"{weights / 1e9:.3f} GB of matrices; the first step reads {step / 1e9:.3f} GB,")
print(f"and of each further image {(next_one - step) / 1e6:.1f} MB, its own cache")

# %% [markdown]
# ## The least time
#
# A step takes at least as long as the slower of the two limits, `seconds`.

# %%
show.source(Work)

# %% [markdown]
# **Predict.** Eight images need eight times the operations of one. How many times as
# long does a batch of eight take at least: for ARPG, for AiM, for the decoder? And what
# do weights of two bytes (bfloat16), computed in float32, gain in each, with one image
# and with 64?


# %%
class Processor:
    bandwidth, peak = 40e9, 400e9


def least(name, batch, size=4):
    """Return the least seconds of an image."""
    return sum(w.seconds(Processor) for w in work(name, batch, size)) / batch


settings = {"1": (1, 4), "1, two bytes": (1, 2), "8": (8, 4)}
settings |= {"64": (64, 4), "64, two bytes": (64, 2)}
times = {n: {s: least(n, *how) for s, how in settings.items()} for n in PARTS}

# %%
slower = {name: 8 * row["8"] / row["1"] for name, row in times.items()}
few = {name: row["1"] / row["1, two bytes"] for name, row in times.items()}
many = {name: row["64"] / row["64, two bytes"] for name, row in times.items()}
print("a batch of 8 takes", *(f"{name} {t:.2f}" for name, t in slower.items()), "times")
for images, gain in ((1, few), (64, many)):
    found = ", ".join(f"{name} {g:.2f}" for name, g in gain.items())
    print(f"two bytes, {images} images: {found} times as fast")

# %%
tiles = []
for row in times.values():
    words = [f"{seconds:.3g} s" for seconds in row.values()]
    bars = zip(row.values(), words, strict=True)
    high = max(row.values())
    tiles.append([show.bars([t], 100, 90, high=high, numbers=[w]) for t, w in bars])
heads = [f"batch {setting}".replace(", ", ",\n") for setting in settings]
show.save("23_times.png", show.board(tiles, heads, list(PARTS)))

# %% [markdown]
# **Reveal.** The bars are the least seconds of an image, each row on its own scale. A
# batch reads the weights once for all its images: where they are most of the bytes,
# further images are nearly free, until arithmetic becomes the limit. The decoder gains
# nothing: it was never limited by memory.
#
# AiM keeps waiting for memory, however large the batch. Each image reads and writes a
# state of its own for every token, in float32. A batch does not share it, and weights
# of two bytes do not make it smaller.

# %%
share = {}
for name, batch in (("arpg-l", 1), ("arpg-l", 64), ("aim-b", 1), ("aim-b", 64)):
    once, twice = (sum(w.bytes for w in work(name, b)) for b in (batch, 2 * batch))
    share[name, batch] = (twice - once) / once
    print(f"{name}, batch {batch:2}: {share[name, batch]:.0%} of the bytes are the "
          "images' own: caches, or states")  # fmt: skip

# %% [markdown]
# ## One product, measured
#
# A product of NumPy's with 64 MB of weights. Times differ between machines and runs, so
# nothing is asserted of them. Where we tried it, one row came near the limit of memory,
# and 2 rows took much longer, but 32 took little longer than 2: for more than one row
# OpenBLAS first copies the weights into an order of its own. A limit says what is
# possible, not what a library reaches.

# %%
w, table = np.ones((1024, 16384), np.float32), []
for rows in (1, 2, 32, 128):
    x, seconds = np.ones((rows, 1024), np.float32), []
    for _ in range(4):
        start = time.perf_counter()
        x @ w
        seconds.append(time.perf_counter() - start)
    read, done = w.nbytes / min(seconds) / 1e9, 2 * rows * w.size / min(seconds) / 1e9
    spent = f"{rows:2} rows: {1e3 * min(seconds):.1f} ms"
    table.append(f"{spent}, {read:.1f} GB/s, {done:.0f} billion operations a second")
show.measured(*table)

# %% [markdown]
# ## What was taught

# %%
assert 0.99 < weights / step <= 1, "a step reads every matrix, and little more"
assert lines["arpg-l"][0] < 10 < lines["arpg-l"][3], "a batch lifts ARPG over the limit"
assert lines["aim-b"].max() < 10, "AiM stays below it: a batch shares no states"
assert share["aim-b", 64] > 0.9, "with 64 images nearly all its bytes are states"
assert slower["aim-b"] < slower["arpg-l"] < slower["vq-16"] == 8, "8 images for less"
assert few["arpg-l"] > 1.9 and many["arpg-l"] == 1, "two bytes gain with few images"
assert few["vq-16"] == many["vq-16"] == 1, "and nothing where arithmetic is the limit"

# %% [markdown]
# ## Exercises
#
# `lessons/exercises/23_limits.py`; `python lessons/check.py 23` checks them.
#
# 1. `work_of`: the bytes and operations of a step that multiplies a few rows with
#    matrices of given shapes.
# 2. `least_seconds`: how long does a processor take at least for some work?
# 3. `batch_at_limit`: from which batch on does a processor wait for arithmetic? Why is
#    there none for AiM here?
