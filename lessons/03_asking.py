# %% [markdown]
# # 03 · Asking for a position before it is known
#
# A text model predicts the next word at the position where the last one ended. To draw
# *any* position next, a model needs the position as input, while nothing is there yet.
# ARPG puts the position into the rotation of the query and nowhere else. From this one
# decision follow all the laws of this lesson.
#
# ![Four positions of a half-drawn two, and which tokens each listens
# to](pictures/03_asking.png)
#
# *Runs on NumPy alone.*

# %%
import os
from types import SimpleNamespace

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

import minigen
from minigen.models import arpg
from minigen.ops.attention.reference import softmax
from minigen.show import lesson as show

pipe = minigen.load("arpg-mnist", backend="numpy")

# %% [markdown]
# ## A position is an angle
#
# Before it is compared with keys, a query is cut into pairs, and each pair is turned by
# an angle: half of the pairs by the row of its position, half by its column. So the
# score of a query at p and a key at r depends on the way from p to r alone:
#
#     (R_p q) · (R_r k) = q · (R_(r−p) k)
#
# Below, one and the same vector is asked at the orange position and kept as a key at
# all others: brighter is a higher score. Turning alone makes a query look at its own
# place.

# %%
ops, weights, config = pipe.ops, pipe.generator.weights, pipe.config
table = arpg.rotary_table(ops, config, pipe.grid)
everywhere = 1 + np.arange(config.tokens)[None]  # row 0 of the table is the class's

same = np.ones((1, config.tokens, 1, config.head_size), np.float32)
turned = ops.rope2d(same, table, everywhere)[0, :, 0]
scores = turned @ turned.T
positions = [0, 27, 36, 62]
tiles = show.maps(scores[positions], positions, pipe.grid)
show.save("03_angles.png", show.board([tiles], [f"position {p}" for p in positions]))
print("row 0, the class's:", np.unique(table[0]), "no angle, but nothing at all")

# %% [markdown]
# ## A question holds no content
#
# This is the half of the model that answers. `u` starts as the same learned vector for
# every question; `rows`, its positions, enter by `rope2d` only. What is known enters
# where a query attends to the shared cache (`attend`). Nothing is written.

# %%
show.source(arpg.ask, arpg.answer)

# %% [markdown]
# ## The first step knows no position
#
# At first only the class has been read. A softmax over one key is 1 whatever the score,
# so all questions hear the same answer, wherever they ask.


# %%
def read(ops, label, positions, tokens):
    """Return a cache that holds a class and then tokens, read in one go."""
    cache = arpg.new_cache(ops, config, 1, 1 + config.tokens)
    known = np.reshape(tokens, (1, -1))
    known_rows = arpg.table_rows(positions)
    ((ids, rows),) = arpg.prompt(config, [label], known_rows, known, guided=False)
    return arpg.feed(ops, weights, config, cache, ids, rows, table)


nothing = np.empty((1, 0), np.int64)
blank = read(ops, 2, [], nothing)
logits = arpg.ask(ops, weights, config, blank, everywhere, table)[0]
spread = np.abs(logits - logits[0]).max()
print(f"logits lie in {logits.min():.2f} .. {logits.max():.2f}")
print(f"largest difference between two of the {len(logits)} positions: {spread}")

# %% [markdown]
# So a picture drawn in *one* step is made of independent draws from one and the same
# distribution: each patch is plausible, the whole is not.

# %%
mess, fine = (pipe.sample([2] * 4, steps=steps, seed=2) for steps in (1, 16))
rows = [[show.enlarge(image, 3) for image in images] for images in (mess, fine)]
show.save("03_one_step.png", show.board(rows, down=["1 step", "16 steps"]))

# %% [markdown]
# ## Who listens to whom
#
# A model calls nothing but a table of operations. Swap one row of the table and the
# same model runs on your function: here an attention that also notes what it saw.


# %%
def noting(seen):
    def attention(q, k, v, length):
        scores = np.einsum("bmhe,bnhe->bhmn", q, k[:, :length])
        p = softmax(scores / np.sqrt(config.head_size))
        seen.append(SimpleNamespace(q=q, p=p[0].mean(0)))
        return ops.attention(q, k, v, length)

    return SimpleNamespace(**{**vars(ops), "attention": attention})


sketch = list(pipe.steps([2], order="halton", steps=8, seed=2))[3].canvas
flat = sketch.ravel()
known, unknown = np.flatnonzero(flat >= 0), np.flatnonzero(flat < 0)
half = read(ops, 2, known, flat[known])

# %% [markdown]
# Four questions (orange) to a half-drawn two, and how much each hears from every known
# token, in each of the layers that answer. Grey is not known, so nobody hears it.

# %%
asked = unknown[len(unknown) // 8 :: len(unknown) // 5][:4]
seen = []
together = arpg.ask(noting(seen), weights, config, half, 1 + asked[None], table)
shares = np.full((len(seen), len(asked), config.tokens), np.nan)
shares[..., known] = [layer.p[:, 1:] for layer in seen]  # key 0 is the class
picture = show.enlarge(pipe.picture(sketch)[0], 4)
rows = [[show.outline(picture, p, pipe.grid) for p in asked]]
rows += [show.maps(layer, asked, pipe.grid) for layer in shares]
layers = [f"layer {i}" for i in range(len(seen))]
show.save("03_asking.png", show.board(rows, down=["canvas", *layers]))
print("the class is heard by", *(f"{layer.p[:, 0].mean():.0%}" for layer in seen))

# %% [markdown]
# ## Asking leaves no trace
#
# Ask the four questions one by one instead of together: the cache is not touched, and
# no question knows of the others. What differs is rounding.

# %%
shared = half.shared
filled = np.s_[:, : shared.length]  # the rest of the cache is room, not memory
before = shared.keys[filled].copy(), shared.values[filled].copy()
apart = [
    arpg.ask(ops, weights, config, half, np.array([[1 + p]]), table) for p in asked
]
after = shared.keys[filled], shared.values[filled]
untouched = np.array_equal(before, after)
difference = np.abs(np.concatenate(apart, axis=1) - together).max()
print(f"cache untouched: {untouched}; together or apart: {difference:.1e} difference")

# %% [markdown]
# ## Reading has no order either
#
# The tokens that are read in one group see each other, and each carries its position in
# the same rotation. So the order within a group does not matter.

# %%
backwards = known[::-1]
shuffled = read(ops, 2, backwards, flat[backwards])
moved = arpg.ask(ops, weights, config, shuffled, 1 + asked[None], table)
order_of_reading = np.abs(moved - together).max()
print(f"read in another order: {order_of_reading:.1e} difference")

# %% [markdown]
# ## Training and drawing are the same function
#
# In training all questions are asked at once, and a mask hides from question t whatever
# comes at t or later. Drawn one token a step with a cache, the same numbers must come
# out. They do, up to rounding: and to show that it *is* rounding, swap two rows of the
# table and do it all again in float64.


# %%
def both_forms(ops, weights, tokens, order):
    ids, content, query = arpg.arrange(config, tokens, [2], order)
    cache = arpg.new_cache(ops, config, 1, config.tokens)
    steps = []
    for t in range(config.tokens):
        now = np.s_[:, t : t + 1]
        cache = arpg.feed(ops, weights, config, cache, ids[now], content[now], table)
        steps.append(arpg.ask(ops, weights, config, cache, query[now], table))
    trained = arpg.forward(ops, weights, config, tokens, [2], order, table)
    return np.concatenate(steps, axis=1), trained


# %%
double = {"empty": np.empty, "embed": lambda rows, ids: rows.astype(float)[ids]}
ops64 = SimpleNamespace(**{**vars(ops), **double})
tokens = list(pipe.steps([2], seed=2))[-1].canvas.reshape(1, -1)
order = np.random.default_rng(0).permutation(config.tokens)[None]
steps32, trained32 = both_forms(ops, weights, tokens, order)
steps64, trained64 = both_forms(ops64, weights, tokens, order)
gap32, gap64 = np.abs(steps32 - trained32).max(), np.abs(steps64 - trained64).max()
print(f"cached and training logits differ by {gap32:.1e} in float32")
print(f"                            and by {gap64:.1e} in float64")
error = max(np.abs(steps32 - steps64).max(), np.abs(trained32 - trained64).max())
print(
    f"float32 is off by at most {error:.1e} of logits up to {np.abs(steps64).max():.1f}"
)

# %% [markdown]
# ## What was taught

# %%
rounding = 4 * error  # of two answers, each to be trusted within twice the error seen
blank_seen = []
arpg.ask(noting(blank_seen), weights, config, blank, 1 + asked[None], table)

assert np.array_equal(blank_seen[0].q, seen[0].q), "a question holds no content"
assert not table[0].any() and table[1:].any(-1).all(), "the class has no position"
assert spread <= rounding, "the first step answers alike everywhere: one key, softmax 1"
assert untouched, "asking does not change what is known"
assert difference <= rounding, "questions do not hear each other"
assert order_of_reading <= rounding, "what is read has positions, not an order"
assert gap32 <= 2 * error + gap64, "one token a step is the training form"
assert gap64 < 1e-6 * gap32, "what they differ by is rounding"

# %% [markdown]
# ## Exercises
#
# 1. Ask a *known* position of the half-drawn two. Is the model sure of the token that
#    is there? Why could training have taught it nothing about such questions?
# 2. Read the known tokens in two calls of `arpg.feed` instead of one. Do the answers
#    stay the same? Which tokens saw which, in each case?
# 3. Append a row to `table` for a position half-way between two cells: average their
#    angles, not their cosines. Ask there. Whose token does the model expect?
