"""Weight files: read without torch, checked against manifests, converted, loaded."""

from minigen.checkpoints.conversion import ConversionReport, convert
from minigen.checkpoints.description import Description, describe
from minigen.checkpoints.hashing import hash_weights
from minigen.checkpoints.load import Model, load_model
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
