"""The walls of the house: who may import what, and what a file may hold."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import minigen

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


@pytest.mark.parametrize("path", sorted(ROOT.glob("ops/*/reference.py")), ids=str)
def test_a_reference_imports_numpy_only(path):
    # and what it takes from other ops is their reference
    for name in imports(path) - {"numpy", "__future__", "minigen.errors"}:
        assert name.startswith("minigen.ops") and name.endswith("reference"), name


@pytest.mark.parametrize("path", sorted(ROOT.glob("models/*.py")), ids=str)
def test_a_model_knows_no_backend(path):
    assert not roots(path) & {"numba", "torch"}
    assert not [n for n in imports(path) if n.startswith(("minigen.ops", "minigen.b"))]
    assert "cuda" not in path.read_text()


def test_numba_is_imported_where_it_is_used():
    allowed = {"target.py", "cpu.py", "cuda.py"}
    for path in FILES:
        if "numba" in roots(path):
            assert path.name in allowed or path.parent.name in {"bench", "ops"}, path


def test_torch_is_imported_by_training_only():
    for path in FILES:
        if "torch" in roots(path):
            assert ROOT / "training" in path.parents, path


def test_no_inheritance():
    for path in FILES:
        if path.name == "errors.py" or ROOT / "training" in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                assert not node.bases, f"{path}: class {node.name}"


def test_importing_minigen_imports_nothing_heavy():
    code = "import sys, minigen; print('\\n'.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = {name.split(".")[0] for name in out.stdout.split()}
    heavy = {"numba", "llvmlite", "torch", "PIL", "typer", "rich", "safetensors"}
    assert "minigen" in loaded
    assert not loaded & heavy
