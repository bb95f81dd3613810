"""Exercises of lesson 07; `python lessons/check.py 07` says which are solved."""

import numpy as np


def may_see(cached: int, new: int, causal: bool) -> np.ndarray:
    """Return which keys the tokens of a call may see: bool (new, cached + new).

    cached: how many tokens were read in earlier calls, 0 or more; new: how many this
    call reads, 1 or more. Keys stand in the order in which they were read.
    """


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the causal attention of the newest tokens, of one head: float32 (m e).

    q: float32 (m e), the queries of the m newest tokens; k, v: float32 (n e), the keys
    and values of all tokens that were read, m <= n, the newest last. A score is q . k /
    sqrt(e); a token sees all up to itself.
    """


def first_of_steps(counts: list) -> list:
    """Return where each step begins in the order of a run: a list of int.

    counts: how many tokens each step draws, a list of int, 1 or more.
    """
