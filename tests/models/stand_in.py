"""Stand-in weights for a configuration, drawn by name as the golden data are."""

from minigen.checkpoints import names
from tests.synth import synth


def stand_in_state(config, salt=""):
    """Return {upstream name: float32 array} of the stand-in weights of a model."""
    return {n: synth(n, shape, salt) for n, shape in names.manifest(config).items()}


def stand_in(config, salt=""):
    """Return the tree of stand-in weights of a model."""
    return names.to_tree(config, stand_in_state(config, salt))
