"""The grammar of signatures, and what a call that breaks one is told."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minigen import backends, signatures
from minigen.calls import checked
from minigen.errors import ConfigError, InputError, ShapeError


def in_a_comment(x, w, eps):
    # x (b n d), w (d), eps -> y (b n d)
    # where w is a weight,
    # d >= 1
    """Return x, with an arrow -> in its docstring."""
    return x


def in_a_docstring(x, w, eps):
    """x (b n d), w (d), eps -> y (b n d)
    where w is a weight, d >= 1

    Return x. What follows is read no more -> (b).
    """
    return x


def without_names(x, w, eps):
    # (b n d), (d) -> (b n d)
    # where w is a weight, d >= 1
    return x


def without_one(x):
    """Return x."""
    return x


def zeros(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize("function", [in_a_comment, in_a_docstring, without_names])
def test_a_signature_stands_in_a_comment_or_in_the_docstring(function):
    signature = signatures.of(function)
    kinds = [(a.name, a.sizes is not None, a.kind) for a in signature.arguments]
    weight = ("w", True, "weight")
    assert kinds == [("x", True, "number"), weight, ("eps", False, "number")]
    assert [rule.text for rule in signature.rules] == ["d >= 1"]
    call = checked(signature, function)
    assert call(zeros(1, 2, 3), zeros(3), 0.1).shape == (1, 2, 3)
    with pytest.raises(ShapeError, match=r"w has shape \(4,\), expected \(3,\)"):
        call(zeros(1, 2, 3), zeros(4), 0.1)


def test_a_function_without_a_signature_is_in_no_table(monkeypatch):
    with pytest.raises(ConfigError, match="without_one has no signature"):
        signatures.of(without_one)
    module = SimpleNamespace(added=without_one)
    monkeypatch.setitem(sys.modules, "minigen.ops.added.reference", module)
    monkeypatch.setitem(backends.OPS, "added", ("added",))
    with pytest.raises(ConfigError, match="without_one has no signature"):
        backends.table("numpy")


def read(text, *arguments):
    return signatures.parse("f", arguments or ("x", "ids", "length"), text)


UNREADABLE = {
    "(b n) -> (b) -> (b)": "expected one ->",
    "(b n) (d) -> (b)": "'(b n) (d)' is not one argument",
    "(b n), -> (b)": "'' is not one argument",
    "(b, n) -> (b)": "'b,' is no size",
    "(b /2) -> (b)": "'/2' is no size",
    "(bn) -> (b)": "'bn' is no size",
    "(b n+m) -> (b)": "only a size of a result is a sum",
    "(b ... d ...) -> (b)": "'...' is no size",
    "y (b n) -> (b)": "'y' stands where the function has 'x'",
    "(b), (b), (b), (b) -> (b)": "the function takes x, ids, length",
    "(b n) -> (b) where z is a weight": "names what is no argument",
    "(b n) -> (b) where x is like z": "names what is no argument",
    "(b n) -> (b) where b is nice": "is no rule",
    "(b n) -> (b) where k >= 1": "'k' is no size and no argument",
    "(b n) -> (b) where b >= 2 * n": "is no sum",
    "(b n) -> (b) where b >=": "is no sum",
    "(b n), (b) -> (b) where ids < n": "is not low <= ids < high",
    "(b n) -> (b) where ids <= length": "compares numbers with each other",
}


@pytest.mark.parametrize("text", UNREADABLE)
def test_a_line_that_is_no_signature_is_refused(text):
    with pytest.raises(ConfigError) as error:
        read(text)
    assert UNREADABLE[text] in str(error.value)


HELD = {
    "(b n) -> (b)": [zeros(2, 3)],
    "(b 2n) -> (b)": [zeros(2, 4)],
    "(n e), (n e/2) -> (n)": [zeros(2, 4), zeros(2, 2)],
    "(b ...), (...) -> (b)": [zeros(2, 4, 5), zeros(4, 5)],
    "(b ... d), (d) -> (b ...)": [zeros(2, 4, 5, 3), zeros(3)],
    "(b ... 2d), (... d) -> (b)": [zeros(2, 6), zeros(3)],
    "x (b)? -> (b)": [None],
    "(b), (d) -> (b) where 2 b divides d": [zeros(2), zeros(8)],
    "(b), (d) -> (b) where d = b + 3 b b - 1": [zeros(2), zeros(13)],
    "(n), (b) -> (b) where 0 <= ids < n": [zeros(3), np.array([0, 2])],
    "(n), length -> (b) where 1 <= length <= n": [zeros(3), 3],
}
BROKEN = {
    "(b n) -> (b)": [zeros(2)],
    "(b 2n) -> (b)": [zeros(2, 3)],
    "(n e), (n e/2) -> (n)": [zeros(2, 3), zeros(2, 1)],
    "(b ...), (...) -> (b)": [zeros(2, 4, 5), zeros(4, 6)],
    "(b ... d), (d) -> (b ...)": [zeros(2, 4, 5, 3), zeros(5)],
    "(b ... 2d), (... d) -> (b)": [zeros(2, 6), zeros(1, 3)],
    "x (b)? -> (b)": [zeros()],
    "(b), (d) -> (b) where 2 b divides d": [zeros(2), zeros(6)],
    "(b), (d) -> (b) where d = b + 3 b b - 1": [zeros(2), zeros(12)],
    "(n), (b) -> (b) where 0 <= ids < n": [zeros(3), np.array([0, -1])],
    "(n), length -> (b) where 1 <= length <= n": [zeros(3), 0],
}


@pytest.mark.parametrize("text", HELD)
def test_what_a_signature_says_is_held_against_a_call(text):
    names = ("x", "length") if "length" in text else ("x", "ids")
    signature = read(text, *names[: len(HELD[text])])
    call = checked(signature, lambda *given: given)
    for _ in range(2):
        # the second time it is remembered
        assert call(*HELD[text]) == tuple(HELD[text])
        with pytest.raises((ShapeError, InputError)):
            call(*BROKEN[text])


def test_what_may_be_left_out_is_none():
    signature = signatures.parse("f", ("x", "w"), "x (b d), w (d)? -> (b d)")
    call = checked(signature, lambda x, w=None: w)
    assert call(zeros(2, 3)) is None and call(zeros(2, 3), w=zeros(3)).shape == (3,)
    with pytest.raises(ShapeError, match="w has shape"):
        call(zeros(2, 3), zeros(2))


def test_a_function_of_a_users_own_is_checked_where_it_is_wrapped():
    signature = signatures.of(backends.table("numpy").rms_norm)
    call = checked(signature, lambda x, w, eps: x)
    assert call(zeros(1, 2, 3), zeros(3), 0.1).shape == (1, 2, 3)
    with pytest.raises(ShapeError, match="rms_norm: w has shape"):
        call(zeros(1, 2, 3), zeros(4), 0.1)


def test_too_few_arguments_or_strange_ones_are_a_type_error():
    linear = backends.table("numpy").linear
    assert linear(w=zeros(5, 3), x=zeros(1, 2, 3)).shape == (1, 2, 5)
    for given, named in (((zeros(1, 2, 3),), {}), ((zeros(1, 2, 3),), {"weight": 1})):
        with pytest.raises(TypeError, match=r"linear\(\)"):
            linear(*given, **named)


WRONG = """
import numpy as np
from minigen import backends
ops = backends.table("numpy")
one = np.ones((1, 8, 8, 4), np.float32)
ops.conv3x3(one, np.ones((4, 5, 5, 4), np.float32), one[0, 0, 0])
"""


def test_calls_are_checked_when_python_drops_docstrings_and_assertions():
    run = subprocess.run(
        [sys.executable, "-OO", "-c", WRONG], capture_output=True, text=True
    )
    assert "ShapeError: conv3x3: w has shape (4, 5, 5, 4), expected (4, 3, 3, 4)" in (
        run.stderr
    )
