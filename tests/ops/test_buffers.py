"""New arrays: large ones lie in memory that earlier ones left, and never share it."""

import numpy as np

from minigen.cpu import buffers

# the function itself, for which tests of ops put a stand-in
from minigen.cpu.buffers import empty


def address(array):
    return array.__array_interface__["data"][0]


def large(monkeypatch, number=1):
    """Return new arrays of a size of their own, by the function under test."""
    monkeypatch.setattr(buffers, "_POOL", [])
    return [empty((3, buffers.LARGE // 8, 1)) for _ in range(number)]


def test_what_is_held_is_never_given_again(monkeypatch):
    one, other = large(monkeypatch, 2)
    one[...], other[...] = 1, 2
    assert not np.shares_memory(one, other)
    assert (one == 1).all() and (other == 2).all()
    assert one.flags.writeable and one.flags.c_contiguous and one.dtype == np.float32


def test_memory_comes_back_when_the_last_view_goes(monkeypatch):
    (one,) = large(monkeypatch)
    place, view = address(one), one[1:].reshape(-1)[5:]
    del one
    assert address(empty((3, buffers.LARGE // 8, 1))) != place
    del view
    assert address(empty((3, buffers.LARGE // 8), np.int32)) == place


def test_no_vector_lies_in_two_lines(monkeypatch):
    assert all(address(each) % buffers.LINE == 0 for each in large(monkeypatch, 3))


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(buffers, "KEPT", 3 * buffers.LARGE)
    held = large(monkeypatch, 4)
    size = -(-held[0].nbytes // buffers.LARGE) * buffers.LARGE
    held.clear()
    assert len(buffers._POOL) == 3 * buffers.LARGE // size


def test_what_was_kept_longest_makes_room_for_another_size(monkeypatch):
    def kept():
        return [len(block) // buffers.LARGE for block in buffers._POOL]

    monkeypatch.setattr(buffers, "_POOL", [])
    monkeypatch.setattr(buffers, "KEPT", 5 * buffers.LARGE)
    held = [empty(units * buffers.LARGE, np.uint8) for units in (1, 2)]
    while held:
        del held[0]
    assert kept() == [1, 2]
    new = empty(3 * buffers.LARGE, np.uint8)
    assert kept() == [2]
    del new
    assert kept() == [2, 3]


def test_small_arrays_are_numpy_s():
    assert empty((2, 3)).base is None and empty(5, np.uint8).shape == (5,)
    assert empty((0, 7)).shape == (0, 7)


def test_weights_lie_side_by_side_and_never_in_each_other():
    arrays = [buffers.lasting((n, 3), np.uint16) for n in (1, 100, 7)]
    for i, array in enumerate(arrays):
        assert array.ctypes.data % buffers.LINE == 0
        array[...] = i
    assert [set(array.flat) for array in arrays] == [{0}, {1}, {2}]
    large = buffers.lasting((buffers.ROOM + 1,), np.uint8)
    assert len(large) == buffers.ROOM + 1 and large.ctypes.data % buffers.PAGE == 0
