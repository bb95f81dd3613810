"""Two processes compile at once: what starts the second, what it does, when it ends."""

import subprocess
import sys

import numpy as np
import pytest

from minigen.catalogue import TOKENIZERS
from minigen.commands import halves
from minigen.families import PRESETS
from minigen.kernel_cache import Location
from minigen.models import kl, vq

pytest.importorskip("numba")

from minigen import target  # noqa: E402


@pytest.fixture
def processes(monkeypatch):
    """What is done with the second process, on a machine with two cores."""
    done = []

    class Process:
        def __init__(self, command, **streams):
            done.append(command)
            assert set(streams) == {"stdin", "stdout", "stderr"}

        def kill(self):
            done.append("killed")

        def wait(self):
            done.append("waited for")

    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr("minigen.threads.available", lambda: 2)
    return done


def compile_one():
    """Compile what counts as a kernel of ours."""

    def add_one(x):
        return x + np.float32(1)

    add_one.__module__ = "minigen.ops.add_one"
    assert target._compile(add_one)(np.float32(1)) == 2


def test_the_first_kernel_that_is_compiled_starts_one_process(processes):
    with halves.halved("numba", "arpg-mnist", None):
        assert processes == []
        compile_one()
        compile_one()
        command = [sys.executable, "-m", "minigen.commands.halves", "arpg-mnist"]
        assert processes == [command]
    assert processes == [command, "killed", "waited for"]
    with halves.halved("numba", "a.safetensors", "b.safetensors"):
        compile_one()
    assert processes[3][3:] == ["a.safetensors", "b.safetensors"]


def test_it_ends_where_drawing_fails(processes):
    with pytest.raises(KeyboardInterrupt), halves.halved("numba", "arpg-mnist", None):
        compile_one()
        raise KeyboardInterrupt
    assert processes[1:] == ["killed", "waited for"]


def test_nothing_starts_where_it_could_not_help(processes, monkeypatch, tmp_path):
    with halves.halved("numba", "arpg-mnist", None):
        pass
    with halves.halved("numpy", "arpg-mnist", None):
        compile_one()
    monkeypatch.setattr("minigen.threads.available", lambda: 1)
    with halves.halved("numba", "arpg-mnist", None):
        compile_one()
    monkeypatch.setattr("minigen.threads.available", lambda: 2)
    nowhere = Location(None, tmp_path, "full")
    monkeypatch.setattr("minigen.kernel_cache.location", lambda: nowhere)
    with halves.halved("numba", "arpg-mnist", None):
        compile_one()
    assert processes == []


@pytest.mark.parametrize("model", ["arpg-mnist", "arinar-mnist"])
def test_the_second_process_decodes_a_canvas_of_the_model(model, monkeypatch):
    decoded, module = [], {"vq-mnist": vq, "kl-mnist": kl}[TOKENIZERS[model]]
    whole = module.to_images

    def to_images(ops, weights, config, canvas):
        decoded.append((config, canvas.shape))
        return whole(ops, weights, config, canvas)

    monkeypatch.setattr(module, "to_images", to_images)
    for given in (), (TOKENIZERS[model],):
        halves.decode(model, *given)
    config = PRESETS[TOKENIZERS[model]]
    shape = (1, 8, 8) if module is vq else (1, 8, 8, config.channels)
    assert decoded == [(config, shape)] * 2
