"""What a step could have known besides: more passes of the model, for those who look.

Nothing of it changes a run, which is not slower where it is not asked for. It is of
models whose tokens are codes; a vector has a density, and no probability.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigen.equality import digest, same
from minigen.families import module_of
from minigen.models import arpg, mamba
from minigen.models.kv_cache import KVCache
from minigen.ops.attention.reference import softmax


@dataclass(frozen=True, eq=False)
class Details:
    """What a step of b images could have drawn, before it drew m tokens.

    positions (b u) int64: the unknown cells that the model can be asked for, rising:
    all of them for ARPG, the next one for a model that draws in raster order.
    probabilities (b u v): what a token there would be drawn from at this step;
    conditional, unconditional (b u v): the logits with the class and without, the
    latter None where guidance needs none.

    Of ARPG alone, else None: attention (b l h u 1+k), how much the query of a position
    reads, in each of l cross layers and h heads with the class, of the class and then
    of the k known tokens, which are at positions `known` (b k), in the order in which
    they were read. in_turn (b m): what the probability of each token drawn had been,
    had it seen those of the step before it, too; their product is what the model gives
    all tokens of the step together, where the run took them for independent.

    keeps: the bytes of keys and values, or of a state, that the model holds before the
    step, for all images and, with guidance, for both of its halves.

    Arrays are float32 where nothing else is said.
    """

    positions: NDArray[np.int64] = field(repr=False)
    probabilities: NDArray[np.float32] = field(repr=False)
    conditional: NDArray[np.float32] = field(repr=False)
    unconditional: NDArray[np.float32] | None = field(repr=False)
    known: NDArray[np.int64] = field(repr=False)
    attention: NDArray[np.float32] | None = field(default=None, repr=False)
    in_turn: NDArray[np.float32] | None = field(default=None, repr=False)
    keeps: int = 0

    __eq__ = same
    __hash__ = digest


def details_of(
    model: tuple, state: Any, options: Any, weight: float | None, known, drawn, given
) -> Details:
    """Return the details of a step.

    model: op table, weights and configuration; state: of the model, before the step;
    weight: of guidance, or None; known (b k): the positions read so far, in that order;
    drawn: positions and tokens (b m) of the step; given: the `sample.Inputs` of the
    run, on the device.
    """
    ops, weights, config = model
    module, (positions, tokens) = module_of(config), drawn
    call = *model, state
    how_drawn = options.temperature, options.top_k, options.top_p
    asks_all, times = module is arpg, 2 if given.guided else 1

    def rows(positions):
        return ops.put(np.tile(module.table_rows(positions, options), (times, 1)))

    def drawn_from(logits):
        half = logits[: len(known)]
        logits = half if weight is None else ops.guide(logits, weight)
        return ops.probabilities(logits, *how_drawn)

    seen = {}
    asked = unknown(known, given.canvas.shape[1]) if asks_all else positions
    how = (False, seen.__setitem__) if asks_all else ()
    logits = module.ask(*call, rows(asked), given.table, *how)
    p, (b, u, _) = ops.get(drawn_from(logits)), logits.shape
    halves = np.array(ops.get(logits)).reshape(times, b // times, u, -1)
    found = asked, p, halves[0], halves[1] if given.guided else None, known
    kept = keeps(state)
    if not asks_all:
        return Details(*found, keeps=kept)
    queries = [seen[f"cross{i}_query"] for i in range(config.half)]
    read = [attention(ops, state.shared, q, len(known)) for q in queries]
    # all but the last are read in turn; each is asked for after those before it
    where, cache = rows(positions), state
    if tokens.shape[1] > 1:
        ids = ops.put(np.tile(tokens[:, :-1], (times, 1)))
        before = rows(positions[:, :-1])
        cache = module.feed(*call, ids, before, given.table, causal=True)
    logits = module.ask(*model, cache, where, given.table, causal=True)
    p = np.take_along_axis(ops.get(drawn_from(logits)), tokens[..., None], axis=-1)
    return Details(*found, np.stack(read, axis=1), p[..., 0], kept)


def keeps(state: Any) -> int:
    """Return the bytes of all valid keys and values, or of all states of mixers."""
    if isinstance(state, KVCache):
        room = state.keys.shape[1]
        return _bytes(state.keys, state.values) // room * state.length
    if isinstance(state, mamba.State):
        return _bytes(state.conv, state.scan)
    if is_dataclass(state):
        return sum(keeps(getattr(state, field.name)) for field in fields(state))
    return sum(map(keeps, state)) if isinstance(state, list | tuple) else 0


def _bytes(*arrays):
    return sum(array.size * array.dtype.itemsize for array in arrays)


def unknown(known: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return the positions (b n-k) of 0 .. n - 1 that are not known (b k), rising.

    >>> unknown(np.array([[2, 0]]), 4).tolist()
    [[1, 3]]
    """
    left = np.ones((len(known), n), bool)
    np.put_along_axis(left, known, False, axis=1)
    return np.nonzero(left)[1].reshape(len(known), -1)


def attention(ops, cache, q, b) -> NDArray[np.float32]:
    """Return the weights (b h m n) that the first b rows of queries give to keys."""
    q, keys = np.asarray(ops.get(q))[:b], np.asarray(ops.get(cache.keys))
    keys = keys[:b, : cache.length]
    scale = np.float32(1 / np.sqrt(q.shape[-1]))
    return softmax(np.einsum("bmhe,bnhe->bhmn", q, keys) * scale)
