# %% [markdown]
# # 05 · Orders and schedules: a plan is data
#
# Text is written left to right. An image has no such rule: ARPG can be asked for any
# position next, and for several at once. Which ones, and how many, is a *plan*, an
# object that can be printed, drawn and changed.
#
# ![The same class drawn in four orders, step by step](pictures/05_orders.png)
#
# *Runs on NumPy alone. Needs lesson 04.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

import minigen
from minigen import evaluate, plans
from minigen.families.arpg import work
from minigen.models import arpg
from minigen.orders import ORDERS, border, halton
from minigen.show import frames
from minigen.show import lesson as show

pipe = minigen.load("arpg-mnist", backend="numpy")

# %% [markdown]
# ## Four ways to write a three
#
# The same model, class and seed. Orange frames what a step has just drawn. `border`
# goes from the corners round the border and inwards. `locality` draws beside what is
# known, but far apart within a step. `halton` scatters evenly.

# %%
orders = ("border", "locality", "halton", "raster")
how = {"steps": 8, "seed": 8, "details": True}
runs = {order: list(pipe.steps([3], order=order, **how)) for order in orders}
rows = [[show.canvas(pipe, step, 3) for step in run] for run in runs.values()]
captions = [f"step {step.index}" for step in runs["raster"]]
show.save("05_orders.png", show.board(rows, captions, orders))
note = "Any two of the four orders. Colours: bits of doubt of what is unknown."
data = frames.decoding(pipe, runs, "The same three in two orders", note)
show.player("decoding", data, "05_two_orders")

# %% [markdown]
# ## The plan itself
#
# A plan is a tuple of groups of raster positions, one group a step. Printed, it shows
# for each position of the grid the step that draws it. An order is a function that
# lists positions, as `border` and `halton` do.

# %%
plan = pipe.plan(order="border", schedule="cosine", steps=8)
print(plan)
print("counts", plan.counts)
print("first three groups", plan.groups[:3])
show.source(border, halton)

# %% [markdown]
# All orders of the package, one token a step, from the first (dark) to the last
# (bright). The last one is not known beforehand: `confidence` asks for all unknown
# cells at every step, and keeps the tokens drawn with the highest probability.
# Here it drew a one and an eight.


# %%
def picture_of(groups):
    at = np.empty(64)
    for step, group in enumerate(groups):
        at[list(group)] = step
    return show.colours(at.reshape(pipe.grid), 10, 0, 63)


tiles = [picture_of(plans.plan(pipe.grid, order, "one").groups) for order in ORDERS]
run = list(pipe.steps([1, 8], order="confidence", schedule="one"))
tiles += [picture_of([step.positions[i] for step in run]) for i in range(2)]
captions = [*ORDERS, "confidence", "confidence", ""]
tiles.append(show.scale(0, 63, "(step)"))
show.save("05_plans.png", show.board([tiles], captions))

# %% [markdown]
# ## How many at each step: the schedule
#
# Few tokens should be drawn at once while little is known, and many when the rest
# follows from what is there. Cosine starts slowly and speeds up; arccos keeps its pace
# and takes the rest in one leap; linear does not change.

# %%
names = ("arccos", "cosine", "linear")
counts = {name: plans.counts(name, 64, 8) for name in names}
tiles = [
    show.bars(c, 192, 80, high=28, numbers=[*map(str, c)]) for c in counts.values()
]
show.save("05_schedules.png", show.board([tiles], names, ["tokens"]))

# %% [markdown]
# ## What a step costs
#
# The model runs once a step. In one step it reads the class and is asked for all 64
# cells; in 64 steps it reads 63 tokens besides. `work` counts the operations of each
# step, and the bytes of weights and cache that must come from memory.
#
# **Predict.** How many times as many operations do 64 steps take as one step? And how
# many times as many bytes?

# %%
show.source(work)
budgets, spent = (1, 4, 16, 64), {}
for steps in budgets:
    each = work(pipe.config, plans.counts("cosine", 64, steps), size=2, batch=1)
    spent[steps] = sum(w.operations for w in each), sum(w.bytes for w in each)
for steps, (operations, read) in spent.items():
    print(f"{steps:2} steps: {operations / 1e6:4.0f} million operations, "
          f"{operations / spent[1][0]:.2f} times one step; {read / 1e6:4.1f} MB, "
          f"{read / spent[1][1]:.1f} times")  # fmt: skip
asked = pipe.plan(order="confidence", steps=64).asked
each = work(pipe.config, (1,) * 64, size=2, batch=1, asked=asked)
confident = sum(w.operations for w in each)
print(f"confidence: {confident / spent[64][0]:.0f} times the operations of 64 steps")

# %% [markdown]
# **Reveal.** Little more than twice as many operations: each cell is asked for once,
# and with more steps read once besides. But the weights are fetched anew in each
# step. Which of the two takes the time depends on the machine, and on how many images
# are drawn together (lesson 23).
#
# Confidence asks for a cell again and again until it is taken: that costs operations.

# %% [markdown]
# ## Quality against parallelism
#
# Ten digits with the default guidance and temperature; a classifier says how many it
# recognises. Ten cannot tell 4 steps from 64; lesson 06 measures what few steps lose.

# %%
judge, seen = evaluate.load_judge(backend="numpy"), {}
grids = {n: pipe.sample(range(10), 5, n, batch=10) for n in (1, 4, 64)}
for steps, images in grids.items():
    seen[steps] = int((evaluate.look(judge, images)[1] == np.arange(10)).sum())
rows = [[show.enlarge(image, 2) for image in images] for images in grids.values()]
down = [f"steps: {steps}\n{right} of 10" for steps, right in seen.items()]
show.save("05_parallel.png", show.board(rows, down=down))

# %% [markdown]
# ## What a perfect model would make of orders
#
# The chain rule, `p(image) = Π p(token | tokens before it)`, holds in *any* order. A
# perfect model would find a real digit equally surprising in all of them; only the
# moment would differ. The curves are means of ten test digits. ARPG is not
# perfect: raster and locality take more bits. One token a step they grow from one
# place, and learn late where that is (lesson 04). The control: if the corners come
# first, both come down to the others.
#
# 26 bits more seem few, but make a real digit 2²⁶ times less likely.


# %%
def surprise(order):
    order = np.tile(order, (10, 1))
    model = pipe.ops, pipe.generator.weights, pipe.config
    logits = arpg.forward(*model, tokens, range(10), order, table)
    p = pipe.ops.probabilities(logits, 1.0, 0, 1.0)
    targets = np.take_along_axis(tokens, order, axis=1)[..., None]
    return -np.log2(np.take_along_axis(p, targets, axis=2))[..., 0].mean(0)


# %%
tokens = pipe.encode(show.digits()[:10]).reshape(10, 64)
table = arpg.rotary_table(pipe.ops, pipe.config, pipe.grid)
lists = {order: plans.plan(pipe.grid, order, "one").order for order in orders}
totals = {order: surprise(cells).cumsum() for order, cells in lists.items()}
axes, ticks = ("tokens known", "bits so far"), ((1, 16, 32, 48, 64), range(0, 141, 20))
show.save("05_surprise.png", show.curves(totals, range(1, 65), axes, ticks))
print({order: round(curve[-1]) for order, curve in totals.items()})
after = [
    surprise(sorted(lists[order], key=lambda p: p not in (0, 7, 56, 63))).sum()
    for order in ("locality", "raster")
]
print("with corners first: locality {:.0f}, raster {:.0f}".format(*after))

# %% [markdown]
# ## What was taught

# %%
every = [plans.plan(pipe.grid, o, s, 8) for o in ORDERS for s in names]
ends = [curve[-1] for curve in totals.values()]
best = max(ends[0], ends[2])

assert all(sorted(p.order) == list(range(64)) for p in every), "each position once"
assert all(sum(c) == 64 and len(c) == 8 for c in counts.values()), "counts add up"
assert list(counts["cosine"]) == sorted(counts["cosine"]), "cosine: slow, then fast"
assert max(counts["arccos"][:-1]) < counts["arccos"][-1], "arccos: a leap at the end"
assert 2 < spent[64][0] / spent[1][0] < 2.5, "64 steps: about twice the operations"
assert spent[64][1] > 60 * spent[1][1], "but they fetch the weights 64 times"
assert confident > 10 * spent[64][0], "confidence asks again and again"
assert seen[1] < 5 < 8 < seen[4], "in one step digits fail, in four most do not"
assert min(ends[1], ends[3]) > best, "raster and locality take more bits"
assert max(after) < best, "but not if the corners come first"
assert 25.5 < ends[3] - ends[0] < 26.5, "raster 26 bits more than the border"

# %% [markdown]
# ## Exercises
#
# Write the answers into `lessons/exercises/05_orders.py`, and let
# `python lessons/check.py 05` look at them.
#
# 1. `diagonals`: an order of your own. Give it to `pipe.steps`: how does it fare?
# 2. `step_of`: what a printed plan shows, as an array.
# 3. `nearest`: how close the tokens of each step are. Which order keeps them farthest
#    apart in 8 steps?
