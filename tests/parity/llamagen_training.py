"""Gradients of LlamaGen, in NumPy alone: as those of ARPG, see arpg_training.py."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from minigen import backends
from minigen.checkpoints import names as layout
from minigen.models import llamagen
from tests.parity import backward, llamagen_forward, weights
from tests.parity.arpg_training import compare_slopes
from tests.parity.case import Case, compare, names, take


def has_gradients(case: Case) -> bool:
    return bool(names(case, "grad."))


def replay_gradients(case: Case, ops) -> None:
    llamagen_forward.replay(case, ops)
    config, state = weights.configuration(case), weights.state(case)
    batch = take(case, "tokens"), take(case, "class_id")
    table = llamagen.rotary_table(ops, config)
    _, grads = loss_and_gradients(config, state, *batch, table)
    for name in names(case, "grad."):
        compare(case, name, grads[name.removeprefix("grad.")])

    # the sequence is put together in a new array, which must not lose digits here
    exact = backends.table("numpy")
    exact = SimpleNamespace(**{**vars(exact), "empty": np.empty})

    def loss(state):
        tree = layout.to_tree(config, state)
        return llamagen.loss(exact, tree, config, *batch, table)

    compare_slopes(case, state, grads, loss)


def loss_and_gradients(config, state, tokens, labels, table):
    """Return the mean cross entropy and {name: gradient} of every entry of `state`.

    state {name: array}: the original's names; tokens (b n), labels (b). As many heads
    of keys as of queries.
    """
    state = {name: np.asarray(w, np.float64) for name, w in state.items()}
    grads = {name: np.zeros_like(w) for name, w in state.items()}
    table = np.asarray(table, np.float64)
    model = config, state, grads
    rows = np.tile(np.arange(tokens.shape[1]), (len(tokens), 1))

    classes, classes_back = backward.embed(
        model, labels[:, None], "cls_embedding.embedding_table.weight"
    )
    words, words_back = backward.embed(model, tokens[:, :-1], "tok_embeddings.weight")
    x = np.concatenate([classes, words], axis=1)
    backs = []
    for i in range(config.layers):
        x, back = layer(model, f"layers.{i}.", x, table, rows)
        backs.append(back)
    x, norm_back = backward.rms_norm(model, "norm.weight", x)
    logits, head_back = backward.linear(model, "output.weight", x)
    loss, d_logits = backward.cross_entropy(logits, tokens)

    d_x = norm_back(head_back(d_logits))
    for back in reversed(backs):
        d_x = back(d_x)
    classes_back(d_x[:, :1])
    words_back(d_x[:, 1:])
    return loss, grads


def layer(model, name, x, table, rows):
    config = model[0]
    a, norm_back = backward.rms_norm(model, name + "attention_norm.weight", x)
    qkv, qkv_back = backward.linear(model, name + "attention.wqkv.weight", a)
    q, k, v = (backward.heads(config, part) for part in np.split(qkv, 3, axis=-1))
    q, turn_q_back = backward.rotate(q, table, rows)
    k, turn_k_back = backward.rotate(k, table, rows)
    o, attend_back = backward.attention_causal(q, k, v)
    o, proj_back = backward.linear(
        model, name + "attention.wo.weight", backward.merge(o)
    )
    y, ffn_back = backward.feed_forward(model, name, x + o, "feed_forward.")

    def back(d_y):
        d_x = ffn_back(d_y)
        d_q, d_k, d_v = attend_back(backward.heads(config, proj_back(d_x)))
        parts = turn_q_back(d_q), turn_k_back(d_k), d_v
        d_qkv = np.concatenate([backward.merge(part) for part in parts], axis=-1)
        return d_x + norm_back(qkv_back(d_qkv))

    return y, back
