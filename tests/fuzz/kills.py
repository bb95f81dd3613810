"""A run into a folder is killed again and again, and the same command goes on.

python -m tests.fuzz kills --kills 30 --count 500      signals of three kinds
python -m tests.fuzz kills --workers 3                 on Dask, and 2 workers are killed
python -m tests.fuzz kills --full                      a full disk in between

In the end the folder must be, byte for byte, that of a run that was left alone.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENDS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
"""Signals that end a run, one of them drawn; half of all times it cannot be heeded."""

PATIENCE = 300
"""Seconds that a run may take for the next image."""


def main(arguments) -> int:
    """Run what the command line asks for, print what became of it, return a status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz kills")
    parser.add_argument("--count", type=int, default=500, help="images")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="numba")
    parser.add_argument("--workers", type=int, help="of Dask; all but one are killed")
    parser.add_argument("--full", action="store_true", help="fill the disk")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        command = sample(given.count, given.backend)
        run(command, base / "alone")
        if given.workers:
            said = lose_workers(command, base, given.workers)
        elif given.full:
            said = fill_disk(command, base)
        else:
            said = kill(command, base / "killed", given.kills, given.seed)
        found = differences(base / "alone", base / "killed")
    print(f"{said}; {found or 'the folders are the same, byte for byte'}")
    return int(bool(found))


def sample(count: int, backend: str) -> list[str]:
    """Return the command that draws so many images, without its folder."""
    line = f"sample arpg-mnist --class 0-4 --count {count // 5} --steps 4 --batch 4"
    return [sys.executable, "-m", "minigen", *line.split(), "--backend", backend]


def start(command, folder, **how) -> subprocess.Popen:
    """Start the command on a folder, its signals heeded as in a shell."""
    for number in {*ENDS} - {signal.SIGKILL}:
        # a background process inherits what is ignored
        signal.signal(number, signal.default_int_handler)
    nothing = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    # images are small: more threads would only wait for each other
    nothing["env"] = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([*command, "--out", f"{folder}/"], **nothing, **how)


def run(command, folder, **how) -> tuple[int, str]:
    """Run the command to its end; return its status and what it said."""
    process = start(command, folder, **how)
    _, said = process.communicate()
    return process.returncode, said


def images(folder: Path) -> int:
    """Return how many images are there."""
    return len([*folder.glob("[0-9]*.png")]) if folder.is_dir() else 0


def wait(process, folder, wanted) -> bool:
    """Wait until so many images are there; return whether the process still runs."""
    seen, until = -1, 0.0
    while process.poll() is None and (there := images(folder)) < wanted:
        if there > seen:
            seen, until = there, time.monotonic() + PATIENCE
        if time.monotonic() > until:
            raise TimeoutError(f"no image after the {there} that are there")
        time.sleep(0.002)
    return process.poll() is None


def kill(command, folder, kills, seed) -> str:
    """Kill runs at random moments, then let one end; return what was done."""
    chance, done = random.Random(seed), 0
    total = 5 * int(command[command.index("--count") + 1])
    while done < kills:
        # so that images are left for the last one
        more = chance.randint(0, max(1, total // (kills + 2)))
        process, before = start(command, folder), images(folder)
        if wait(process, folder, min(before + more, total - 1)):
            time.sleep(chance.random() * 0.05)
        process.send_signal(chance.choice(ENDS))
        process.communicate()
        done += process.returncode != 0
    status, said = run(command, folder)
    if status:
        raise RuntimeError(said)
    return f"{done} kills in a run of {total} images"


def lose_workers(command, base, count) -> str:
    """Let a run on a scheduler lose all of its workers but one."""
    file = base / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli."]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def begin(program, *options):
        line = [*dask[:2], dask[2] + program, *options, "--scheduler-file", str(file)]
        return stack.enter_context(ended(subprocess.Popen(line, cwd=base, **quiet)))

    with contextlib.ExitStack() as stack:
        begin("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        one = ("--no-nanny", "--nthreads", "1", "--no-dashboard")
        workers = [begin("dask_worker", *one) for _ in range(count)]
        until = time.monotonic() + PATIENCE
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        process = start([*command, "--cluster", address], base / "killed")
        total = 5 * int(command[command.index("--count") + 1])
        for number, worker in enumerate(workers[1:], 1):
            if not wait(process, base / "killed", number * total // (count + 1)):
                raise RuntimeError(process.communicate()[1])
            worker.kill()
        _, said = process.communicate()
        if process.returncode:
            raise RuntimeError(said)
    return f"{count - 1} of {count} workers killed in a run of {total} images"


@contextlib.contextmanager
def ended(process):
    """End a process with the block."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def fill_disk(command, base) -> str:
    """Let a run end at a full disk, make room, and go on."""
    disk, folder = base / "disk", base / "killed"
    disk.mkdir()
    room = sum(path.stat().st_size for path in (base / "alone").iterdir()) // 2
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(disk)]
    try:
        mounted = not subprocess.run(mount, capture_output=True).returncode
    except FileNotFoundError:
        mounted = False
    if not mounted:
        # no file may be longer than this: the error of a quota
        limit = {"preexec_fn": lambda: _limit(1000)}
        status, said = run(command, folder, **limit)
        what = "a limit of 1000 bytes a file (RLIMIT_FSIZE)"
    else:
        status, said = run(command, disk / "here")
        what = f"a tmpfs of {room} bytes that was full"
    there = images(folder if not mounted else disk / "here")
    if status != 2 or "cannot be written" not in said:
        raise RuntimeError(f"status {status}: {said}")
    if mounted:
        subprocess.run([*mount[:4], f"remount,size={8 * room}", *mount[5:]], check=True)
        status, said = run(command, disk / "here")
        subprocess.run(["cp", "-r", str(disk / "here"), str(folder)], check=True)
        subprocess.run(["umount", str(disk)], check=True)
    else:
        status, said = run(command, folder)
    if status:
        raise RuntimeError(said)
    return f"{what} after {there} images"


def _limit(size):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def differences(one: Path, other: Path) -> str:
    """Return how two folders differ, or nothing."""
    names = [sorted(os.listdir(folder)) for folder in (one, other)]
    if names[0] != names[1]:
        return f"the folders differ: {sorted({*names[0]} ^ {*names[1]})[:5]}"
    _, *wrong = filecmp.cmpfiles(one, other, names[0], shallow=False)
    return f"files differ: {sum(wrong, [])[:5]}" if any(wrong) else ""
