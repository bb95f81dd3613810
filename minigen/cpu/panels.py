"""y = x W^T where rows of x are many: each weight in turn, times a column of x.

A thread lays 32 rows of w out anew, so that the weights of one input stand side by
side: a panel. Then it passes the rows of x over it, twelve at a time: every number of x
is spread over a vector and multiplied by the 32 weights of its input, and no sum leaves
its register before the panel ends. So nothing has to be added up across a vector, as in
`products`, where that takes a fifth of the time; in return x and w are copied once,
which only many rows repay.

A panel has 128 inputs, and its sums are added to those before it: a sum of thousands,
one after the other, would lose more to rounding than a sum of sums.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.tile import LANES, add_three, pour, turn
from minigen.target import exact, kernel, prange

_INPUTS, _OUTPUTS, _ROWS = 128, 2 * LANES, 12
"""Inputs and outputs of a panel, 16 kilobytes; and rows of x that meet it together."""

_step = pour(_ROWS, 2)
_turn_sixteen, _turn_twelve = turn(LANES), turn(_ROWS)


@exact
def _lay_out(w, j, k, count, panel):
    # (f d) -> (k c): beyond the last row of w, that one again
    for n in range(0, count, LANES):
        for c in range(0, _OUTPUTS, LANES):
            _turn_sixteen(w, j, 1, len(w) - j, k + n, panel, n, c)


@kernel
def _stack(x, stacked):
    # (n d) -> (k n 128 12): twelve rows of x stand side by side, as those of w do
    for unit in prange(stacked.shape[0] * stacked.shape[1]):
        part, group = divmod(np.int64(unit), stacked.shape[1])
        k = part * _INPUTS
        count = min(_INPUTS, x.shape[1] - k)
        # rows beyond the last are computed too, and thrown away
        first = group * _ROWS
        for n in range(0, count, LANES):
            _turn_twelve(x, first, 1, len(x) - first, k + n, stacked[part, group], n, 0)


@exact
def _settle(sums, first, j, residual, bias, y):
    # up to twelve rows of sums, and of what is added to them, to where they belong
    columns = min(_OUTPUTS, y.shape[1] - j)
    for i in range(first, min(first + _ROWS, y.shape[0])):
        # a residual of a single row is shared by all
        row = min(i, residual.shape[0] - 1)
        if columns == _OUTPUTS:
            add_three(sums, i, residual, row, bias, y, j)
        else:
            for c in range(columns):
                y[i, j + c] = sums[i, c] + (residual[row, j + c] + bias[j + c])


@kernel
def _multiply(stacked, w, residual, bias, y):
    inputs, parts = w.shape[1], stacked.shape[0]
    for unit in prange((y.shape[1] + _OUTPUTS - 1) // _OUTPUTS):
        j = np.int64(unit) * _OUTPUTS
        panel = np.empty((_INPUTS, _OUTPUTS), np.float32)
        sums = np.zeros((_ROWS * stacked.shape[1], _OUTPUTS), np.float32)
        for part in range(parts):
            k = part * _INPUTS
            count = min(_INPUTS, inputs - k)
            _lay_out(w, j, k, count, panel)
            for group in range(stacked.shape[1]):
                _step(stacked[part, group], count, panel, sums, group * _ROWS)
                if part == parts - 1:
                    # at once: the next rows are worked on while these are stored
                    _settle(sums, group * _ROWS, j, residual, bias, y)


def multiply(x, w, residual, bias, y):
    """Write x w^T + (residual + bias) into y.

    x (n d), y (n f) float32, C order; w (f d) float32, or the bits of a bfloat16 or a
    float16, see `tile`; d a multiple of sixteen; residual (n f), or (1 f) for all rows;
    bias (f).
    """
    parts, groups = -(-x.shape[1] // _INPUTS), -(-x.shape[0] // _ROWS)
    stacked = buffers.empty((parts, groups, _INPUTS, _ROWS))
    _stack(x, stacked)
    _multiply(stacked, w, residual, bias, y)
