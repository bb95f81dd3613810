# %% [markdown]
# # 15 · Two heads on one outer model
#
# The outer model of lesson 13 gives a vector for a token: somebody has to draw the
# token from it. ARINAR's head does so feature by feature. In MAR, which it descends
# from, the head begins with noise, and takes it out of all features together, a little
# at a time: diffusion. Here both do the same work, side by side.
#
# ![The last tokens of a zero, drawn by two heads, from the first pass to the
# last](pictures/15_two_heads.png)
#
# *Runs on NumPy alone.*

# %%
import os
import time
from types import SimpleNamespace

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

from minigen import families, load, rng, sample
from minigen.models import arinar, diffusion_head, mar, masked
from minigen.models.query import Draws
from minigen.show import lesson as show

heads = {"arinar": arinar, "mar": mar}
pipes = {name: load(f"{name}-mnist", backend="numpy") for name in heads}

# %% [markdown]
# ## The same classes
#
# The outer models are alike, layer by layer: MAR's was trained on from ARINAR's. Below,
# order, guidance and seed are the same, in eight steps. The heads are not, and each
# draws random numbers of its own.

# %%
how = {"guidance": 3, "guidance_schedule": "constant", "temperature": 1}
call = {"steps": 8, "order": "random", "schedule": "cosine", "seed": 1, **how}
images = {name: pipe.sample([0, 2, 4, 7], **call) for name, pipe in pipes.items()}
rows = [[show.enlarge(image, 3) for image in drawn] for drawn in images.values()]
show.save("15_digits.png", show.board(rows, down=list(images)))

# %% [markdown]
# ## A head at work
#
# Now both models draw 40 of the 64 tokens of a zero, two at a time, and then the other
# 24 in one step. What stands there meanwhile? ARINAR's head tells whoever watches each
# feature that it has drawn, MAR's tells x before each pass, with all its noise.


# %%
def watch(what, it):
    if what == "conditions":  # the outer model has been asked anew
        heard.clear()
    if what in ("group", "step"):
        heard.append(it if what == "group" else it[1])


heard, last, states = [], {}, {}
for name, pipe in pipes.items():
    plan, how_drawn = pipe.plan("random", [2] * 20 + [24], seed=4), pipe.options(**how)
    call = pipe.ops, pipe.generator.weights, pipe.config, plan, [0], 4, how_drawn
    *_, last[name] = sample.steps(*call, watch=watch)
    states[name] = [x.reshape(24, -1) for x in heard]
groups = np.hstack(states["arinar"])

# %% [markdown]
# Decoded, and below each picture its second feature as it is (bright is large). What
# ARINAR has not drawn yet is left at 0 here; one feature after the other falls into
# place, as it will stay. MAR has something everywhere from the first, but noise; the
# big shapes come first, and the last passes hardly change a thing.

# %%
states["arinar"] = [np.where(np.arange(4) < k, groups, 0) for k in range(4)]
rows, passes = [], {name: len(list_of) for name, list_of in states.items()}
for name, pipe in pipes.items():
    stages = np.array([*states[name], last[name].tokens[0]])
    canvases = last[name].canvas.reshape(1, 64, 4).repeat(5, axis=0)
    canvases[:, last[name].positions] = stages[np.arange(5) * passes[name] // 4]
    above = [show.enlarge(a, 3) for a in pipe.decode(canvases.reshape(5, 8, 8, 4))]
    below = [show.colours(c[:, 1].reshape(8, 8), 12, -3, 3) for c in canvases]
    rows.append([np.vstack(pair) for pair in zip(above, below, strict=True)])
counts = [[str(k * n // 4) for n in passes.values()] for k in range(5)]
captions = [f"{' or '.join(pair)} passes" for pair in counts]
show.save("15_two_heads.png", show.board(rows, captions, list(pipes)))

# %% [markdown]
# ## Noise, pass by pass
#
# A pass of MAR's network predicts the noise in x. To take all of it out at once would
# leave the average of all that is possible. So a little is taken out, less is put back
# in, and the network looks again.
#
# A token near the top of a one makes it visible, since much is possible there. Draw it
# many times, before anything else is drawn.

# %%
show.source(diffusion_head.sample)
n, clouds = 1500, {}
key, asked = np.uint32(rng.split_seed(0)), np.array([[20]])
draws = Draws(key, np.arange(n), asked[0].repeat(n), 0)
given = [1], np.zeros((1, 64, 4), np.float32), np.empty((1, 0), int), asked
for name, pipe in pipes.items():
    heard.clear()
    model = pipe.ops, pipe.generator.weights, pipe.config
    z = masked.conditions(*model, *given).repeat(n, axis=1)
    table = heads[name].table(pipe.config)
    drawn = heads[name].draw(*model, z, draws, 1.0, 1.0, table, watch=watch)
    clouds[name] = [x.reshape(n, -1) for x in (*heard, drawn)]

# %% [markdown]
# The second feature across, the third one up, after so many passes of MAR; and what
# ARINAR draws. Both clouds end bent: no bell does that, nor do two. ARINAR can since
# each mixture moves with the features before it (lesson 13), MAR since each pass may
# push every point another way. ARINAR's is the sharper one here, after about as many
# updates. An error of MAR's network in the first pass, where x is all noise,
# counts some hundred times (printed below).

# %%
shown = {f"mar: {k} passes": clouds["mar"][k] for k in (0, 15, 25, 35, 50)}
shown["arinar: 4 passes"] = clouds["arinar"][-1]
tiles, bent, edges = [], {}, np.linspace(-5, 5, 33)
for name, cloud in shown.items():
    second, third = cloud[:, 1], cloud[:, 2]
    histogram = np.histogram2d(second, third, [edges, edges])[0]
    tiles.append(show.colours(np.sqrt(histogram.T[::-1]), 4))
    away = abs(second - np.median(second)) / second.std()
    bent[name] = third[away < 0.5].mean() - third[away > 1].mean()
show.save("15_clouds.png", show.board([tiles], list(shown)))
print({name: round(float(bend), 2) for name, bend in bent.items()})
of_x, of_noise, *_ = diffusion_head.schedule(50).step(49)
print(f"the first pass: {of_x:.0f} x {of_noise:+.0f} times the predicted noise")

# %% [markdown]
# ## Counting
#
# What does a token cost? Put counters into the table of operations, as in lesson 02,
# and let a head draw one.

# %%
COSTS = {"attention": lambda q, k, v, length: 2 * q.size * length}
COSTS["linear"] = lambda x, w, **bias: x.size * len(w)


def tokens(name, m, ops):
    """Draw m tokens, of which the outer model says nothing but zeros."""
    c, where = pipes[name].config, Draws(key, np.arange(m), np.zeros(m, int), 0)
    z, table = np.zeros((1, m, c.width), np.float32), heads[name].table(c)
    heads[name].draw(ops, pipes[name].generator.weights, c, z, where, 1.0, 1.0, table)


def noted(ops, op, tally):
    """Return an operation that writes its multiplications down."""
    return lambda *x, **w: tally.append(COSTS[op](*x, **w)) or getattr(ops, op)(*x, **w)


# %% [markdown]
# The same from the sizes alone, for each pass, so that it can be had for models that do
# not fit into a lesson. Both networks are conditioned on the outer model by shifts and
# scales in every layer (*modulations*). In ARINAR's head these are the same in all
# passes. The original makes them anew each time (`again`), minigen once. In MAR's they
# depend on how noisy x is; only what goes into them can be had in advance.


# %%
def arinar_passes(c, again=False):
    """Return the multiplications of a token in each of its passes."""
    w, deep, i = c.inner_width, c.inner_layers, np.arange(c.groups)
    modulations = (6 * deep + 2) * w * c.width
    each = 12 * deep * w * w + c.mixtures * (2 * c.group + 1) * w
    each = each + 2 * deep * w * (i + 1)  # attention looks back
    first, later = w * c.width + modulations, c.group * w + again * modulations
    return each + np.where(i == 0, first, later)


# %%
def mar_passes(c, again=False):
    """Return the same, with all that tells of the steps in the first pass, or again."""
    w, i = c.head_width, np.arange(c.noise_steps)
    each = 0 * i + 3 * c.features * w + (5 * c.head_layers + 2) * w * w
    condition, times = w * c.width, diffusion_head.FREQUENCIES * w + w * w
    once = condition + len(i) * times
    return each + (condition + times if again else np.where(i == 0, once, 0))


costs, counted = {"arinar": arinar_passes, "mar": mar_passes}, {}
for name, pipe in pipes.items():
    tally = []
    counting = {op: noted(pipe.ops, op, tally) for op in COSTS}
    tokens(name, 1, SimpleNamespace(**{**vars(pipe.ops), **counting}))
    counted[name] = sum(tally)

# %% [markdown]
# Every bar is a pass, as high as its multiplications, at full size and as the originals
# do it. So the area is the work, and the width is how often one has to wait for the
# pass before: sixteen times, or a hundred.

# %%
large, small = {}, {name: costs[name](pipes[name].config) for name in costs}
for name, cost in costs.items():
    full = families.PRESETS[f"{name}-b"]
    large[name] = cost(full, again=True)
    print(f"{name}-mnist, by sizes {small[name].sum():,}, counted {counted[name]:,}")
    print(f"{name}-b: {len(large[name])} passes, {large[name].sum() / 1e6:.1f} million;"
          f" {cost(full).sum() / 1e6:.1f} with nothing made again")  # fmt: skip
ratio = large["mar"].sum() / large["arinar"].sum()
high = max(each.max() for each in large.values())
tiles = [show.bars(each, 4 * len(each), 100, high=high) for each in large.values()]
show.save("15_work.png", show.board([tiles], [f"{name}-b" for name in large]))

# %% [markdown]
# ## The clock
#
# Time is not work: small passes are bound by all that is not a multiplication, and a
# mixture has to be drawn from too. So measure. (At full size, with guidance:
# `minigen bench heads`. ARINAR's authors report 11.57 s an image for ARINAR-B and 65.69
# for MAR-B, outer models and all.)

# %%
for m in (1, 8, 64):
    rounds = []
    for _ in range(5):
        rounds.append([])
        for name, pipe in pipes.items():
            start = time.perf_counter()
            tokens(name, m, pipe.ops)
            rounds[-1].append((time.perf_counter() - start) / m)
    ours, theirs = np.median(rounds, axis=0) * 1e6
    slower = np.median([mine / yours for yours, mine in rounds])
    print(f"{m:2} tokens at once: {ours:6.0f} and {theirs:6.0f} microseconds a token, "
          f"{slower:.1f} times")  # fmt: skip
print(f"products: {small['mar'].sum() / small['arinar'].sum():.1f} times, at full size "
      f"{ratio:.1f} times; reported of images: {65.69 / 11.57:.1f} times")  # fmt: skip

# %% [markdown]
# ## What was taught

# %%
noise, done = clouds["mar"][0][:, 1:3], last["mar"].tokens[0]
left = [abs(states["mar"][k] - done).mean() for k in (0, 12, 25, 37, 49)]

assert passes == {"arinar": 4, "mar": 50}, "a pass a feature, or a pass a noise step"
assert (groups == last["arinar"].tokens[0]).all(), "a feature that is drawn stays"
assert left == sorted(left, reverse=True), "noise leaves, pass by pass"
# within five deviations of what chance does to so many draws
assert abs(np.corrcoef(noise.T)[0, 1]) < 5 / np.sqrt(n), "noise knows of no pairs"
assert bent["mar: 50 passes"] > 0.6 < bent["arinar: 4 passes"], "both heads can bend it"
assert all(small[name].sum() == counted[name] for name in costs), "sizes tell the cost"
assert abs(large["arinar"].sum() / 1e6 - 189.7) < 0.05, "as the original does it"
assert abs(large["mar"].sum() / 1e6 - 3570) < 0.5, "and as its forerunner does"

# %% [markdown]
# ## Exercises
#
# 1. Draw MAR's cloud in 10 and in 250 noise steps (`dataclasses.replace` the
#    configuration, and make the table anew). What does the first pass do to an error
#    of a hundredth in the predicted noise?
# 2. ARINAR may draw groups of features that share a component (`group` of its
#    configuration). What do `arinar_passes` of `group=4` cost at full size, and which
#    clouds can such a head no longer draw?
# 3. At guidance 3, what has to be done twice in each head? (Look at `rows` in both
#    `sample`.) What does ARINAR's need besides?
