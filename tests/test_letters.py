"""Signature lines: read from the source, and held against real shapes.

The docstring of every op begins with a line such as `(b n d), (f d) -> (b n f)`, which
`minigen.signatures` reads. Its letters are those of `minigen.LETTERS`.
"""

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

import minigen
from minigen import backends, signatures
from minigen.arrays import Interpreter
from minigen.errors import ConfigError

OPS = Path(minigen.__file__).parent / "ops"
STEMS = ("reference", "cpu", "cuda")
FILES = sorted(p for name in (*STEMS, "cpu_plain") for p in OPS.glob(f"*/{name}.py"))

# sizes that differ, so that no two letters can be taken for each other
SIZES = {"b": 2, "n": 11, "m": 3, "d": 16, "h": 20, "e": 8, "v": 9, "k": 13, "c": 12}
SIZES |= {"s": 17, "p": 18, "g": 19, "f": 10, "r": 4, "t": 7, "y": 6, "x": 14}
SIZES |= {"w": 15}
SCALARS = {"eps": 1e-5, "r": 4, "length": 2, "weight": 3.0, "temperature": 0.9}
SCALARS |= {"top_k": 4, "top_p": 0.8, "minimum": 1, "rows": 2, "columns": 3, "e": 8}
SCALARS |= {"base": 100.0, "shape": (2, 11), "value": -1, "step": 5, "index": 0}
SCALARS |= {"first": 3, "last": 13, "lowest": 0.0, "highest": 1.0, "chunk": 4}
SCALARS |= {"factor": 0.5, "of_x": 2.0, "of_noise": -1.0}
SCALARS |= {"g": 19, "m": 3, "n": 11, "stretch": 0.9}
# arguments that are numbers of something, and what they stay below
INDICES = {"ids": 7, "rows": 7, "targets": 9, "key": 2**32, "images": 8}
INDICES |= {"counter": 2**32, "positions": 11, "canvas": 9, "tokens": 9}
INDICES |= {"components": 19}


def found(path):
    """Return (function, its signature), for every function of a file that has one."""
    module = importlib.import_module(f"minigen.ops.{path.parent.name}.{path.stem}")
    pairs = []
    for name, function in vars(module).items():
        ours = inspect.isfunction(function) and function.__module__ == module.__name__
        if not ours or name.startswith("_"):
            continue
        try:
            pairs.append((function, signatures.of(function)))
        except ConfigError:
            # no function of the table, but what lessons and measurements ask for
            assert path.stem == "cuda", (path, name)
            continue
        assert "->" in inspect.getdoc(function).partition("\n\n")[0], (path, name)
        if path.stem == "cuda":
            assert function.__code__.co_varnames[0] == "device", (path, name)
    return pairs


def shape(array, of):
    # a fraction of a size is rounded down, as by a stride
    sizes = [
        size.times * of.get(size.letter, 1) // size.over + of.get(size.plus, 0)
        for size in array.sizes
    ]
    if array.more is not None:
        sizes[array.more : array.more] = (5, 3)
    return tuple(sizes)


CASES = [(path.parent.name, path.stem, *pair) for path in FILES for pair in found(path)]
NAMES = [f"{op}.{file}.{function.__name__}" for op, file, function, _ in CASES]


# of a mixer, or a mixture, the sizes of the whole follow from those of its parts
RELATED = {"mamba2_step": {"d": 20 * 18, "c": 360 + 2 * 4 * 17, "f": 2 * 360 + 156}}
RELATED |= {"mixture": {"d": 19 * (2 * 10 + 1)}}


@pytest.mark.parametrize("op, file, function, signature", CASES, ids=NAMES)
def test_a_signature_is_what_the_function_does(op, file, function, signature):
    letters = SIZES | RELATED.get(function.__name__, {})
    rng = np.random.default_rng(0)
    given = []
    for argument in signature.arguments:
        if argument.sizes is None:
            given.append(SCALARS[argument.name])
        elif argument.name in INDICES:
            sizes = shape(argument, letters)
            given.append(rng.integers(0, INDICES[argument.name], sizes))
        elif argument.name == "image":
            sizes = shape(argument, letters)
            given.append(rng.integers(0, 256, sizes, dtype=np.uint8))
        else:
            given.append(rng.random(shape(argument, letters), dtype=np.float32))
    if file == "cuda":
        device = Interpreter()
        given = [device.put(g) if isinstance(g, np.ndarray) else g for g in given]
        given.insert(0, device)
    with np.errstate(all="raise"):
        result = function(*given)
    results = result if isinstance(result, tuple) else (result,)
    numbers = {a.name: SCALARS[a.name] for a in signature.arguments if a.sizes is None}
    letters |= {name: n for name, n in numbers.items() if name in minigen.LETTERS}
    if "columns" in numbers:
        letters["t"] = 1 + numbers["rows"] * numbers["columns"]
    for array, said in zip(results, signature.results, strict=True):
        assert np.shape(array) == shape(said, letters)


@pytest.mark.parametrize("op, file, function, signature", CASES, ids=NAMES)
def test_a_signature_has_no_letters_but_ours(op, file, function, signature):
    arrays = [a for a in (*signature.arguments, *signature.results) if a.sizes]
    sizes = [size for a in arrays for size in a.sizes]
    letters = {size.letter for size in sizes} | {size.plus for size in sizes}
    assert letters <= {"", *minigen.LETTERS}


def test_every_op_has_all_files_with_the_same_signatures():
    for folder in sorted(p for p in OPS.iterdir() if (p / "reference.py").exists()):
        lines, modules = {}, {}
        files = [path.stem for path in FILES if path.parent == folder]
        for file in files:
            modules[file] = importlib.import_module(f"minigen.ops.{folder.name}.{file}")
            lines[file] = {
                function.__name__: (
                    signature.line,
                    [a.name for a in signature.arguments],
                )
                for function, signature in found(folder / f"{file}.py")
            }
        for name in backends.OPS[folder.name]:
            for file in STEMS:
                assert hasattr(modules[file], name), (folder.name, file, name)
        assert set(lines["cuda"]) >= set(backends.OPS[folder.name])
        for file in files:
            for name in lines["reference"].keys() & lines[file].keys():
                said, expected = lines[file][name], lines["reference"][name]
                assert said == expected, (folder.name, file, name)


def test_help_shows_the_signature_and_what_the_reference_says(backend):
    ops = backends.table(backend)
    for folder, names in backends.OPS.items():
        reference = importlib.import_module(f"minigen.ops.{folder}.reference")
        for name in names:
            said = inspect.getdoc(getattr(ops, name))
            assert said == inspect.getdoc(getattr(reference, name))
            assert "->" in said.partition("\n\n")[0]
