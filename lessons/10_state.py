# %% [markdown]
# # 10 · State instead of a cache
#
# AiM draws row by row like a language model, but it keeps no list of what it has read.
# Each layer holds two small arrays: its last few inputs, and for each head a matrix
# into which every token is written on top of all before. Nothing is appended. So what a
# token costs does not depend on how many came before it; and what was written fades.
#
# ![A three appears row by row, over the states of one layer](pictures/10_state.png)
#
# *Runs on NumPy alone.*

# %%
import os
from copy import deepcopy
from types import SimpleNamespace

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

import minigen
from minigen import sample
from minigen.models import aim, mamba
from minigen.show import lesson as show

pipe = minigen.load("aim-mnist", backend="numpy")
run = pipe.generator.weights, pipe.config, pipe.plan(), [3], 5, pipe.options()

# %% [markdown]
# ## A digit is drawn, and this is what is kept
#
# Top to bottom: the canvas, its last token in orange; the last four inputs of one
# layer, newest below (64 of its channels); and two of its eight matrices, of a head
# that forgets fast and of one that forgets slowly. Bright is large, of either sign.

# %%
layer, hasty, patient, kept = 3, 3, 1, []
steps = list(
    sample.steps(pipe.ops, *run, watch=lambda _, m: kept.append(deepcopy(m.states)))
)
scans = np.array([[state.scan[0] for state in states] for states in kept])
size = np.sqrt(abs(scans) / abs(scans).max((0, 3, 4), keepdims=True))[:, layer]
inputs = [abs(states[layer].conv[0, :, :64]).repeat(4, axis=0) for states in kept]
chosen = (1, 8, 16, 32, 48, 63)
rows = [[show.canvas(pipe, steps[i - 1]) for i in chosen]]
rows += [[show.colours(inputs[i], 2, 0, 4) for i in chosen]]
rows += [[show.colours(size[i, h], 4, 0, 1) for i in chosen] for h in (hasty, patient)]
captions = [f"token {i}" for i in chosen]
down = ["canvas", "inputs", "hasty", "patient"]
show.save("10_state.png", show.board(rows, captions, down))

# %% [markdown]
# ## Its size never changes
#
# A new state is made without asking how long the image will be. The transformer of
# lesson 02 keeps keys and values instead: little at first, and a row more for every
# token. Below, the bytes an image before each question, drawn to the same height.

# %%
show.source(mamba.State, mamba.new_state)
gpt = minigen.load("gpt-mnist", backend="numpy").config
row = 2 * 4 * gpt.layers * gpt.key_width
cache = row * np.arange(1, 65)
held = np.array([sum(s.conv[0].nbytes + s.scan[0].nbytes for s in k) for k in kept])
tiles = [show.bars(sizes, 192, 80, high=cache.max()) for sizes in (held, cache)]
show.save("10_bytes.png", show.board([tiles], ["aim: state", "gpt: cache"]))
print(
    f"state {held[0]} bytes, then {held[-1]}; cache {cache[0]} bytes, then {cache[-1]}"
)
print(f"the cache is the larger one from token {np.argmax(cache > held)} on")

# %% [markdown]
# ## What a token does to a state
#
#     H_t = exp(δ_t A) H_(t−1) + δ_t x_t B_tᵀ,    y_t = H_t C_t
#
# In each head A is one number, below zero; the step δ is made of the token itself. So a
# token says how much of the state is to stay, and adds an outer product to what is
# left: a matrix of rank one. C then asks the state a question, as a query asks a cache.
#
# All this happens in one op. Put a function into its place that notes the decay
# exp(δ A), and draw the same digit again.

# %%
decays = []


def noting(projected, *given):
    """Step as ever; note how much of each head's matrix stays."""
    bias, A_log = (w.astype(np.float32) for w in given[2:4])
    delta = pipe.ops.step_size(projected[..., -len(bias) :], bias, 0.0, np.inf)
    decays.append(np.exp(-np.exp(A_log) * delta)[0, 0])
    return pipe.ops.mamba2_step(projected, *given)


ops = SimpleNamespace(**{**vars(pipe.ops), "mamba2_step": noting})
again = list(sample.steps(ops, *run))
decays = np.reshape(decays, scans.shape[:3])
print("decays of (tokens, layers, heads):", decays.shape)

# %% [markdown]
# The first thing read is the class, then token after token. Take from each state what
# was left of the one before: a matrix of rank one remains, up to rounding. And the
# inputs of the convolution just move up by one.

# %%
added = scans[1:] - decays[1:, ..., None, None] * scans[:-1]
strength = np.linalg.svd(added, compute_uv=False)
print("largest singular values, the first:", strength[..., 0].max())
print("                        the second:", strength[..., 1].max())
window = np.array([[state.conv[0] for state in states] for states in kept])
moved = np.array_equal(window[1:, :, :-1], window[:-1, :, 1:])
print("the window moves up by one:", moved)

# %% [markdown]
# ## What a state forgets
#
# What stays of each head's matrix at each token of the three: a row of maps for a
# layer, a map for a head, a cell for a token. Bright is all, dark is nothing. Heads
# have a pace of their own: printed is after how many tokens half is left, on average.


# %%
def on_grid(values):
    """Lay out what belongs to the class and 63 tokens; the last is never read."""
    return np.append(values[1:], np.nan).reshape(pipe.grid)


layers, heads = decays.shape[1:]
maps = [[on_grid(decays[:, i, j]) for j in range(heads)] for i in range(layers)]
tiles = [[show.colours(grid, 8, 0, 1) for grid in line] for line in maps]
down = [f"layer {i}" for i in range(layers)]
show.save("10_heads.png", show.board(tiles, [f"{j}" for j in range(heads)], down))
halves = np.log(0.5) / np.log(decays).mean(0)
print(halves.round(1))

# %% [markdown]
# Some heads forget when they come to the stroke, others on the black around it.
# Here is the one of each kind that goes most with how bright a cell is. On the right,
# what is left of each token when the last one is asked for: all decays since then,
# multiplied.

# %%
picture = pipe.decode(steps[-1].canvas)[0]
ink = picture.mean(-1).reshape(8, 4, 8, 4).mean((1, 3)).ravel()[:-1]
goes = np.corrcoef(ink, decays[1:].reshape(63, -1).T)[0, 1:]
left = np.ones_like(decays)
left[:-1] = np.cumprod(decays[:0:-1], axis=0)[::-1]
rows, names = [], ("on the stroke", "on the black")
for head in (goes.argmin(), goes.argmax()):
    pair = [on_grid(a.reshape(64, -1)[:, head]) for a in (decays, left)]
    rows.append([show.enlarge(picture, 4), *(show.colours(g, 16, 0, 1) for g in pair)])
    print(f"layer {head // heads}, head {head % heads}: correlation {goes[head]:.2f}")
show.save("10_forget.png", show.board(rows, ["", "stays", "left at the end"], names))

# %% [markdown]
# ## The same state, however it was read
#
# One function reads tokens, one or many. In training all are read at once, in chunks
# (lesson 12); a sequence may be cut anywhere, if the state is handed over. So read the
# finished digit, whole and in pieces, and compare with what the steps left.

# %%
model, ids = (pipe.ops, *run[:2]), steps[-1].canvas.reshape(1, -1)[:, :-1]
rows = np.tile(aim.table_rows(np.arange(63), run[-1]), (2, 1))
given = aim.condition(*model, np.array([[3], [pipe.config.no_class_id]]))
words = aim.embed(pipe.ops, run[0], ids.repeat(2, axis=0), rows)
x = np.concatenate([given.first, words], axis=1)
gaps = {}
for cuts in ((), (20,), (1, 2, 50)):
    states = aim.new_states(pipe.ops, pipe.config, 2)
    for part in np.split(x, cuts, axis=1):
        aim.read(*model, np.ascontiguousarray(part), given, states)
    gaps[cuts] = abs(np.array([state.scan[0] for state in states]) - scans[-1]).max()
for cuts, gap in gaps.items():
    print(f"cut before {cuts}: {gap:.0e} from the steps")

# %% [markdown]
# ## What was taught

# %%
assert len(set(held)) == 1, "a state has one size, whatever was read"
assert cache[0] < held[0] < cache[-1], "a cache begins smaller and ends larger"
assert moved, "the convolution keeps the last few inputs, and nothing else"
assert strength[..., 1].max() < 1e-5 * abs(scans).max(), "a token adds rank one"
assert (again[-1].canvas == steps[-1].canvas).all(), "noting changes nothing"
assert (decays > 0).all() and (decays < 1).all(), "what is written can only fade"
assert halves.max() > 16 * halves.min(), "each head at a pace of its own"
assert halves[layer, patient] > 8 * halves[layer, hasty], "hasty, patient: as named"
assert goes.min() < -0.4 and goes.max() > 0.4, "and the token has a say in it"
assert max(gaps.values()) < 1e-4 * abs(scans).max(), "at once, in pieces, one by one"

# %% [markdown]
# ## Exercises
#
# 1. Set the states of one layer to zero after 32 tokens (in `watch`, in place), and go
#    on drawing. Does it matter which layer? What if it is all of them?
# 2. Exchange one early token, read on with `aim.feed`, and follow the difference of the
#    two states, head by head. Which heads still know?
# 3. Draw other digits, from other seeds. Does the same head forget on the stroke?
