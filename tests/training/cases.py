"""Golden cases for the twins: arrays, weights, tolerances from recorded errors."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from tests.parity.case import listed_arrays
from tests.synth import synth

FACTOR = 20  # times the float32 error that the case recorded

OUTER = {
    "width": 32, "encoder_width": 32, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_heads": 2, "decoder_heads": 2, "buffer": 3, "classes": 3, "tokens": 9,
    "channels": 4,
}  # fmt: skip
"""Of a small ARINAR or MAR: its outer model."""


def as_tensors(state):
    return {name: torch.from_numpy(np.array(array)) for name, array in state.items()}


@dataclass(frozen=True)
class Case:
    """One golden case: its description and its arrays as tensors."""

    folder: Path
    text: dict
    arrays: dict = field(repr=False)

    def __getitem__(self, name):
        return self.arrays[name]

    def fill(self, model):
        """Give `model` the case's stand-in weights; buffers of zeros stay zeros."""
        salt = self.text["weights"]["synth_salt"]
        fixed = self.text["weights"].get("fixed", {})
        state = {
            name: torch.from_numpy(synth(name, tuple(value.shape), salt))
            for name, value in model.state_dict().items()
            if name.rsplit(".", 1)[-1] not in fixed
        }
        rest = model.load_state_dict(state, strict=False)
        assert not rest.unexpected_keys
        assert {name.rsplit(".", 1)[-1] for name in rest.missing_keys} == set(fixed)
        return model

    def assert_close(self, result, name):
        """|result - recorded| stays below 20 times the recorded float32 error.

        Or the spacing of the largest number, where that is more: a recorded error that
        is smaller is so by luck, and another processor adds up in another order.
        """
        error = self.text["tolerance"]["per_array"][name]["max_abs"]
        error = max(error, float(np.spacing(self[name].abs().max().float().numpy())))
        difference = (torch.as_tensor(result).detach() - self[name]).abs().max().item()
        assert difference <= FACTOR * error, (name, difference, error)


def load(golden, family, name) -> Case:
    folder = golden / family / name
    text = json.loads((folder / "case.json").read_text())
    if isinstance(text.get("arrays"), dict):
        text = listed_arrays(text)
    with np.load(folder / "io.npz") as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files}
    return Case(folder, text, arrays)
