"""The calls that are timed on a GPU, with the least work of each.

A case is one function of the op table with arrays of the sizes that a full model gives
it. Its bytes are those of every cell it needs, read once, and of every result, written
once; its operations are multiplications and additions. A kernel may move or compute
more than that, which a measurement shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minigen.checkpoints.values import DTYPES
from minigen.families import (
    AimConfig,
    ArinarConfig,
    ArpgConfig,
    KlConfig,
    MarConfig,
    VqConfig,
)
from minigen.models.mixture_head import CANDIDATES

MOVED_ON = {
    "causal_conv_silu": (3,),
    "selective_scan": (6,),
    "ssd": (6,),
    "ssd_chunked": (6,),
    "mamba2_step": (7, 8),
}
"""The arguments that a function reads and overwrites: its states."""


@dataclass(frozen=True)
class Array:
    """An array to be made: floats in low .. low + 1, or integers below `below`."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    below: int = 0
    low: float = -0.5

    @property
    def cells(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.cells * DTYPES.get(self.dtype, np.dtype(self.dtype)).itemsize

    def make(self, seed: int) -> np.ndarray:
        """Return the array, drawn from a seed; not all zero, as zeros may be faster."""
        rng = np.random.default_rng(seed)
        if self.below:
            # first every number once, then every number again
            rounds = -(-self.cells // self.below)
            numbers = [rng.permutation(self.below) for _ in range(rounds)]
            values = np.concatenate(numbers)[: self.cells]
            return values.reshape(self.shape).astype(self.dtype)
        values = rng.random(self.shape, np.float32) + np.float32(self.low)
        return values.astype(DTYPES[self.dtype])


@dataclass(frozen=True)
class Case:
    """A call of a function of the op table, its bytes and its operations."""

    name: str
    function: str
    arguments: tuple
    bytes: int
    operations: int = 0

    def make(self, seed: int) -> tuple:
        """Return the arguments, arrays of the host among them."""
        return tuple(
            a.make(seed + i) if isinstance(a, Array) else a
            for i, a in enumerate(self.arguments)
        )


def case(name: str, function: str, result: Array, *arguments) -> Case:
    """Return a case, its work counted from the shapes."""
    moved = traffic(function, result, *arguments)
    return Case(name, function, arguments, moved, operations(function, *arguments))


def traffic(function: str, result: Array, *arguments) -> int:
    """Return the bytes that a call must read and write.

    >>> x, w = Array((2, 3, 4)), Array((5, 4), "bfloat16")
    >>> traffic("linear", Array((2, 3, 5)), x, w)  # 24 + 30 floats, 20 halves
    256
    """
    arrays = [a for a in arguments if isinstance(a, Array)]
    if function == "embed":
        table, ids = arrays
        return _rows(table, ids) + ids.bytes + result.bytes
    if function == "rope2d":
        x, table, rows = arrays
        return x.bytes + _rows(table, rows) + rows.bytes + result.bytes
    if function == "attention":
        q, k, v = arrays
        known = arguments[3] * (k.bytes + v.bytes) // k.shape[1]
        return q.bytes + known + result.bytes
    if function == "append":
        return 2 * arrays[1].bytes
    if function in ("place", "scatter"):
        _, new, positions = arrays
        return 2 * new.bytes + positions.bytes
    if function in ("columns", "gather"):
        # of the first array only what is copied
        return 2 * result.bytes + sum(a.bytes for a in arrays[1:])
    anew = [arguments[i] for i in MOVED_ON.get(function, ())]
    moved = sum(a.bytes for a in (*arrays, *anew)) + result.bytes
    if function in ("causal_conv_silu", "mamba2_step"):
        # the oldest of the inputs that a convolution keeps is not read again
        conv = anew[0]
        moved -= conv.bytes // conv.shape[1]
    return moved


def operations(function: str, *arguments) -> int:
    """Return the multiplications and additions of a call, 0 if bytes are the limit.

    >>> operations("linear", Array((2, 3, 4)), Array((5, 4)))  # 2 x 6 rows x 5 x 4
    240
    """
    if function == "linear":
        x, w = arguments[:2]
        return 2 * x.cells * w.shape[0]
    if function in ("conv3x3", "conv3x3_add"):
        x, w = arguments[:2]
        return 2 * 9 * x.cells * w.shape[0]
    if function == "conv3x3_half":
        x, w = arguments[:2]
        b, rows, columns, c = x.shape
        return 2 * 9 * b * (rows // 2) * (columns // 2) * c * w.shape[0]
    if function == "attention":
        q, _, _, length = arguments
        return 4 * q.cells * length
    if function == "attention_causal":
        q, _, _, length = arguments
        return 2 * q.cells * (2 * length - q.shape[1] + 1)
    if function in ("distances", "lookup"):
        z, codes = arguments
        return 2 * z.cells * codes.shape[0]
    return 0


def _rows(table, ids):
    # the rows of a table that are looked up, each once
    return min(ids.cells, table.shape[0]) * table.bytes // table.shape[0]


def generator(
    config: ArpgConfig, batch: int, asked: int, known: int, dtype: str = "float32"
) -> list[Case]:
    """Return the calls of a decoding step of `batch` images.

    asked: tokens a step; known: tokens in the cache, among them those just fed; dtype:
    of weights. Both halves of guidance run, so there are 2 batch rows.
    """
    d, f, v, h, e = (
        config.width, config.hidden, config.vocabulary, config.heads, config.head_size
    )  # fmt: skip
    b, m, t = 2 * batch, asked, config.tokens + 1
    x, hidden, heads = Array((b, m, d)), Array((b, m, f)), Array((b, m, h, e))
    cache, logits = Array((b, t, h, e)), Array((b, m, v))
    tokens, drawn = Array((b, m), "int64", v), Array((batch, m, v))
    rows, chosen = Array((b, m), "int64", t), Array((batch, m), "int64", v)
    positions, table = Array((m,), "int64", config.tokens), Array((t, e // 2, 2))
    images, canvas = Array((batch,), "int64", batch), Array((batch, t - 1), "int64", v)
    rest, normal = Array((v + config.classes + 2, d), dtype), Array((d,), dtype)
    square, up, down, head = (
        Array(shape, dtype) for shape in ((d, d), (f, d), (d, f), (v, d))
    )
    uniforms, key = Array((batch, m), low=0.0), Array((2,), "uint32", 2**16)
    shares = Array(drawn.shape, low=0.0)
    scope = f"{b} x {m} rows"
    return [
        case(f"embed, {scope}", "embed", x, rest, tokens),
        case(f"rms_norm, {scope}", "rms_norm", x, x, normal, config.norm_eps),
        case(f"linear {d} to {d}, {scope}", "linear", x, x, square),
        case(f"linear {d} to {f}, {scope}", "linear", hidden, x, up),
        case(f"linear {f} to {d} and residual, {scope}", "linear", x, hidden, down,
             None, x),
        case(f"linear {d} to {v}, {scope}", "linear", logits, x, head),
        case(f"swiglu, {scope}", "swiglu", hidden, hidden, hidden),
        case(f"rope2d, {scope}", "rope2d", heads, heads, table, rows),
        case(f"append, {scope}", "append", heads, cache, heads, known - m),
        case(f"attention, {scope} over {known}", "attention", heads, heads, cache,
             cache, known),
        case(f"guide, {scope}", "guide", drawn, logits, 4.0),
        case(f"probabilities, {scope}", "probabilities", drawn, drawn, 1.0, 0, 1.0),
        case(f"probabilities filtered, {scope}", "probabilities", drawn, drawn, 1.0,
             900, 0.95),
        case(f"uniforms, {scope}", "uniforms", uniforms, key, images, positions,
             3, 0),
        case(f"draw, {scope}", "draw", chosen, shares, uniforms),
        case(f"twice, {scope}", "twice", tokens, chosen),
        case(f"place, {scope}", "place", canvas, canvas, chosen, positions),
    ]  # fmt: skip


def state_space(
    config: AimConfig, batch: int, tokens: int, dtype: str = "float32"
) -> list[Case]:
    """Return the calls in which AiM reads `tokens` tokens of `batch` images.

    Both halves of guidance are read. Of Mamba-2 a single token takes a kernel of its
    own; Mamba-1's scan of as many tokens and channels is timed beside it.
    """
    mixing, d = config.mixing, config.width
    b, n, c, s = 2 * batch, tokens, mixing.channels, mixing.state_size
    h, p, r, w = mixing.heads, mixing.head_size, mixing.groups, mixing.window
    x, inner, given = Array((b, n, d)), Array((b, n, h * p)), Array((b, 1, d))
    made = Array((b, n, h * p + c + h))
    taps, bias, norm = Array((c, w), dtype), Array((c,), dtype), Array((h * p,), dtype)
    of_heads, plain = Array((h,), dtype), Array((d,), dtype)
    conv, state = Array((b, w, c)), Array((b, h, p, s))
    scope, eps = f"{b} x {n} rows", 1e-5
    found = [
        case(f"add_rms_norm, {scope}", "add_rms_norm", Array((2, b, n, d)), x, x, plain,
             eps),
        case(f"modulate, {scope}", "modulate", x, x, given, given),
        case(f"gate, {scope}", "gate", x, x, given),
    ]  # fmt: skip
    if n == 1:
        found += [case(f"silu, {scope}", "silu", x, x)]
        found += [case(f"add, {scope}", "add", x, x, x)]
        states = conv, state, r, eps
        return [
            *found,
            case(f"mamba2_step, {scope}", "mamba2_step", inner, made, taps, bias,
                 of_heads, of_heads, of_heads, norm, *states),
        ]  # fmt: skip
    convolved, signal = Array((b, n, c)), Array((b, n, h, p))
    delta, BC = Array((b, n, h), low=0.0), Array((b, n, r, s))
    scanned = signal, delta, of_heads, BC, BC, of_heads, state
    one = Array((b, n, h * p), low=0.0), Array((h * p, 16), dtype), Array((b, n, 1, 16))
    return [
        *found,
        case(f"columns, {scope}", "columns", convolved, made, h * p, h * p + c),
        case(f"causal_conv_silu, {scope}", "causal_conv_silu", convolved, convolved,
             taps, bias, conv),
        case(f"step_size, {scope}", "step_size", delta, delta, of_heads, 0.0, math.inf),
        case(f"ssd, {scope}", "ssd", signal, *scanned),
        case(f"ssd_chunked, {scope}", "ssd_chunked", signal, *scanned, 64),
        case(f"gate_rms_norm, {scope}", "gate_rms_norm", inner, inner, inner, norm, r,
             eps),
        case(f"selective_scan, {scope}", "selective_scan", inner, inner, one[0], one[1],
             one[2], one[2], norm, Array((b, h * p, 16))),
    ]  # fmt: skip


def masked(
    config: ArinarConfig | MarConfig,
    batch: int,
    asked: int,
    known: int,
    dtype: str = "float32",
) -> list[Case]:
    """Return the calls of a step of the outer model of ARINAR and MAR.

    asked: tokens of an image that are drawn; known: those that are read, of which those
    before and with them should fill the sequence some times over, so that the rows they
    are copied to differ. Both halves of guidance run.
    """
    b, n, s = 2 * batch, config.buffer + config.tokens, config.buffer + known
    d, e, h = config.width, config.encoder_width, config.decoder_heads
    f = int(config.ratio * d)
    read, whole, hidden = Array((b, s, e)), Array((b, n, d)), Array((b, n, f))
    heads, few = Array((b, n, h, d // h)), Array((b, asked, d))
    up, down = (Array(shape, dtype) for shape in ((f, d), (d, f)))
    bias, wide, thin = (Array((size,), dtype) for size in (d, f, e))
    positions, rows = Array((b, s), "int64", n), Array((b, asked), "int64", n)
    eps = 1e-6
    return [
        case(f"layer_norm, {b} x {s} x {e}", "layer_norm", read, read, thin, thin, eps),
        case(f"layer_norm, {b} x {n} x {d}", "layer_norm", whole, whole, bias, bias,
             eps),
        case(f"gelu, {b} x {n} x {f}", "gelu", hidden, hidden),
        case(f"linear {d} to {f} and bias, {b} x {n} rows", "linear", hidden, whole, up,
             wide),
        case(f"linear {f} to {d}, bias and residual, {b} x {n} rows", "linear", whole,
             hidden, down, bias, whole),
        case(f"attention, {b} x {n} rows over {n}", "attention", heads, heads, heads,
             heads, n),
        case(f"concat, {config.classes} + 1 x {e}", "concat",
             Array((1, config.classes + 1, e)), Array((1, config.classes, e), dtype),
             Array((1, 1, e), dtype)),
        case(f"repeat, {b * n} x {d}", "repeat", whole, Array((1, d), dtype), b * n),
        case(f"scatter, {b} x {s} of {n} x {d}", "scatter", whole, whole,
             Array((b, s, d)), positions),
        case(f"gather, {b} x {asked} of {n} x {d}", "gather", few, whole, rows),
    ]  # fmt: skip


def mixture_head(
    config: ArinarConfig,
    tokens: int,
    dtype: str = "float32",
    candidates: int = CANDIDATES,
) -> list[Case]:
    """Return the calls in which ARINAR's head draws a feature of `tokens` tokens.

    Both ways of a guided draw are there: among candidates, and on a grid.
    """
    r, t, m, w = 2 * tokens, tokens, candidates, config.inner_width
    g, f = config.mixtures, config.group
    x, hidden, out = Array((r, 1, w)), Array((r, 1, 4 * w)), g * (2 * f + 1)
    made = Array((r, 1, out))
    shares, centres = Array((t, g), low=0.0), Array((t, g, f))
    uniforms, normals = Array((t, m), low=0.0), Array((t, m, f))
    components, logs = Array((t, m), "int64", g), Array((t, m))
    key, images = Array((2,), "uint32", 2**16), Array((t,), "int64", t)
    where, row = (key, images, images, 3, 1), Array((t, g), low=0.0)
    one = row, Array((t, g)), Array((t, g))
    scope = f"{t} x {m}"
    return [
        case(f"standardise, {r} x {w}", "standardise", x, x, 1e-6),
        case(f"linear {w} to {4 * w} and bias, {r} x 1 rows", "linear", hidden, x,
             Array((4 * w, w), dtype), Array((4 * w,), dtype)),
        case(f"gelu_tanh, {r} x {4 * w}", "gelu_tanh", hidden, hidden),
        case(f"mixture, {r} x {out}", "mixture", made, made, g),
        case(f"uniforms_at, {scope}", "uniforms_at", uniforms, *where, m),
        case(f"normals_at, {scope}", "normals_at", uniforms, *where, m),
        case(f"draw_component, {scope} of {g}", "draw_component", components, shares,
             uniforms),
        case(f"draw_value, {scope} of {g}", "draw_value", normals, components, centres,
             centres, normals, 1.0),
        case(f"log_density, {scope} of {g}", "log_density", logs, normals, shares,
             centres, centres),
        case(f"candidate_probabilities, {scope}", "candidate_probabilities", logs, logs,
             logs, 2.0),
        case(f"gather, {t} of {m}", "gather", Array((t, 1, f)), normals,
             Array((t, 1), "int64", m)),
        case(f"draw_guided, {t} of {g}", "draw_guided", Array((t,)), *one, *one,
             Array((t,), low=0.0), 2.0, 1.0),
    ]  # fmt: skip


def diffusion_head(config: MarConfig, tokens: int) -> list[Case]:
    """Return the calls in which MAR's head removes noise from `tokens` tokens."""
    x = Array((tokens, 1, config.features))
    numbers = f"{tokens} x {config.features}"
    return [
        case(f"reverse_step, {numbers}", "reverse_step", Array((2, *x.shape)), x, x, x,
             1.1, -0.3, -4.0, -3.0),
        case(f"scale, {numbers}", "scale", x, x, 0.9),
        case(f"sample_normal, {numbers}", "sample_normal", x, x, x, x),
    ]  # fmt: skip


def latents(config: KlConfig, side: int, batch: int = 1) -> list[Case]:
    """Return the calls between latents of side x side and images, and back, which a VQ
    tokenizer does not have."""
    moments = Array((batch, side, side, 2 * config.channels))
    pixels = side * config.factor
    colours = Array((batch, pixels, pixels, 3))
    image, sized = Array(colours.shape, "uint8"), f"{batch} x {pixels} x {pixels} x 3"
    return [
        case(f"split_moments, {batch} x {side} x {side} x {moments.shape[-1]}",
             "split_moments", moments, moments),
        case(f"to_rounded_pixels, {sized}", "to_rounded_pixels", image, colours),
    ]  # fmt: skip


def tokenizer(
    config: VqConfig, side: int, batch: int = 1, dtype: str = "float32"
) -> list[Case]:
    """Return calls of encoding and decoding images of side x side tokens."""
    pixels, first, deep = side * config.factor, config.widths[0], config.widths[-1]
    n = batch * side * side
    fine, coarse = (
        Array((batch, pixels, pixels, first)), Array((batch, side, side, deep))
    )  # fmt: skip
    half = Array((batch, pixels // 2, pixels // 2, first))
    colours = Array((batch, pixels, pixels, 3))
    image = Array(colours.shape, "uint8", 256)
    z, codes = Array((n, config.code_size)), Array((config.codes, config.code_size))

    def weights(source, target, taps=()):
        return Array((target, *taps, source), dtype), Array((target,), dtype)

    def sized(array):
        b, y, x, c = array.shape
        return f"{b} x {y} x {x} x {c}"

    found = []
    for x in (coarse, fine):
        c = x.shape[-1]
        scale, bias = Array((c,), dtype), Array((c,), dtype)
        w3, w1 = weights(c, c, (3, 3)), weights(c, c)
        found += [
            case(f"conv3x3 to {c}, {sized(x)}", "conv3x3", x, x, *w3),
            case(f"conv3x3_add to {c}, {sized(x)}", "conv3x3_add", x, x, *w3, x),
            case(f"linear to {c} and bias, {sized(x)}", "linear", x, x, *w1),
            case(f"linear to {c}, bias and residual, {sized(x)}", "linear", x, x, *w1,
                 x),
            case(f"group_norm, {sized(x)}", "group_norm", x, x, scale, bias, 32, 1e-6),
            case(f"group_norm_swish, {sized(x)}", "group_norm_swish", x, x, scale, bias,
                 32, 1e-6),
        ]  # fmt: skip
    last, down = weights(first, 3, (3, 3)), weights(first, first, (3, 3))
    return [
        *found,
        case(f"conv3x3 to 3, {sized(fine)}", "conv3x3", colours, fine, *last),
        case(f"conv3x3_half to {first}, {sized(fine)}", "conv3x3_half", half, fine,
             *down),
        case(f"upsample, {sized(half)}", "upsample", fine, half),
        case(f"unit, {z.shape[0]}", "unit", z, z),
        case(f"unit, {config.codes}", "unit", codes, codes),
        case(f"lookup, {n} of {config.codes}", "lookup", Array((n,), "int64"), z,
             codes),
        case(f"to_pixels, {sized(image)}", "to_pixels", image, colours),
        case(f"from_pixels, {sized(image)}", "from_pixels", colours, image),
    ]  # fmt: skip
