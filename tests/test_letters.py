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
from minigen.calls import split
from minigen.checking.spec import floats, integers
from minigen.errors import ConfigError
from tests.kernels import collect

OPS = Path(minigen.__file__).parent / "ops"
STEMS = ("reference", "cpu", "cuda")
FILES = sorted(p for name in (*STEMS, "cpu_plain") for p in OPS.glob(f"*/{name}.py"))

# sizes that differ, so that no two letters can be taken for each other
SIZES = {"b": 2, "n": 11, "m": 3, "d": 16, "h": 20, "e": 8, "v": 9, "k": 13, "c": 12}
SIZES |= {"s": 17, "p": 18, "g": 19, "f": 10, "r": 4, "t": 7, "y": 6, "x": 14}
SIZES |= {"w": 15}
_SHARED = {"k": floats(1, 2, 11, 4, 8), "v": floats(2, 2, 11, 4, 8)}
# in place of the simplest, which have two sizes that are the same
OWN = {name: _SHARED | {"length": 5} for name in ("attention", "attention_causal")}
OWN |= {"append": {"cache": floats(1, 2, 11, 16), "length": 5}}
OWN |= {"columns": {"first": 3, "last": 13}, "zeros": {"shape": (2, 11)}}
OWN |= {"ssd_chunked": {"chunk": 4}}
# heads in groups of r: fewer, for the interpreter
FEW = dict.fromkeys(("ssd", "ssd_chunked", "mamba2_step"), {"h": 5})
# functions that are in no table
OTHERS = {
    "keep": {"logits": floats(1, 2, 3, 9), "top_k": 4, "top_p": 0.8, "minimum": 1},
    "philox": {"counter": integers(1, 2**32, 4), "key": integers(2, 2**32, 2)},
    "segment_sums": {"exponents": floats(1, 2, 20, 11)},
    "softmax": {"scores": floats(1, 2, 20, 3, 11)},
    "table": {"rows": 2, "columns": 3, "e": 8, "base": 100.0},
}


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
        sizes[array.more : array.more] = of["..."]
    return tuple(sizes)


CASES = [(path.parent.name, path.stem, *pair) for path in FILES for pair in found(path)]
NAMES = [f"{op}.{file}.{function.__name__}" for op, file, function, _ in CASES]


def sizes_of(signature, case):
    """Return the size of each letter in a case: those of numbers, and those of axes."""
    numbers = {a.name: case[a.name] for a in signature.arguments if a.sizes is None}
    axes = {}
    for argument in signature.arguments:
        if argument.sizes is not None:
            named, rest = split(argument, np.shape(case[argument.name]))
            axes |= {"...": rest} if argument.more is not None else {}
            for size, n in zip(argument.sizes, named, strict=True):
                if size.letter:
                    axes.setdefault(size.letter, n * size.over // size.times)
    letters = [n for letter, n in axes.items() if letter != "..."]
    assert len(letters) == len({*letters}), axes
    of = SIZES | {name: n for name, n in numbers.items() if name in minigen.LETTERS}
    if signature.name == "table":
        axes["t"] = 1 + case["rows"] * case["columns"]
    return of | {"...": case.get("shape")} | axes


@pytest.mark.in_parts
@pytest.mark.parametrize("op, file, function, signature", CASES, ids=NAMES)
def test_a_signature_is_what_the_function_does(op, file, function, signature):
    case = OTHERS.get(function.__name__)
    if case is None:
        spec = collect.served(f"{op}.{function.__name__}")
        sizes = SIZES | FEW.get(spec.name, {})
        case = collect.case(spec, sizes, np.dtype(np.float32)) | OWN.get(spec.name, {})
    letters = sizes_of(signature, case)
    for argument in signature.arguments:
        if argument.sizes is not None:
            assert np.shape(case[argument.name]) == shape(argument, letters)
    given = [case[argument.name] for argument in signature.arguments]
    if file == "cuda":
        device = Interpreter()
        given = [device.put(g) if isinstance(g, np.ndarray) else g for g in given]
        given.insert(0, device)
    with np.errstate(all="raise", under="ignore"):
        result = function(*given)
    results = result if isinstance(result, tuple) else (result,)
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
