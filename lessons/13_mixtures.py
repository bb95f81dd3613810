# %% [markdown]
# # 13 · A mixture for every feature
#
# In the lessons before, a token was the number of a code, drawn from a list of
# probabilities. A token of ARINAR is a vector: four numbers, its *features*, for each
# patch of a digit. A small model inside the large one, the *inner model* or *head*,
# draws them in turn; before each it says a density, a mixture of four Gaussians.
#
# ![Three tokens of a seven, and the densities of their four
# features](pictures/13_mixtures.png)
#
# *Needs lesson 00. Runs on NumPy alone.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

from minigen import load, sample
from minigen.models import kl, masked, mixture_head, query
from minigen.show import frames
from minigen.show import lesson as show

pipe, said = load("arinar-mnist", backend="numpy"), []
ops, weights, config = pipe.ops, pipe.generator.weights, pipe.config
plan = pipe.plan("random", "cosine", steps=16, seed=5)
run = ops, weights, config, plan, [7], 5, pipe.options(guidance=1, temperature=1)

# %% [markdown]
# ## Three tokens of a seven
#
# A seven is drawn in sixteen steps. The outer model, a transformer, answers each
# question for a position by a vector of 128 numbers, its *condition*. The inner model
# makes four features of that. Left, the canvas when the framed token was drawn. Then
# the density of each feature from -5 to 5, in the order in which they were drawn (every
# picture as high as its highest value), and in orange what was drawn.
#
# In the dark corner the second and third are as good as known. Where a stroke may begin
# or go on there are two bumps: dark and bright. The fourth is the same everywhere.

# %%
steps = list(sample.steps(*run, watch=lambda *it: said.append(it)))
made = [it for which, it in said if which == "mixtures"]  # four a step
line, rows, mixtures = np.linspace(-5, 5, 161, dtype=np.float32), [], {}
for p in (62, 18, 52):
    step = next(step for step in steps if p in step.positions)
    row = list(step.positions).index(p)
    four = made[4 * step.index : 4 * step.index + 4]
    mixtures[p] = [[part[row] for part in mixture] for mixture in four]
    canvas = show.enlarge(pipe.picture(step.canvas)[0], 3)
    rows.append([show.outline(canvas, p, pipe.grid)])
    for mixture, x in zip(mixtures[p], step.tokens[0, row], strict=True):
        density = np.exp(ops.log_density(line.reshape(1, -1, 1), *mixture))
        rows[-1].append(show.mark(show.areas(density, 96), (x + 5) / 10))
captions = ["drawn", *(f"feature {i}: -5 to 5" for i in range(1, 5))]
show.save("13_mixtures.png", show.board(rows, captions, ["corner", "stroke", "or not"]))

# %%
names = {"corner": 62, "stroke": 18, "or not": 52}
seven = {"order": "random", "schedule": "cosine", "steps": 16, "seed": 5}
note = "Colours: the four components, one on the other. Orange: the number drawn."
data = frames.mixture(pipe, 7, names, "Feature by feature", note, **seven)
show.player("mixture", data, "13_features")

# %% [markdown]
# ## A density is a sum of bells
#
# $$p(x) = \sum_k w_k N(x; m_k, s_k^2)$$
#
# The weights w_k add up to one, so p holds one in all. To draw from it, take component
# k with probability w_k, and from this one a normal number. A temperature T multiplies
# s_k.
#
# Take the second feature of the third token. Left of -0.14 lies the bump "no stroke",
# right of it the bump "stroke"; at T = 1 about a tenth of the draws fall there. In
# lesson 09 a temperature below 1 favoured what was likely anyhow.
#
# **Predict.** At T = 0.3, how often is there a stroke: never, as often, more often?

# %%
show.source(mixture_head.draw)
n, valley, stroke, tiles = 4000, -0.14, {}, []
maybe = mixtures[52][1]
draws = query.Draws(np.zeros(2, np.uint32), np.arange(n), np.full(n, 52), 0)
density = np.exp(ops.log_density(line.reshape(1, -1, 1), *maybe))[0]
for T in (0.3, 1, 1.5):
    many = [part.repeat(n, axis=0) for part in maybe]
    x = mixture_head.draw(ops, many, 1, draws, T).ravel()
    power = density ** (1 / T)
    stroke[T] = np.mean(x > valley), power[line > valley].sum() / power.sum()
    print(f"T = {T}: stroke {stroke[T][0]:.3f}; by p^(1/T) {stroke[T][1]:.3f}")
    bins = np.histogram(x, np.linspace(-5, 5, 81))[0] * 8 / n
    tiles.append(show.curve(show.bars(bins**0.5, 240, 96, high=2), density**0.5, 2))
captions = [f"T = {T}: -5 to 5, density to 4" for T in stroke]
show.save("13_temperature.png", show.board([tiles], captions))

# %% [markdown]
# **Reveal.** As often, even a little more. (Blue: 4000 draws; orange: the density at T
# = 1; both by the square root.) T leaves the weights alone: it does not choose between
# bumps. It makes them narrow: less of the right one lies left of the border. The
# density to the power 1/T, as for codes, would have chosen.

# %% [markdown]
# ## Each feature knows those before it
#
# Feed the inner model a second feature of our own choice (above, orange): the density
# of the third moves (below). Right, both at once: the second across, the third up, by
# the square root of their density. A bent ridge like this is no product of two
# densities, though each feature has its own.

# %%
conditions = [it for which, it in said if which == "conditions"]
z, inner = conditions[step.index][1][:, row : row + 1], (ops, weights["head"], config)
token = step.tokens[0, row].reshape(1, 4, 1)


def densities(fed):
    """Return the densities (b 4 n) on the line of features, given those fed (b 4 1)."""
    b, points = len(fed), np.tile(line.reshape(1, -1, 1), (4 * len(fed), 1, 1))
    parts = mixture_head.forward(*inner, fed, z.repeat(b, axis=0))
    parts = [part.reshape(4 * b, *part.shape[2:]) for part in parts]
    return np.exp(ops.log_density(points, *parts)).reshape(b, 4, -1)


# %%
fed = token.repeat(165, axis=0)
fed[:, 1, 0] = -2.5, -1.5, 0, 2, *line
of_fed, width = densities(fed), line[1] - line[0]
above = [show.mark(show.areas(of_fed[:1, 1], 80), (x + 5) / 10) for x in fed[:4, 1, 0]]
below = [show.areas(third[None], 80) for third in of_fed[:4, 2]]
tiles = [np.vstack(pair) for pair in zip(above, below, strict=True)]
joint = of_fed[4, 1][:, None] * of_fed[4:, 2]
tiles.append(show.colours(np.sqrt(joint.T[::-1])))
captions = [f"second {x:g}" for x in fed[:4, 1, 0]] + [f"both: 0 to {joint.max():.1f}"]
show.save("13_order.png", show.board([tiles], captions))

# %%
pairs = [of_fed[4, 1][:, None] * of_fed[4:, i] * width**2 for i in (2, 3)]
tied = [abs(p - np.outer(p.sum(1), p.sum(0))).sum() / 2 for p in pairs]
print(f"from a product: second and third {tied[0]:.2f}, and fourth {tied[1]:.4f}")
changed = densities(token + np.vstack([np.zeros(4), 1.5 * np.eye(4)])[..., None])
moved = abs(changed[1:] - changed[0]).sum(-1) * width / 2
print("raise a feature (row) by 1.5: the densities (column) move by\n", moved.round(3))
wide = np.linspace(-12, 12, 4801, dtype=np.float32).reshape(1, -1, 1)
whole = [np.exp(ops.log_density(wide, *m)).sum() * 0.005 for m in mixtures[52]]
at_once = mixture_head.forward(*inner, token, z)
apart = [at_once[j][0, i] - mixtures[52][i][j] for i in range(4) for j in range(3)]

# %% [markdown]
# ## How likely a digit is, in bits
#
# A model that says densities can also be asked how likely something is that it did not
# draw: here ten digits of the test set. Told the class and some of the tokens, it has a
# density p for every feature of the others; log₂ 1/p are its bits. (They have no zero
# of their own, and are for comparing only.)

# %%
images, vae = show.digits()[:10], (ops, pipe.tokenizer.weights, pipe.tokenizer_config)
moments = kl.posterior(ops, vae[2], kl.encode(*vae, ops.from_pixels(images)))
rng = np.random.default_rng(0)
noise = rng.standard_normal((10, 8, 8, 4), np.float32)
latents = kl.to_latents(ops, vae[2], kl.sample(ops, *moments, noise)).reshape(10, 64, 4)
labels, order = np.arange(10), rng.permuted(np.tile(np.arange(64), (10, 1)), axis=1)


def bits(labels, known):
    """Return the bits of each feature of the last 16 tokens of the order: (10 16 4)."""
    given, asked = order[:, :known], order[:, 48:]
    z = masked.conditions(*run[:3], labels, latents, given, asked)
    x = np.take_along_axis(latents, asked[..., None], axis=1).reshape(-1, 4, 1)
    found = mixture_head.likelihoods(*inner, x, z.reshape(-1, 1, config.width))
    return (np.log(2 * np.pi) / 2 - found.reshape(10, 16, 4)) / np.log(2)


# %% [markdown]
# One bell curve, fitted to these very tokens, is to be beaten. The right class saves
# bits against a wrong one, and so do known tokens; but not in the fourth feature, where
# the bell wins. Is that noise? Shuffle one feature among all tokens, and decode.

# %%
bell = np.log2(latents.std((0, 1)) * np.sqrt(2 * np.pi * np.e))
cost = {"class": bits(labels, 0), "class and 48 tokens": bits(labels, 48)}
cost["wrong class"] = bits((labels + 1) % 10, 0)
print(f"{'one bell curve':20} {bell.round(2)}")
for name, found in cost.items():
    print(f"{name:20} {found.mean((0, 1)).round(2)}")
shuffled = np.stack([latents] * 5)
for i in range(4):
    shuffled[1 + i, ..., i] = rng.permutation(latents[..., i].ravel()).reshape(10, 64)
decoded = pipe.decode(shuffled.reshape(50, 8, 8, 4)).reshape(5, 10, 32, 32, 3)
off = abs(decoded[1:] - decoded[0].astype(float)).mean((1, 2, 3, 4))
tiles = [[show.enlarge(image, 2) for image in some[:6]] for some in decoded]
down = ["as it is", *(f"{i + 1}: off by {off[i]:.3f} of 255" for i in range(4))]
show.save("13_shuffled.png", show.board(tiles, down=down))

# %% [markdown]
# ## What was taught

# %%
saved = {}
for name, pair in {"class": ("wrong class", "class"), "rest": [*cost][:2]}.items():
    of_digits = (cost[pair[0]] - cost[pair[1]]).mean((1, 2))
    saved[name] = of_digits.mean(), 2 * of_digits.std(ddof=1) / np.sqrt(10)
    mean, error = saved[name]
    print(f"bits a feature that the {name} saves: {mean:.2f} ± {error:.2f}")
gain = bell - cost["class"].mean((0, 1))

# %%
assert max(abs(one - 1) for one in whole) < 1e-4, "a density holds one in all"
assert max(abs(a).max() for a in apart) < 1e-5, "at once, as in training, or in turn"
assert abs(stroke[0.3][0] - stroke[1][0]) < 0.06, "T leaves the choice of a bump alone"
right = maybe[0].ravel()[maybe[1].ravel() > valley].sum()
assert abs(stroke[0.3][0] - right) < 0.02, "a narrow bump keeps to its side"
assert stroke[0.3][1] < 0.01 < 0.05 < stroke[1][1], "a power of the density would not"
assert moved[1, 2] > 0.5 and tied[0] > 0.1, "the second feature moves the third"
assert (moved[np.tri(4, dtype=bool)] == 0).all(), "a feature moves none before it"
assert tied[1] < 0.01 and moved[:, 3].max() < 0.01, "nothing moves the fourth"
assert off[3] < 0.1 < 10 < off[1], "for the decoder does not look at it"
assert abs((cost["wrong class"] - cost["class"])[..., 3]).mean() < 0.05, "it is noise"
assert all(mean > error for mean, error in saved.values()), (
    "class and known tokens save"
)
assert gain[:3].min() > 0 > gain[3], "a mixture beats one bell, but not at noise"

# %% [markdown]
# ## Exercises
#
# In `lessons/exercises/13_mixtures.py`; `python lessons/check.py 13` looks at them.
#
# 1. `density`: that of a mixture, at any points.
# 2. `draw`: a number from a mixture, at a temperature.
# 3. `bits`: what a token costs, given the density of each of its features.
