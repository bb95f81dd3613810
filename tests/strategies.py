"""The sizes and arrays of the property tests: those of `minigen check`."""

from minigen.checking.spec import floats, integers  # noqa: F401
from minigen.checking.strategies import *  # noqa: F403
