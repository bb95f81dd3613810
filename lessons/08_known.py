# %% [markdown]
# # 08 · Known tokens: inpainting and larger grids
#
# This model draws its tokens in any order. So whatever is known already is where the
# order starts: inpainting, editing and larger pictures need no other model.
#
# ![Three digits of which a part is known, and four answers to
# each](pictures/08_known.png)
#
# *Runs on NumPy alone. Needs lesson 05, which says what a plan is.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

import minigen
from minigen import tasks
from minigen.models import arpg
from minigen.show import lesson as show

pipe = minigen.load("arpg-mnist", backend="numpy")
digits, labels = show.digits()[:10], np.arange(10)

# %% [markdown]
# ## A part is known
#
# Three test digits; what is kept of each, as tokens; and four answers. Only the class
# is told besides.

# %%
rows = []
for label, part in ((3, "top"), (5, "left"), (8, "centre")):
    mask = tasks.keep(part, digits.shape[1:3])
    task = tasks.inpainting(digits[label], mask, pipe.tokenizer_config.factor)
    known = task.canvas(pipe.encode(digits[[label]])[0])
    drawn = pipe.inpaint(digits[label], mask, label, count=4, steps=8)
    shown = digits[label], pipe.picture(known[None])[0], *drawn.images
    rows.append([show.enlarge(image, 3) for image in shown])
captions = ["digit", "known", *(f"answer {i}" for i in range(4))]
show.save("08_known.png", show.board(rows, captions))
kept = np.array_equal(drawn.tokens[:, known >= 0], known[None, known >= 0].repeat(4, 0))
print("known tokens are left as they were:", kept)

# %% [markdown]
# ## It is a plan, and nothing else
#
# A plan names the known positions (dots) and the groups of all others. Its order is the
# usual one; what is known is left out. The run reads the known tokens after the class,
# before the first step; the rest is the loop of lesson 00.

# %%
plan = minigen.plan(pipe.grid, "border", "cosine", 8, known=task.known)
print(plan)
by_hand = list(pipe.steps([8] * 4, plan=plan, known=known))[-1].canvas
nothing = tasks.box((0, 0, 32, 32), (32, 32))
all_new = pipe.inpaint(digits[8], nothing, 8, count=2, steps=8).images
usual = pipe.sample([8] * 2, steps=8)

# %% [markdown]
# ## From pixels to tokens
#
# A mask marks pixels, and the model knows tokens, squares of 4 x 4 pixels. `inpainting`
# redraws every token that a marked pixel touches.

# %%
show.source(tasks.inpainting)

# %% [markdown]
# Does a token that the mask does not touch depend on the pixels behind it? The
# tokenizer's encoder looks further than one square. Below, the pixels behind a mask are
# painted white or black before encoding: how many of the known tokens become others,
# over ten digits, by their distance from the mask?

# %%
mask = tasks.box((16, 0, 32, 32), (32, 32))
before, changed = pipe.encode(digits)[:, :4], []
for grey in (0, 255):
    painted = np.where(mask[..., None], np.uint8(grey), digits)
    changed.append((pipe.encode(painted)[:, :4] != before).mean((0, 2))[::-1])
tiles = [
    show.bars(share, 200, 90, high=1, numbers=[f"{s:.0%}" for s in share])
    for share in changed
]
captions = [f"painted {c}\n1st to 4th row above the mask" for c in ("black", "white")]
show.save("08_mask.png", show.board([tiles], captions))

# %% [markdown]
# They do change, most in the row beside the mask. So the known tokens of the first
# picture, which come from the whole digit, tell a little of what is hidden. A real hole
# should be filled plausibly before it is encoded, and the mask be generous.
#
# ## Read as in training
#
# Class and known tokens are read in one call, each seeing only those before it, as in
# training. In a block, each seeing all, an unknown token costs more bits; lesson 07
# finds out why. The lower half, given the upper:

# %%
ops, weights, config = pipe.ops, pipe.generator.weights, pipe.config
tokens = pipe.encode(digits).reshape(10, 64)
halves = np.arange(32), np.arange(32, 64)
table = arpg.rotary_table(ops, config, pipe.grid)
bits = {
    reading: arpg.loss_after(
        ops, weights, config, tokens, labels, *halves, table, causal
    )
    / np.log(2)
    for reading, causal in arpg.READINGS.items()
}
print({reading: f"{b:.2f} bits a token" for reading, b in bits.items()})

# %% [markdown]
# ## A larger grid
#
# A position is an angle, and only differences of angles count (lesson 04). So no
# position is new to the model, and it draws on any grid. Here is a three on 8 x 16, 12
# x 12 and 8 x 32 tokens.
#
# But *differences* may be new: in training no two tokens were further apart than seven
# rows or columns.
#
# **Predict.** A digit is known, and everything to its right is black. The model is
# asked for the next column, is told that it is black, is asked for the next. Will it be
# surer of black the further it gets from the digit? And if it is told the last seven
# columns only, or as many tokens (56) from all columns?

# %%
rows = []
for grid in ((8, 16), (12, 12), (8, 32)):
    wide = pipe.expand(3, grid, count=2, steps=16).images
    rows.append([show.enlarge(image, 2) for image in wide])
names = ["8 x 16", "12 x 12", "8 x 32"]
show.save("08_grids.png", show.board(rows, down=names))

# %%
tokens = pipe.encode(np.pad(digits, ((0, 0), (0, 0), (0, 32), (0, 0)))).reshape(10, -1)
table = arpg.rotary_table(ops, config, (8, 16))
columns, costs, some = np.arange(128).reshape(8, 16).T, {}, range(9, 16, 2)
for column in some:
    told = columns[:column].ravel()
    spread = told[np.linspace(0, len(told) - 1, 56).astype(int)]
    reads = {"all": told, "last seven": told[-56:], "56 of all": spread}
    for name, read in reads.items():
        call = tokens, labels, read, columns[column], table
        bit = arpg.loss_after(ops, weights, config, *call) / np.log(2)
        costs.setdefault(name, []).append(bit)
axes = ("column, the digit ends at 7", "bits a token of what is black")
picture = show.curves(costs, some, axes, (some, (0, 1, 2, 3)))
show.save("08_columns.png", picture)
print({name: [f"{b:.2f}" for b in cost] for name, cost in costs.items()})

# %% [markdown]
# **Reveal.** Given all columns it becomes less sure, from 0.1 bits to more than two: at
# the end it reads tokens fifteen columns away. Given the last seven, it stays sure;
# given as many from all columns, it does not. So it is not the number of tokens, but
# what stands at distances it never saw. Larger grids look like this: strokes and small
# figures, seldom the digit.

# %% [markdown]
# In the [live page](live.html) you can erase cells of a digit yourself, and see what
# the model expects there.

# %% [markdown]
# ## What was taught

# %%
assert np.array_equal(by_hand, drawn.tokens), (
    "inpainting is a plan with known positions"
)
assert kept, "what is known is never changed"
assert np.array_equal(all_new, usual), "with nothing known it is plain sampling"
assert changed[1][0] > changed[1][3] > 0, (
    "pixels behind a mask show in tokens beside it"
)
assert bits["causal"] < bits["block"] - 1, "known tokens are read as in training"
assert costs["all"][-1] > 4 * costs["all"][0], "far from the digit it is unsure"
assert costs["last seven"][-1] < 2 * costs["last seven"][0], (
    "not if all it reads is near"
)
assert costs["56 of all"][-1] > 4 * costs["56 of all"][0], "as many, but some far: no"

# %% [markdown]
# ## Exercises
#
# Write the answers into `lessons/exercises/08_known.py`, and let `python
# lessons/check.py 08` look at them.
#
# 1. `token_mask`: which tokens does a mask of pixels touch?
# 2. `groups_after`: the groups of a plan, when some positions are known.
# 3. `moved`: where are the positions of a small grid on a larger one? Ask the model
#    there with a known digit that moved too: do its answers change?
