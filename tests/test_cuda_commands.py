"""--backend cuda, in every command that takes it, where there is no GPU."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from minigen import extras, target
from minigen.cli import app
from minigen.commands import machine
from minigen.commands.terminal import is_kernel
from minigen.gpu import warps
from minigen.ops.rms_norm import cpu, cuda
from minigen.pipeline import load
from minigen.show.files import write_png
from minigen.show.recipe import Recipe, signed, to_json


@pytest.fixture
def minigen(tmp_path, monkeypatch):
    """Run the command line in an empty folder, on a machine without a GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(target, "has_gpu", lambda: False)

    def run(*arguments, status=0):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.output

    return run


COMMANDS = [
    ["sample", "arpg-mnist", "-c", "7"],
    ["steps", "arpg-mnist", "-c", "7"],
    ["evaluate", "arpg-mnist", "--count", "2"],
    ["replay", "a.png"],
    ["warmup"],
]


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda a: a[0])
def test_without_a_gpu_it_is_one_message_and_status_2(minigen, tmp_path, arguments):
    if arguments[0] == "replay":
        recipe = Recipe(model="arpg-mnist", tokenizer=None, labels=(7,))
        recipe = signed(recipe, load("arpg-mnist", backend="numpy"))
        write_png("a.png", np.zeros((32, 32, 3), np.uint8), to_json(recipe))
    before = sorted(tmp_path.iterdir())
    said = minigen(*arguments, "--backend", "cuda", status=2)
    assert "no usable NVIDIA GPU was found: `nvidia-smi` must show one" in said
    assert extras.install("cuda12") in said and "choose backend numba" in said
    assert "Traceback" not in said
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda a: a[0])
def test_the_help_of_a_command_names_the_backend(minigen, arguments):
    assert "cuda" in minigen(arguments[0], "--help")


def test_without_a_compiler_the_command_that_installs_it_is_named(minigen, monkeypatch):
    monkeypatch.setattr(target, "has_compiler", lambda: False)
    said = minigen("sample", "arpg-mnist", "-c", "7", "--backend", "cuda", status=2)
    assert f"run `{extras.install('cuda13')}`" in said


def test_warmup_is_for_what_is_compiled(minigen):
    said = minigen("warmup", "--backend", "interpreter", status=2)
    assert "has no kernels to compile; choose numba, cuda" in said


def test_warmup_knows_the_kernels_of_both(minigen):
    found = json.loads(minigen("warmup", "--json"))
    assert "rms_norm" in found["kernels"] and set(found["compiled"]) <= {
        *found["kernels"]
    }
    assert "rms_norm" in machine.kernel_names("cuda")
    assert "warp_sum" not in machine.kernel_names("cuda")
    # nothing was compiled for a GPU here
    assert machine.compiled_for_cuda() == []


def test_a_kernel_is_told_from_a_helper():
    assert is_kernel(cuda._rms_norm) and not is_kernel(warps.warp_sum)
    assert is_kernel(next(k for k in machine.kernels("numba")
                          if k.py_func.__module__ == cpu.__name__))  # fmt: skip
