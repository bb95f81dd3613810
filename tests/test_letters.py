"""Signature lines: read from the source, and held against real shapes.

Under the `def` of every op stands a line such as `# (b n d), (f d) -> (b n f)`. Its
letters are those of `minigen.LETTERS`; a size is a letter, a number, or a letter with a
factor (`2y`, `e/2`). The launchers of `cuda.py` have the device before all arguments,
and the line says nothing of it.
"""

import importlib
import inspect
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import minigen
from minigen import backends
from minigen.arrays import Interpreter

OPS = Path(minigen.__file__).parent / "ops"
STEMS = ("reference", "cpu", "cuda")
FILES = sorted(p for name in STEMS for p in OPS.glob(f"*/{name}.py"))
DEF = re.compile(r"^def ([a-z]\w*)\(([^)]*)\):\n(.*(?:\n    # -> .*)?)$", re.MULTILINE)
SIZE = re.compile(r"(\d*)([a-z]?)(?:/(\d+))?")

# sizes that differ, so that no two letters can be taken for each other
SIZES = {"b": 2, "n": 11, "m": 3, "d": 16, "h": 20, "e": 8, "v": 9, "k": 13, "c": 12}
SIZES |= {"s": 17, "p": 18, "g": 19, "f": 10, "r": 4, "t": 7, "y": 6, "x": 14}
SIZES |= {"w": 15}
SCALARS = {"eps": 1e-5, "r": 4, "length": 2, "weight": 3.0, "temperature": 0.9}
SCALARS |= {"top_k": 4, "top_p": 0.8, "minimum": 1, "rows": 2, "columns": 3, "e": 8}
SCALARS |= {"base": 100.0, "shape": (2, 11), "value": -1, "step": 5, "index": 0}
SCALARS |= {"first": 3, "last": 13, "lowest": 0.0, "highest": 1.0, "chunk": 4}
SCALARS |= {"factor": 0.5, "of_x": 2.0, "of_noise": -1.0}
SCALARS |= {"g": 19, "m": 3, "stretch": 0.9}
# arguments that are numbers of something, and what they stay below
INDICES = {"ids": 7, "rows": 7, "targets": 9, "key": 2**32, "images": 8}
INDICES |= {"counter": 2**32, "positions": 11, "canvas": 9, "tokens": 9}
INDICES |= {"components": 19, "chosen": 3}


def signatures(path):
    """Return (function, names of its arguments, line under its def), for one file."""
    module = importlib.import_module(f"minigen.ops.{path.parent.name}.{path.stem}")
    found = []
    for function, arguments, line in DEF.findall(path.read_text()):
        names = [argument.strip() for argument in arguments.split(",")]
        # what comes out may stand in a second line
        line = line.replace("\n    # ->", " ->")
        if path.stem == "cuda":
            if not line.strip().startswith("#"):
                # no function of the table, but what lessons and measurements ask for
                continue
            assert names[0] == "device", (path, function)
            names = names[1:]
        found.append((getattr(module, function), names, line.strip()))
    return found


def axes(text):
    """Return each array of one side of a signature as a list of sizes."""
    groups = re.findall(r"\(([^)]*)\)", text)
    assert re.sub(r"\([^)]*\)", "()", text) == ", ".join(["()"] * len(groups)), text
    return [[parse(size) for size in group.split()] for group in groups]


def parse(size):
    """Return a size as (factor, letter), the letter "" for a plain number.

    >>> parse("2y"), parse("e/2"), parse("3")
    ((Fraction(2, 1), 'y'), (Fraction(1, 2), 'e'), (Fraction(3, 1), ''))
    """
    match = SIZE.fullmatch(size)
    assert match and size, f"{size!r} is no size"
    factor, letter, divisor = match.groups()
    assert not letter or letter in minigen.LETTERS, f"{letter!r} is no letter of ours"
    assert letter or factor, f"{size!r} is no size"
    return Fraction(int(factor or 1), int(divisor or 1)), letter


def split(line):
    """Return the arrays that go in and the arrays that come out."""
    assert line.startswith("# ") and line.count("->") == 1, f"{line!r} is no signature"
    before, after = line[2:].split("->")
    return axes(before.strip()), axes(after.strip())


def shape(sizes, of=SIZES):
    # a fraction of a size is rounded down, as by a stride
    return tuple(int(factor * of.get(letter, 1)) for factor, letter in sizes)


CASES = [
    (path.parent.name, path.stem, *case) for path in FILES for case in signatures(path)
]
NAMES = [f"{op}.{file}.{function.__name__}" for op, file, function, _, _ in CASES]


# of a mixer, or a mixture, the sizes of the whole follow from those of its parts
RELATED = {"mamba2_step": {"d": 20 * 18, "c": 360 + 2 * 4 * 17, "f": 2 * 360 + 156}}
RELATED |= {"mixture": {"d": 19 * (2 * 10 + 1)}}


@pytest.mark.parametrize("op, file, function, names, line", CASES, ids=NAMES)
def test_a_signature_is_what_the_function_does(op, file, function, names, line):
    inputs, outputs = split(line)
    arrays, scalars = names[: len(inputs)], names[len(inputs) :]
    letters = SIZES | RELATED.get(function.__name__, {})
    rng = np.random.default_rng(0)
    given = []
    for name, sizes in zip(arrays, inputs, strict=True):
        if name in INDICES:
            given.append(rng.integers(0, INDICES[name], shape(sizes, letters)))
        elif name == "image":
            given.append(rng.integers(0, 256, shape(sizes, letters), dtype=np.uint8))
        else:
            given.append(rng.random(shape(sizes, letters), dtype=np.float32))
    options = {a.split("=")[0]: SCALARS[a.split("=")[0]] for a in scalars if a}
    if file == "cuda":
        device = Interpreter()
        given = [device, *map(device.put, given)]
    with np.errstate(all="raise"):
        result = function(*given, **options)
    results = result if isinstance(result, tuple) else (result,)
    letters |= {k: v for k, v in options.items() if k in minigen.LETTERS}
    if "columns" in options:
        letters["t"] = 1 + options["rows"] * options["columns"]
    for array, sizes in zip(results, outputs, strict=True):
        expected = tuple(
            int(factor * letters.get(letter, 1)) for factor, letter in sizes
        )
        assert np.shape(array) == expected


def test_every_op_has_all_files_with_the_same_signatures():
    for folder in sorted(p for p in OPS.iterdir() if (p / "reference.py").exists()):
        lines, modules = {}, {}
        for file in STEMS:
            module = importlib.import_module(f"minigen.ops.{folder.name}.{file}")
            modules[file] = module
            lines[file] = {
                function.__name__: (names, line)
                for function, names, line in signatures(folder / f"{file}.py")
            }
            public = {n for n, f in vars(module).items()
                      if inspect.isfunction(f) and f.__module__ == module.__name__
                      and not n.startswith("_")}  # fmt: skip
            if file == "cuda":
                assert public >= set(lines[file]) >= set(backends.OPS[folder.name])
            else:
                assert public == set(lines[file]), (folder.name, file)
        for name in backends.OPS[folder.name]:
            for file in STEMS:
                assert hasattr(modules[file], name), (folder.name, file, name)
        for file in STEMS[1:]:
            for name in lines["reference"].keys() & lines[file].keys():
                said, expected = lines[file][name], lines["reference"][name]
                assert said == expected, (folder.name, file, name)


REFUSED = ["# (b n q) -> (b n)", "# (b n) (d) -> (b)", "(b) -> (b)", "# (b n)"]
REFUSED += ["# (2) -> (bn)", "# (b /2) -> (b)"]


@pytest.mark.parametrize("line", REFUSED)
def test_a_line_that_is_no_signature_is_refused(line):
    with pytest.raises(AssertionError):
        split(line)
