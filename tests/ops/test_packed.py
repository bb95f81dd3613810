"""Weights of products in panels: what they hold, and that models find them so."""

import mmap
from types import SimpleNamespace

import numpy as np
import pytest
from ml_dtypes import bfloat16

from minigen import backends
from minigen.checkpoints import load_model
from minigen.cpu import packed, products, registers
from minigen.cpu.packed import Packed, pack_weight
from minigen.finding import find
from tests.models import test_opaque
from tests.models.stand_in import stand_in

DTYPES = (np.float32, np.float16, bfloat16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (31, 5), (32, 16), (70, 33), (40, 3, 3, 5)])
@pytest.mark.parametrize("small", [0, packed.SMALL])
def test_a_packed_weight_is_the_weight(dtype, shape, small, monkeypatch):
    monkeypatch.setattr(packed, "SMALL", small)
    w = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    held = pack_weight(w)
    assert (held.shape, held.dtype, held.nbytes) == (w.shape, w.dtype, w.nbytes)
    assert np.array_equal(np.asarray(held), w)
    last = np.concatenate(held.panels[-1], axis=-1)
    assert not last[:, len(w) % 32 or 32 :].any()
    assert pack_weight(held) is held
    for rows in (slice(0, 32), slice(32, None), slice(3, 17), slice(None)):
        assert np.array_equal(np.asarray(held[rows]), w[rows])


def test_rows_of_a_table_and_what_arrays_can_do():
    w = np.random.default_rng(0).standard_normal((70, 33)).astype(bfloat16)
    held, ids = pack_weight(w), np.array([[0, 69], [31, 32]])
    assert np.array_equal(np.take(held, ids, axis=0), w[ids])
    assert np.array_equal(held.T, w.T)
    with pytest.raises(AttributeError):
        _ = held._nothing


def test_a_file_is_let_go_where_a_weight_was_packed(tmp_path):
    path, page = tmp_path / "w", mmap.PAGESIZE
    w = np.random.default_rng(0).standard_normal((64, page // 64)).astype(np.float32)
    path.write_bytes(bytes(24) + w.tobytes())
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped = np.frombuffer(data, np.float32, offset=24).reshape(w.shape)
    assert np.array_equal(np.asarray(pack_weight(mapped)), w)
    # its pages come back from the file
    assert np.array_equal(mapped, w)


def test_the_hash_of_a_model_does_not_depend_on_how_weights_are_held():
    model = load_model(find("aim-mnist"))
    moved = backends.move(backends.table("numba"), model.weights)
    assert type(moved["words"]) is Packed
    held = type(model)(model.config, moved, model.path)
    assert held.hash == model.hash


@pytest.mark.parametrize("name", test_opaque.CONFIGS)
def test_every_product_of_a_model_finds_its_weight_packed(name):
    ops, seen = backends.table("numba"), []

    def watched(one, function):
        def call(*arguments, **options):
            for value in (*arguments, *options.values()):
                if isinstance(value, Packed):
                    assert one in ("linear", "embed") or one.startswith("conv3x3")
            if one == "linear":
                w = arguments[1] if len(arguments) > 1 else options["w"]
                seen.append(type(w))
            return function(*arguments, **options)

        return call

    rows = {
        one: watched(one, function)
        for one, function in vars(ops).items()
        if callable(function) and one != "pack_weight"
    }
    config = test_opaque.CONFIGS[name]
    weights = stand_in(config)
    if "flow" in name:
        weights["head"]["flow"]["variance"] **= 2
    watching = SimpleNamespace(**{**vars(ops), **rows})
    test_opaque.answers(watching, backends.move(ops, weights), config)
    assert seen and set(seen) == {Packed}


@pytest.mark.parametrize("shape", registers.TILES.values(), ids=str)
def test_a_row_has_the_same_bits_in_any_number_of_rows(shape, monkeypatch):
    monkeypatch.setattr(products, "_ROWS", shape.rows)
    assert shape.vectors_of(1) == 2
    seen = []
    for n in range(1, 5 * shape.rows):
        rows = [products.group.py_func(n, g) for g in range(-(-n // shape.rows))]
        assert [first for first, _ in rows] == [
            sum(size for _, size in rows[:g]) for g in range(len(rows))
        ]
        assert sum(size for _, size in rows) == n
        seen += [size for _, size in rows]
    assert set(seen) == set(range(1, shape.rows + 1))


def test_the_tile_of_this_processor_is_known():
    assert registers.tile() in registers.TILES.values()
