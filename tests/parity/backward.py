"""The gradients of ARPG's training loss by hand: a float64 reverse pass in NumPy.

For the tests only, so that recorded gradients and training steps can be replayed
without an autograd library. Each function runs one operation forwards and returns its
result with a function that turns the gradient of the result into that of the input; the
gradients of weights are added to `grads`, under the original's names.
"""

from __future__ import annotations

import numpy as np

from minigen.models import arpg


def loss_and_gradients(config, state, tokens, labels, order, table):
    """Return the mean cross entropy and {name: gradient} of every entry of `state`.

    state {name: array}: the original's names; tokens, order (b n), labels (b).
    """
    state = {name: np.asarray(w, np.float64) for name, w in state.items()}
    grads = {name: np.zeros_like(w) for name, w in state.items()}
    table = np.asarray(table, np.float64)
    ids, content_rows, query_rows = arpg.arrange(config, tokens, labels, order)
    model = (config, state, grads)

    x, embed_back = embed(model, ids)
    self_backs = []
    for i in range(config.half):
        name = f"layers.self_dec.{i}."
        x, back = self_layer(model, name, x, table, content_rows)
        self_backs.append(back)
    m, mid_back = rms_norm(model, "layers.norm.weight", x)
    k, k_back = linear(model, "layers.to_k.weight", m)
    v, v_back = linear(model, "layers.to_v.weight", m)
    k, turn_back = rotate(heads(config, k), table, content_rows)
    v = heads(config, v)

    u, query_back = embed(model, np.full(ids.shape, config.mask_id))
    cross_backs = []
    for i in range(config.half):
        name = f"layers.cross_dec.{i}."
        u, back = cross_layer(model, name, u, k, v, table, query_rows)
        cross_backs.append(back)
    u, out_back = rms_norm(model, "norm.weight", u)
    logits, head_back = linear(model, "head.weight", u)
    targets = np.take_along_axis(tokens, order, axis=1)
    loss, d_logits = cross_entropy(logits, targets)

    # backwards: every cross layer adds to the gradient of the shared keys and values
    d_u = out_back(head_back(d_logits))
    d_k, d_v = np.zeros_like(k), np.zeros_like(v)
    for back in reversed(cross_backs):
        d_u, d_k_layer, d_v_layer = back(d_u)
        d_k, d_v = d_k + d_k_layer, d_v + d_v_layer
    query_back(d_u)
    d_m = k_back(merge(turn_back(d_k))) + v_back(merge(d_v))
    d_x = mid_back(d_m)
    for back in reversed(self_backs):
        d_x = back(d_x)
    embed_back(d_x)
    return loss, grads


def self_layer(model, name, x, table, rows):
    config = model[0]
    a, norm_back = rms_norm(model, name + "attn_norm.weight", x)
    q, q_back = linear(model, name + "attn.to_q.weight", a)
    k, k_back = linear(model, name + "attn.to_k.weight", a)
    v, v_back = linear(model, name + "attn.to_v.weight", a)
    q, turn_q_back = rotate(heads(config, q), table, rows)
    k, turn_k_back = rotate(heads(config, k), table, rows)
    o, attend_back = attention_causal(q, k, heads(config, v))
    o, proj_back = linear(model, name + "attn.proj.weight", merge(o))
    y, ffn_back = feed_forward(model, name, x + o)

    def back(d_y):
        d_x = ffn_back(d_y)
        d_q, d_k, d_v = attend_back(heads(config, proj_back(d_x)))
        d_a = q_back(merge(turn_q_back(d_q))) + k_back(merge(turn_k_back(d_k)))
        return d_x + norm_back(d_a + v_back(merge(d_v)))

    return y, back


def cross_layer(model, name, u, k, v, table, rows):
    config = model[0]
    a, norm_back = rms_norm(model, name + "attn_norm.weight", u)
    q, q_back = linear(model, name + "attn.to_q.weight", a)
    q, turn_back = rotate(heads(config, q), table, rows)
    o, attend_back = attention_causal(q, k, v)
    o, proj_back = linear(model, name + "attn.proj.weight", merge(o))
    y, ffn_back = feed_forward(model, name, u + o)

    def back(d_y):
        d_u = ffn_back(d_y)
        d_q, d_k, d_v = attend_back(heads(config, proj_back(d_u)))
        return d_u + norm_back(q_back(merge(turn_back(d_q)))), d_k, d_v

    return y, back


def feed_forward(model, name, x, ffn="ffn."):
    a, norm_back = rms_norm(model, name + "ffn_norm.weight", x)
    gate, gate_back = linear(model, name + ffn + "w1.weight", a)
    up, up_back = linear(model, name + ffn + "w3.weight", a)
    s = 1 / (1 + np.exp(-gate))
    y, down_back = linear(model, name + ffn + "w2.weight", gate * s * up)

    def back(d_y):
        d_h = down_back(d_y)
        # the derivative of g s(g) is s (1 + g (1 - s))
        d_gate = d_h * up * s * (1 + gate * (1 - s))
        return d_y + norm_back(gate_back(d_gate) + up_back(d_h * gate * s))

    return x + y, back


def embed(model, ids, name="embeddings.weight"):
    _, state, grads = model

    def back(d_x):
        np.add.at(grads[name], ids, d_x)

    return state[name][ids], back


def linear(model, name, x):
    _, state, grads = model

    def back(d_y):
        grads[name] += np.einsum("bnf,bnd->fd", d_y, x)
        return d_y @ state[name]

    return x @ state[name].T, back


def rms_norm(model, name, x):
    config, state, grads = model
    r = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + config.norm_eps)

    def back(d_y):
        grads[name] += (d_y * x * r).sum((0, 1))
        d = d_y * state[name]
        return r * d - x * r**3 * (d * x).mean(-1, keepdims=True)

    return state[name] * x * r, back


def rotate(x, table, rows):
    cos, sin = np.moveaxis(table[rows][:, :, None], -1, 0)

    def turn(x, sin):
        even, odd = x[..., 0::2], x[..., 1::2]
        pairs = np.stack([even * cos - odd * sin, odd * cos + even * sin], -1)
        return pairs.reshape(x.shape)

    return turn(x, sin), lambda d_y: turn(d_y, -sin)


def attention_causal(q, k, v):
    scale = 1 / np.sqrt(q.shape[-1])
    scores = np.einsum("bmhe,bnhe->bhmn", q, k) * scale
    later = np.triu(np.ones(scores.shape[-2:], bool), 1)
    scores = np.where(later, -np.inf, scores)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)

    def back(d_o):
        d_p = np.einsum("bmhe,bnhe->bhmn", d_o, v)
        d_s = p * (d_p - (p * d_p).sum(-1, keepdims=True)) * scale
        return (
            np.einsum("bhmn,bnhe->bmhe", d_s, k),
            np.einsum("bhmn,bmhe->bnhe", d_s, q),
            np.einsum("bhmn,bmhe->bnhe", p, d_o),
        )

    return np.einsum("bhmn,bnhe->bmhe", p, v), back


def cross_entropy(logits, targets):
    top = logits.max(-1, keepdims=True)
    log_p = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
    picked = np.take_along_axis(log_p, targets[..., None], -1)
    one_hot = np.arange(logits.shape[-1]) == targets[..., None]
    return -picked.mean(), (np.exp(log_p) - one_hot) / targets.size


def heads(config, x):
    return x.reshape(*x.shape[:2], config.heads, config.head_size)


def merge(x):
    return x.reshape(*x.shape[:2], -1)
