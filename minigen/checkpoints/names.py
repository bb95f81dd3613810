"""Names of weights: those in the originals' files, and ours.

A family has a table of rows, made from a configuration (`minigen.families`): our dotted
name, the original's name, the original's shape. Manifest, check, recognition and
conversion all read it. Our shapes follow from the original's: convolutions have their
input channels last; convolutions of one pixel lose their two axes of size one, and
arrays of three axes the one of size one; all other shapes are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from minigen.checkpoints.sources import Given, Settled, settle
from minigen.errors import CheckpointError
from minigen.families import FAMILIES, Family, family_of

WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that torch's wrappers put before every name."""

INSIDE = {
    *("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"),
    "_forward_module",
}
"""Parts of a name that wrappers of a layer, or of a whole model, put anywhere."""

LEVELS, MOST_PREFIXES, MOST_NAMES = 4, 200, 20_000
"""How deep the names of a model may lie among others, how many such places are looked
at, and among how many names."""


def manifest(config) -> dict[str, tuple[int, ...]]:
    """Return {upstream name: shape} of a model's weights, exactly.

    >>> from minigen.families import PRESETS
    >>> len(manifest(PRESETS["arpg-l"])), manifest(PRESETS["vq-16"])["quant_conv.bias"]
    (198, (8,))
    """
    return {upstream: shape for _, upstream, shape in family_of(config).rows(config)}


def stand_in(config) -> dict[str, np.ndarray]:
    """Return {upstream name: array of its shape} of a model; they take no memory.

    All hold zeros, but for an output layer that is no tied one: it must differ.
    """
    tied = family_of(config).tied
    return {
        name: np.broadcast_to(np.float32(name in tied), shape)
        for name, shape in manifest(config).items()
    }


def recognise(state: Mapping[str, np.ndarray]) -> tuple[object, tuple[str, ...]]:
    """Return the configuration of weights by their upstream names and shapes.

    Beside it, the fields that a rule settled: no shape shows them, nor a preset of
    these shapes. Raises CheckpointError where no family fits with nothing left over.
    """
    found = settled(state)
    return found.config, found.unseen


def settled(
    state: Mapping[str, np.ndarray], given: Iterable[Given] = (), file: str = ""
) -> Settled:
    """Return the configuration of weights, and where each field came from.

    given: what is said of the weights, the first that tells a field is believed; file:
    the name of the file, by which presets of the same shapes are told apart. Raises
    CheckpointError where no family fits with nothing left over; CheckpointError or
    InputError where what is said is not what shapes show.
    """
    state, given = unwrap(state), tuple(given)
    # a generator before the tokenizer that may lie in the same file
    for family in FAMILIES.values():
        shapes = _shapes(once(family, state))
        try:
            family.guess(shapes, {})
        except (KeyError, ValueError, IndexError, ZeroDivisionError):
            continue
        presets = presets_of(family, shapes, file)
        return settle(family, shapes, given, presets, _differences)
    first = ", ".join(sorted(state)[:5])[:300]
    raise CheckpointError(
        f"its {len(state)} arrays are those of no known family "
        f"({', '.join(FAMILIES)}); the first are {first}; where the weights lie "
        "deeper, give their key"
    )


def presets_of(family: Family, shapes: Mapping, file: str = "") -> dict:
    """Return the presets of these shapes: the one that the file is named as, or all.

    Of all, those that were never released are left out, where others were.

    >>> from minigen.families import PRESETS
    >>> family, large = FAMILIES["llamagen"], manifest(PRESETS["gpt-l"])
    >>> [*presets_of(family, large)], [*presets_of(family, large, "c2i_L_384.pt")]
    (['gpt-l', 'gpt-l-384'], ['gpt-l-384'])
    """
    fits = {n: c for n, c in family.presets.items() if not _differences(c, shapes)}
    words = {name: family.released.get(name, "") for name in fits}
    stem = Path(file).stem
    named = {n: c for n, c in fits.items() if stem in (n, Path(words[n].strip()).stem)}
    released = {n: c for n, c in fits.items() if not words[n].startswith(";")}
    return named or released or fits


def to_ours(config, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return {our name: view in our layout} of weights under upstream names.

    Raises CheckpointError unless names and shapes are the manifest's, nothing left
    over.
    """
    family = family_of(config)
    state = part_of(family, state)
    differences = _differences(config, _shapes(state))
    if differences:
        raise CheckpointError(f"it was to hold {config}, but {differences}")
    own = set(once(family, state)) & set(family.tied)
    if own and config.tied:
        name = own.pop()
        raise CheckpointError(
            f"its {name} is not its {family.tied[name]}, so it does not hold {config}, "
            "in which they are one"
        )
    return arrange(family.rows(config), state)


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
    rows = family_of(config).rows(config)
    return {upstream: _to_layout(ours[name], shape) for name, upstream, shape in rows}


def unwrap(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return `state` without what wrappers of torch's put into every name.

    >>> unwrap({"module.norm.weight": 1, "module.0._orig_mod.weight": 2})
    {'norm.weight': 1, '0.weight': 2}

    The count of an average's updates goes with them:

    >>> unwrap({"n_averaged": 3, "module.norm.weight": 1})
    {'norm.weight': 1}
    """
    if any(part in name for name in state for part in INSIDE):
        inner = {
            ".".join(part for part in name.split(".") if part not in INSIDE): array
            for name, array in state.items()
        }
        # two names that differ in that alone stay as they are
        state = inner if len(inner) == len(state) else state
    if "n_averaged" in state and len(state) > 1:
        rest = {name: array for name, array in state.items() if name != "n_averaged"}
        if all(name.startswith("module.") for name in rest):
            state = rest
    for prefix in WRAPPERS:
        if state and all(name.startswith(prefix) for name in state):
            return unwrap({k.removeprefix(prefix): v for k, v in state.items()})
    return dict(state)


def places(state: Mapping[str, np.ndarray]):
    """Yield (prefix, part of `state` without it) where a model may lie among others.

    Averages come first, then what lies least deep.

    >>> [prefix for prefix, _ in places({"net.a.w": 1, "net_ema.a.w": 2, "b": 3})]
    ['net_ema', 'net_ema.a', 'net', 'net.a']
    """
    state = unwrap(state)
    found = {}
    if len(state) > MOST_NAMES:
        return
    for name in state:
        parts = name.split(".", LEVELS)
        for count in range(1, len(parts)):
            if len(found) < MOST_PREFIXES:
                found.setdefault(".".join(parts[:count]), None)
    order = sorted(
        found, key=lambda p: ("ema" not in p.replace("_", ".").split("."), p.count("."))
    )
    inside = {prefix: {} for prefix in order}
    for name, array in state.items():
        parts = name.split(".", LEVELS)
        for count in range(1, len(parts)):
            if (prefix := ".".join(parts[:count])) in inside:
                inside[prefix][name[len(prefix) + 1 :]] = array
    for prefix in order:
        yield prefix, inside[prefix]


def parts(state: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Return what a file of several models holds of each family, by its name.

    Empty where the file holds no more than one, without a prefix.

    >>> parts({"mamba.norm": 1, "vqvae.quant_conv.bias": 2})
    {'aim': {'norm': 1}, 'vq': {'quant_conv.bias': 2}}
    """
    state = unwrap(state)
    prefixes = {name: each.part for name, each in FAMILIES.items() if each.part}
    if not all(name.startswith(tuple(prefixes.values())) for name in state):
        return {}
    found = {
        family: {n.removeprefix(p): a for n, a in state.items() if n.startswith(p)}
        for family, p in prefixes.items()
    }
    return {family: part for family, part in found.items() if part}


def part_of(family: Family, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a family's part of a file that holds several models, else all of it."""
    found = parts(state)
    return found.get(family.name, {}) if found else unwrap(state)


def left_out(config, state: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Return how many arrays of a file are no weights of its model, by their names.

    >>> from minigen.families import VqConfig
    >>> left_out(VqConfig(), {"loss.a": 1, "loss.b": 2, "quant_conv.bias": 3})
    {'loss.*': 2}
    """
    family = family_of(config)
    names = [*part_of(family, state), *{"n_averaged"}.intersection(state)]
    patterns = (*family.dropped, "n_averaged")
    found = {p: sum(fnmatchcase(name, p) for name in names) for p in patterns}
    return {pattern: count for pattern, count in found.items() if count}


def once(family: Family, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a family's part of a file, without the second names of tied weights.

    Only values tell whether they are tied: a file may hold an array twice, and models
    whose output layer is a table of its own have the same shapes.
    """
    state = part_of(family, state)
    second = {
        name
        for name, same in family.tied.items()
        if name in state and same in state and np.array_equal(state[name], state[same])
    }
    return {name: array for name, array in state.items() if name not in second}


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
    family, expected = family_of(config), {}
    for here, upstream, shape in family.rows(config):
        name, shape = (here, _our_shape(shape)) if ours else (upstream, shape)
        if name not in shapes:
            return f"{name} is missing"
        if shapes[name] != shape:
            return f"{name} has the shape {shapes[name]} instead of {shape}"
        expected[name] = shape
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
    # a view of one number, however large the shape
    return _to_our_layout(np.broadcast_to(np.int8(0), shape)).shape
