# %% [markdown]
# # 01 · Tokens: what the tokenizer keeps
#
# The generator never sees a pixel. A tokenizer has cut every digit into a grid of
# tokens, and what it throws away no generator can bring back. So look at it first: what
# does a token stand for, and what is lost?
#
# ![Ten digits, their tokens, what these decode to, and the
# error](pictures/01_tokens.png)
#
# *Runs on NumPy alone. The twenty digits are the first two of each class of the MNIST
# test set, which the tokenizer has not been trained on.*

# %%
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

import minigen
from minigen import evaluate
from minigen.models import vq
from minigen.show import lesson as show

pipe = minigen.load("arpg-mnist", backend="numpy")
digits, labels = show.digits(), np.array([*range(10)] * 2)
codes, factor = pipe.tokenizer_config.codes, pipe.tokenizer_config.factor
tokens = pipe.encode(digits)

# %% [markdown]
# ## There and back
#
# Top to bottom: a digit, its tokens, what the tokens decode to, and where the two
# differ. A token is the number of a *code*. The numbers have no order: code 5 is not
# between 4 and 6. So each is shown by a stamp, the average of all patches that its code
# decodes to in the twenty digits.

# %%
again = pipe.decode(tokens)
error = np.abs(again.astype(int) - digits).mean(-1)
patches = again.reshape(20, 8, factor, 8, factor, 3).swapaxes(2, 3)
used = np.bincount(tokens.ravel(), minlength=codes)
stamps = np.full((codes, factor, factor, 3), 128, np.uint8)  # grey: not used
for code in np.flatnonzero(used):
    stamps[code] = patches[tokens == code].mean(0)
stamped = stamps[tokens].swapaxes(2, 3).reshape(digits.shape)
shown = digits, stamped, again
rows = [[show.enlarge(image, 2) for image in images[:10]] for images in shown]
for tile in rows[1]:
    tile[:: 2 * factor] = tile[:, :: 2 * factor] = show.INK
rows += [[*(show.colours(e, 2, 0, 128) for e in error[:10]), show.scale(0, 128)]]
down = ["digit", "tokens", "decoded", "error, of 255"]
show.save("01_tokens.png", show.board(rows, down=down))

# %%
print("pixels", digits.shape, "-> tokens", tokens.shape, "-> pixels", again.shape)
print("a seven as the generator sees it\n", tokens[7])

# %% [markdown]
# ## How much is kept
#
# A token is one of a fixed number of codes, hence log₂(codes) bits. The digit came as
# one byte for each pixel.

# %%
kept = tokens[0].size * np.log2(codes)
came = 28 * 28 * 8
print(
    f"{tokens[0].size} tokens x log2({codes}) = {kept:.0f} bits = {kept / 8:.0f} bytes"
)
print(f"a digit comes in {came // 8} bytes, {came / kept:.1f} times as many")
print(f"mean error of a pixel: {error.mean():.1f} of 255")

# %% [markdown]
# ## How a token is chosen
#
# An encoder describes each cell of the grid by a short vector; the token is the number
# of the nearest vector in a codebook. The rest of the tokenizer is convolutions, and
# attention between cells.

# %%
show.source(vq.quantise, pipe.ops.distances, pipe.ops.lookup)

# %% [markdown]
# ## What a code stands for
#
# The stamps of all codes, the most used first: black, bends, edges and ends of strokes.
# Blurred ones stood for several things. Three are black, yet not the same: with the
# first in place of the others the digits are decoded less well: strokes beside them
# change.

# %%
black, pure = stamps.mean((1, 2, 3)) < 1, tokens.copy()
pure[black[tokens]] = 0
plainer = np.abs(pipe.decode(pure).astype(int) - digits).mean()
print(f"black: {np.flatnonzero(black)}; with 0 for all three, error {plainer:.1f}")
ranked = [show.enlarge(stamps[code], 7) for code in np.argsort(-used, kind="stable")]
book = [ranked[i : i + 16] for i in range(0, codes, 16)]
show.save("01_codebook.png", show.board(book, gap=4))

# %% [markdown]
# ## A token is more than its stamp
#
# In the first picture the stamped digits can be recognised, but they are torn. The same
# tokens, decoded, give a whole digit: the decoder reads each token in the light of the
# others. So exchange a single token of the seven, in the orange cell, for the code
# nearest to it, one half-way down the list, and the farthest. How far does that reach?

# %%
y, x = cell = 4, 4
vectors = vq.codes(pipe.ops, pipe.tokenizer.weights, pipe.tokenizer_config)
distance = pipe.ops.distances(vectors, vectors)[tokens[7][cell]]
others = np.argsort(distance)[[1, codes // 2, codes - 1]]
swapped = tokens[[7, 7, 7]].copy()
swapped[:, y, x] = others
changed = pipe.decode(swapped)
change = np.abs(changed.astype(int) - again[7]).mean(-1)

# %%
framed = [show.enlarge(image, 4) for image in (again[7], *changed)]
maps = [show.colours(c, 4, 0, 64) for c in (0 * change[0], *change)]
rows = [
    [show.outline(t, y * 8 + x, pipe.grid) for t in tiles] for tiles in (framed, maps)
]
rows[1].append(show.scale(0, 64))
captions = [f"token {t}" for t in (tokens[7][cell], *others)]
show.save("01_reach.png", show.board(rows, captions, ["decoded", "change, of 255"]))
near = np.zeros(pipe.grid, bool)
near[y - 1 : y + 2, x - 1 : x + 2] = True
near = near.repeat(factor, 0).repeat(factor, 1)
inside, beyond = change[:, near].mean(), change[:, ~near].mean()
lost = np.abs(stamped.astype(int) - digits).mean()
print(f"mean error of a pixel: {lost:.1f} stamped, {error.mean():.1f} decoded")
print(f"mean change: {inside:.2f} in the cell and its neighbours, {beyond:.2f} beyond")

# %% [markdown]
# ## What there is to know
#
# How surprising are the tokens of these digits? A token of probability p holds log₂ 1/p
# bits. The generator says what p is, and we choose what it is told: nothing; the class;
# four corners, so that it knows the place of every cell (lesson 04 says how); both; and
# at last the tokens before as well, one after the other, as it draws. So the first four
# bars are the control: what is left for the last to explain?
#
# **Predict.** Knowing only how often each code occurs, a token takes about 3.3 bits,
# and knowing all before it 1.6. How much of this gain comes from other tokens, and how
# much from place and class alone?

# %%
corners = [0, 63, 7, 56]
plan = pipe.plan(schedule="one", known=corners)
asked, flat = list(plan.order), tokens.reshape(20, 64)


def bits(labels, known):
    """Return the mean bits of all tokens but the corners, each asked for alone."""
    canvas = np.full(flat.shape, -1)
    canvas[:, known] = flat[:, known]
    plan = pipe.plan([*asked, *corners], [64 - len(known)], known=known)
    given = {"plan": plan, "known": canvas.reshape(tokens.shape)}
    (step,) = pipe.steps(labels, guidance=1, temperature=1, **given)
    p = np.take_along_axis(step.probabilities[:, :60], flat[:, asked, None], axis=2)
    return -np.log2(p).mean()


# %%
nobody = np.full(20, -1)  # no class
told = {
    "nothing": bits(nobody, []),
    "class": bits(labels, []),
    "place": bits(nobody, corners),
    "place,\nclass": bits(labels, corners),
    "place, class,\ntokens before": evaluate.unknown_bits(pipe, tokens, labels, plan),
}
tiles = [show.bars([b], 80, 99, high=4, numbers=[f"{b:.2f}"]) for b in told.values()]
show.save("01_bits.png", show.board([tiles], [*told], ["bits a token"]))
share = np.bincount(flat[:, asked].ravel(), minlength=codes) / flat[:, asked].size
frequency = -(share[share > 0] * np.log2(share[share > 0])).sum()
print(f"{frequency:.2f} bits a token by how often each code occurs in these digits")

# %% [markdown]
# **Reveal.** Told nothing, the model knows how often each code occurs, and no more. The
# class alone adds almost nothing, the place some, and both together half of all there
# is to gain: the middle of a three is likely to hold certain bends, whatever stands
# beside it. Only the other half comes from knowing which tokens stand *together*.

# %% [markdown]
# ## What was taught

# %%
apart = np.abs(again[:, None].astype(int) - digits[None]).mean((2, 3, 4))
nothing, by_class, by_place, alone, together = told.values()

assert tokens.shape == (20, *pipe.grid), "an image is a small grid of tokens"
assert (tokens >= 0).all() and (tokens < codes).all(), "a token is the number of a code"
assert kept < came / 4, "tokens are far fewer bits than pixels"
assert (apart.argmin(1) == np.arange(20)).all(), "a digit decodes to itself, no other"
assert error.mean() < lost, "a token is read in the light of the others"
assert black.sum() == 3 and error.mean() < plainer, "black codes differ beside strokes"
assert inside > 2 * beyond > 0, "a token reaches beyond its cell, but weakly"
assert abs(nothing - frequency) < 0.1, "told nothing, a model knows frequencies"
assert together < alone < by_place < by_class < nothing + 0.01, "each part adds"
assert 0.3 < (nothing - alone) / (nothing - together) < 0.7, "half is place and class"

# %% [markdown]
# ## Exercises
#
# Write the answers into `lessons/exercises/01_tokens.py`, and let
# `python lessons/check.py 01` look at them.
#
# 1. `nearest`: the tokens of some vectors, from a codebook.
# 2. `bits_by_frequency`: the mean bits of a token, if only the frequency of each code
#    is known.
# 3. `bits_by_place`: the same, with frequencies of its own for every place. For these
#    twenty digits that is less than the model takes when told the place. Why?
