"""Specifications of attention, with a cache and causal."""

import numpy as np

from minigen.checking.spec import Spec, floats, wide
from minigen.ops.attention import reference


def draw_attention(draw):
    """Draw q (b m h e), k and v (b n r e), NaN from a drawn length on."""
    b, m, n, h, e = draw.sizes("bmnhe")
    r = sharing(draw, h)
    length = max(n - draw.among(0, 1, n // 2, n), 1)
    seed = draw.seed()
    q = floats(seed, b, m, h, e, scale=draw.among(1.0, 100.0))
    k, v = floats(seed + 1, b, n, r, e), floats(seed + 2, b, n, r, e)
    # what lies beyond the length must not be read
    k[:, length:] = v[:, length:] = np.nan
    return {"q": q, "k": k, "v": v, "length": length}


def draw_attention_causal(draw):
    """Draw the same, of m queries that are the newest tokens of that length."""
    case = draw_attention(draw)
    # the newest tokens of a sequence, or all of it
    m = draw.among(min(case["q"].shape[1], case["length"]), case["length"])
    b, _, h, e = case["q"].shape
    return case | {"q": floats(draw.seed(), b, m, h, e, scale=draw.among(1.0, 100.0))}


def sharing(draw, h):
    """Draw how many heads of keys h heads of queries share."""
    return draw.among(*[r for r in range(h, 0, -1) if h % r == 0])


def attention_magnitude(q, k, v, length, function=reference.attention):
    """Return how far one eps of each input moves the output of a function.

    v enters linearly: the reference with |v|. A score moves by |q| |k| / sqrt(e), which
    changes its weight by that factor; all weights together by twice the largest.
    """
    inputs = wide({"q": q, "k": k[:, :length], "v": abs(v[:, :length])})
    terms = function(**inputs, length=length)
    q, k = abs(inputs["q"]), abs(inputs["k"])
    k = np.repeat(k.max(1, keepdims=True), q.shape[2] // k.shape[2], axis=2)
    largest = np.einsum("bmhe,bnhe->bmh", q, k)
    factor = 1 + 2 * largest / np.sqrt(q.shape[-1])
    return terms * factor[..., None]


def causal_magnitude(q, k, v, length):
    """Return the same of causal attention."""
    return attention_magnitude(q, k, v, length, reference.attention_causal)


# more keys than a tile of 64, heads that are no multiple of 16 bytes, and wide ones
ROUTES = ({"n": 70, "e": 12}, {"e": 6}, {"n": 5, "e": 132})

SPECS = (
    Spec(
        "attention",
        draw_attention,
        attention_magnitude,
        batched=("q",),
        axis=1,
        routes=(*ROUTES, {"n": 35, "e": 12}, {"b": 1, "n": 70, "h": 1, "e": 132}),
    ),
    Spec(
        "attention_causal",
        draw_attention_causal,
        causal_magnitude,
        batched=("q", "k", "v"),
        routes=ROUTES,
    ),
)
