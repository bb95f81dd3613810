"""The names weights bear in the originals' files, and those they bear here.

A family is a table of rows, made from a configuration: our dotted name, the original's
name, the original's shape. Manifest, check, recognition and conversion all read it. Our
shapes follow from the original's: convolutions put their input channels last, those of
one pixel lose their two empty axes, arrays of three axes the one of size one; all else
stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np

from minigen.checkpoints.aim_names import TIED, aim_rows, guess_aim
from minigen.checkpoints.arinar_names import (
    DROPPED,
    arinar_rows,
    guess_arinar,
)
from minigen.checkpoints.mar_names import guess_mar, mar_rows
from minigen.checkpoints.tokenizer_names import (
    conv,
    count,
    guess_kl,
    guess_vq,
    kl_rows,
    pair,
    vq_rows,
)
from minigen.config import FAMILIES as KINDS
from minigen.config import (
    PRESETS,
    AimConfig,
    ArinarConfig,
    ArpgConfig,
    GptConfig,
    JudgeConfig,
    KlConfig,
    MarConfig,
    VqConfig,
)
from minigen.errors import CheckpointError, ConfigError

Row = tuple[str, str, tuple[int, ...]]

WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that torch's wrappers put before every name."""


def arpg_rows(c: ArpgConfig) -> Iterator[Row]:
    """Source: hp-l33/ARPG models/arpg.py."""
    d, f = c.width, c.hidden
    ffn = {"gate": ("w1", (f, d)), "up": ("w3", (f, d)), "down": ("w2", (d, f))}
    yield "embeddings", "embeddings.weight", (c.vocabulary + c.classes + 3, d)
    for half, maps in (
        ("self", ("to_q", "to_k", "to_v", "proj")),
        ("cross", ("to_q", "proj")),
    ):
        for i in range(c.half):
            here, there = f"{half}.{i}", f"layers.{half}_dec.{i}"
            for name in ("attn_norm", "ffn_norm"):
                yield f"{here}.{name}", f"{there}.{name}.weight", (d,)
            for name in maps:
                yield f"{here}.{name}", f"{there}.attn.{name}.weight", (d, d)
            for name, (upstream, shape) in ffn.items():
                yield f"{here}.{name}", f"{there}.ffn.{upstream}.weight", shape
    yield "norm", "layers.norm.weight", (d,)
    yield "to_k", "layers.to_k.weight", (d, d)
    yield "to_v", "layers.to_v.weight", (d, d)
    yield "out_norm", "norm.weight", (d,)
    yield "head", "head.weight", (c.vocabulary, d)


def guess_arpg(shapes: Mapping) -> tuple[ArpgConfig, tuple[str, ...]]:
    """Return the configuration that shapes tell of, and the fields they do not show."""
    vocabulary, d = shapes["head.weight"]
    f, _ = shapes["layers.self_dec.0.ffn.w1.weight"]
    rows, _ = shapes["embeddings.weight"]
    fields = {
        "width": d,
        "layers": 2 * count(shapes, "layers.self_dec.{}.attn_norm.weight"),
        # the head size of every released model
        "heads": max(1, d // 64),
        "vocabulary": vocabulary,
        "classes": rows - vocabulary - 3,
        "tokens": 256,
    }
    return ArpgConfig(**fields, **_rounding(d, f)), ("heads", "tokens")


def gpt_rows(c: GptConfig) -> Iterator[Row]:
    """Source: FoundationVision/LlamaGen autoregressive/models/gpt.py."""
    d, f = c.width, c.hidden
    names = {
        "attn_norm": ("attention_norm", (d,)),
        "qkv": ("attention.wqkv", (d + 2 * c.key_width, d)),
        "proj": ("attention.wo", (d, d)),
        "ffn_norm": ("ffn_norm", (d,)),
        "gate": ("feed_forward.w1", (f, d)),
        "up": ("feed_forward.w3", (f, d)),
        "down": ("feed_forward.w2", (d, f)),
    }
    yield "classes", "cls_embedding.embedding_table.weight", (c.classes + c.no_class, d)
    yield "embeddings", "tok_embeddings.weight", (c.vocabulary, d)
    for i in range(c.layers):
        for name, (upstream, shape) in names.items():
            yield f"layers.{i}.{name}", f"layers.{i}.{upstream}.weight", shape
    yield "out_norm", "norm.weight", (d,)
    yield "head", "output.weight", (c.vocabulary, d)


def guess_gpt(shapes: Mapping) -> tuple[GptConfig, tuple[str, ...]]:
    """Return the configuration that shapes tell of, and the fields they do not show."""
    vocabulary, d = shapes["output.weight"]
    f, _ = shapes["layers.0.feed_forward.w1.weight"]
    qkv, _ = shapes["layers.0.attention.wqkv.weight"]
    rows, _ = shapes["cls_embedding.embedding_table.weight"]
    # heads are 64 wide in every released model but the 3B, where it is 100
    key_width = (qkv - d) // 2
    size = math.gcd(d, key_width, 64)
    fields = {
        "width": d,
        "layers": count(shapes, "layers.{}.attention_norm.weight"),
        "heads": d // size,
        "key_heads": key_width // size,
        "vocabulary": vocabulary,
        "classes": max(1, rows - 1),
        "no_class": rows > 1,
    }
    unseen = ("heads", "key_heads", "classes", "no_class", "tokens")
    return GptConfig(**fields, **_rounding(d, f)), unseen


def judge_rows(c: JudgeConfig) -> Iterator[Row]:
    """Source: minigen/training/judge.py."""
    widths, deepest = c.widths, 16 * c.widths[-1]
    yield from conv("conv_in", "conv_in", widths[0], 3, 3)
    for i, (width, wider) in enumerate(zip(widths, widths[1:], strict=False)):
        name = f"levels.{i}"
        yield from pair(f"{name}.norm1", f"{name}.norm1", (width,))
        yield from conv(f"{name}.conv", f"{name}.conv", width, width, 3)
        yield from pair(f"{name}.norm2", f"{name}.norm2", (width,))
        yield from conv(f"{name}.down", f"{name}.down", wider, width, 3)
    yield from pair("norm_out", "norm_out", (widths[-1],))
    yield from pair("features", "features", (c.features, deepest))
    yield from pair("head", "head", (c.classes, c.features))


def guess_judge(shapes: Mapping) -> tuple[JudgeConfig, tuple[str, ...]]:
    """Return the configuration that shapes tell of; they show every field."""
    levels = count(shapes, "levels.{}.down.weight")
    widths = [shapes[f"levels.{i}.conv.weight"][0] for i in range(levels)]
    classes, features = shapes["head.weight"]
    return JudgeConfig((*widths, shapes["norm_out.weight"][0]), features, classes), ()


@dataclass(frozen=True)
class Family:
    """The table of a family; how its sizes are read off; names it drops if present.

    dropped: names in which `*` stands for anything; unsure: fields that the shapes of a
    preset leave open, as models of those shapes were released with several values;
    tied: names of arrays that stand in a file once more under others, or do not; part:
    what precedes the family's names where a file holds several models.
    """

    rows: Callable
    guess: Callable
    dropped: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    tied: Mapping[str, str] = field(default_factory=dict)
    part: str = ""


FAMILIES = {
    ArpgConfig: Family(arpg_rows, guess_arpg),
    GptConfig: Family(
        gpt_rows,
        guess_gpt,
        # the rotary table, and what a model saved after it generated still holds
        ("freqs_cis", "layers.*.attention.kv_cache.*_cache"),
        ("tokens",),
    ),
    AimConfig: Family(aim_rows, guess_aim, tied=TIED, part="mamba."),
    ArinarConfig: Family(
        arinar_rows, guess_arinar, DROPPED, ("inner_schedule", "behaviour")
    ),
    MarConfig: Family(mar_rows, guess_mar),
    VqConfig: Family(vq_rows, guess_vq, ("quantize.codebook_used",), part="vqvae."),
    KlConfig: Family(
        kl_rows,
        guess_kl,
        # what training alone needs, in files of latent diffusion's kind
        ("loss.*", "foundation_model.*", "linear_proj.weight"),
    ),
    JudgeConfig: Family(judge_rows, guess_judge),
}
"""The families whose files are known, by their configuration."""


def manifest(config) -> dict[str, tuple[int, ...]]:
    """Return {upstream name: shape} of a model's weights, exactly.

    >>> len(manifest(PRESETS["arpg-l"])), manifest(PRESETS["vq-16"])["quant_conv.bias"]
    (198, (8,))
    """
    return {
        upstream: shape for _, upstream, shape in FAMILIES[type(config)].rows(config)
    }


def recognise(state: Mapping[str, np.ndarray]):
    """Return the configuration of a model from its weights' upstream names and shapes.

    What shapes do not show (`unseen` lists it) is as in the presets, else as in every
    released model. Raises CheckpointError where no family fits with nothing left over.
    """
    return recognise_with_unseen(state)[0]


def recognise_with_unseen(state) -> tuple[object, tuple[str, ...]]:
    """Return what `recognise` returns, and the fields that were assumed."""
    state = unwrap(state)
    parts = {kind: _shapes(part_of(kind, state)) for kind in FAMILIES}
    # a generator before the tokenizer that may lie in the same file
    for kind, shapes in parts.items():
        for config in PRESETS.values():
            if type(config) is kind and not _differences(config, shapes):
                return config, FAMILIES[kind].unsure
        try:
            config, unseen = FAMILIES[kind].guess(shapes)
        except (KeyError, ValueError, IndexError, ZeroDivisionError, ConfigError):
            continue
        differences = _differences(config, shapes)
        if not differences:
            return config, unseen
        raise CheckpointError(f"it resembles {config}, but {differences}")
    first = ", ".join(sorted(state)[:5])[:300]
    raise CheckpointError(
        f"its {len(state)} arrays are those of no known family (arpg, llamagen, aim, "
        f"arinar, mar, vq, kl, judge); the first are {first}; where the weights lie "
        "deeper, give their key"
    )


def to_ours(config, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return {our name: view in our layout} of weights under upstream names.

    Raises CheckpointError unless names and shapes are the manifest's, nothing left
    over.
    """
    state = part_of(type(config), unwrap(state))
    differences = _differences(config, _shapes(state))
    if differences:
        raise CheckpointError(f"it was to hold {config}, but {differences}")
    for name, same in FAMILIES[type(config)].tied.items():
        if name in state and not np.array_equal(state[name], state[same]):
            raise CheckpointError(
                f"its {name} is not its {same}; {config} holds them once, so no model "
                "of ours can be made of it"
            )
    return arrange(FAMILIES[type(config)].rows(config), state)


def arrange(rows, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return {our name: view in our layout} of the weights that the rows name."""
    return {ours: _to_our_layout(state[upstream]) for ours, upstream, _ in rows}


def check_ours(config, state: Mapping[str, np.ndarray]):
    """Raise CheckpointError unless `state` is a model of `config` under our names."""
    shapes = {name: tuple(array.shape) for name, array in state.items()}
    try:
        differences = _differences(config, shapes, ours=True)
    except (TypeError, ValueError, ArithmeticError):
        raise CheckpointError(
            f"it says it holds {config}, which makes no sense"
        ) from None
    if differences:
        raise CheckpointError(f"it says it holds {config}, but {differences}")


def to_tree(config, state: Mapping[str, np.ndarray]) -> dict:
    """Return the nested weights of a model from {upstream name: array}.

    Arrays are C-contiguous; those already so are not copied. Raises CheckpointError
    unless names and shapes are the manifest's, nothing left over.
    """
    ours = to_ours(config, state)
    return unflatten({name: np.ascontiguousarray(a) for name, a in ours.items()})


def to_upstream(config, tree) -> dict[str, np.ndarray]:
    """Return {upstream name: view in upstream's layout}: what `to_tree` was made of."""
    ours = flatten(tree)
    rows = FAMILIES[type(config)].rows(config)
    return {upstream: _to_layout(ours[name], shape) for name, upstream, shape in rows}


def unwrap(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return `state` without a prefix that a wrapper of torch's put before every name.

    >>> unwrap({"module.norm.weight": 1, "module.head.weight": 2})
    {'norm.weight': 1, 'head.weight': 2}
    """
    for prefix in WRAPPERS:
        if state and all(name.startswith(prefix) for name in state):
            return unwrap({k.removeprefix(prefix): v for k, v in state.items()})
    return dict(state)


def part_of(kind, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a family's part of a file that holds several models, else all of it.

    >>> part_of(AimConfig, {"mamba.norm": 1, "vqvae.quant_conv.bias": 2})
    {'norm': 1}
    """
    part = FAMILIES[kind].part
    parts = tuple(family.part for family in FAMILIES.values() if family.part)
    if not state or not all(name.startswith(parts) for name in state):
        return dict(state)
    names = (name for name in state if part and name.startswith(part))
    return {name.removeprefix(part): state[name] for name in names}


def families_in(state: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return the names of the families of a file of several models.

    Empty where the file holds no more than one.

    >>> families_in({"mamba.norm": 1, "vqvae.quant_conv.bias": 2})
    ('aim', 'vq')
    """
    state = unwrap(state)
    parts = {name: FAMILIES[kind].part for name, kind in KINDS.items()}
    parts = {name: part for name, part in parts.items() if part}
    if not all(name.startswith(tuple(parts.values())) for name in state):
        return ()
    found = (f for f, part in parts.items() if any(n.startswith(part) for n in state))
    return tuple(found)


def flatten(tree) -> dict[str, np.ndarray]:
    """Return {dotted name: array} of nested dicts and lists of arrays.

    >>> flatten({"self": [{"to_q": 1}, {"to_q": 2}], "norm": 3})
    {'self.0.to_q': 1, 'self.1.to_q': 2, 'norm': 3}
    """
    if not isinstance(tree, (dict, list)):
        return {"": tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {
        f"{key}.{name}".rstrip("."): array
        for key, inner in items
        for name, array in flatten(inner).items()
    }


def unflatten(flat: Mapping[str, np.ndarray]) -> dict:
    """Return the nested dicts and lists that `flatten` made flat.

    >>> unflatten({"self.0.to_q": 1, "self.1.to_q": 2, "norm": 3})
    {'self': [{'to_q': 1}, {'to_q': 2}], 'norm': 3}
    """
    tree = {}
    for name, array in flat.items():
        *path, leaf = name.split(".")
        inner = tree
        for part in path:
            inner = inner.setdefault(part, {})
        inner[leaf] = array
    return _lists(tree)


def _lists(tree):
    if not isinstance(tree, dict):
        return tree
    numbers = [str(i) for i in range(len(tree))]
    if tree and set(numbers) == set(tree):
        return [_lists(tree[number]) for number in numbers]
    return {key: _lists(inner) for key, inner in tree.items()}


def _differences(config, shapes, ours=False):
    # the first way in which names and shapes are not the table's, or nothing; a table
    # of a dishonest configuration may be endless, so it is read no further than needed
    expected = {}
    for here, upstream, shape in FAMILIES[type(config)].rows(config):
        name, shape = (here, _our_shape(shape)) if ours else (upstream, shape)
        if name not in shapes:
            return f"{name} is missing"
        if shapes[name] != shape:
            return f"{name} has the shape {shapes[name]} instead of {shape}"
        expected[name] = shape
    family = FAMILIES[type(config)]
    left = {
        name
        for name in set(shapes) - {*expected, *family.tied}
        if not any(fnmatchcase(name, pattern) for pattern in family.dropped)
    }
    if left:
        first = ", ".join(sorted(left)[:3])[:200]
        return f"{len(left)} arrays are left over, such as {first}"
    return ""


def _shapes(state):
    return {name: tuple(array.shape) for name, array in state.items()}


def _to_our_layout(array):
    if array.ndim == 3:
        return array[0] if len(array) == 1 else array[:, 0]
    if array.ndim != 4:
        return array
    if array.shape[2:] == (1, 1):
        return array[:, :, 0, 0]
    return array.transpose(0, 2, 3, 1)


def _to_layout(array, shape):
    if len(shape) != 4:
        return array
    return array.reshape(shape) if array.ndim == 2 else array.transpose(0, 3, 1, 2)


def _our_shape(shape):
    if len(shape) == 3:
        return shape[1:] if shape[0] == 1 else (shape[0], shape[2])
    if len(shape) != 4:
        return shape
    f, c, *kernel = shape
    return (f, c) if kernel == [1, 1] else (f, *kernel, c)


def _rounding(d, f):
    # one of the descriptions of how a width d gives a hidden width f
    h = int(2 * (4 * d) / 3)
    for multiple in (256, 128, 64, 32, 16, 8, 4, 2, 1):
        if -(-h // multiple) * multiple == f:
            return {"multiple_of": multiple}
    return {"multiple_of": f, "hidden_multiplier": f / h}
