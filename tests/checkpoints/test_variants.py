"""What torch.save writes, in many variants: read as torch reads it, or refused by name.

Each object lies beside the weights of a file, or holds them, in both layouts of a file
and all protocols of pickle. The list of tensors of which no array can be made, and of
what is said of them, is `REFUSED`.
"""

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import itertools
import pathlib
import random
import types
import uuid

import numpy as np
import pytest

from minigen.checkpoints import open_checkpoint
from minigen.errors import CheckpointError

pytestmark = pytest.mark.needs("torch")

LAYOUTS = [*itertools.product((True, False), (2, 3, 4, 5))]
"""A zip file or not, and the protocol of its pickle."""


class Colour(enum.Enum):
    RED = 1


class Flags(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Arguments:
    lr: float = 0.1


@dataclasses.dataclass(slots=True)
class Slotted:
    lr: float = 0.1


class Outer:
    class Inner:
        pass


class MyList(list):
    pass


class MyDict(dict):
    pass


Pair = collections.namedtuple("Pair", "a b")


def beside():
    """Return objects by name, as training programs keep them beside weights."""
    import torch

    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    now = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.timezone.utc)
    return {
        "set": {1, "a"}, "frozenset": frozenset([1]),
        "counter": collections.Counter("aab"), "bytes": b"ab\xff",
        "bytearray": bytearray(b"a"), "complex": 1 + 2j, "range": range(3),
        "slice": slice(1, 2), "big": 10**30, "minus": -5, "infinite": float("inf"),
        "huge": 10**700, "float64": np.float64(3), "int64": np.int64(3),
        "array": np.arange(4), "text array": np.array(["a"]),
        "object array": np.array([None, 1], dtype=object), "dtype": np.dtype("f4"),
        "path": pathlib.PurePosixPath("/a/b"), "now": now, "day": now.date(),
        "delta": datetime.timedelta(1), "zone": datetime.timezone.utc,
        "enum": Colour.RED, "flag": Flags.A | Flags.B, "dataclass": Arguments(),
        "slotted": Slotted(), "nested": Outer.Inner(), "class": Outer,
        "nested class": Outer.Inner, "type": int, "function": len,
        "method": [1].append, "partial": functools.partial(print, 1),
        "random": random.getstate(),
        "numpy random": np.random.get_state(),  # noqa: NPY002
        "generator": np.random.default_rng(1), "torch random": torch.get_rng_state(),
        "defaultdict": collections.defaultdict(list, {1: [2]}),
        "deque": collections.deque([1], 3), "chain": collections.ChainMap({}),
        "named tuple": Pair(1, 2), "list": MyList([1]), "dict": MyDict(a=1),
        "decimal": decimal.Decimal("1.5"), "fraction": fractions.Fraction(1, 2),
        "uuid": uuid.UUID(int=5), "namespace": types.SimpleNamespace(a=1),
        "arguments": argparse.Namespace(a=1, b=Colour.RED),
        "tuple key": {(1, 2): 3}, "float key": {1.5: 2}, "odd keys": {None: 1, True: 2},
        "error": ValueError("x"), "ellipsis": ..., "not implemented": NotImplemented,
        "torch dtype": torch.float32, "device": torch.device("cpu"),
        "size": torch.Size([1, 2]), "layout": torch.strided, "optimizer": optimizer,
        "moments": optimizer.state_dict(), "schedule": schedule, "module": layer,
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "conjugate": torch.tensor([1 + 2j]).conj(), "sparse": torch.eye(2).to_sparse(),
    }  # fmt: skip


def names():
    # without torch the tests are left out by name, one for all
    try:
        return [*beside()]
    except ImportError:
        return ["all"]


def save(value, path, zipped, protocol):
    import torch

    torch.save(
        value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped
    )
    return path


@pytest.mark.parametrize("name", names())
@pytest.mark.filterwarnings("ignore")
def test_an_object_beside_weights_does_no_harm(name, tmp_path):
    import torch

    for zipped, protocol in LAYOUTS:
        weights = torch.arange(3.0)
        value = {"model": {"w": weights}, "beside": beside()[name]}
        path = save(value, tmp_path / "a.pt", zipped, protocol)
        found = open_checkpoint(path).state
        assert list(found) == ["w"] and found["w"].tolist() == [0, 1, 2]


DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "int16",
          "int8", "uint8", "bool")  # fmt: skip

VIEWS = {
    "whole": lambda x: x,
    "a part": lambda x: x[1:3],
    "turned": lambda x: x.T,
    "every second": lambda x: x[:, ::2],
    "repeated": lambda x: x[:1].expand(4, 3),
    "a number": lambda x: x[1, 2],
    "empty": lambda x: x[:0],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("view", VIEWS)
def test_tensors_are_read_as_torch_reads_them(dtype, view, tmp_path):
    import torch

    base = torch.arange(12).reshape(4, 3).to(getattr(torch, dtype))
    tensor = VIEWS[view](base)
    for zipped, protocol in LAYOUTS:
        # a second name of the same storage, as tied weights have
        value = {"w": tensor, "b": base, "list": [tensor]}
        path = save(value, tmp_path / "a.pt", zipped, protocol)
        # the file is our own; torch's safe reader does not know all protocols
        expected = torch.load(path, weights_only=False)
        found = open_checkpoint(path).state
        for name in ("w", "b"):
            theirs, ours = expected[name].to(torch.float64), found[name]
            assert ours.shape == tuple(theirs.shape)
            assert ours.astype(np.float64).tolist() == theirs.tolist()


REFUSED = {
    "conjugate": "a lazy conjugate or negative; call .resolve_conj()",
    "negative": "a lazy conjugate or negative; call .resolve_conj()",
    "sparse": "sparse; call .to_dense()", "rows": "sparse; call .to_dense()",
    "quantized": "quantized; call .dequantize()",
    "nested": "nested; call .unbind()", "meta": "on the meta device",
    "float8_e8m0fnu": "of the element type float8_e8m0fnu", "complex32": "complex32",
}  # fmt: skip
"""Tensors of which no array can be made, and what is said of them."""


def no_arrays():
    import torch

    numbers = torch.tensor([1 + 2j, 3 - 1j])
    return {
        "conjugate": numbers.conj(), "negative": torch._neg_view(torch.ones(2)),
        "sparse": torch.eye(2).to_sparse(), "rows": torch.eye(2).to_sparse_csr(),
        "quantized": torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8),
        "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "meta": torch.ones(2, device="meta"),
        "float8_e8m0fnu": torch.ones(2).to(torch.float8_e8m0fnu),
        "complex32": numbers.to(torch.complex32),
    }  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_a_tensor_of_which_no_array_can_be_made_is_named(name, tmp_path):
    import torch

    for zipped, protocol in LAYOUTS:
        value = {"model": {"w": torch.arange(3.0)}, "beside": [no_arrays()[name]]}
        path = save(value, tmp_path / "a.pt", zipped, protocol)
        # beside weights it does no harm
        assert open_checkpoint(path).state["w"].tolist() == [0, 1, 2]
        value = {"model": {"w": torch.arange(3.0), "x": no_arrays()[name]}}
        path = save(value, tmp_path / "a.pt", zipped, protocol)
        with pytest.raises(CheckpointError, match="its tensor 'x' is ") as refused:
            open_checkpoint(path)
        assert REFUSED[name] in str(refused.value)
