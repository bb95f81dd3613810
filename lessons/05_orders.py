# %% [markdown]
# # 05 · Orders: a plan is data
#
# Text is written left to right. An image has no such rule: this model can be asked for
# any position next, and for several at once. Which ones, and how many, is a *plan*, an
# object that can be printed, drawn and changed.
#
# ![The same class drawn in four orders, step by step](pictures/05_orders.png)
#
# *Runs on NumPy alone.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

import minigen
from minigen import plans
from minigen.models import arpg
from minigen.orders import ORDERS, halton, spiral
from minigen.show import lesson as show

pipe = minigen.load("arpg-mnist", backend="numpy")
orders = ("raster", "spiral", "halton", "random")
runs = {order: list(pipe.steps([3], order=order, steps=8, seed=8)) for order in orders}

# %% [markdown]
# ## Four ways to write a three
#
# The same model, the same class, the same seed. Orange frames what a step has just
# drawn. Tokens of one step do not see each other: in raster and spiral these are
# neighbours, in Halton they lie apart.

# %%
rows = [[show.canvas(pipe, step, 3) for step in run] for run in runs.values()]
captions = [f"step {step.index}" for step in runs["raster"]]
show.save("05_orders.png", show.board(rows, captions, orders))

# %% [markdown]
# ## The plan itself
#
# A plan is a tuple of groups of raster positions, one group a step. Printed, it shows
# for each position of the grid the step that draws it.

# %%
plan = pipe.plan(order="spiral", steps=8)
print(plan)
print("counts", plan.counts)
print("first three groups", plan.groups[:3])

# %%
show.source(spiral, halton)

# %% [markdown]
# ## One token a step
#
# The colours run from the first position (dark) to the last (bright). Raster always has
# neighbours to lean on and half of the image unseen; Halton scatters, so that every
# moment's canvas is a sketch of the whole.


# %%
def picture_of(order):
    plan = plans.plan(pipe.grid, order, schedule="one")
    step = np.empty(pipe.grid).ravel()
    step[list(plan.order)] = np.arange(len(plan.groups))
    return show.colours(step.reshape(pipe.grid), 14)


tiles = [picture_of(order) for order in ORDERS]
show.save("05_plans.png", show.board([tiles], tuple(ORDERS)))

# %% [markdown]
# ## How many at each step: the schedule
#
# Few tokens should be drawn at once while little is known, and many when the rest
# follows from what is there. Cosine starts slowly and speeds up; arccos keeps its pace
# and takes all that is left in one leap.

# %%
n = pipe.config.tokens
names = ("arccos", "cosine", "linear")
counts = {name: plans.counts(name, n, 16) for name in names}
for name in names:
    print(f"{name:7}", counts[name])
tiles = [show.bars(counts[name], 160, 70, high=max(counts["arccos"])) for name in names]
show.save("05_schedules.png", show.board([tiles], names))

# %% [markdown]
# ## Quality against parallelism
#
# From one step (all tokens at once, none sees another) to one token a step. The model
# runs once a step, so every column costs what its heading says.

# %%
budgets = (1, 4, 16, 64)
labels = [2, 4, 8]
grids = {steps: pipe.sample(labels, steps=steps, seed=5) for steps in budgets}
rows = [[show.enlarge(grids[s][i], 3) for s in budgets] for i in range(len(labels))]
captions = [f"{s} step" + "s" * (s > 1) for s in budgets]
show.save("05_parallel.png", show.board(rows, captions))

# %% [markdown]
# ## What the order alone changes
#
# A random order follows from a seed, like everything drawn. Above: six random orders,
# and one seed for all draws. Below: one of the orders, and new draws six times. How
# many cells differ between two images of a row? (What it does to quality, judged over
# many digits, stands in `minigen/weights/README.md`.)

# %%
six = [plans.plan(pipe.grid, "random", seed=seed).order for seed in range(6)]
by_order = [list(pipe.steps([3], order=order))[-1].canvas[0] for order in six]
by_draw = list(pipe.steps([3] * 6, order=six[0]))[-1].canvas
drawn = {"six orders": np.stack(by_order), "six draws": by_draw}
rows = [[show.enlarge(i, 3) for i in pipe.decode(run)] for run in drawn.values()]
show.save("05_order_alone.png", show.board(rows, down=list(drawn)))
for name, run in drawn.items():
    differ = (run[:, None] != run[None]).sum((2, 3))[np.triu_indices(6, 1)]
    print(f"{name}: {differ.mean():.0f} of {n} cells differ, {differ.min()} at least")

# %% [markdown]
# ## What a perfect model would make of it
#
# The chain rule, `p(image) = Π p(token | tokens before it)`, holds in *any* order. A
# perfect model would find a real digit equally surprising in all of them; only the
# moment at which it is surprised would differ. Ours has seen random orders only. One
# digit of each class, from the test set; the bars add up the bits of surprise, from the
# first token to the last.

# %%
tokens = pipe.encode(show.digits()[:10]).reshape(10, n)
table = arpg.rotary_table(pipe.ops, pipe.config, pipe.grid)


# %%
def surprise(order, seed=0):
    order = plans.plan(pipe.grid, order, schedule="one", seed=seed).order
    order = np.tile(order, (len(tokens), 1))
    model = pipe.ops, pipe.generator.weights, pipe.config
    logits = arpg.forward(*model, tokens, range(10), order, table)
    p = pipe.ops.probabilities(logits, 1.0, 0, 1.0)
    targets = np.take_along_axis(tokens, order, axis=1)[..., None]
    return -np.log2(np.take_along_axis(p, targets, axis=2))[..., 0].mean(0)


# %%
curves = {order: surprise(order) for order in orders}
others = [surprise("random", seed).sum() for seed in (1, 2)]
high = max(curve.sum() for curve in curves.values())
tiles = [show.bars(curve.cumsum(), 128, 70, high=high) for curve in curves.values()]
captions = [f"{order}: {curve.sum():.0f} bits" for order, curve in curves.items()]
show.save("05_surprise.png", show.board([tiles], captions))
print("bits an image, other random orders:", np.round(others).astype(int))

# %% [markdown]
# ## What was taught

# %%
every = [plans.plan(pipe.grid, o, s, 8) for o in ORDERS for s in names]
totals = [curve.sum() for curve in curves.values()]

assert all(sorted(p.order) == list(range(n)) for p in every), "each position once"
assert all(sum(c) == n and len(c) == 16 for c in counts.values()), "counts add up"
assert list(counts["cosine"]) == sorted(counts["cosine"]), "cosine: slow, then fast"
assert max(counts["arccos"][:-1]) < counts["arccos"][-1], "arccos: a leap at the end"
assert len(np.unique(by_order, axis=0)) == 6, "the order alone changes the image"
assert np.ptp(totals) < 0.3 * np.mean(totals), "no order is much harder than another"

# %% [markdown]
# ## Exercises
#
# 1. Write an order of your own, along the diagonals say, and give it to `pipe.steps` as
#    a list of positions. What does the model draw when it must begin in a corner, and
#    what with `order="border"`, which begins in all four?
# 2. Draw in two steps of 32 tokens: `schedule=[32, 32]`, with `order="raster"` and with
#    `order="halton"`. Which order survives, and why?
# 3. `minigen evaluate arpg-mnist --order raster` classifies many images. Rank the
#    orders by its agreement, at 8 steps and at 64. Does it agree with your eye?
