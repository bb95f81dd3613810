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
from minigen.models import vq
from minigen.show import lesson as show

pipe = minigen.load("arpg-mnist", backend="numpy")
digits = show.digits()

# %% [markdown]
# ## There and back
#
# Top to bottom: a digit, its tokens (a colour for each code), what the tokens decode
# to, and where the two differ.

# %%
tokens = pipe.encode(digits)
again = pipe.decode(tokens)
codes, factor = pipe.tokenizer_config.codes, pipe.tokenizer_config.factor
error = np.abs(again.astype(int) - digits).mean(-1)
rows = [
    [show.enlarge(image, 2) for image in digits[:10]],
    [show.colours(grid, 2 * factor, 0, codes - 1) for grid in tokens[:10]],
    [show.enlarge(image, 2) for image in again[:10]],
    [show.colours(e, 2, 0, 128) for e in error[:10]],
]
show.save(
    "01_tokens.png", show.board(rows, down=["digit", "tokens", "decoded", "error"])
)
print("pixels", digits.shape, "-> tokens", tokens.shape, "-> pixels", again.shape)
print("a seven as the generator sees it\n", tokens[7])

# %% [markdown]
# ## How much is kept
#
# A token is one of a fixed number of codes, hence log₂(codes) bits. The digit came as
# one byte for each pixel.

# %%
bits = tokens[0].size * np.log2(codes)
came = 28 * 28 * 8
print(
    f"{tokens[0].size} tokens x log2({codes}) = {bits:.0f} bits = {bits / 8:.0f} bytes"
)
print(f"a digit comes in {came // 8} bytes, {came / bits:.1f} times as many")
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
# For each code, the average of all patches that it stood for in the twenty digits, the
# most used code first: black, bends, edges and ends of strokes. The blurred ones stood
# for different things in different places. Plain grey was not used.

# %%
rows, columns = pipe.grid
patches = again.reshape(20, rows, factor, columns, factor, 3).swapaxes(2, 3)
patches = patches.reshape(-1, factor, factor, 3)
used = np.bincount(tokens.ravel(), minlength=codes)
stamps = np.full((codes, factor, factor, 3), 128, np.uint8)
for code in np.flatnonzero(used):
    stamps[code] = patches[tokens.ravel() == code].mean(0)
ranked = [show.enlarge(stamps[code], 7) for code in np.argsort(-used, kind="stable")]
book = [ranked[i : i + 16] for i in range(0, codes, 16)]
show.save("01_codebook.png", show.board(book, gap=4))

# %% [markdown]
# ## A token is not a stamp
#
# Print every digit with those average patches: it can be told, but it is torn. The same
# tokens, decoded, give a whole digit. So not all of the meaning is in the tokens one by
# one: the decoder reads each in the light of the others.

# %%
stamped = stamps[tokens[:10]].swapaxes(2, 3).reshape(10, *digits.shape[1:])
rows = [
    [show.enlarge(i, 2) for i in images[:10]] for images in (digits, stamped, again)
]
show.save("01_stamps.png", show.board(rows, down=["digit", "stamped", "decoded"]))
lost = np.abs(stamped.astype(int) - digits[:10]).mean()
print(f"mean error of a pixel: {lost:.1f} stamped, {error[:10].mean():.1f} decoded")

# %% [markdown]
# ## How far does one token reach?
#
# Exchange a single token of the seven, in the orange cell, for the code nearest to it,
# one half-way down the list, and the farthest. Below: what changes.

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
captions = [f"token {t}" for t in (tokens[7][cell], *others)]
show.save("01_reach.png", show.board(rows, captions, ["decoded", "change"]))
near = np.zeros(pipe.grid, bool)
near[y - 1 : y + 2, x - 1 : x + 2] = True
near = near.repeat(factor, 0).repeat(factor, 1)
inside, beyond = change[:, near].mean(), change[:, ~near].mean()
print(f"mean change: {inside:.2f} in the cell and its neighbours, {beyond:.2f} beyond")

# %% [markdown]
# ## Which tokens are used most?
#
# How often each code occurs in the twenty digits, most used first. Most of an image is
# black, and a single code says so. Whoever knows only how often each code occurs needs
# Σ p log₂ 1/p bits a token. What a generator gains beyond that must come from knowing
# which tokens stand *together*.

# %%
share = np.sort(used)[::-1] / used.sum()
chart = show.bars(share, 10 * codes, 80)
show.save("01_use.png", show.board([[chart]], [f"{codes} codes"]))
spent = -(share[share > 0] * np.log2(share[share > 0])).sum()
print(f"{np.count_nonzero(used)} of {codes} codes occur; the first is {share[0]:.1%}")
print(f"{spent:.2f} bits a token by frequency, {np.log2(codes):.2f} if all were alike")

# %% [markdown]
# ## What was taught

# %%
apart = np.abs(again[:, None].astype(int) - digits[None]).mean((2, 3, 4))

assert tokens.shape == (20, *pipe.grid), "an image is a small grid of tokens"
assert (tokens >= 0).all() and (tokens < codes).all(), "a token is the number of a code"
assert bits < came / 4, "tokens are far fewer bits than pixels"
assert (apart.argmin(1) == np.arange(20)).all(), "a digit decodes to itself, no other"
assert error[:10].mean() < lost, "a token is read in the light of its neighbours"
assert inside > 2 * beyond > 0, "a token reaches beyond its cell, but weakly"
assert stamps[used.argmax()].mean() < 32, "the most used code is black"
assert spent < np.log2(codes), "knowing how often each code occurs saves bits"

# %% [markdown]
# ## Exercises
#
# 1. Encode `again`, the decoded digits. How many tokens come back the same? Do it five
#    times over: does the image settle?
# 2. Encode and decode something that is no digit: a checkerboard, a disc, white paper.
#    What comes back, from a tokenizer that has seen digits only?
# 3. Which cells change when you shift a digit by one pixel before encoding? By `factor`
#    pixels?
