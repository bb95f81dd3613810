# %% [markdown]
# # 02 · Orders: a plan is data
#
# Text is written left to right. An image has no such rule: this model can be asked for
# any position next, and for several at once. Which ones, and how many, is a *plan*, an
# object that can be printed, drawn and changed.
#
# *Runs on NumPy alone.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

import minigen
from minigen import plans
from minigen.models import arpg
from minigen.show import lesson as show

pipe = minigen.load("arpg-mnist", backend="numpy")
orders = ("raster", "spiral", "halton", "random")
runs = {order: list(pipe.steps([3], order=order, steps=8)) for order in orders}

# %% [markdown]
# ## Four ways to write a three
#
# The same model, the same class, the same seed. Orange frames what a step has just
# drawn.

# %%
rows = [[show.canvas(pipe, step, 3) for step in run] for run in runs.values()]
captions = [f"step {step.index}" for step in runs["raster"]]
show.save("02_orders.png", show.board(rows, captions, orders))

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
show.source(plans.spiral, plans.halton)

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


tiles = [picture_of(order) for order in plans.ORDERS]
show.save("02_plans.png", show.board([tiles], plans.ORDERS))

# %% [markdown]
# ## How many at each step: the schedule
#
# Tokens drawn in one step do not see each other. So few are drawn while little is
# known, and many when the rest follows from what is there. Cosine starts slowly and
# speeds up; arccos keeps its pace and takes all that is left in one leap.

# %%
n = pipe.config.tokens
names = ("arccos", "cosine", "linear")
counts = {name: plans.counts(name, n, 16) for name in names}
for name in names:
    print(f"{name:7}", counts[name])
tiles = [show.bars(counts[name], 160, 70, high=max(counts["arccos"])) for name in names]
show.save("02_schedules.png", show.board([tiles], names))

# %% [markdown]
# ## Quality against parallelism
#
# From one step (all tokens at once, none sees another) to one token a step. The model
# runs once a step, so every column costs what its heading says.

# %%
budgets = (1, 4, 16, 64)
labels = [2, 4, 8]
grids = {steps: pipe.sample(labels, steps=steps, seed=1) for steps in budgets}
rows = [[show.enlarge(grids[s][i], 3) for s in budgets] for i in range(len(labels))]
captions = [f"{s} step" + "s" * (s > 1) for s in budgets]
show.save("02_parallel.png", show.board(rows, captions))

# %% [markdown]
# ## What the order alone changes
#
# `temperature=0` takes the likeliest token every time: nothing is left to chance but
# the order, which a run draws once, from its seed. Six seeds, hence six orders, one
# class:

# %%
runs = [pipe.steps([3], seed=seed, steps=16, temperature=0) for seed in range(6)]
greedy = np.concatenate([list(run)[-1].canvas for run in runs])
images = [show.enlarge(image, 3) for image in pipe.decode(greedy)]
show.save("02_order_alone.png", show.board([images]))
changed = [int((canvas != greedy[0]).sum()) for canvas in greedy[1:]]
print(f"tokens that differ from the first image's: {changed} of {n}")

# %% [markdown]
# ## What a perfect model would make of it
#
# The chain rule, `p(image) = Π p(token | tokens before it)`, holds in *any* order. A
# perfect model would find a real digit equally surprising in all of them; only the
# moment at which it is surprised would differ. Ours has seen random orders only. One
# digit of each class, from the test set; bars are bits of surprise, from the first
# token to the last.

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
tiles = [show.bars(curve, 128, 70, high=6) for curve in curves.values()]
captions = [f"{order}: {curve.sum():.0f} bits" for order, curve in curves.items()]
show.save("02_surprise.png", show.board([tiles], captions))
print("bits an image, other random orders:", np.round(others).astype(int))

# %% [markdown]
# ## What was taught

# %%
every = [plans.plan(pipe.grid, o, s, 8) for o in plans.ORDERS for s in names]
totals = [curve.sum() for curve in curves.values()]

assert all(sorted(p.order) == list(range(n)) for p in every), "each position once"
assert all(sum(c) == n and len(c) == 16 for c in counts.values()), "counts add up"
assert list(counts["cosine"]) == sorted(counts["cosine"]), "cosine: slow, then fast"
assert max(counts["arccos"][:-1]) < counts["arccos"][-1], "arccos: a leap at the end"
assert all(changed), "the order alone changes the image"
assert np.ptp(totals) < 0.2 * np.mean(totals), "no order is much harder than another"

# %% [markdown]
# ## Exercises
#
# 1. Write an order of your own, from the rim inwards say, and give it to `pipe.steps`
#    as a list of positions. What does the model draw when it must begin with the
#    corners?
# 2. Draw in two steps of 32 tokens: `schedule=[32, 32]`, with `order="raster"` and with
#    `order="halton"`. Which order survives, and why?
# 3. `minigen evaluate arpg-mnist --order halton` lets a judge look at many images. Does
#    it agree with your eye about 4, 16 and 64 steps?
