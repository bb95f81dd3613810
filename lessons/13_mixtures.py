# %% [markdown]
# # 13 · A mixture for every feature
#
# In the lessons before, a token was the number of a code, drawn from a list of
# probabilities. A token of ARINAR is a vector: four numbers, its *features*, for each
# patch of a digit. A small model inside the large one draws them one after the other.
# Before each it says a density, a mixture of four Gaussians. Here they are.
#
# ![Three tokens of a seven, and the densities of their four
# features](pictures/13_mixtures.png)
#
# *Runs on NumPy alone.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

from minigen import load, rng, sample
from minigen.models import kl, masked, mixture_head
from minigen.models.query import Draws
from minigen.show import lesson as show

pipe = load("arinar-mnist", backend="numpy")
ops, config = pipe.ops, pipe.config
model = ops, pipe.generator.weights, config
inner = ops, pipe.generator.weights["head"], config

# %% [markdown]
# ## A seven in sixteen steps
#
# The outer model is a transformer that is asked for a few positions at a time (orange),
# in a random order. It answers with a vector of 128 numbers for each of them, the
# *condition*. The inner model makes four features of that. A function that watches the
# run sees every condition, every mixture, and what was drawn from it.

# %%
said, plan = [], pipe.plan("random", "cosine", steps=16, seed=5)
how = pipe.options(guidance=1, temperature=1)
steps = sample.steps(*model, plan, [7], 5, how, watch=lambda *it: said.append(it))
steps = list(steps)
seen = {name: [it for which, it in said if which == name] for name in dict(said)}
print({name: len(times) for name, times in seen.items()})
chosen = [steps[i] for i in (0, 5, 8, 11, 13, 15)]
captions = [f"step {step.index}: {len(step.positions)} new" for step in chosen]
frames = [show.canvas(pipe, step) for step in chosen]
show.save("13_digit.png", show.board([frames], captions))

# %% [markdown]
# ## A density is a sum of bells
#
#     p(x) = Σ_k w_k N(x; m_k, s_k²)
#
# The weights w_k add up to one, so p holds one in all. To draw from it, take component
# k with probability w_k, and from this one a normal number.

# %%
line = np.linspace(-5, 5, 160)
show.source(mixture_head.draw)


def components(mixture, x=line):
    """Return w_k N(x; m_k, s_k²) of a mixture at points x (n): (g n)."""
    w, m, log_variance = (np.float64(a).reshape(-1, 1) for a in mixture)
    v = np.exp(log_variance)
    return w * np.exp(-((x - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)


# %% [markdown]
# Three tokens of the seven, and the density of each of their features, from -5 to 5,
# in the order in which they were drawn. The colours are the four components, one on top
# of the other, so the outline is the density. The orange line is what was drawn.
#
# In the dark corner, the features that matter are as good as known. Where a stroke may
# begin or go on, there are bumps for dark and for bright. The fourth density is the
# same everywhere: the tokenizer left nothing but noise in that feature, and the model
# has found out.

# %%
rows, mixtures = [], {}
for p in (62, 18, 52):
    step = next(step for step in steps if p in step.positions)
    row = list(step.positions).index(p)
    four = seen["mixtures"][4 * step.index : 4 * step.index + 4]
    mixtures[p] = [[part[row] for part in mixture] for mixture in four]
    canvas = show.enlarge(pipe.picture(step.canvas)[0], 3)
    tiles = [show.outline(canvas, p, pipe.grid)]
    for mixture, x in zip(mixtures[p], step.tokens[0, row], strict=True):
        tiles.append(show.mark(show.areas(components(mixture), 96), (x + 5) / 10))
    rows.append(tiles)
captions = ["drawn", *(f"feature {i}" for i in range(1, 5))]
show.save("13_mixtures.png", show.board(rows, captions, ["corner", "stroke", "or not"]))

# %% [markdown]
# ## Each feature knows those before it
#
# A mixture is said only when the features before it are known. So take the last of the
# three tokens, and feed the inner model a second feature of our own choice (above,
# orange). The density of the third one moves (below). The map on the right shows both:
# the second feature across, the third one up, bright where a pair is likely. A bent
# ridge like this is no product of two densities, though each feature has its own.

# %%
z = seen["conditions"][step.index][1][:, row : row + 1]
fed = np.repeat(step.tokens[0, row].reshape(1, 4, 1), 164, axis=0)
fed[:, 1, 0] = -2.5, -1.5, 0, 2, *line
of_fed = mixture_head.forward(*inner, fed, z.repeat(164, axis=0))
second = components(mixtures[p][1])
third = np.array([components([a[i, 2] for a in of_fed]) for i in range(164)])
above = [show.mark(show.areas(second, 80), (x + 5) / 10) for x in fed[:4, 1, 0]]
below = [show.areas(density, 80) for density in third[:4]]
tiles = [np.vstack(pair) for pair in zip(above, below, strict=True)]
joint = second.sum(0)[:, None] * third[4:].sum(1)
tiles.append(show.colours(np.sqrt(joint.T[::-1])))
captions = [f"second: {x:g}" for x in fed[:4, 1, 0]]
show.save("13_order.png", show.board([tiles], [*captions, "both"]))
moved = abs(np.cumsum(third[3] - third[0], axis=1).sum(0)).max() * (line[1] - line[0])

# %% [markdown]
# ## Temperature
#
# A temperature T multiplies the deviations s_k, and leaves means and weights alone. A
# small one makes the bumps narrow, but does not choose between them. Left: the second
# feature of the token on the stroke. Right: digits drawn so, from the same random
# numbers.
#
# (The weights that ARINAR's authors released belong to an earlier version of the code,
# which divides by T: `v1`. This model follows the later one: `head`.)

# %%
temperatures, rows = (0.3, 1, 1.5), []
for t in temperatures:
    w, m, log_variance = mixtures[18][1]
    hot = components((w, m, log_variance + 2 * np.log(t)))
    how = {"guidance": 1, "temperature": t, "order": "random", "schedule": "cosine"}
    images = pipe.sample([0, 2, 4, 7, 9], seed=3, **how)
    rows.append([show.areas(hot, 96), *(show.enlarge(image, 3) for image in images)])
show.save(
    "13_temperature.png", show.board(rows, down=[f"T = {t}" for t in temperatures])
)

# %% [markdown]
# ## Guidance is a ratio of densities
#
# The model may also be asked without a class. That gives a second density p_u, beside
# the p_c of a class. Guidance by c draws from
#
#     p_c(x) · (p_c(x) / p_u(x))^(c−1)
#
# scaled to hold one in all. A value that the class makes twice as likely counts 2^(c−1)
# times. Below: the second feature half-way up on the right, before anything is drawn.
# Told nothing, the model expects it dark. Told a zero, it rather expects the stroke.
# Guided, it draws hardly anything else.

# %%
weight, asked, blank = 3.0, np.array([[37]]), np.zeros((1, 64, 4), np.float32)
z_both = masked.conditions(
    *model, [0], blank, np.empty((1, 0), int), asked, guided=True
)
made = mixture_head.forward(*inner, np.zeros((2, 4, 1), np.float32), z_both)
made = [part[:, 1] for part in made]
x, dx = np.linspace(-8, 8, 8001, retstep=True)
p_c, p_u = (components([part[i] for part in made], x).sum(0) for i in (0, 1))
guided = p_c * (p_c / p_u) ** (weight - 1)
guided /= guided.sum() * dx
exact, high = np.interp(line, x, guided), guided.max()
parts = [components([part[i] for part in made]) for i in (1, 0)]
tiles = [show.areas(part, 96, high) for part in (*parts, exact[None])]
captions = ["no class", "a zero", f"guided by {weight:g}"]
show.save("13_guidance.png", show.board([tiles], captions))

# %% [markdown]
# ## A thousand candidates, or a grid
#
# That density is no mixture any more. The original draws from it in a roundabout way:
# a thousand candidates from p_c, and one of these by its ratio. But of *one* number any
# density can be drawn from: at the points of a grid, areas added up, until they exceed
# a uniform number. Both ways ship, as `guided_draw`.

# %%
show.source(mixture_head.choose, mixture_head.draw_on_grid)
n, many, key = 2000, mixture_head.CANDIDATES, np.uint32(rng.split_seed(0))
draws = Draws(key, np.arange(n), asked[0].repeat(n), 0)


def drawn(way, count=many):
    """Return n draws, and how far their distribution is from the exact one."""
    mixture_head.CANDIDATES = count
    values = way(ops, [part.repeat(n, axis=0) for part in made], 1, draws, 1.0, weight)
    mixture_head.CANDIDATES = many
    values, ranks = np.sort(values.ravel()), np.arange(n + 1) / n
    share = np.interp(values, x, np.cumsum(guided) * dx)
    return values, max(abs(share - ranks[1:]).max(), abs(share - ranks[:-1]).max())


# %% [markdown]
# Histograms of two thousand draws, and the exact density (orange). One candidate is no
# choice: this is p_c itself. With more of them it becomes the guided density.
#
# How far may a histogram be off by chance? The largest gap between the distribution
# functions (Kolmogorov and Smirnov's distance) of n draws and of their density exceeds
# √(ln(2/a) / 2n) in a share of at most a of all cases. Candidates come on top with what
# their number is to blame for: about ∫ g²/p_c over it, at most, for a guided density g.

# %%
ways = {f"{k} candidate{'s'[: k > 1]}": (mixture_head.choose, k) for k in (1, 10, many)}
ways["grid"] = (mixture_head.draw_on_grid,)
tiles, far = [], {}
for name, way in ways.items():
    values, far[name] = drawn(*way)
    bins = np.histogram(values, np.linspace(-5, 5, 81))[0] * 8 / n
    tiles.append(show.curve(show.bars(bins, 160, 96, high=high), exact, high))
chance = np.sqrt(np.log(2 / 1e-6) / (2 * n))
excess = (guided**2 / p_c).sum() * dx / many
show.save("13_candidates.png", show.board([tiles], list(far)))
print({name: round(float(gap), 3) for name, gap in far.items()})
print(f"by chance, once in a million: {chance:.3f}; candidates more: {excess:.3f}")

# %% [markdown]
# ## Likelihood in bits
#
# A model that says densities can be asked how likely a digit is that it did not draw:
# here twenty of the test set, as latents. Told the class and some of the tokens, it has
# a density for every feature of the others; log₂ 1/p are its bits. (`arinar.loss` is
# their mean, in nats.)

# %%
images, vae = show.digits(), (ops, pipe.tokenizer.weights, pipe.tokenizer_config)
moments = kl.posterior(ops, vae[2], kl.encode(*vae, ops.from_pixels(images)))
noise = np.random.default_rng(0).standard_normal((20, 8, 8, 4), np.float32)
latents = kl.to_latents(ops, vae[2], kl.sample(ops, *moments, noise)).reshape(20, 64, 4)
labels, order = np.tile(np.arange(10), 2), np.tile(np.arange(64), (20, 1))
order = np.random.default_rng(1).permuted(order, axis=1)


def bits(labels, known):
    """Return the bits of each feature of the tokens that are not known: (20 n 4)."""
    given, asked = np.split(order, [known], axis=1)
    z = masked.conditions(*model, labels, latents, given, asked)
    fed = np.take_along_axis(latents, asked[..., None], axis=1).reshape(-1, 4, 1)
    found = mixture_head.likelihoods(*inner, fed, z.reshape(-1, 1, config.width))
    return (np.log(2 * np.pi) / 2 - found.reshape(20, -1, 4)) / np.log(2)


# %% [markdown]
# Bits of a density have no zero of their own, and may be negative: they are for
# comparing only. One bell curve for all tokens is the first line to beat. The more is
# known, the fewer bits are left, but not in the fourth feature: noise costs what it
# costs. The picture shows what the tokens of each digit cost, given nothing but the
# class: bright is dear.

# %%
bell = np.log2(latents.std((0, 1)) * np.sqrt(2 * np.pi * np.e))
print(f"one bell curve for each feature: {bell.round(2)}, mean {bell.mean():.2f}")
spent = {known: bits(labels, known).mean((0, 1)) for known in (0, 32, 60)}
for known, of_features in spent.items():
    print(
        f"{known:2} tokens known: {of_features.round(2)}, mean {of_features.mean():.2f}"
    )
cost = np.empty((20, 64))
np.put_along_axis(cost, order, bits(labels, 0).sum(-1), axis=1)
tiles = [[show.enlarge(image, 2) for image in images[:10]]]
tiles += [[show.colours(grid.reshape(8, 8), 8, 0, 16) for grid in cost[:10]]]
show.save("13_bits.png", show.board(tiles, down=["digit", "bits"]))
wrong = bits((labels + 1) % 10, 0).mean((0, 1))
print(f"with the next class instead: {wrong.round(2)}, mean {wrong.mean():.2f}")

# %% [markdown]
# ## What was taught

# %%
wide, width = np.linspace(-12, 12, 4801, retstep=True)
whole = np.array([[components(m, wide).sum(0) for m in mixtures[p]] for p in mixtures])
normal = np.exp(-(wide**2) / 2) / np.sqrt(2 * np.pi)
at_once = mixture_head.forward(*inner, step.tokens[0, row].reshape(1, 4, 1), z)
apart = [at_once[j][0, i] - mixtures[p][i][j] for i in range(4) for j in range(3)]

assert abs(whole.sum(-1) * width - 1).max() < 1e-6, "a density holds one in all"
assert max(abs(a).max() for a in apart) < 1e-5, "at once, as in training, or in turn"
assert moved > 0.5, "another second feature, another third density"
assert (abs(whole[:, 3] - normal).sum(-1) * width).max() < 0.1, "noise stays noise"
assert far["1 candidate"] > 5 * chance, "guidance makes another density of p_c"
assert far["1000 candidates"] < chance + excess, "a thousand candidates come near it"
assert far["grid"] < chance, "and a grid draws from it"
assert spent[60].mean() < spent[0].mean() < bell.mean(), "what is known saves bits"
assert spent[0].mean() < wrong.mean() - 0.1, "the class too, if it is the right one"

# %% [markdown]
# ## Exercises
#
# 1. Draw five threes with `guidance=3`, once with `guided_draw="candidates"` and once
#    with `"grid"`, from the same seed. Are they the same digits? Should they be? (Look
#    at the random numbers that either way takes.)
# 2. Set `weight` to 1, 2, 6 and 10. How many of a thousand candidates are worth
#    something? (`1 / excess` of them, roughly.) When does the histogram show it?
# 3. Which of the ten labels makes a digit likeliest? (Add up `bits` of each image, for
#    `np.full(20, k)`.) How many of the twenty are named rightly, and is it more or less
#    if half of the tokens are known?
