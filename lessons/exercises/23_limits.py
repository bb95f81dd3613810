"""Exercises of lesson 23; `python lessons/check.py 23` says which are solved."""


def work_of(shapes, rows, size):
    """Return (bytes, operations) of a step that multiplies rows with matrices (ints).

    shapes: the shapes (f d) of the matrices, a list of pairs; each of the `rows` rows
    is multiplied with every one of them. size: bytes of a stored weight. Bytes are
    those of the matrices, read once; a multiplication and its addition are two
    operations.
    """


def least_seconds(read, operations, bandwidth, peak):
    """Return the least time in seconds of reading `read` bytes and of `operations`.

    bandwidth: bytes a second; peak: operations a second. Both go on at the same time.
    """


def batch_at_limit(shared, own, operations, bandwidth, peak):
    """Return the smallest batch whose arithmetic takes at least as long as its reading.

    A batch of b images reads shared + b * own bytes and does b * operations. All
    arguments are ints of 1 or more. Returns an int, 0 where no batch is large enough.
    """
