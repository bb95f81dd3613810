"""The walls of the house: who may import what, and what a file may hold."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import minigen
from minigen import backends

ROOT = Path(minigen.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def imports(path):
    """Return the top-level package names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def roots(path):
    return {name.split(".")[0] for name in imports(path)}


def names_the_cuda_target(source):
    """Return the places where Python source gets at the CUDA target by itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names):
                modules = [f"{module}.{alias.name}" for alias in names]
            case ast.Call(args=[ast.Constant(value=str(module)), *_], func=function):
                is_import = ast.unparse(function).endswith(
                    ("import_module", "import__")
                )
                modules = [module] if is_import else []
            case ast.Attribute(attr="cuda", value=value):
                modules = [ast.unparse(node)] if "numba" in ast.unparse(value) else []
            case _:
                modules = []
        target = re.compile(r"(.*\bnumba\.cuda|numba_cuda|cuda)(\.|$)")
        found += [(node.lineno, name) for name in modules if target.match(name)]
    return found


def test_ops_holds_the_folders_of_the_table():
    found = {path.name for path in (ROOT / "ops").iterdir()} - {"__pycache__"}
    assert found == {*backends.OPS, "README.md", "__init__.py", "intrinsics.py"}


@pytest.mark.parametrize("path", sorted(ROOT.glob("ops/*/reference.py")), ids=str)
def test_a_reference_imports_numpy_only(path):
    # and math, for erf, which NumPy lacks; of other ops it takes their reference
    for name in imports(path) - {"numpy", "math", "__future__", "minigen.errors"}:
        assert name.startswith("minigen.ops") and name.endswith("reference"), name


@pytest.mark.parametrize("path", sorted(ROOT.glob("models/*.py")), ids=str)
def test_a_model_knows_no_backend(path):
    assert not roots(path) & {"numba", "torch"}
    assert not [n for n in imports(path) if n.startswith(("minigen.ops", "minigen.b"))]
    for name in (*backends.BACKENDS, "backend", "device"):
        allowed = {"import numpy as np"} if name == "numpy" else set()
        lines = set(path.read_text().splitlines()) - allowed
        assert not [line for line in lines if name in line.lower()], name


def test_the_cuda_target_is_imported_by_one_file():
    for path in FILES:
        if path != ROOT / "target.py":
            assert not names_the_cuda_target(path.read_text()), path


WAYS = (
    "import numba.cuda",
    "import numba.cuda as c",
    "from numba import cuda",
    "from numba.cuda import jit",
    "import numba_cuda",
    "from cuda import core",
    "def f():\n    from cuda.bindings import driver",
    "import importlib\nimportlib.import_module('cuda.core')",
    "__import__('numba.cuda.compiler')",
    "from minigen.target import numba\nnumba.cuda.jit",
    "target.numba.cuda.jit",
)


@pytest.mark.parametrize("source", WAYS)
def test_every_way_to_the_cuda_target_is_seen(source):
    assert names_the_cuda_target(source)


def test_what_is_not_the_cuda_target_is_let_pass():
    for line in ("from minigen.target import cuda", "import cudax", "target.cuda.jit"):
        assert not names_the_cuda_target(line)


@pytest.mark.parametrize("path", sorted(ROOT.glob("ops/*/spec.py")), ids=str)
def test_a_specification_imports_references_and_specifications(path):
    for name in imports(path) - {"numpy", "math", "ml_dtypes"}:
        assert re.fullmatch(
            r"minigen\.checking(\.spec|\.tolerance)?|minigen\.ops(\.\w+)+", name
        ), name
        if name.startswith("minigen.ops"):
            assert re.search(r"minigen\.ops\.\w+(\.(spec|reference))?$", name), name


def test_specifications_need_neither_hypothesis_nor_numba():
    code = (
        "import sys; sys.modules['hypothesis'] = sys.modules['numba'] = None\n"
        "from minigen.checking.specs import SPECS; print(len(SPECS))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert int(out.stdout) == sum(map(len, backends.OPS.values())), out.stderr


KERNELS = sorted([*ROOT.glob("ops/*/cuda*.py"), *ROOT.glob("gpu/*.py")])


@pytest.mark.parametrize("path", KERNELS, ids=str)
def test_a_kernel_imports_numpy_and_minigen_only(path):
    assert roots(path) <= {"__future__", "math", "numpy", "minigen"}


def test_intrinsics_import_only_what_they_are_written_in():
    path = ROOT / "ops" / "intrinsics.py"
    assert roots(path) == {"__future__", "llvmlite", "numba", "minigen"}
    taken = re.findall(r"^from (?:numba|llvmlite)\b.*$", path.read_text(), re.M)
    assert taken == ["from llvmlite import ir", "from numba import types"]
    assert "import numba" not in path.read_text()


def test_numba_is_imported_where_it_is_used():
    allowed = {"target.py", "kernel_cache.py", "threads.py", "cpu.py", "intrinsics.py"}
    for path in FILES:
        if "numba" in roots(path):
            assert path.name in allowed or path.parent.name in {"bench", "cpu"}, path


def test_torch_is_imported_by_training_only():
    for path in FILES:
        if "torch" in roots(path):
            assert ROOT / "training" in path.parents, path


def test_nothing_below_the_command_line_imports_it():
    for path in FILES:
        if path.parent.name != "commands" and path.name != "cli.py":
            named = [n for n in imports(path) if n.startswith("minigen.commands")]
            assert not named, path


def test_imports_run_in_no_circle():
    """Not even those inside functions. The face, `minigen` itself, is left out."""
    paths = {
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path
        for path in FILES
    }
    paths = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    graph = {}
    for name, path in paths.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                graph[name] |= {n if n in paths else node.module for n in inner}
    del graph["minigen"]
    # raises CycleError, which names the circle
    TopologicalSorter(graph).prepare()


def test_no_inheritance():
    for path in FILES:
        if path.name == "errors.py" or ROOT / "training" in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                # a TypedDict is a type of dictionaries, and no class of ours
                bases = {*map(ast.unparse, node.bases)} - {"TypedDict"}
                assert not bases, f"{path}: class {node.name}"


def test_importing_minigen_imports_nothing_heavy():
    code = "import sys, minigen; print('\\n'.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = {name.split(".")[0] for name in out.stdout.split()}
    heavy = {"numba", "llvmlite", "torch", "PIL", "typer", "rich", "safetensors"}
    assert "minigen" in loaded
    assert not loaded & heavy
    assert not [n for n in out.stdout.split() if re.search(r"minigen\.ops\.\w+", n)]


PRINTING = re.compile(
    r"print|pprint\b.*|.*\.print|traceback\.print_\w+|(typer|click)\.(s?echo|prompt|"
    r"confirm)|logging\..*|sys\.(__)?std(out|err)(__)?(\.(write|buffer).*)?"
)

ALLOWED = {
    # the one function, and what draws on a terminal: bars, pictures, a question
    "words.py": {"sys.stdout", "sys.stderr"},
    "commands/terminal.py": {"sys.stdout", "sys.stderr", "typer.echo"},
    "commands/models.py": {"typer.prompt"},
    # whether somebody watches
    "commands/bench.py": {"sys.stderr"},
}


def test_one_function_prints():
    """Names of strangers reach a terminal through `minigen.words` alone."""
    for path in FILES:
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name | ast.Attribute):
                used = ast.unparse(node)
                if PRINTING.fullmatch(used):
                    assert used in ALLOWED.get(name, ()), f"{name}:{node.lineno}"
