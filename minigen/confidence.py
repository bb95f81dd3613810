"""The order `confidence`: of all tokens drawn at a step, the most certain are kept.

Every step asks for all unknown positions and draws a token for each of them. Those
whose tokens have the highest probability are kept, as many as the plan says; the others
are forgotten, and asked for again. So a step costs a pass over all that is unknown,
where another order costs one over what it draws: n tokens in s steps take about n s / 2
queries instead of n. And what is drawn decides what is asked: the host waits for every
step, and no such run is recorded. Shapes still do not depend on data.

It is for ARPG, where what is asked changes nothing that is known. Tokens that are
vectors have a density and no probability, and densities of different positions do not
say which is the more certain: so ARINAR and MAR do not draw so.

Source: arXiv 2202.04200 (MaskGIT), section 3.2.
"""

from __future__ import annotations

import numpy as np

from minigen import packing
from minigen.models.query import Query
from minigen.ops.noise.reference import uniforms_at


def keep(ops, draws, query, tokens, p, count, noise=0.0):
    """Return the `Query` of what a step keeps, tokens, probabilities, another Query.

    The last is that of what is still unknown, None if nothing is. Kept are m = `count`
    tokens (b m) of each image, with probabilities (b m v), in rising positions; of
    equally certain ones that of the lower position.

    query: of all u that are unknown, positions (b u) rising; tokens (b u); p (b u v):
    what they were drawn from; noise: if not 0, the certainty of a token is the
    logarithm of its probability plus so many Gumbel numbers, whose counter follows that
    of the draw. All arrays lie where the backend's do.
    """
    tokens, p = ops.get(tokens), ops.get(p)
    certainty = np.take_along_axis(p, tokens[..., None], axis=2)[..., 0]
    if noise:
        where = (ops.get(x).reshape(-1) for x in (draws.images, draws.positions))
        u = uniforms_at(ops.get(draws.key), *where, draws.step, 1, 1)
        gumbel = -np.log(-np.log(u.astype(np.float64))).reshape(tokens.shape)
        certainty = np.log(certainty.astype(np.float64)) + noise * gumbel
    best = np.argsort(-certainty, axis=1, kind="stable")
    kept, rest = np.sort(best[:, :count], axis=1), np.sort(best[:, count:], axis=1)
    asked, positions, images = (
        ops.get(x) for x in (query.asked, query.positions, query.images)
    )
    images = images.reshape(positions.shape)

    def part(columns):
        # both halves of guidance ask for the same
        both = np.tile(columns, (len(asked) // len(columns), 1))
        return Query(
            np.take_along_axis(asked, both, axis=1),
            np.take_along_axis(positions, columns, axis=1),
            np.take_along_axis(images, columns, axis=1).reshape(-1),
        )

    found = (
        part(kept),
        np.take_along_axis(tokens, kept, axis=1),
        np.take_along_axis(p, kept[..., None], axis=1),
        part(rest) if rest.size else None,
    )
    return packing.pack(found).put(ops)
