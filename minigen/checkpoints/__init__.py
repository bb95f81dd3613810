"""Weight files: read without torch, checked against manifests, converted, loaded."""

from minigen.checkpoints.reader import Checkpoint, open_checkpoint, read_checkpoint

__all__ = ["Checkpoint", "open_checkpoint", "read_checkpoint"]
