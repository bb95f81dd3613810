"""A signal ends a command tidily: the cursor comes back, nothing unfinished stays."""

import os
import signal
import subprocess
import sys

import pytest

pty = pytest.importorskip("pty")

BODY = """if True:
    import os, signal, sys
    number, path = int(sys.argv.pop(1)), sys.argv.pop(1)
    # under nohup, and in the background of a script, tests inherit what is ignored
    for heeded in {signal.SIGTERM, signal.SIGHUP}:
        signal.signal(heeded, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    LINE
    import typer
    from minigen.commands.terminal import progress, run
    from minigen.writing import replace_file

    def command():
        with progress(9, "drawing", "numpy") as advance:
            with replace_file(path) as file:
                file.write(b"half")
                advance()
                os.kill(os.getpid(), number)
                signal.pause()

    app = typer.Typer()
    app.command()(command)
    sys.exit(run(app))"""


def end(tmp_path, number, line="", said_by=BODY):
    """Run a command that is ended by a signal; return its status and its stderr."""
    master, slave = pty.openpty()
    code = said_by.replace("LINE", line)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(int(number)), str(tmp_path / "a.bin")],
        stderr=slave,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(slave)
    said = b""
    try:
        while part := os.read(master, 4096):
            said += part
    except OSError:
        # Linux has this for the end of a terminal
        pass
    os.close(master)
    return process.wait(), said.decode()


@pytest.mark.parametrize(
    "number, status, line",
    [
        (signal.SIGTERM, 143, "minigen: ended by SIGTERM"),
        (signal.SIGHUP, 129, "minigen: ended by SIGHUP"),
        (signal.SIGINT, 130, "minigen: ended by Ctrl-C"),
    ],
)
def test_a_signal_brings_the_cursor_back(tmp_path, number, status, line):
    found, said = end(tmp_path, number)
    assert found == status
    assert said.rstrip().endswith(line) and "Traceback" not in said
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_nohup_ignores_stays_ignored(tmp_path):
    ignore = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    then = BODY.replace("signal.pause()", "os.kill(os.getpid(), signal.SIGTERM)")
    found, _ = end(tmp_path, signal.SIGHUP, ignore, then)
    assert found == 143


def test_where_there_is_no_hangup_the_others_are_heeded(tmp_path):
    found, said = end(tmp_path, signal.SIGTERM, "del signal.SIGHUP")
    assert found == 143 and "ended by SIGTERM" in said


def test_handlers_do_not_outlive_the_command():
    from minigen.commands.terminal import _heeding_signals

    before = signal.getsignal(signal.SIGTERM)
    with _heeding_signals([]):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
