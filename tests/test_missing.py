"""What is left out where a part is missing, and what is an error all the same."""

import pytest

from minigen import backends
from minigen.errors import BackendError
from tests import missing


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
