# %% [markdown]
# # 10 · State instead of a cache
#
# AiM draws row by row like a language model, but it keeps no list of what it has read.
# Each layer holds two small arrays: its last four inputs, and for each head a matrix
# into which every token is written on top of all before. So the cost of a token does
# not depend on how many came before it; and what was written fades.
#
# ![A three appears row by row, over the states of one layer](pictures/10_state.png)
#
# *Needs lesson 02. Runs on NumPy alone.*

# %%
import os
from copy import deepcopy
from types import SimpleNamespace

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

from minigen import load, sample
from minigen.models import aim, mamba
from minigen.ops.mamba2_step.reference import mamba2_step
from minigen.show import frames
from minigen.show import lesson as show

pipe = load("aim-mnist", backend="numpy")

# %% [markdown]
# ## A digit is drawn, and this is what is kept
#
# Top to bottom: the canvas, its last token in orange; the last four inputs of one
# layer, newest below (64 of its 320 channels); two of its eight matrices, of a fast and
# of a slow head. Colours show sizes without signs: dark is 0, yellow the number at the
# side. (In matrices the square root is shown.)

# %%
ops, weights, config = pipe.ops, pipe.generator.weights, pipe.config
layer, fast, slow, kept = 3, 3, 1, []
run = weights, config, pipe.plan(), [3], 5, pipe.options()
told = {"watch": lambda _, memory: kept.append(deepcopy(memory.states))}
steps = list(sample.steps(ops, *run, **told))
scans = np.array([[state.scan[0] for state in states] for states in kept])
matrices = abs(scans[:, layer, [fast, slow]])
largest, chosen = matrices.max((0, 2, 3)), (1, 8, 16, 32, 48, 63)
size = np.sqrt(matrices / largest[:, None, None])
inputs = [abs(states[layer].conv[0, :, :64]).repeat(4, axis=0) for states in kept]
rows = [[show.canvas(pipe, steps[i - 1]) for i in chosen]]
rows += [[show.colours(inputs[i], 2, 0, 4) for i in chosen]]
rows += [[show.colours(size[i, h], 4, 0, 1) for i in chosen] for h in (0, 1)]
down = ["canvas", "inputs: 4", f"fast: {largest[0]:.2f}", f"slow: {largest[1]:.2f}"]
show.save("10_state.png", show.board(rows, [f"token {i}" for i in chosen], down))

# %%
note = "Guess first: how much of each matrix stays? Dark is 0, yellow the largest size."
data = frames.state(pipe, 3, layer, {"fast": fast, "slow": slow}, "Two heads", note, 5)
show.player("state", data, "10_heads_step")

# %% [markdown]
# ## Its size never changes
#
# A new state is made without asking how long an image is. The cache of lesson 02
# begins small, and grows by a key and a value a token. Below, bytes before each token.

# %%
show.source(mamba.State, mamba.new_state)
gpt = load("gpt-mnist", backend="numpy").config
cache = 2 * 4 * gpt.layers * gpt.key_width * np.arange(1, 65)
held = np.array([sum(s.conv[0].nbytes + s.scan[0].nbytes for s in k) for k in kept])
named = {"aim: state": held, "gpt: cache": cache}
tiles = [show.bars(sizes, 256, 80, high=cache.max()) for sizes in named.values()]
captions = [f"{k}, {v[0]:,} to {v[-1]:,} bytes" for k, v in named.items()]
show.save("10_bytes.png", show.board([tiles], captions))
print(
    *captions, f"the cache is larger from token {np.argmax(cache > held)} on", sep="\n"
)

# %% [markdown]
# ## All that a layer does with a token
#
# `mamba2_step` is all of it, between two matrices. The first makes of the token a
# signal x, a gate z, a key B, a query C, and a step δ for each head. x, B and C are
# convolved with the last inputs. Then each head does
#
# $$H_t = e^{\delta_t A} H_{t-1} + \delta_t x_t B_t^T, \quad y_t = H_t C_t + D x_t$$
#
# A is one negative number a head. So the token chooses by δ how much of H stays, and
# adds a matrix of rank one. C asks H a question, as a query asks a cache; D lets x pass
# beside it. y is multiplied by z / (1 + e^-z), the gate (*silu*), and normalised.
#
# Around this stand a norm, a residual sum, the class (adaLN) and a vector for each
# position: lesson 11.

# %%
show.source(mamba2_step)
decays = []


def noting(projected, *given):
    """Step as ever; note how much of each head's matrix stays: exp(δ A)."""
    bias, A_log = (w.astype(np.float32) for w in given[2:4])
    delta = ops.step_size(projected[..., -len(bias) :], bias, 0.0, np.inf)
    decays.append(np.exp(-np.exp(A_log) * delta)[0, 0])
    return ops.mamba2_step(projected, *given)


noted = SimpleNamespace(**{**vars(ops), "mamba2_step": noting})
again = list(sample.steps(noted, *run))
decays = np.reshape(decays, scans.shape[:3])

# %% [markdown]
# Take from each state what stays of the one before: a matrix of rank one is left. With
# decays that are wrong by a hundredth it is not.

# %%
ranks = {}
for factor in (1, 0.99):
    added = scans[1:] - factor * decays[1:, ..., None, None] * scans[:-1]
    ranks[factor] = np.linalg.svd(added, compute_uv=False)[..., :2].max((0, 1, 2))
    print(f"decay times {factor}: largest singular values, 1st and 2nd", ranks[factor])
windows = np.array([[state.conv[0] for state in states] for states in kept])
moved = np.array_equal(windows[1:, :, :-1], windows[:-1, :, 1:])
print("the inputs move up by one:", moved)

# %% [markdown]
# ## What a state forgets
#
# The share of a matrix that stays, for each token of the three that is read: dark is 0,
# yellow 1. At the side, after how many tokens half is left in each head, on average:
# every head has a pace of its own.

# %%
halves = np.log(0.5) / np.log(decays).mean(0)
rows = []
for i in range(config.layers):
    grids = np.append(decays[1:, i], np.full((1, 8), np.nan), axis=0).T
    rows.append([show.colours(grid.reshape(pipe.grid), 6, 0, 1) for grid in grids])
down = [f"layer {i}: {' '.join(f'{h:.0f}' for h in halves[i])}" for i in range(7)]
show.save("10_heads.png", show.board(rows, [f"head {j}" for j in range(8)], down))
quick = halves < np.median(halves)
print(f"half is left after {halves.min():.1f} to {halves.max():.0f} tokens")

# %% [markdown]
# ## Erase it
#
# Read ten digits that the model drew; half-way set the matrices of half of the heads to
# zero; read on. How far do the probabilities of each later token move? (Total
# variation: 0 is no change, 1 all.)
#
# **Predict.** The 28 faster heads are erased, or the 28 slower ones. Which matters more
# in the row of tokens that follows? And which two rows later?

# %%
labels = [3, 0, 1, 2, 4, 5, 6, 7, 8, 9]
*_, ten = pipe.steps(labels, seed=5)
rows = np.tile(aim.table_rows(np.arange(63), run[-1]), (10, 1))
given = aim.condition(ops, weights, config, np.array(labels)[:, None])
words = aim.embed(ops, weights, ten.canvas.reshape(10, -1)[:, :-1], rows)
x = np.concatenate([given.first, words], axis=1)


# %%
def read(cut, erased=quick & ~quick):
    """Return the probabilities (b n v) of all tokens, and the states (l b h p s)."""
    states, h = aim.new_states(ops, config, 10), []
    for part in map(np.ascontiguousarray, np.split(x, [cut], axis=1)):
        h.append(aim.read(ops, weights, config, part, given, states))
        for state, of_layer in zip(states, erased * (len(h) == 1), strict=True):
            state.scan[:, of_layer] = 0
    logits = aim.answer(ops, weights, np.concatenate(h, axis=1))
    return ops.probabilities(logits, 1.0, 0, 1.0), np.array([s.scan for s in states])


# %%
cut = 33
p, states = read(cut)
away, half = {}, np.random.default_rng(0).permutation(56).reshape(7, 8) < 28
for name, heads in {"faster": quick, "slower": ~quick, "random": half}.items():
    away[name] = abs(read(cut, heads)[0] - p).sum(-1).mean(0)[cut:] / 2
    by_row = [f"{away[name][k : k + 8].mean():.2f}" for k in (0, 8, 16)]
    print(f"{name} heads erased, rows that follow:", *by_row)
unsure = -(p * np.log2(p + 1e-30)).sum(-1).mean(0)[cut:]  # bits
held_on = decays[cut + 1 : cut + 17].prod(0)
print("left after 16 tokens:", held_on[quick].mean(), held_on[~quick].mean())
tiles = [show.bars(change, 248, 100, high=0.5) for change in away.values()]
captions = [f"{name}: 31 tokens, 0 to 0.5" for name in away]
show.save("10_erased.png", show.board([tiles], captions))
gaps = [abs(read(c)[1][:, 0] - scans[-1]).max() for c in (1, 20, 50)]
print(f"the state, read in two parts or step by step: {max(gaps):.0e} apart")

# %% [markdown]
# **Reveal.** In the first row both matter, the slower more. But of what faster heads
# held, little would be left two rows later in any case. What slower heads held is
# missed there, also if half at random are erased: slow ones are among them. The bars
# rise where the model is unsure.

# %% [markdown]
# ## What was taught

# %%
assert len(set(held)) == 1, "a state has one size, whatever was read"
assert cache[0] < held[0] < cache[-1], "a cache begins smaller and ends larger"
assert moved, "the convolution keeps the last four inputs, and nothing else"
assert ranks[1][1] < 1e-5 * abs(scans).max(), "a token adds rank one"
assert ranks[0.99][1] > 1e3 * ranks[1][1], "but not to a state that decayed otherwise"
assert (again[-1].canvas == steps[-1].canvas).all(), "noting changes nothing"
assert 0 < decays.min() < decays.max() < 1, "what is written can only fade"
assert halves.max() > 16 * halves.min(), "each head at a pace of its own"
assert halves[layer, slow] > 8 * halves[layer, fast], "fast and slow: as named"
assert max(gaps) < 1e-4 * abs(scans).max(), "a sequence may be cut anywhere"
first, third = ({n: c[i : i + 8].mean() for n, c in away.items()} for i in (0, 16))
assert 0.5 < first["faster"] / first["slower"] < 1, "first both count, slow ones more"
assert min(third["slower"], third["random"]) > 2 * third["faster"], "later, one does"
assert np.corrcoef(away["slower"], unsure)[0, 1] > 0.7, "most where much is open"
assert held_on[quick].mean() < 0.2 < 0.4 < held_on[~quick].mean(), "as decays foretell"

# %% [markdown]
# ## Exercises
#
# In `lessons/exercises/10_state.py`; `python lessons/check.py 10` looks at them.
#
# 1. `larger_from`: from which token on is a cache larger than a state?
# 2. `step`: read one token into the matrix of a head, and ask it.
# 3. `left`: how much of each token is left in the end?
