"""What is promised of two runs of one recipe, and where they part.

Of all that decides a picture, the recipe holds everything but the arithmetic. Promised:

- On one backend, with the same versions of minigen, NumPy and Numba, on CPUs with the
  same instructions (or the same GPU): the same bits, in any batch and with any number
  of threads. On `numpy` that leaves out the threads of its BLAS: an image is a product
  of its own, so the batch does not matter, but OpenBLAS adds up large products (those
  of the released models, not of the small ones) otherwise with one thread than with
  two. Set OPENBLAS_NUM_THREADS where it matters.
- Otherwise, on another backend, CPU or version, sums are rounded elsewhere. The tokens
  are the same but for near-ties (`near_ties`): draws that rounding decides. After one,
  an image is another image. Images of the same tokens have pixels within LEVELS of
  255, so that one which parted is still held to the tokens that its recipe records.
  Tokens that are vectors are the same if they are within what rounding explains.

A picture's recipe records the tokens drawn, so a later run can tell which of these it
is: `minigen replay` does, for a picture, and `python -m tests.sameness` for backends.
"""

from minigen.sameness.comparison import LEVELS, Difference, compare, differences, tokens
from minigen.sameness.record import pack, unpack

__all__ = ["LEVELS", "Difference", "compare", "differences", "pack", "tokens", "unpack"]
