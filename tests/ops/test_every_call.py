"""Every function of the op table, called wrongly: refused, or right, and nothing else.

The examples are those that went wrong once; each backend must give the same answer. The
rest is drawn by `tests/fuzz/ops.py`, beside memory that may not be touched and in a
process of its own.
"""

import numpy as np
import pytest

import minigen.signatures
from minigen import backends
from minigen.errors import InputError, ShapeError
from minigen.ops.rope2d import reference as rope2d
from tests import parts
from tests.fuzz import ops as fuzz
from tests.fuzz.wrong import right, sizes, with_size
from tests.hosting import hosted

BACKENDS = ("numpy", "numba", "interpreter")
FUNCTIONS = tuple(backends._functions("reference"))
KEY = np.uint32([0, 0])
BIG = np.dtype(">f4")


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def step(w=4):
    """Return the arguments of a step of Mamba-2 that sees `w` inputs."""
    h, p, s, r = 2, 8, 4, 1
    d, c = h * p, h * p + 2 * r * s
    conv, state = ones(1, w, c), ones(1, h, p, s)
    of_heads = [ones(h) for _ in range(3)]
    given = ones(1, 1, d + c + h), ones(c, w), ones(c), *of_heads, ones(d), conv, state
    return *given, r, 1e-5


def scan(chunk):
    """Return the arguments of a scan of Mamba-2 in chunks."""
    x, B = ones(1, 3, 2, 4), ones(1, 3, 1, 5)
    return x, ones(1, 3, 2), ones(2), B, B, ones(2), ones(1, 2, 4, 5), chunk


image, keys = ones(1, 4, 4, 3), ones(1, 4, 2, 8)
many = np.arange(9)
SHAPES = {
    "a kernel of 3 x 1": ("conv3x3", ones(1, 8, 8, 64), ones(64, 3, 1, 64), ones(64)),
    "a kernel of 5 x 5": ("conv3x3", image, ones(4, 5, 5, 3), ones(4)),
    "a kernel of 1 x 1": ("conv3x3", ones(1, 32, 32, 9), ones(9, 1, 1, 9), ones(9)),
    "half, of 5 x 5": ("conv3x3_half", image, ones(4, 5, 5, 3), ones(4)),
    "add, of 1 x 1": ("conv3x3_add", image, ones(3, 1, 1, 3), ones(3), image),
    "few positions": ("uniforms_at", KEY, many, np.array([5]), 0, 0, 1),
    "few positions of normals": ("normals_at", KEY, many, np.array([5]), 0, 0, 1),
    "a window of 0": ("mamba2_step", *step(0)),
    "an odd head": ("rope2d", ones(1, 1, 1, 3), ones(1, 1, 2), np.zeros((1, 1), int)),
    "no channels": ("linear", ones(1, 4, 4, 0), ones(2, 0), ones(2)),
    "a bias of 3 for 2": ("linear", ones(1, 1, 4), ones(2, 4), ones(3)),
    "a residual like x": ("linear", image, ones(2, 3), ones(2), image),
    "no channels of 3 x 3": ("conv3x3", ones(1, 4, 4, 0), ones(2, 3, 3, 0), ones(2)),
    "no channels to norm": ("group_norm", ones(1, 4, 4, 0), ones(0), ones(0), 1, 1e-6),
    "no groups": ("group_norm", image, ones(3), ones(3), 0, 1e-6),
    "other bytes": ("linear", ones(1, 1, 4), ones(3, 4, dtype=BIG)),
    "other bytes of x": ("linear", ones(1, 1, 4, dtype=BIG), ones(3, 4)),
    "other bytes of halves": ("linear", ones(1, 1, 4), ones(3, 4, dtype=">f2")),
    "other bytes of a bias": ("linear", image, ones(4, 3), ones(4, dtype=BIG)),
    "other bytes 3 x 3": ("conv3x3", image, ones(4, 3, 3, 3, dtype=BIG), ones(4)),
    "other bytes half": ("conv3x3_half", image, ones(4, 3, 3, 3, dtype=BIG), ones(4)),
    "length 0": ("attention", ones(1, 1, 2, 8), keys, keys, 0),
    "length -1": ("attention", ones(1, 1, 2, 8), keys, keys, -1),
    "length 5 of 4": ("attention", ones(1, 1, 2, 8), keys, keys, 5),
    "length 1.5": ("attention", ones(1, 1, 2, 8), keys, keys, 1.5),
    "length True": ("attention", ones(1, 1, 2, 8), keys, keys, True),
    "append at -1": ("append", keys, keys[:, :1], -1),
    "append at the end": ("append", keys, keys[:, :1], 4),
    "3 heads share 2": ("attention", ones(1, 1, 3, 8), keys, keys, 1),
    "3 channels in 2 groups": ("group_norm", image, ones(3), ones(3), 2, 1e-6),
    "3 rows of guidance": ("guide", ones(3, 1, 2), 2.0),
    "an odd width": ("gated_silu", ones(1, 1, 3)),
    "13 numbers of 4 mixtures": ("mixture", ones(1, 1, 13), 4),
    "a key of three words": ("uniforms", np.uint32([0, 0, 0]), many, many, 0, 0),
    "chunk -1": ("ssd_chunked", *scan(-1)),
    "chunk 0": ("ssd_chunked", *scan(0)),
    "columns backwards": ("columns", ones(1, 1, 4), 3, 1),
    "no columns": ("columns", ones(1, 1, 4), 1, 1),
    "a column too many": ("columns", ones(1, 1, 4), 1, 5),
    "tokens of 3.7": ("place", many[None], np.array([[3.7]]), np.array([0])),
    "booleans": ("embed", ones(2, 4), np.array([[True, False]])),
    "a list": ("linear", [[[1.0]]], ones(1, 1)),
    "a read-only state": ("scatter", np.broadcast_to(np.float32(0), (1, 2, 3)),
                          ones(1, 1, 3), np.array([[0]])),
}  # fmt: skip
INDICES = {
    "embed -1": ("embed", ones(3, 4), np.array([[0, -1]])),
    "embed 3 of 3": ("embed", ones(3, 4), np.array([[3]])),
    "gather -1": ("gather", ones(1, 3, 4), np.array([[-1]])),
    "gather 3 of 3": ("gather", ones(1, 3, 4), np.array([[0, 3]])),
    "scatter -1": ("scatter", ones(1, 3, 4), ones(1, 1, 4), np.array([[-1]])),
    "cross_entropy -1": ("cross_entropy", ones(1, 2, 5), np.array([[0, -1]])),
    "rope2d -1": ("rope2d", ones(1, 1, 1, 4), ones(2, 2, 2), np.array([[-1]])),
    "place 9 of 9": ("place", many[None], np.array([[1]]), np.array([9])),
    "draw_value 2 of 2": ("draw_value", np.array([[2]]), ones(1, 2, 1), ones(1, 2, 1),
                          ones(1, 1, 1), 1.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def tables():
    """The tables of all backends, on NumPy arrays."""
    made = {name: backends.table(name) for name in BACKENDS}
    return made | {"interpreter": hosted(made["interpreter"])}


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("example", SHAPES)
def test_a_call_that_does_not_fit_is_a_shape_error(tables, example, name):
    function, *given = SHAPES[example]
    with pytest.raises(ShapeError, match=f"^{function}: "):
        getattr(tables[name], function)(*given)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("example", INDICES)
def test_an_index_that_is_not_there_is_an_input_error(tables, example, name):
    function, *given = INDICES[example]
    with pytest.raises(InputError, match=f"^{function}: .*, expected 0 "):
        getattr(tables[name], function)(*given)


@pytest.mark.parametrize("name", BACKENDS)
def test_no_table_holds_a_function_that_is_not_checked(tables, name):
    signatures = {one: signature for one, signature, _, _ in FUNCTIONS}
    signatures["rope_table"] = minigen.signatures.of(rope2d.table)
    for ops in (backends.table(name), tables[name]):
        others = {"empty", "put", "pack_weight", "get", "device"}
        assert vars(ops).keys() - others == signatures.keys()
        for one, signature in signatures.items():
            with pytest.raises(ShapeError, match=f"^{signature.name}: "):
                getattr(ops, one)(*[object()] * len(signature.arguments))


def test_no_images_and_no_tokens_give_what_the_reference_gives(tables):
    """With b, n, or m of 0, on every backend, or the same ShapeError."""
    asked = 0
    for _, signature, _, _ in FUNCTIONS:
        whole = right(signature.name)[0]
        for letter in sorted(sizes(signature, whole).keys() & set("bnm")):
            case = with_size(signature, whole, letter, 0)
            results = {
                name: fuzz.called(getattr(ops, signature.name), case)
                for name, ops in tables.items()
            }
            ends = fuzz.judged(signature, case, results)
            assert not [said for _, said in ends.values() if said], signature.name
            asked += sum(end == "right" for end, _ in ends.values())
    assert asked > 200


@pytest.mark.needs("numba")
def test_wrong_calls_are_refused_or_right():
    ends, findings = fuzz.fuzz(0, 0, 600, ("numpy", "interpreter"))
    assert not findings, findings[0]
    assert ends["refused"] > 100 and ends["right"] > 100


@pytest.mark.slow
def test_many_wrong_calls_are_refused_or_right_on_every_backend():
    first, count = parts.share(6000)
    ends, findings = fuzz.fuzz(1, first, count, BACKENDS)
    assert not findings, findings[0]
    assert ends["refused"] > count / 3 and ends["right"] > count / 3
