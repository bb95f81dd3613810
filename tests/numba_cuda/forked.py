"""Run files of numba-cuda's tests, each in a process forked from this one.

Reads {file: names of the tests to run, or null for all} from its standard input, as
JSON, and prints [file, {test: "" if it passed, "skipped", or its last word}] for each
as soon as it is done. What all of them import is imported once, here.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.numba_cuda import plugin

STOPS = (signal.SIGXCPU, signal.SIGKILL)
"""What ends a process that has had its time of the processor."""


def begin(file, asked, scratch, seconds):
    """Run a file of tests in a process of its own; return the process's number."""
    number = os.fork()
    if number:
        return number
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    os.chdir(scratch)
    os.environ["MINIGEN_NUMBA_SAID"] = str(scratch / "said.jsonl")
    if asked is not None:
        os.environ["MINIGEN_NUMBA_ONLY"] = str(scratch / "only.json")
        (scratch / "only.json").write_text(json.dumps(asked))
    out = os.open(scratch / "out.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    how = ["-q", "-p", "no:cacheprovider", "-p", "tests.numba_cuda.plugin"]
    how += ["--assert=plain", "--import-mode=importlib"]
    how += ["-c", os.devnull, "--rootdir", plugin.FOLDER]
    status = pytest.main([*how, str(Path(plugin.FOLDER) / file)])
    sys.stdout.flush()
    os._exit(int(status))


def ended(scratch, asked, stopped):
    """Return what is known of a file's tests, once its process is over."""
    said = scratch / "said.jsonl"
    lines = said.read_text(encoding="utf-8").splitlines() if said.exists() else []
    found, rest = dict(map(json.loads, lines)), stopped
    if not rest:
        words = (scratch / "out.txt").read_text(errors="replace").strip().splitlines()
        rest = f"it was not run: {words[-1] if words else 'no word'}"
    return dict.fromkeys(asked or (), found.get("all", rest)) | found


def main():
    """Run the files, so many at a time, none longer than so many seconds.

    They are counted of the processor, so that nothing depends on what else it does; a
    file that waits for something may take four times as long.
    """
    workers, seconds, backend = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    sys.meta_path.insert(0, plugin.Finder)
    import numba.cuda.testing  # noqa: F401

    if backend != "simulator":
        import minigen.ptx  # noqa: F401
        from minigen.target import has_compiler

        has_compiler()
    jobs, running = json.load(sys.stdin), {}
    left = list(jobs)
    while left or running:
        while left and len(running) < workers:
            file, folder = left.pop(0), tempfile.TemporaryDirectory()
            number = begin(file, jobs[file], Path(folder.name), seconds)
            running[number] = file, folder, time.monotonic() + 4 * seconds
        time.sleep(0.05)
        for number, (file, folder, end) in [*running.items()]:
            late = time.monotonic() > end
            if late:
                os.killpg(number, signal.SIGKILL)
            over, status = os.waitpid(number, 0 if late else os.WNOHANG)
            if not over:
                continue
            slow = late or os.WIFSIGNALED(status) and os.WTERMSIG(status) in STOPS
            stopped = f"the file took over {seconds / 60:.3g} minutes" if slow else ""
            del running[number]
            words = ended(Path(folder.name), jobs[file], stopped)
            print(json.dumps([file, words]), flush=True)
            folder.cleanup()


if __name__ == "__main__":
    main()
