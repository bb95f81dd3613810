"""The table of threads: who is timed beside how many busy processes."""

import os
import subprocess
import sys
import time

import pytest

from minigen.bench import threads
from minigen.words import markdown

numba = pytest.importorskip("numba")


def test_every_number_of_threads_is_timed_beside_every_number_of_processes(monkeypatch):
    asked, beside = [], []

    def call():
        asked.append((numba.get_num_threads(), len(beside)))

    class Process:
        def __init__(self, command):
            beside.append(command)

        def kill(self):
            beside.pop()

        def wait(self):
            assert len(beside) < 2

    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for name in ("new_digits", "new_token"):
        monkeypatch.setattr(threads, name, lambda name=name: (name, call, 4))
    before = numba.get_num_threads()
    found = threads.measure(runs=3)
    assert numba.get_num_threads() == before and not beside
    counts = sorted({1, before})
    assert len(found) == 2 * 3 * len(counts)
    assert {len(timing.seconds) for timing in found} == {3}
    times = 2 * (3 + threads.WARM)
    for count in counts:
        for busy in threads.BUSY:
            assert asked.count((count, busy)) == times
    table = markdown(threads.rows(found)).split("\n")
    assert (
        table[0]
        == "|  | threads | nothing beside | 1 busy process | 2 busy processes |"
    )
    assert len(table) == 2 + 2 * len(counts) and table[2].startswith(
        "| new_digits | 1 |"
    )


def test_a_median_is_of_all_runs():
    found = [
        threads.Timing("a token", count, busy, [0.003, 0.001, 0.002])
        for count in (1, 2)
        for busy in threads.BUSY
    ]
    assert threads.rows(found)[1:] == [
        ("a token", "1", "2 ms", "2 ms", "2 ms"),
        ("a token", "2", "2 ms", "2 ms", "2 ms"),
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="asks ps of POSIX")
def test_a_busy_process_ends_with_the_one_that_started_it():
    code = (
        "import os, subprocess, sys; from minigen.bench.threads import COUNT; "
        "command = [sys.executable, '-c', COUNT, str(os.getpid())]; "
        "p = subprocess.Popen(command, stdout=sys.stdout); "
        "print(p.pid, flush=True)"
    )
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    # the busy process holds the pipe open for as long as it runs
    said = started.communicate(timeout=60)[0]
    assert int(said) > 0
