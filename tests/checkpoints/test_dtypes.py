"""Weights keep their values, or are rounded to nearest even."""

import os
import re

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigen.checkpoints import convert, describe, load_model, names
from minigen.checkpoints.values import DTYPES, cast, not_finite
from minigen.errors import CheckpointError
from minigen.families import PRESETS
from tests.checkpoints.writing import write_zip
from tests.synth import synth

ARPG, VQ = PRESETS["arpg-mnist"], PRESETS["vq-mnist"]


def state_of(config, salt=""):
    return {name: synth(name, s, salt) for name, s in names.manifest(config).items()}


def round_to_bfloat16(bits):
    """Round float32 bits to nearest even by arithmetic on integers."""
    bits = bits.astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return rounded.astype(np.uint16)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=200))
def test_bfloat16_rounds_to_nearest_even_and_keeps_nan(bits):
    bits = np.array(bits, np.uint32)
    values = bits.view(np.float32)
    # beyond the largest bfloat16, conversion is refused; see below
    fits = ~np.isfinite(values) | (np.abs(values) < 3.38e38)
    bits, values = bits[fits], values[fits]
    found = cast("w", values, DTYPES["bfloat16"])
    nan = np.isnan(values)
    assert np.array_equal(np.isnan(found.astype(np.float32)), nan)
    assert np.array_equal(found.view(np.uint16)[~nan], round_to_bfloat16(bits[~nan]))


def test_ties_round_to_even_and_every_nan_stays_one():
    bits = np.array([0x3F808000, 0x3F818000, 0x7F800001, 0xFFFFFFFF], np.uint32)
    found = cast("w", bits.view(np.float32), DTYPES["bfloat16"])
    assert found.view(np.uint16)[:2].tolist() == [0x3F80, 0x3F82]
    assert np.isnan(found[2:].astype(np.float32)).all()


@pytest.mark.parametrize("dtype, value", [("float16", 7e4), ("bfloat16", 3.4e38)])
def test_a_value_beyond_the_dtype_is_refused_by_name(tmp_path, dtype, value):
    state = state_of(ARPG)
    state["norm.weight"][3] = value
    write_zip(tmp_path / "original.pt", state)
    (tmp_path / "ours").write_text("what was here before")
    with pytest.raises(CheckpointError, match=f"its weight out_norm.*beyond {dtype}"):
        convert(tmp_path / "original.pt", tmp_path / "ours", dtype)
    assert (tmp_path / "ours").read_text() == "what was here before"
    assert sorted(os.listdir(tmp_path)) == ["original.pt", "ours"]


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_a_weight_that_is_none_is_named_and_not_converted(tmp_path, value, dtype):
    state = state_of(ARPG)
    state["norm.weight"][3:5] = value
    write_zip(tmp_path / "original.pt", state)
    text = f"out_norm holds 2 numbers that are not finite, the first at [3]: {value}"
    with pytest.raises(CheckpointError, match=re.escape(text)):
        convert(tmp_path / "original.pt", tmp_path / "ours", dtype)
    assert os.listdir(tmp_path) == ["original.pt"]
    assert describe(tmp_path / "original.pt", check=True).not_finite == text
    assert describe(tmp_path / "original.pt").not_finite is None
    state["norm.weight"][3:5] = 1
    write_zip(tmp_path / "original.pt", state)
    assert describe(tmp_path / "original.pt", check=True).not_finite == ""


@pytest.mark.filterwarnings("error")
def test_a_nan_that_signals_is_counted_without_a_warning():
    weights = np.array([0x3F80, 0x7F81, 0xFF81], np.uint16).view(ml_dtypes.bfloat16)
    assert not_finite("w", weights).startswith("w holds 2 numbers that are not finite")


def test_double_precision_becomes_single_and_integers_are_no_weights(tmp_path):
    state = state_of(ARPG)
    double = {k: v.astype(np.float64) for k, v in state.items()}
    write_zip(tmp_path / "original.pt", double)
    assert convert(tmp_path / "original.pt", tmp_path / "ours").dtype == "float32"
    found = load_model(tmp_path / "ours").weights["norm"]
    assert np.array_equal(found, state["layers.norm.weight"])
    assert load_model(tmp_path / "original.pt").weights["norm"].dtype == np.float32
    state["norm.weight"] = np.zeros(128, np.int64)
    write_zip(tmp_path / "original.pt", state)
    for action in (
        lambda: convert(tmp_path / "original.pt", tmp_path / "ours"),
        lambda: load_model(tmp_path / "original.pt"),
    ):
        with pytest.raises(CheckpointError, match="out_norm is int64"):
            action()


def test_mixed_dtypes_are_kept_unless_one_is_asked_for(tmp_path):
    state = state_of(ARPG)
    state["norm.weight"] = state["norm.weight"].astype(ml_dtypes.bfloat16)
    write_zip(tmp_path / "original.pt", state)
    assert convert(tmp_path / "original.pt", tmp_path / "ours").dtype == "mixed"
    weights = load_model(tmp_path / "ours").weights
    assert weights["out_norm"].dtype == ml_dtypes.bfloat16
    assert weights["norm"].dtype == np.float32
