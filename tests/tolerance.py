"""The tolerance of the property tests: that of `minigen check`."""

from minigen.checking.tolerance import *  # noqa: F403
