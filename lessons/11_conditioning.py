# %% [markdown]
# # 11 · Conditioning: how class and position get in
#
# AiM reads its class as the first token, and once more in every layer, as a shift, a
# scale and a gate (adaLN). A position is a learned vector, added to its token. Here
# each of them is exchanged, to see what it does.
#
# ![Five digits, whose class was exchanged after one, 20 or all
# tokens](pictures/11_conditioning.png)
#
# *Needs lesson 10. Runs on NumPy alone.*

# %%
import os
from dataclasses import replace

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

from minigen import errors, evaluate, families, load, sample
from minigen.models import aim
from minigen.ops.modulate.reference import gate, modulate
from minigen.show import lesson as show

pipe, judge = load("aim-mnist", backend="numpy"), evaluate.load_judge(backend="numpy")
ops, weights, config = model = pipe.ops, pipe.generator.weights, pipe.config

# %% [markdown]
# ## The class is exchanged
#
# The digits 0 to 4 are begun. After so many tokens, what the layers are told (the
# shift, scale and gate of adaLN) becomes that of 5 to 9. All that was read stays in the
# state, the first token too. At the side, how many of the five a classifier takes for
# the new class.

# %%
ids = [[5], [6], [7], [8], [9], *[[config.no_class_id]] * 5]
new, states, rows, turned = aim.condition(*model, np.array(ids)), [], [], {}
for moment in (1, 20, 64):
    run = pipe.plan(), range(5), 5, pipe.options()
    for step in sample.steps(*model, *run, watch=lambda _, it: states.append(it)):
        if step.index + 1 == moment:
            vars(states[-1])["condition"] = new
    images = pipe.decode(step.canvas)
    turned[moment] = int(sum(evaluate.look(judge, images)[1] == range(5, 10)))
    rows.append([show.enlarge(image, 3) for image in images])
down = [f"after {k}: {n} of 5 turned" for k, n in turned.items()]
captions = [f"{k}, then {k + 5}" for k in range(5)]
show.save("11_conditioning.png", show.board(rows, captions, down))

# %% [markdown]
# ## Shift, scale, gate
#
# A matrix of each layer makes three vectors of the class; `condition` computes them
# once an image, for they are the same for all tokens. Around the mixer of lesson 10
# stand `modulate` and `gate`; x becomes
#
# $$x + g \cdot \text{mixer}(\text{norm}(x) (1 + s) + b)$$
#
# with shift b, scale s and gate g.
#
# Ten test digits are read, and the bits of each token counted, log₂ 1/p: first as it
# should be, then with the next class in one place.
#
# **Predict.** What costs more bits: the wrong class as the first token, or the wrong
# class in shift, scale and gate?

# %%
show.source(aim.condition, modulate, gate)
tokens, labels = pipe.encode(show.digits()[:10]).reshape(10, 64), np.arange(10)
right, wrong = (aim.condition(*model, k[:, None]) for k in (labels, (labels + 1) % 10))
rows = np.arange(63) + aim.POSITIONS[pipe.options().positions]


def bits(first=right.first, given=right, rows=rows, weights=weights):
    """Return the mean bits of a token of each digit: (10)."""
    words = aim.embed(ops, weights, tokens[:, :-1], np.tile(rows, (10, 1)))
    x, states = np.concatenate([first, words], 1), aim.new_states(ops, config, 10)
    h = aim.read(ops, weights, config, x, given, states)
    p = ops.probabilities(aim.answer(ops, weights, h), 1.0, 0, 1.0)
    return -np.log2(np.take_along_axis(p, tokens[..., None], axis=2)).mean((1, 2))


# %%
def other(parts, factor=1):
    """Return `right` with parts of the layers of the wrong class, times a factor."""
    pairs = zip(right.layers, wrong.layers, strict=True)
    swap = [[factor * w[k] if k in parts else r[k] for k in range(3)] for r, w in pairs]
    return replace(right, layers=swap)


base = bits()
cost = {"wrong token": bits(wrong.first), "wrong adaLN": bits(given=wrong)}
cost["wrong shift, scale"] = bits(given=other((0, 1)))
cost["wrong gate"] = bits(given=other((2,)))
cost["wrong last"] = bits(given=replace(right, last=wrong.last))
cost["no gate"] = bits(given=other((2,), factor=0))


# %%
def report(cost):
    """Print what each change costs, with two standard errors over the digits."""
    more = {name: (found - base).mean() for name, found in cost.items()}
    for name, found in cost.items():
        error = 2 * (found - base).std(ddof=1) / np.sqrt(len(base))
        print(f"{name:18} {more[name]:+.3f} ± {error:.3f} bits a token")
    return more


print(f"as it should be: {base.mean():.3f} bits a token; more than that:")
more = report(cost)

# %% [markdown]
# **Reveal.** The token hardly matters; what the layers are told does, and of that
# mostly the gate: it says how much each channel of a layer's output counts. Wrong
# shifts and scales cost little, and so do those behind all layers (`last`), which have
# no gate. (Together the parts cost more than their sum; but for ten digits the errors
# are larger than that.) Without any gate no layer says anything, so this costs most.
#
# ## Shared by groups of layers
#
# Those matrices are a large part of the weights: 3 d² a layer, where d is the width. So
# AiM-L and AiM-XL have four of them in all (adaLN-group): layer i takes number i mod 4,
# and adds a table of its own. `_of_groups` does that. With a group for every layer and
# tables of zeros it is adaLN again. Below, each size with and without groups, though
# only one of both exists: AiM-B has none.

# %%
show.source(aim._of_groups)
millions, kind = {}, families.FAMILIES["aim"]
for name in ("aim-b", "aim-l", "aim-xl"):
    for groups in (0, 4):  # no groups: each layer has its own matrix
        c = replace(families.PRESETS[name], condition_groups=groups)
        sizes = [np.prod(shape) for _, _, shape in kind.rows(c)]
        millions[name, groups] = float(sum(sizes)) / 1e6
parts = {f"{n}, {g or 'no'} groups: {m:.0f}": m for (n, g), m in millions.items()}
bars = [[show.bars([m], int(m / 3), 14, high=m)] for m in parts.values()]
show.save("11_groups.png", show.board(bars, ["millions of weights"], list(parts)))

# %%
own = [layer["modulation"] for layer in weights["layers"]]
none = {"table": np.zeros((1, 3, config.width), np.float32)}
grouped = {**weights, "layers": [layer | none for layer in weights["layers"]]}
together = []
for order in (own, own[1:] + own[:1]):
    grouped["modulation"] = {k: np.concatenate([o[k] for o in order]) for k in own[0]}
    seven = replace(config, condition_groups=len(own))
    together.append(aim.condition(ops, grouped, seven, labels[:, None]))
gap = abs(np.array(together[0].layers) - np.array(right.layers)).max()
print(f"seven groups for seven layers: {gap} from adaLN")
more |= report({"next layer's": bits(given=together[1])})

# %% [markdown]
# ## A position is a row of a table
#
# Below, how alike the row of the framed position is to all others (cosine, dark 0,
# yellow 1). The model was not told that the rows lie on a grid; it has found out.

# %%
table = weights["positions"].astype(np.float64)[rows[0] :][:64]
unit = table / np.linalg.norm(table, axis=1, keepdims=True)
chosen = [9, 28, 38, 60]
tiles = [show.colours((unit @ unit[p]).reshape(8, 8), 16, 0, 1) for p in chosen]
tiles = [show.outline(t, p, (8, 8)) for t, p in zip(tiles, chosen, strict=True)]
captions = [f"position {p}" for p in chosen] + ["cosine"]
show.save("11_positions.png", show.board([[*tiles, show.scale(0, 1)]], captions))
alike = [np.diag(unit @ unit.T, away).mean() for away in (8, 4)]
print(f"cosine of rows 8 apart (a cell below): {alike[0]:.2f}; 4 apart: {alike[1]:.2f}")
zeros = {**weights, "positions": 0 * weights["positions"]}
moved = {"permuted": bits(rows=np.random.default_rng(0).permutation(rows))}
moved |= {"one beside": bits(rows=rows - 1), "none": bits(weights=zeros)}
more |= report(moved)

# %% [markdown]
# A position a single row beside helps no more than none. There are 65 rows for 64
# positions: the first token has row 1, as in AiM's released code (`aim.POSITIONS`).
# There is no row for more, so AiM draws one grid. ARPG (lesson 03) reads the class in
# its cache only, and turns queries and keys by their positions, for which any grid has
# angles.

# %%
refused = {}
for name in ("aim-mnist", "arpg-mnist"):
    try:
        refused[name] = f"plans {load(name, backend='numpy').plan(grid=(8, 16)).grid}"
    except errors.InputError as error:
        refused[name] = str(error)
    print(f"{name}: {refused[name]}")

# %% [markdown]
# ## What was taught

# %%
assert turned[1] == 5 and turned[64] == 0, "layers decide, not the first token"
assert turned[1] > turned[20], "but what is drawn already counts as well"
assert more["wrong adaLN"] > 20 * abs(more["wrong token"]), "adaLN carries the class"
assert more["wrong gate"] > 5 * more["wrong shift, scale"], "most of it by the gate"
assert abs(more["wrong last"]) < 0.05, "and little behind the layers"
assert more["no gate"] > 5, "a layer without its gate says nothing"
assert gap == 0, "a group for each layer is adaLN"
assert more["next layer's"] > 1, "and layers cannot exchange theirs"
assert millions["aim-l", 0] / millions["aim-l", 4] > 1.35, "sharing saves a quarter"
assert min(more[name] for name in moved) > 0.5, "positions are needed"
assert alike[0] > 2 * alike[1], "rows that lie on a grid"
assert "8 x 8" in refused["aim-mnist"], "a table has no rows for other grids"
assert refused["arpg-mnist"] == "plans (8, 16)", "angles have"

# %% [markdown]
# ## Exercises
#
# In `lessons/exercises/11_conditioning.py`; `python lessons/check.py 11` looks at them.
#
# 1. `told`: what adaLN-group tells a layer.
# 2. `saved`: the weights that it saves.
# 3. `row_of`: the row of the position table for a token.
