"""Weight files: read without torch, checked against manifests, converted, loaded."""

from minigen.checkpoints.convert import (
    ConversionReport,
    Description,
    convert,
    describe,
)
from minigen.checkpoints.load import Model, hash_weights, load_model
from minigen.checkpoints.reader import Checkpoint, open_checkpoint, read_checkpoint

__all__ = [
    "Checkpoint",
    "ConversionReport",
    "Description",
    "Model",
    "convert",
    "describe",
    "hash_weights",
    "load_model",
    "open_checkpoint",
    "read_checkpoint",
]
