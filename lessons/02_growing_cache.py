# %% [markdown]
# # 02 · Raster with a growing cache
#
# The plainest way to draw with a transformer is to treat an image as a text. LlamaGen's
# model writes one token a step, row by row, and every token looks back at all before
# it. To look back, it keeps a key and a value of each of them, in every layer. This is
# the baseline of ARPG and AiM. Its cost is counted here, in bytes and multiplications.
#
# ![A six after 16, 32, 48 and 64 tokens, and the keys of one
# layer](pictures/02_growing_cache.png)
#
# *Runs on NumPy alone. Needs lesson 00.*

# %%
import os
from dataclasses import replace
from types import SimpleNamespace

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

import minigen
from minigen import sample
from minigen.families import PRESETS
from minigen.models import llamagen
from minigen.show import lesson as show

# %% [markdown]
# ## A digit after 16, 32, 48 and 64 tokens
#
# Above, the canvas; the orange cell was drawn last. Below, the keys of one layer that
# this token was asked with: a line for each token, the class first. Grey: not used yet.


# %%
def draw(pipe, label, watch=None):
    """Yield the steps of one image; watch gets the state before each of them."""
    model = pipe.ops, pipe.generator.weights, pipe.config
    return sample.steps(*model, pipe.plan(), [label], 0, pipe.options(), watch=watch)


pipe, keys, chosen = minigen.load("gpt-mnist", backend="numpy"), [], (15, 31, 47, 63)
steps = list(draw(pipe, 6, lambda _, c: keys.append(c.layers[3].keys[0].copy())))
written = [keys[i][: i + 1].reshape(i + 1, -1) for i in chosen]
lines = [np.pad(k, ((0, 65 - len(k)), (0, 0)), constant_values=np.nan) for k in written]
frames = [show.canvas(pipe, steps[i]) for i in chosen]
painted = [show.colours(k.repeat(2, axis=0), 1, -3, 3) for k in lines]
captions = [f"{i + 1} tokens" for i in chosen]
rows = [frames, [*painted, show.scale(-3, 3)]]
show.save("02_growing_cache.png", show.board(rows, captions, ["canvas", "keys"]))

# %% [markdown]
# ## One token a step, and a row for it
#
# The loop is that of lesson 00. In every layer the model makes a query, a key and a
# value of a token; key and value are appended to the cache, and the query looks at all
# that is there.
#
# They may be kept because a token sees what came before it and never what comes after:
# so its key and value stay right, and are never written again. And with all tokens
# at hand, one pass with a mask, as in training, gives what the steps gave. (For
# guidance, lesson 09, a model runs twice: a half with the class, and one without.)

# %%
show.source(llamagen.feed, llamagen._decode)
config, how = pipe.config, pipe.options()
kept = [np.array_equal(keys[i][:i], keys[i - 1][:i]) for i in range(1, len(keys))]
tokens = steps[-1].canvas.reshape(1, -1)
halves, labels = tokens[:, :-1].repeat(2, axis=0), [6, config.no_class_id]
table = llamagen.rotary_table(pipe.ops, config)
model = pipe.ops, pipe.generator.weights, config
p = pipe.ops.guide(llamagen.forward(*model, halves, labels, table), steps[0].weight)
p = pipe.ops.probabilities(p, how.temperature, how.top_k, how.top_p)
gap = abs(p - np.concatenate([step.probabilities for step in steps], axis=1)).max()
print(f"keys unchanged: {all(kept)}; one pass or {len(steps)} steps: {gap:.0e} apart")
row = 2 * 4 * config.layers * config.key_width
print(f"a step adds a key and a value to {config.layers} layers: {row} bytes a half")

# %% [markdown]
# ## Counting
#
# A model calls nothing but a table of operations. So put counters into the table: how
# many multiplications do its products take? (Norms and rotations are left out: they are
# little.) Both halves are counted.


# %%
def counting(pipe, tally):
    """Return the same pipeline, with ops that note their multiplications in tally."""

    def noted(name, cost):
        def op(*given, **named):
            tally[name] = tally.get(name, 0) + cost(*given, **named)
            return getattr(pipe.ops, name)(*given, **named)

        return op

    ops = {name: noted(name, cost) for name, cost in COSTS.items()}
    return replace(pipe, ops=SimpleNamespace(**{**vars(pipe.ops), **ops}))


# %%
COSTS = {
    "linear": lambda x, w, **bias_and_residual: x.size * len(w),
    # each query with each key, then each weight with each value
    "attention": lambda q, k, v, length: 2 * q.size * length,
    "attention_causal": lambda q, k, v, length: q.size * (1 + 2 * length - q.shape[1]),
    # the state is scaled, added to, and looked at; the window has a weight a cell
    "mamba2_step": lambda *given: given[7].size + 3 * given[8].size,
}
tally, counts = {}, []
for _ in draw(counting(pipe, tally), 6):
    counts.append((tally.pop("attention"), sum(tally.values())))
    tally.clear()
attention, weighted = np.array(counts).T

# %% [markdown]
# ## What a step costs
#
# The products with weights are the same at every step. What grows is attention: one
# more token to look at. Without a cache the model would have to read all tokens anew at
# every step.
#
# **Predict.** How many times as many multiplications does the last step take as the
# first, with the cache and without? And how many times as many do all 64 steps take
# without it?

# %%
tally.clear()
noted = counting(pipe, tally).ops
llamagen.forward(noted, pipe.generator.weights, config, halves, labels, table)
once = sum(tally.values())
cost = attention + weighted
without = cost.cumsum()
lines = {"with the cache": cost / 1e6, "without": without / 1e6}
axes = ("step", "million multiplications")
ticks = ((1, 16, 32, 48, 64), (1, 10, 100, 1000))
chart = show.curves(lines, range(1, 65), axes, ticks, logs=(False, True))
show.save("02_cost.png", chart)
for name, values in {"with": cost, "without": without}.items():
    print(f"{name}: the last step takes {values[-1] / values[0]:.2f} times the first, "
          f"all together {values.sum() / 1e6:,.0f} million")  # fmt: skip
print(f"one pass takes {once:,} multiplications, all steps together {cost.sum():,}")

# %% [markdown]
# **Reveal.** With the cache hardly more: at this size the products with weights are by
# far the most. Without it over 64 times, and all steps together over thirty times.
# One pass with a mask over the finished image takes exactly what all steps with the
# cache take together: nothing is computed twice.

# %% [markdown]
# ## Fewer steps, or no cache
#
# ARPG draws several tokens a step: fewer steps, but not many fewer multiplications. AiM
# draws one a step, but has a state instead of a cache (lesson 10). For each step: new
# tokens, multiplications, bytes kept; the highest bar of a row is the number at its
# side.


# %%
def held(state):
    """Return the bytes that a model keeps between two steps, both halves together."""
    if hasattr(state, "states"):
        return sum(s.conv.nbytes + s.scan.nbytes for s in state.states)
    caches = (*state.layers, *([state.shared] if hasattr(state, "shared") else []))
    arrays = [a[:, : c.length] for c in caches for a in (c.keys, c.values)]
    return sum(a.nbytes for a in arrays)


# %%
def measured(name):
    """Return tokens, multiplications and bytes of each step of one image."""
    tally, bytes_kept, rows = {}, [], []
    model = counting(minigen.load(name, backend="numpy"), tally)
    for step in draw(model, 6, lambda _, state: bytes_kept.append(held(state))):
        rows.append((len(step.positions), sum(tally.values())))
        tally.clear()
    return np.array([*zip(*rows, strict=True), bytes_kept])


# %%
runs = {name: measured(f"{name}-mnist") for name in ("gpt", "arpg", "aim")}
highs = np.max([run.max(1) for run in runs.values()], axis=0)
tiles = [
    [show.bars(run[i], 3 * run.shape[1], 60, high=highs[i]) for run in runs.values()]
    for i in range(3)
]
captions = [f"{name}: {run.shape[1]} steps" for name, run in runs.items()]
names = ("tokens", "multiplications", "bytes")
down = [f"{name},\nup to {high:,}" for name, high in zip(names, highs, strict=True)]
show.save("02_three.png", show.board(tiles, captions, down))
for name, (new, products, size) in runs.items():
    print(f"{name}: {new.max()} tokens at once, {products.sum() / 1e6:.0f} million "
          f"multiplications, {size[0]} to {size[-1]} bytes")  # fmt: skip

# %% [markdown]
# ## At full size
#
# The counts follow from the sizes of a model alone. So they can be had for models that
# do not fit into a lesson, GPT-L and AiM-L (one half). Token 256 ends an image of 256 x
# 256 pixels: there both keep about as much, and AiM multiplies more. On larger images a
# state that does not grow is the smaller one.


# %%
def gpt_cost(c, t):
    """Return multiplications of a token that sees t tokens, and the bytes they take."""
    layer = 2 * c.width * (c.width + c.key_width) + 3 * c.width * c.hidden
    products = c.layers * (layer + 2 * t * c.width) + c.width * c.vocabulary
    return products, 4 * c.layers * 2 * c.key_width * t


def aim_cost(c, t):
    """Return the same; t does not come into it."""
    m = c.mixing
    window, state = m.window * m.channels, m.inner * m.state_size
    layer = c.width * (2 * m.inner + m.channels + m.heads) + window + 3 * state
    return c.layers * layer + c.width * c.vocabulary, 4 * c.layers * (window + state)


# %%
large, at = {}, (16, 256, 1024, 4096)
for name, cost_of in {"gpt": gpt_cost, "aim": aim_cost}.items():
    half = np.array(cost_of(PRESETS[f"{name}-mnist"], 64))
    assert (2 * half == runs[name][1:, -1]).all(), "as counted above"
    large[name] = np.array([cost_of(PRESETS[f"{name}-l"], t) for t in at])
    for t, (products, size) in zip(at, large[name], strict=True):
        print(f"{name}-l, token {t:4}: {products / 1e6:.0f} million multiplications,"
              f" {size / 2**20:.1f} MiB")  # fmt: skip

# %% [markdown]
# ## What was taught

# %%
gpt, arpg, aim = runs.values()
assert all(kept), "what is written is never written again"
assert gap < 1e-4, "steps with a cache are one pass with a mask"
assert (gpt[2] == 2 * row * np.arange(1, 65)).all(), "the cache grows by a row a step"
assert len(set(np.diff(attention))) == len(set(weighted)) == 1, "only attention grows"
assert once == cost.sum(), "with a cache nothing is computed twice"
assert cost[-1] < 1.1 * cost[0], "at this size attention is little"
assert without[-1] > 64 * cost[0] and without.sum() > 30 * cost.sum(), "without, a lot"
assert gpt.shape[1] == 64 > arpg.shape[1], "ARPG: fewer steps"
assert 0.8 < arpg[1].sum() / gpt[1].sum() < 1, "but not many fewer multiplications"
assert len(set(aim[2])) == len(set(aim[1][1:])) == 1, "AiM: no step needs more"
assert 0.8 < large["gpt"][1, 1] / large["aim"][1, 1] < 1.25, "alike for a small image"
assert large["gpt"][3, 1] > 10 * large["aim"][3, 1], "not for a large one"

# %% [markdown]
# ## Exercises
#
# Write the answers into `lessons/exercises/02_growing_cache.py`, and let
# `python lessons/check.py 02` look at them.
#
# 1. `cache_bytes`: of a model in which several heads may share a key and a value.
# 2. `one_pass`: causal attention of a whole sequence with a mask. It must give what the
#    steps with a cache give one by one.
