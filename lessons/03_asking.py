# %% [markdown]
# # 03 · Asking for a position before it is known
#
# A text model predicts the next word at the position where the last one ended. To draw
# *any* position next, a model needs the position as input, while nothing is there yet.
# ARPG puts the asked position into the rotation of the query and nowhere else. The laws
# of this lesson follow from that.
#
# ![Four positions of a half-drawn two, and how much each reads of every known
# token](pictures/03_asking.png)
#
# *Runs on NumPy alone. Needs lessons 00 and 02.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

import minigen
from minigen.families import PRESETS
from minigen.models import arpg
from minigen.show import frames
from minigen.show import lesson as show

pipe = minigen.load("arpg-mnist", backend="numpy")
steps = list(pipe.steps([2], order="halton", steps=8, seed=2, details=True))
before, step = steps[4:6]

# %% [markdown]
# ## Who reads whom
#
# A query gives every known token a share of its attention; the shares add up to 1. Here
# are four queries (orange) to a half-drawn two, in each of the three layers that
# answer. Grey is not known, so no query reads it. What is not spent on tokens is the
# class's share, written below each map.

# %%
unknown, known = step.details.positions[0], step.details.known[0]
asked = unknown[len(unknown) // 8 :: len(unknown) // 5][:4]
attention = step.details.attention[0].mean(axis=1)  # over heads: layer, query, token
picture = show.enlarge(pipe.picture(before.canvas)[0], 4)
rows, blank = [[picture] * 4], np.full((16, 128, 3), 255, np.uint8)
for layer in attention[:, np.searchsorted(unknown, asked)]:
    cells = np.full((4, 8 * 8), np.nan)
    cells[:, known] = layer[:, 1:]
    rows.append([show.colours(c.reshape(8, 8), 16, 0, 0.1) for c in cells])
    rows.append([show.written(blank, [(40, 8, f"class {c:.0%}")]) for c in layer[:, 0]])
for row in rows[0], *rows[1::2]:
    row[:] = [show.outline(row[i], asked[i], pipe.grid) for i in range(4)]
rows[1].append(show.scale(0, 0.1, "and more"))
down = ["canvas", "layer 0, share", "", "layer 1, share", "", "layer 2, share", ""]
show.save("03_asking.png", show.board(rows, down=down))

# %% [markdown]
# In the player, choose any unknown cell.

# %%
note = "Colours: the share of attention that the chosen cell's query gives each token."
data = frames.decoding(pipe, {"class 2": steps}, "Who reads whom", note)
show.player("attention", data, "03_who")

# %% [markdown]
# ## A question holds no content
#
# This is the half of the model that answers. `u` starts as the same learned vector for
# every question; `rows`, its positions, enter by `rope2d` only, which turns a query by
# two angles, one for its row and one for its column (lesson 04). What is known enters
# where a query attends to the cache (`attend`). Nothing is written.

# %%
show.source(arpg.ask, arpg.answer)

# %% [markdown]
# ## One cache for all layers that answer
#
# Notice `shared` in the loop: all layers of this half read the *same* keys and values,
# made once for each token, where other transformers make new ones for each layer. This
# is where ARPG saves memory. Only the half that reads keeps a key and a value for each
# of its layers. In bytes a token, float32:

# %%
for name in ("arpg-mnist", "arpg-l", "arpg-xxl"):
    c = PRESETS[name]
    layer = 2 * c.width * 4  # a key and a value
    ours, usual = (c.half + 1) * layer, 2 * c.half * layer
    print(f"{name:10} {ours:7,} bytes; {usual:7,} if every layer had its own")
ops, weights, config = pipe.ops, pipe.generator.weights, pipe.config
table = arpg.rotary_table(ops, config, pipe.grid)
cache = arpg.new_cache(ops, config, batch=1, capacity=1)
held = sum(c.keys.nbytes + c.values.nbytes for c in (*cache.layers, cache.shared))


# %%
def read(label, positions, tokens):
    """Return a cache that holds a class and then tokens, read in turn."""
    rows, known = arpg.table_rows(positions), np.array([tokens], np.int64)
    ((ids, rows),) = arpg.prompt(config, [label], rows, known, guided=False)
    return arpg.begin(ops, weights, config, ids, rows, table, 65, causal=True)


def ask(cache, positions, **how):
    rows = arpg.table_rows([positions])
    return arpg.ask(ops, weights, config, cache, rows, table, **how)[0]


# %% [markdown]
# ## The first questions
#
# Now let only the class be known, and ask for all 64 positions at once.
#
# **Predict.** Is the middle of a two given other probabilities than its corners? By how
# much do the 64 answers differ?

# %%
logits = ask(read(2, [], []), range(64))
spread = np.abs(logits - logits[0]).max()  # on some processors a sum has two orders
print(f"logits of {logits.min():.2f} .. {logits.max():.2f} differ by {spread:.0e}")
mess, fine = (pipe.sample([2] * 4, steps=steps, seed=2) for steps in (1, 16))
rows = [[show.enlarge(image, 3) for image in images] for images in (mess, fine)]
show.save("03_one_step.png", show.board(rows, down=["1 step", "16 steps"]))

# %% [markdown]
# **Reveal.** They are all the same, but for rounding. Attention to a single key is 1,
# whatever its score, so every query reads the same, wherever it asks. A picture drawn
# in *one* step is made of independent draws from one distribution.

# %% [markdown]
# ## Asking leaves no trace
#
# Ask four questions one by one instead of together: the cache is not touched, and no
# question knows of the others. What differs is rounding.

# %%
half = read(2, known, before.canvas.ravel()[known])
copies = half.shared.keys.copy(), half.shared.values.copy()
queries, of_blank = {}, {}
together = ask(half, asked, watch=queries.__setitem__)
ask(read(2, [], []), asked, watch=of_blank.__setitem__)
apart = np.concatenate([ask(half, [p]) for p in asked])
pairs = zip(copies, (half.shared.keys, half.shared.values), strict=True)
untouched = all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
difference = np.abs(apart - together).max()
print(f"cache untouched: {untouched}; together or apart: {difference:.1e} difference")

# %% [markdown]
# ## Training and drawing
#
# In training all questions are asked at once, and a mask hides from question t whatever
# comes at t or later. Is drawing the same function? Give both the same tokens in the
# same order, in groups of 1 to 16 tokens, and compare what the first question of each
# group is answered: how much probability lies elsewhere? The tokens of a group can be
# read in a block, where they see each other in both directions, or in turn, each seeing
# those before it.


# %%
def moved(size, causal):
    """Return the mean share of probability that is not where training has it."""
    cache, gaps = read(2, [], []), []
    for t in range(0, 64, size):
        p = ops.probabilities(ask(cache, order[[t]])[None], 1, 0, 1)[0]
        gaps.append(np.abs(p - trained[t]).sum() / 2)
        ids, rows = (array[:, t + 1 : t + 1 + size] for array in (content, where))
        cache = arpg.feed(ops, weights, config, cache, ids, rows, table, causal)
    return np.mean(gaps)


# %%
tokens = steps[-1].canvas.reshape(1, -1)
order = np.random.default_rng(0).permutation(64)
content, where, _ = arpg.arrange(config, tokens, [2], order[None])
trained = arpg.forward(ops, weights, config, tokens, [2], order[None], table)
trained = ops.probabilities(trained, 1, 0, 1)[0]
sizes = (1, 2, 4, 8, 16)
gaps = {way: [moved(n, way != "block") for n in sizes] for way in ("block", "in turn")}
tiles = []
for each in gaps.values():
    tiles.append([show.bars([g], 64, 80, high=0.1, numbers=[f"{g:.1%}"]) for g in each])
captions = [f"{n} a step" for n in sizes]
down = ["read in a block:\nprobability moved", "read in turn"]
show.save("03_gap.png", show.board(tiles, captions, down))

# %% [markdown]
# With one token a step, drawing *is* the training form. With several only the first
# question of each step is, and only if they are read in turn, as this model does by
# default; the paper's code reads in a block (lesson 07). The other tokens of a step are
# drawn without seeing those beside them (lesson 06).

# %% [markdown]
# ## What was taught

# %%
first = "cross0_query"
assert np.array_equal(queries[first], of_blank[first]), "a question holds no content"
assert spread < 1e-5, "the first step answers alike everywhere: one key, softmax 1"
assert untouched, "asking does not change what is known"
assert difference < 1e-4, "questions do not see each other"
assert held == 4 * 2 * config.width * 4, "three layers that read, one that is shared"
assert max(gaps["in turn"]) < 1e-4, "read in turn, the first answer is training's"
assert gaps["block"][0] < 1e-4, "and in a block, for one token a step"
assert gaps["block"][1] > 0.01, "but for no more"

# %% [markdown]
# ## Exercises
#
# Write the answers into `lessons/exercises/03_asking.py`, and let
# `python lessons/check.py 03` look at them.
#
# 1. `heard`: what a query takes from the cache: shares of values.
# 2. `cache_bytes`: what the cache of an ARPG takes.
# 3. `training_rows`: what is read in training, where it stands, what is asked for.
