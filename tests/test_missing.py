"""What is left out where a part is missing, and what is an error all the same."""

import re

import pytest

from minigen import backends
from minigen.errors import BackendError
from tests import missing
from tests.pip_lines import project


def asked_for_kernels():
    backends.table("numba")


def imported(name):
    def run():
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    return run


def asked_for_a_gpu():
    raise BackendError("no GPU was found")


def without_numba(monkeypatch):
    monkeypatch.setattr(missing, "is_missing", lambda part: part == "numba")
    monkeypatch.setattr(backends, "has_numba", lambda: False)


@pytest.mark.parametrize(
    "ask", [asked_for_kernels, imported("numba.core"), imported("llvmlite")]
)
def test_a_test_that_takes_numba_is_left_out_where_there_is_none(ask, monkeypatch):
    without_numba(monkeypatch)
    with pytest.raises(pytest.skip.Exception), missing.leaving_out_numba():
        ask()


@pytest.mark.parametrize("ask", [asked_for_a_gpu, imported("numpy.none")])
def test_any_other_error_stays_one(ask, monkeypatch):
    without_numba(monkeypatch)
    errors = BackendError, ModuleNotFoundError
    with pytest.raises(errors), missing.leaving_out_numba():
        ask()


def test_where_numba_is_here_its_errors_stay_errors(monkeypatch):
    monkeypatch.setattr(missing, "is_missing", lambda part: False)
    with pytest.raises(ModuleNotFoundError), missing.leaving_out_numba():
        imported("numba")()


def test_the_quick_half_brings_the_parts_that_are_said_to_come_with_it():
    found = project()
    named = [*found["dependencies"], *found["optional-dependencies"]["test"]]
    brought = {re.match(r"[\w-]+", requirement)[0] for requirement in named}
    packages = {"numba-cuda" if p == "compiler" else p: p for p in missing.PARTS}
    assert {packages[name] for name in brought & {*packages}} == missing.QUICK
