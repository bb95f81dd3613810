"""Exercises of lesson 25; `python lessons/check.py 25` says which are solved."""

import numpy as np


def turns(wanted):
    """Return how many turns of a loop the warps of a block take together (an int).

    wanted: int64 (n), how often each thread wants to run the loop; n is a multiple of
    32. A warp is 32 threads with consecutive numbers, and goes on while any of its
    lanes wants to.
    """


def busy(wanted):
    """Return the share of lanes that take part in those turns (a float, 1 for none).

    wanted: as in `turns`.
    """


def sorted_turns(wanted):
    """Return the fewest turns, if any thread may take the work of any other (an int).

    wanted: as in `turns`; the same numbers, in an order of your choice.
    """
