"""One thread or all: the faster, whatever else runs; and forks and callers are safe."""

import os
import subprocess
import sys

import pytest

from minigen import threads
from minigen.errors import BackendError
from minigen.threads import Ways, quota, settings

LAYERS = "workqueue", "omp", "tbb"


def spend(ways, one, all_, calls):
    """Return the seconds of some calls that take `one` or `all_` seconds each."""
    total = 0.0
    for _ in range(calls):
        kept = ways.keep_on()
        if kept is not None:
            total += one if kept is ways.one else all_
            continue
        times = ways.choose()
        times.append(one if times is ways.one else all_)
        del times[:-3]
        total += times[-1]
    return total


@pytest.mark.parametrize("one, all_", [(1e-3, 6e-4), (1e-3, 25e-3), (1e-3, 1.1e-3)])
def test_the_way_that_takes_less_is_taken(one, all_):
    ways = Ways()
    spend(ways, one, all_, 6)
    best = 1000 * min(one, all_)
    assert best <= spend(ways, one, all_, 1000) <= 1.05 * best


def test_of_large_arrays_all_threads_are_tried_first():
    ways = Ways()
    for _ in range(2):
        times = ways.choose(((threads.LARGE,),))
        assert times is ways.all
        times.append(1.0)
    assert ways.choose(((threads.LARGE,),)) is ways.one


def test_little_is_lost_before_both_are_known():
    assert spend(Ways(), 1e-3, 25e-3, 30) <= 30 * 1e-3 + 25e-3


def test_what_is_small_stays_on_one_thread():
    ways = Ways()
    # the first call compiles
    ways.choose().append(3.0)
    assert spend(ways, 2e-5, 1e-6, 500) == pytest.approx(500 * 2e-5)
    assert ways.all == []


def test_a_machine_that_becomes_busy_or_quiet_is_noticed():
    ways = Ways()
    quiet, busy = (1e-3, 6e-4), (2e-3, 3e-2)
    for one, all_ in (quiet, busy, quiet):
        spend(ways, one, all_, 4000)
        assert spend(ways, one, all_, 1000) <= 1.06 * 1000 * min(one, all_)


def test_a_start_beside_others_is_soon_made_good():
    ways = Ways(all=[3e-3, 3e-3])
    spend(ways, 2e-3, 1e-3, 40)
    assert ways.better is ways.all


def test_two_callers_that_take_the_last_turn_end_no_comparisons():
    ways = Ways()
    spend(ways, 1e-3, 6e-4, 50)
    ways.turns = -1
    assert ways.keep_on() is None
    ways.choose()
    assert ways.turns >= 0


def test_a_single_slow_call_changes_nothing():
    ways = Ways()
    spend(ways, 1e-3, 6e-4, 50)
    assert ways.better is ways.all
    ways.turns = 0
    assert ways.choose() is ways.all
    ways.all.append(5.0)
    ways.turns = 0
    assert ways.choose() is ways.all


def place(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


QUOTAS = {
    "version 2": ("0::/a/b\n", {"a/b/cpu.max": "200000 100000\n"}, 2.0),
    "version 2, none": ("0::/\n", {"cpu.max": "max 100000\n"}, float("inf")),
    "version 2, above": (
        "0::/a/b\n",
        {"cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"},
        1.5,
    ),
    "version 1": (
        "3:cpu,cpuacct:/docker/x\n2:memory:/\n0::/\n",
        {
            "cpu/docker/x/cpu.cfs_quota_us": "50000",
            "cpu/docker/x/cpu.cfs_period_us": "100000",
        },
        0.5,
    ),
    "version 1, of a container": (
        "3:cpu,cpuacct:/docker/x\n",
        {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"},
        3.0,
    ),
    "version 1, none": (
        "1:cpu:/\n",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        float("inf"),
    ),
    "no number": ("0::/\n", {"cpu.max": "nonsense\n"}, float("inf")),
    "lines that are none": (
        "nonsense\n\n0:cpu\n0::/\n",
        {"cpu.max": "150000 100000"},
        1.5,
    ),
    "no files": ("0::/\n", {}, float("inf")),
    "no groups": ("", {}, float("inf")),
}


@pytest.mark.parametrize("groups, files, expected", QUOTAS.values(), ids=QUOTAS)
def test_the_quota_of_a_container_is_read(tmp_path, groups, files, expected):
    place(tmp_path / "root", files)
    (tmp_path / "groups").write_text(groups)
    found = quota(str(tmp_path / "groups"), str(tmp_path / "root"))
    assert found == expected


def test_where_there_are_no_groups_there_is_no_quota(tmp_path):
    assert quota(str(tmp_path / "none")) == float("inf")


def test_there_are_as_many_threads_as_can_run(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    waiting = dict(threads.WAITING)
    for limit, count in ((3.9, 3), (0.5, 1), (12.0, 8), (float("inf"), 8)):
        monkeypatch.setattr(threads, "quota", lambda limit=limit: limit)
        assert threads.available() == count
        number = {} if count == 8 else {"NUMBA_NUM_THREADS": str(count)}
        assert settings({}) == waiting | number
        # what is set stays
        assert settings({"NUMBA_NUM_THREADS": "2", "OMP_WAIT_POLICY": "active"}) == {}


def test_cores_are_counted_where_there_is_no_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert threads.cores() == os.cpu_count()


def run(code, layer):
    pytest.importorskip("numba")
    given = {**os.environ, "NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=given, capture_output=True, text=True
    )
    if "No threading layer" in done.stderr:
        pytest.skip(f"Numba has no {layer} here")
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


ASKED = [
    ("NUMBA_THREADING_LAYER", "foo", "set NUMBA_THREADING_LAYER=workqueue"),
    ("NUMBA_THREADING_LAYER_PRIORITY", "tbb", "PRIORITY='tbb omp workqueue'"),
    ("NUMBA_DISABLE_JIT", "1", "unset it, or choose backend numpy"),
]


@pytest.mark.parametrize("name, value, advice", ASKED)
def test_what_numba_cannot_do_is_refused_by_the_name_of_its_variable(
    name, value, advice
):
    pytest.importorskip("numba")
    code = """if True:
        from minigen import doctor
        from minigen.errors import BackendError
        from minigen.target import kernel
        try:
            kernel(lambda: None)()
        except BackendError as error:
            print(error)
        print(doctor.examine_kernels().note)
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, name: value}, capture_output=True, text=True,
    )  # fmt: skip
    refused, note = done.stdout.splitlines()
    assert refused == note and advice in note
    assert f"{name}={value}" in note.replace("'", "")


def test_a_layer_that_is_missing_is_refused(monkeypatch):
    numba = pytest.importorskip("numba")

    def fail():
        raise ValueError("No threading layer could be loaded.\nHINT:\n...")

    monkeypatch.setattr(threads._state, "layer", "")
    monkeypatch.setattr(numba, "get_num_threads", fail)
    monkeypatch.setattr(numba.config, "THREADING_LAYER", "tbb")
    monkeypatch.setattr(numba.config, "THREADING_LAYER_PRIORITY", list(LAYERS))
    with pytest.raises(BackendError, match="NUMBA_THREADING_LAYER='tbb': No .*; set"):
        threads.Parallel(print, print)(1)


START = """if True:
    import os, threading
    import numpy as np
    from minigen import backends
    linear = backends.table("numba").linear
    x, w = np.ones((1, 4, 64), np.float32), np.ones((512, 64), np.float32)
    right = 4 * 512 * 64.0
    for i in range(8):
        assert linear(x, w).sum() == right
"""

FORK = (
    START
    + """
    from minigen.errors import BackendError
    child = os.fork()
    if child == 0:
        try:
            print(linear(x, w).sum() == right, flush=True)
        except BackendError as error:
            print(error, flush=True)
        os._exit(0)
    print(os.waitpid(child, 0)[1], linear(x, w).sum() == right)
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_after_fork_works_or_says_what_to_use():
    assert run(FORK, "workqueue")[:2] == ["True", "0 True"]
    said, after = run(FORK, "omp")[:2]
    assert after == "0 True"
    assert said == "True" or "spawn" in said


TOGETHER = (
    START
    + """
    def call():
        for i in range(100):
            found.append(linear(x, w).sum() == right)

    found = []
    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    print(len(found), all(found))
"""
)


@pytest.mark.parametrize("layer", LAYERS)
def test_several_threads_of_python_call_kernels_at_a_time(layer):
    assert run(TOGETHER, layer)[0] == "400 True"


def test_an_error_in_a_kernel_leaves_the_number_of_threads():
    numba = pytest.importorskip("numba")
    from minigen import target

    def fail(*arguments):
        assert numba.get_num_threads() == 1
        raise ZeroDivisionError

    before = numba.get_num_threads()
    kernel = threads.Parallel(fail, target._use)
    if before == 1:
        pytest.skip("there is one thread only")
    with pytest.raises(ZeroDivisionError):
        kernel(1)
    assert numba.get_num_threads() == before
    with threads.all_of_them(), pytest.raises(AssertionError):
        kernel(1)
