# %% [markdown]
# # 15 · Two heads for one kind of outer model
#
# The outer model of lesson 13 gives a vector for a token: somebody has to draw the
# token from it. ARINAR's head does so feature by feature. In MAR, which it descends
# from, the head begins with four noisy numbers, and removes a little noise from all
# four at once, pass by pass: diffusion.
#
# ![Many draws of one token by both heads, MAR's from noise to the
# last pass](pictures/15_two_heads.png)
#
# *Needs lesson 13. Runs on NumPy alone.*

# %%
import os
import time
from dataclasses import replace
from types import SimpleNamespace

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

from minigen import families, load
from minigen.models import arinar, diffusion_head, kl, mar, masked, mixture_head, query
from minigen.show import lesson as show

heads, heard, clouds = {"arinar": arinar, "mar": mar}, [], {}
pipes = {name: load(f"{name}-mnist", backend="numpy") for name in heads}

# %% [markdown]
# ## One token, drawn many times
#
# A token near the top of a one, before anything else is known: much is possible there.
# Below, 400 draws: the second feature across, the third up, both from -5 to 5. First
# ARINAR's, which takes four passes of its head; then MAR's after 0, 25, 40 and all 50
# passes. Both end bent: no bell does that.

# %%
n, z, asked = 400, {}, np.array([[20]])
draws = query.Draws(np.zeros(2, np.uint32), np.arange(n), asked[0].repeat(n), 0)
given = [1], np.zeros((1, 64, 4), np.float32), np.empty((1, 0), int), asked
for name, pipe in pipes.items():
    model = pipe.ops, pipe.generator.weights, pipe.config
    z[name] = masked.conditions(*model, *given).repeat(n, axis=1)
    call = *model, z[name], draws, 1.0, 1.0, heads[name].table(pipe.config)
    clouds[name] = heads[name].draw(*call, watch=lambda *it: heard.append(it))[0]
steps = [it[1][:, 0] for what, it in heard if what == "step"]
shown = [clouds["arinar"], steps[0], steps[25], steps[40], clouds["mar"]]
edges = [np.linspace(-5, 5, 33)] * 2
counts = [np.histogram2d(c[:, 1], c[:, 2], edges)[0].T[::-1] for c in shown]
tiles = [show.colours(c, 4, 0, 6) for c in counts] + [show.scale(0, 6, "draws")]
captions = ["arinar: 4 passes", *(f"mar: {k} passes" for k in (0, 25, 40, len(steps)))]
show.save("15_two_heads.png", show.board([tiles], captions))

# %% [markdown]
# ## Noise, pass by pass
#
# A pass of MAR's network predicts the noise in x. A little of it is taken out, less is
# put back in, and the network looks again. Why not in a few large steps? In the first
# pass x is almost all noise. To find the token, the predicted noise is taken from x,
# and the small rest made large again; so is every error of the network. By how much is
# printed below: the fewer passes, the more.

# %%
show.source(diffusion_head.sample)
spread = {}
for count in (5, 10, 50):
    c = replace(pipes["mar"].config, noise_steps=count)
    cloud = mar.draw(*model[:2], c, z["mar"], draws, 1.0, 1.0, mar.table(c))[0]
    spread[count] = cloud[:, 1].std()
    error = -diffusion_head.schedule(count).step(count - 1)[1]
    print(f"{count} passes: deviation {spread[count]:.1f}; first, noise x {error:.0f}")

# %% [markdown]
# ## Feature by feature
#
# ARINAR has no noise to take out; its third feature knows the second (lesson 13). The
# control: feed it the second feature of another draw. If that is how the bend comes
# about, the third must follow what was fed, and know nothing of the draw's own.


# %%
def bend(second, third):
    """Return how far the third moves with the second feature, and its error."""
    away = abs(second - np.median(second)) / second.std()
    near, far = third[away < 0.5], third[away > 1]
    error = np.sqrt(near.var() / len(near) + far.var() / len(far))
    return near.mean() - far.mean(), error


# %%
ops, head = pipes["arinar"].ops, pipes["arinar"].generator.weights["head"]
fed = clouds["arinar"].reshape(n, 4, 1).copy()
fed[:, 1] = np.random.default_rng(0).permutation(fed[:, 1])
told = fed, z["arinar"].reshape(n, 1, -1)
parts = mixture_head.forward(ops, head, pipes["arinar"].config, *told)
third = mixture_head.draw(ops, [part[:, 2] for part in parts], 2, draws, 1.0)[:, 0, 0]
pairs = {"as drawn": clouds["arinar"].T[1:3], "mar": clouds["mar"].T[1:3]}
pairs |= {"noise": steps[0].T[1:3], "own": (clouds["arinar"][:, 1], third)}
pairs["fed"] = fed[:, 1, 0], third
bent = {name: bend(*pair) for name, pair in pairs.items()}
for name, (mean, error) in bent.items():
    print(f"{name:8} third moves with second by {mean:5.2f} ± {2 * error:.2f}")

# %% [markdown]
# ## What stands there in between
#
# A test digit, a zero, of which 24 tokens are known; each head draws the other 40 in
# one step. Below each picture is its second feature, from -3 (dark) to 3. ARINAR's
# features fall into place one after the other (not drawn yet: 0). MAR has something
# everywhere from the first, but noise.

# %%
vae = ops, pipes["arinar"].tokenizer.weights, pipes["arinar"].tokenizer_config
moments = kl.posterior(ops, vae[2], kl.encode(*vae, ops.from_pixels(show.digits()[:1])))
latents = kl.to_latents(ops, vae[2], moments[0]).reshape(1, 64, 4)
known, asked = np.split(np.random.default_rng(0).permutation(64)[None], [24], axis=1)
place, stages = query.Draws(np.zeros(2, np.uint32), 0 * asked[0], asked[0], 0), {}
for name, pipe in pipes.items():
    heard.clear()
    model = pipe.ops, pipe.generator.weights, pipe.config
    call = masked.conditions(*model, [0], latents, known, asked), place, 1.0, 1.0
    table, watch = heads[name].table(pipe.config), lambda *it: heard.append(it)
    done = heads[name].draw(*model, *call, table, watch=watch)[0]
    told = [it for what, it in heard if what in ("group", "step")]
    stages[name] = [*told, done]

# %%
groups = np.hstack([group.reshape(40, 1) for group in stages["arinar"][:4]])
noisy = [x.reshape(40, 4) for _, x, *_ in stages["mar"][:-1]] + [stages["mar"][-1]]
drawn = {"arinar": [np.where(np.arange(4) < k, groups, 0) for k in range(5)]}
drawn["mar"], rows = [noisy[k] for k in (0, 12, 25, 37, 50)], []
for name in pipes:
    canvases = latents.repeat(5, axis=0)
    canvases[:, asked[0]] = drawn[name]
    above = [
        show.enlarge(a, 3) for a in pipes[name].decode(canvases.reshape(5, 8, 8, 4))
    ]
    below = [show.colours(c[:, 1].reshape(8, 8), 12, -3, 3) for c in canvases]
    rows.append([np.vstack(pair) for pair in zip(above, below, strict=True)])
captions = [f"{k} or {m} passes" for k, m in enumerate((0, 12, 25, 37, 50))]
show.save("15_at_work.png", show.board(rows, captions, list(pipes)))

# %% [markdown]
# ## Counting
#
# What does a token cost? The multiplications of each pass follow from the sizes, so
# they can be had for models that do not fit into a lesson. Both networks are
# conditioned by shifts and scales in every layer (*modulations*, lesson 11). In
# ARINAR's head these are the same in all passes; the original makes them anew each time
# (`again`), minigen once. In MAR's they depend on how noisy x is. The sizes of the
# originals, ARINAR-B and MAR-B, are counted as the originals work: `again`.
#
# **Predict.** ARINAR-B takes 16 passes a token, MAR-B 100: six times as many. How many
# times the work?


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


def tokens(name, m, ops):
    """Draw m tokens, of which the outer model says nothing but zeros."""
    c, where = pipes[name].config, query.Draws(draws.key, *np.zeros((2, m), int), 0)
    z, table = np.zeros((1, m, c.width), np.float32), heads[name].table(c)
    heads[name].draw(ops, pipes[name].generator.weights, c, z, where, 1.0, 1.0, table)


# %%
ops, costs = pipes["arinar"].ops, {"arinar": arinar_passes, "mar": mar_passes}
made = {"attention": lambda q, k, v, length: 2 * q.size * length}
made["linear"] = lambda x, w, **bias: x.size * len(w)
counted, small, large = {}, {}, {}
for name, pipe in pipes.items():
    tally, table = [], vars(pipe.ops).copy()
    for op, of in made.items():
        table[op] = lambda *x, op=op, of=of, tally=tally, **w: (
            tally.append(of(*x, **w)) or getattr(ops, op)(*x, **w)
        )
    tokens(name, 1, SimpleNamespace(**table))
    counted[name], small[name] = sum(tally), costs[name](pipe.config)
    large[name] = costs[name](families.PRESETS[f"{name}-b"], again=True)
    print(f"{name}-mnist: by sizes {small[name].sum():,}, counted {counted[name]:,}")

# %%
high = max(each.max() for each in large.values())
tiles = [show.bars(each, 4 * len(each), 100, high=high) for each in large.values()]
down = [
    f"{n}-b: {len(c)} passes, to {c.max() / 1e6:.0f} million" for n, c in large.items()
]
show.save("15_work.png", show.board([[tile] for tile in tiles], down=down))
sums = {name: each.sum() / 1e6 for name, each in large.items()}
print({name: f"{all:.1f} million" for name, all in sums.items()})
print(f"{sums['mar'] / sums['arinar']:.1f} times the work, {len(large['mar'])} passes")
for name, pipe in pipes.items():
    start = time.perf_counter()
    tokens(name, 16, pipe.ops)
    taken = (time.perf_counter() - start) * 1000
    show.measured(f"{name}-mnist, 16 tokens at once: {taken:.0f} ms")

# %% [markdown]
# **Reveal.** Nearly nineteen times, for a pass of MAR-B's head does three times the
# work of one of ARINAR-B's, each with its modulations made anew. Both wait for each
# pass before the next begins. (Which cloud above is the sharper says little of the
# methods. The outer models are of one kind, but two: the heads had about as many
# updates, and MAR's outer model began where ARINAR's ended.)

# %% [markdown]
# ## What was taught

# %%
left = [abs(x - noisy[-1]).mean() for x in drawn["mar"][:-1]]
means, errors = ({name: pair[i] for name, pair in bent.items()} for i in (0, 1))

assert (groups == stages["arinar"][-1]).all(), "a feature that is drawn stays"
assert left == sorted(left, reverse=True), "noise leaves, pass by pass"
assert min(means["as drawn"], means["mar"]) > 3 * errors["mar"], (
    "both heads can bend it"
)
assert abs(means["noise"]) < 3 * errors["noise"], "noise knows of no pairs"
assert means["fed"] > 3 * errors["fed"], "the third feature follows what it was fed"
assert abs(means["own"]) < 3 * errors["own"], "and not the draw it belongs to"
assert spread[10] > 2 * spread[50], "a few large steps leave the errors of the first"
assert all(small[name].sum() == counted[name] for name in costs), "sizes tell the cost"
assert abs(large["arinar"].sum() / 1e6 - 189.7) < 0.05, "as the original does it"
assert abs(large["mar"].sum() / 1e6 - 3570) < 0.5, "and as its forerunner does"

# %% [markdown]
# ## Exercises
#
# In `lessons/exercises/15_two_heads.py`; `python lessons/check.py 15` looks at them.
#
# 1. `mean_before`: the mean of a step of MAR, from x and the predicted noise.
# 2. `guided`: what MAR's head takes out under guidance.
