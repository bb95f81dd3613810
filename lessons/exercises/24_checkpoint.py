"""Exercises of lesson 24; `python lessons/check.py 24` says which are solved."""

import pickletools


def names_in(program):
    """Return the names that a pickle imports, in their order, as a tuple of strings.

    program: bytes, a pickle of protocol 2, in which GLOBAL is the only instruction that
    imports. Its argument "posix mkdir" is the name "posix.mkdir". Nothing may be run.
    """


def strides_of(shape):
    """Return the strides, in elements, of a tensor whose numbers lie in order.

    shape: a tuple of sizes of 1 or more. Returns as long a tuple: the last axis has the
    stride 1. A tensor without axes has none.
    """


def fits(count, first, shape, strides):
    """Say whether all elements of a tensor lie in a storage of `count` elements.

    first: where its first element lies. shape, strides: tuples of one length, of
    numbers of 0 or more. A tensor without elements always fits.
    """
