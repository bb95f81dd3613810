"""AiM: a language model of image tokens in raster order, made of Mamba mixers.

The class comes first, as a token without a position. It also conditions every layer by
shift, scale and gate (adaLN). It never changes while an image is drawn, so these are
computed once. Each layer keeps a state of the tokens before; its size does not grow.

One function, `read`, reads a whole sequence (training, prefill) or one token (a decode
step).

Source: arXiv 2408.12245; hp-l33/AiM models/aim.py, models/stage2/mixer_seq_simple.py,
block.py, generation.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from minigen.errors import InputError
from minigen.models import mamba
from minigen.models.codes import one_by_one
from minigen.models.layers import split_columns
from minigen.models.mamba import EPS
from minigen.models.watching import tell
from minigen.plans import check_raster, check_trained

POSITIONS = {"trained": 0, "released": 1}
"""The row of the position table that the first image token gets.

AiM was trained with row 0; its released sampling code says row 1 for that token, row 2
for the next, and so on. Published samples were drawn so: one row beside what was
learned.
"""


@dataclass(frozen=True, eq=False)
class Condition:
    """All that follows from the classes of b images, in arrays (b 1 d).

    first: the class as the first token; layers: for each layer shift, scale and gate of
    its mixer, then those of its feed-forward layer if it has one; last: shift, scale.
    """

    first: object
    layers: tuple
    last: tuple


@dataclass(frozen=True, eq=False)
class Memory:
    """The state of the model while it draws. Its size does not grow.

    condition: what follows from the classes; states: one of each layer, updated in
    place; last (b 1 d): the output of the last layer for the last token.
    """

    condition: Condition
    states: tuple
    last: object


def guides(guidance):
    """Return True: both halves are computed at any guidance, as in the original."""
    return True


def check_plan(config, plan):
    """Raise InputError unless `plan` is one token a step in raster order.

    The grid must be that of the positions it has learned. Where these fill no square,
    it may be any grid of so many tokens: a position is a place in the order, no more.
    """
    check_raster(plan)
    rows, columns = plan.grid
    if config.side**2 == config.tokens:
        check_trained(plan, config.side)
    elif rows * columns != config.tokens:
        raise InputError(
            f"this model has learned {config.tokens} positions, and a grid of {rows} x "
            f"{columns} was asked for; ask for one of {config.tokens} tokens"
        )


def table_rows(positions, options):
    """Return the rows of the position table of raster positions, as int64."""
    return np.asarray(positions, np.int64) + POSITIONS[options.positions]


def prompt(config, labels, rows, known, guided=True):
    """Return what the model reads first: 1+k pairs of ids and rows (w 1), in turn.

    labels: b classes; known (b k): the tokens at rows (k) of the position table. w is
    2b: the first b get the class, the next b the id of "no class". The class has no
    position: its row is not used.
    """
    return one_by_one([*labels, *[config.no_class_id] * len(labels)], rows, known)


def begin(ops, weights, config, ids, rows, table, capacity, causal=True):
    """Return the memory of a model that has read the class: ids (b 1) int64.

    The rest is not used: a class has no position, a state no capacity, and it reads one
    token at a time.
    """
    given = condition(ops, weights, config, ids)
    states = new_states(ops, config, ids.shape[0])
    last = read(ops, weights, config, given.first, given, states)
    return Memory(given, states, last)


def feed(ops, weights, config, memory, ids, rows, table, causal=True):
    """Read one token of each image (a decode step) and return the new memory.

    ids, rows (b 1) int64: rows of the token table and of the position table.
    """
    x = embed(ops, weights, ids, rows)
    last = read(ops, weights, config, x, memory.condition, memory.states)
    return replace(memory, last=last)


def ask(ops, weights, config, memory, rows, table):
    """Return the logits (b 1 v) of the next token in raster order.

    rows and table are not used: the order alone says which token is next.
    """
    return answer(ops, weights, memory.last)


def rotary_table(ops, config, grid=None):
    """Return None: positions are learned vectors, and nothing is rotated."""


def condition(ops, weights, config, labels):
    """Return the `Condition` of labels (b 1) int64; no_class_id stands for none."""
    first = ops.embed(weights["classes"], labels)  # (b 1 d)
    signal = ops.silu(first)
    if config.condition_groups:
        together = ops.linear(signal, **weights["modulation"])
        made = _of_groups(ops, weights, config, together)
    else:
        made = [ops.linear(signal, **w["modulation"]) for w in weights["layers"]]
    # of each layer three or six arrays (b 1 d)
    parts = [split_columns(ops, a, a.shape[-1] // config.width) for a in made]
    # six: those of mixer and feed-forward layer alternate: shift, shift, scale, ...
    layers = [(*each[::2], *each[1::2]) if len(each) == 6 else each for each in parts]
    last = split_columns(ops, ops.linear(signal, **weights["out_modulation"]), 2)
    return Condition(first, tuple(layers), last)


def new_states(ops, config, batch):
    """Return the state of every layer before the first token."""
    mixing = config.mixing
    return tuple(mamba.new_state(ops, mixing, batch) for _ in range(config.layers))


def forward(ops, weights, config, tokens, labels, positions="trained", watch=None):
    """Return the logits (b n v) of the training form: row t predicts token t.

    tokens (b n) in raster order, labels (b): int64. The last token is never fed.
    positions: a name of `POSITIONS`.
    """
    b, n = tokens.shape
    given = condition(ops, weights, config, ops.put(_column(labels)))
    tell(watch, "cond_embed", given.first)
    rows = np.tile(np.arange(n - 1) + POSITIONS[positions], (b, 1))
    ids = ops.put(np.ascontiguousarray(tokens[:, :-1]))
    x = ops.concat(given.first, embed(ops, weights, ids, ops.put(rows)))  # (b n d)
    states = new_states(ops, config, b)
    h = read(ops, weights, config, x, given, states, watch)
    return answer(ops, weights, h)


def loss(ops, weights, config, tokens, labels, positions="trained"):
    """Return the mean cross entropy, in nats a token, of the training form."""
    logits = forward(ops, weights, config, tokens, labels, positions)
    return ops.cross_entropy(logits, ops.put(tokens))


def embed(ops, weights, ids, rows):
    """Return the vectors (b n d) of tokens (b n) plus those of their positions.

    ids, rows (b n): rows of the token table and of the position table.
    """
    return ops.add(
        ops.embed(weights["words"], ids), ops.embed(weights["positions"], rows)
    )


def read(ops, weights, config, x, given: Condition, states, watch=None):
    """Run all layers over tokens x (b n d) and return the input of `answer` (b n d).

    The states are updated in place. Each branch reads the residual stream after a norm
    and a modulation; its output is gated, then added. The sum is computed together with
    the norm of the next branch, in one op.
    """
    total, branch, mixing = x, None, config.mixing
    for i, w in enumerate(weights["layers"]):
        shift, scale, gate = given.layers[i][:3]
        h, total = _norm(ops, config, branch, total, w["norm"])
        u = ops.modulate(h, shift, scale)
        tell(watch, f"l{i}_mixer_in", u)
        inner = None if watch is None else _inside(watch, i)
        y = mamba.mix(ops, w["mixer"], mixing, u, states[i], inner)
        tell(watch, f"l{i}_mixer_out", y)
        branch = ops.gate(y, gate)
        if config.hidden:
            shift, scale, gate = given.layers[i][3:]
            h, total = _norm(ops, config, branch, total, w["ffn_norm"])
            h = ops.linear(ops.modulate(h, shift, scale), w["ffn"]["up"])
            branch = ops.gate(ops.linear(ops.gated_silu(h), w["ffn"]["down"]), gate)
        tell(watch, f"hidden_l{i}", branch)
        tell(watch, f"residual_l{i}", total)
    h, _ = _norm(ops, config, branch, total, weights["norm"])
    tell(watch, "norm_f", h)
    h = ops.modulate(ops.rms_norm(h, weights["out_norm"], EPS), *given.last)
    tell(watch, "final_layer", h)
    return h


def answer(ops, weights, h):
    """Return the logits (b n v) of h (b n d). Unless there is a head of its own, the
    token table is also the output layer (tied weights)."""
    return ops.linear(h, weights.get("head", weights["words"]))


def _norm(ops, config, branch, total, w):
    # before the first branch there is nothing to add
    if config.layer_norm:
        total = total if branch is None else ops.add(branch, total)
        return ops.layer_norm(total, **w, eps=EPS), total
    if branch is None:
        return ops.rms_norm(total, w, EPS), total
    return ops.add_rms_norm(branch, total, w, EPS)


def _of_groups(ops, weights, config, together):
    # together (b 1 r*width): layer i takes group i mod r, and adds a table of its own
    width = config.factor * config.width
    for i, w in enumerate(weights["layers"]):
        g = i % config.condition_groups
        shared = ops.columns(together, g * width, (g + 1) * width)
        own = ops.repeat(w["table"].reshape(1, width), shared.shape[0])
        yield ops.add(shared, own.reshape(shared.shape))


def _column(labels):
    return np.asarray(labels, np.int64).reshape(-1, 1)


def _inside(watch, i):
    return lambda name, array: watch(f"l{i}_{name}", array)
