"""Two runs of one recipe: what is promised of them, and where they diverge.

A recipe holds everything that a picture depends on, except the arithmetic. Promised:

- On one backend, with the same versions of minigen, NumPy and Numba, on CPUs with the
  same instructions (or the same GPU): the same bits, in any batch and with any number
  of threads. An exception is BLAS on `numpy`: each image is a product of its own, so
  the batch does not matter, but OpenBLAS sums large products (those of the released
  models) in another order with one thread than with two. If this matters, set
  OPENBLAS_NUM_THREADS.
- On another backend, CPU or version sums are rounded differently. The tokens are the
  same except at near-ties (`near_ties`): draws that rounding decides. After a near-tie
  the rest of the image differs. The pixels of the same tokens differ by at most LEVELS
  of 255; so an image that diverged is still compared with a picture of the recorded
  tokens. Tokens that are vectors are the same if rounding explains their difference.
  With the order confidence rounding may also decide which of two tokens is kept: what
  follows from that is told as a difference.

The recipe of a picture records its tokens, so a later run can find out which of these
holds: `minigen replay` does so for a picture, `python -m tests.sameness` for backends.
"""

from minigen.sameness.comparison import LEVELS, Difference, compare, differences, tokens
from minigen.sameness.record import pack, unpack

__all__ = ["LEVELS", "Difference", "compare", "differences", "pack", "tokens", "unpack"]
