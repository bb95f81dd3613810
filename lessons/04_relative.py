# %% [markdown]
# # 04 · A position is relative
#
# ARPG may be asked for any position next. Yet it fails where text models succeed: row
# by row. The obvious explanation is wrong, and here is how one finds out.
#
# ![Ten digits from the border inwards, and ten failures in raster
# order](pictures/04_relative.png)
#
# *Runs on NumPy alone. Needs lesson 03.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

import minigen
from minigen import evaluate, plans, study
from minigen.models import layers
from minigen.ops.rope2d import reference as rope
from minigen.show import lesson as show

pipe = minigen.load("arpg-mnist", backend="numpy")
classifier = evaluate.load_judge(backend="numpy")

# %% [markdown]
# ## Border and raster
#
# Only the order differs. A classifier, trained apart, says how many digits it sees as
# the class asked for. Wilson's interval holds the true share in 95 of 100 cases.


# %%
def drawn(order, steps=8, n=16):
    """Return n images, and Wilson's interval of those seen as their class, in words."""
    labels = [i % 10 for i in range(n)]
    images = pipe.sample(labels, order=order, schedule="linear", steps=steps, batch=n)
    right = int((evaluate.look(classifier, images)[1] == labels).sum())
    low, high = study.wilson(right / n, n)
    return images, (low, high), f"{right} of {n}\n({low:.0%} to {high:.0%})"


border, raster = drawn("border"), drawn("raster")
runs = {"border, 8 steps": border, "raster, 8 steps": raster}
rows = [[show.enlarge(image, 2) for image in run[0][:10]] for run in runs.values()]
down = [f"{name}\n{said}" for name, (_, _, said) in runs.items()]
show.save("04_relative.png", show.board(rows, down=down))

# %% [markdown]
# ## A first explanation: neighbours
#
# Tokens of one step do not see each other, and in raster order they are neighbours.
#
# **Predict.** If that is the cause, what becomes of raster order with one token a step,
# in 64 steps?

# %%
runs["raster, 64 steps"] = drawn("raster", 64)
print(runs["raster, 64 steps"][2])

# %% [markdown]
# **Reveal.** It fails as before, with no neighbours drawn together. So they are not the
# cause.

# %% [markdown]
# ## What the model sees of positions
#
# A query and a key are cut into pairs, and `rope2d` turns each pair by an angle: half
# of them by the row of the position, half by its column. Only the difference of the
# angles enters a score:
#
# $$(R_p q) \cdot (R_r k) = q \cdot (R_{r-p} k)$$
#
# Nothing else in ARPG knows positions. Row 0 of the `table`, the class's, is zero: so
# is its key, and it says nothing of where a query is.
#
# Below, one vector is asked at the orange position and kept as a key at all others. The
# pattern of scores moves along.

# %%
show.source(layers.table_rows, rope.table, rope.rope2d)
ops, config = pipe.ops, pipe.config
table = layers.rotary_table(ops, config)
vector = np.ones((1, 64, 1, config.head_size), np.float32)
turned = ops.rope2d(vector, table, layers.table_rows([range(64)]))[0, :, 0]
scores = turned @ turned.T
asked = [0, 27, 36, 62]
tiles = [show.colours(scores[p].reshape(8, 8), 16, 16, 32) for p in asked]
tiles = [show.outline(t, p, (8, 8)) for t, p in zip(tiles, asked, strict=True)]
captions = [*(f"asked at {p}" for p in asked), "score"]
show.save("04_angles.png", show.board([[*tiles, show.scale(16, 32)]], captions))

# %% [markdown]
# ## The shift test
#
# So moving all that is known and asked for must change nothing but rounding. `shift`
# moves half of a drawn digit and the questions by two rows and two columns. As a
# control, it also exchanges the places of the known tokens.

# %%
show.source(study.shift)
shift = study.shift(pipe)
for name, value in shift.items():
    print(f"{name:8}{value:.1e}")

# %% [markdown]
# ## What follows for raster order
#
# Digits begin and end with black rows. If only differences are seen, a black row does
# not say which row it is. Let the model read one, and ask for all other cells: how
# likely is ink there, a code whose stamp is not black (lesson 01)? Then let it read
# one black cell before: bottom left (56), or the row's last (7).

# %%
tokens = pipe.encode(show.digits()[:10])
cells = pipe.decode(tokens).reshape(10, 8, 4, 8, 4, 3).mean((2, 4, 5))
used = np.bincount(tokens.ravel(), minlength=64)
light = np.bincount(tokens.ravel(), cells.ravel(), 64)  # of 255, added up
black = (used > 0) & (light < used)


# %%
def ink(known):
    """Return the probability (8 8) of a token that is not black, over all classes."""
    canvas = np.full((10, 64), -1)
    canvas[:, known] = 0  # black
    canvas, rest = canvas.reshape(10, 8, 8), [p for p in range(64) if p not in known]
    plan = plans.plan(pipe.grid, rest, [len(rest)], known=known)
    given = {"plan": plan, "known": canvas, "guidance": 1, "temperature": 1}
    (step,) = pipe.steps(range(10), **given)
    found = np.full(64, np.nan)
    found[rest] = 1 - step.probabilities[..., black].sum(2).mean(0)
    return found.reshape(8, 8)


# %%
row = [*range(8)]
reads = {"row": row, "56, row": [56, *row], "7, row": [7, *row[:7]]}
maps = {f"reads {name}": ink(known) for name, known in reads.items()}
tiles = [show.colours(values, 16, 0, 1) for values in maps.values()]
tiles.append(show.scale(0, 1, width=160))
show.save("04_ink.png", show.board([tiles], [*maps, "probability of ink"]))
below = [values[1, 2:6].mean() for values in maps.values()]
for name, values in maps.items():
    print(f"{name}: ink in the middle of the next row {values[1, 2:6].mean():.0%}")

# %% [markdown]
# Without the bottom left cell, ink comes at once, as if this were a row further down.
#
# **Predict.** One cell is drawn before all others, then raster order as before. Which
# cell mends it: the bottom left or the top right one? And does it matter then whether
# neighbours are drawn together, in 8 steps?

# %%
for corner, steps in ((7, 64), (56, 64), (56, 8)):
    order = [corner, *(p for p in range(64) if p != corner)]
    runs[f"{corner}, raster, {steps} steps"] = drawn(order, steps)
rows = [[show.enlarge(image, 2) for image in run[0][:10]] for run in runs.values()]
down = [f"{name}\n{said}" for name, (_, _, said) in runs.items()]
show.save("04_cause.png", show.board(rows, down=down))
print("\n".join(down))

# %% [markdown]
# **Reveal.** The cell at the bottom left is enough. Only the first and the last row are
# seven rows apart, so now the model knows which row it draws. Then even neighbours may
# be drawn together, though some digits break (lesson 06). The top right cell is the
# control. It is known as early, but mends far less: it says only which column is which.
# A full row already says that.

# %% [markdown]
# ARINAR (lesson 13), trained in random orders too, has a learned vector for each
# position: `minigen evaluate arinar-mnist --order raster --count 100` shows that it
# needs no such cell.

# %% [markdown]
# ## What was taught

# %%
border, few, one, column, mended, mended_few = (run[1] for run in runs.values())

assert np.allclose(scores[0, 9], scores[27, 36]), "the same way, the same score"
assert shift["moved"] < 1e-4 < 1 < shift["mixed"], "only differences of positions"
assert few[1] < border[0], "raster order fails where the border's succeeds"
assert one[1] < border[0], "with one token a step too: it is not the neighbours"
assert below[1] < below[0] - 0.2 and below[2] > below[1] + 0.2, "ink comes too early"
assert one[1] < mended[0], "what mends it is a cell that says which row is the first"
assert few[1] < mended_few[0], "and then neighbours may be drawn together"
assert column[1] < mended[0], "a cell that does not say so mends far less"

# %% [markdown]
# ## Exercises
#
# Write the answers into `lessons/exercises/04_relative.py`, and let
# `python lessons/check.py 04` look at them.
#
# 1. `score`: of a query and a key at two positions. One rotation is enough.
# 2. `places`: in how many places of a grid do known cells fit, if only differences are
#    seen?
# 3. `certain_after`: after how many tokens of an order one place is left. Try those of
#    `minigen.orders`: which others are in doubt for long?
