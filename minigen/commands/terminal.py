"""How every command prints: results to stdout, progress and errors to stderr."""

from __future__ import annotations

import functools
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import typer

from minigen.errors import InputError, MinigenError
from minigen.words import complain, escaped, printable, remaining, say, say_json

# all that commands print goes through these
__all__ = ["complain", "say", "say_json"]

MINUTE = 60.0
"""Seconds between two lines about a long run, where no terminal shows a bar."""

UNHEARD = 141
"""Exit status if the reader of a pipe has gone, as after `| head`: 128 + SIGPIPE."""


def reported(command: Callable) -> Callable:
    """Return a command that prints its errors as one message, and exits with status 2.

    If the reader of a pipe has gone, it exits without a message.
    """

    @functools.wraps(command)
    def run(*arguments, **options):
        try:
            return command(*arguments, **options)
        except BrokenPipeError:
            raise typer.Exit(UNHEARD) from None
        except (MinigenError, OSError) as error:
            complain(*f"minigen: {error}".split("\n"))
            raise typer.Exit(2) from None
        except MemoryError as error:
            complain(f"minigen: this takes more memory than there is ({error})")
            raise typer.Exit(2) from None

    return run


def run(app: typer.Typer) -> int:
    """Run the command line and return its exit status.

    Everything that is printed is escaped: usage errors, warnings of libraries and
    tracebacks may hold names from a stranger's file, too.
    """
    warnings.showwarning = _warn
    heard = []
    with _heeding_signals(heard):
        status = _run(app)
    if heard:
        _calm()
        name = signal.Signals(heard[0]).name
        complain(f"minigen: ended by {'Ctrl-C' if name == 'SIGINT' else name}")
        return 128 + heard[0]
    return status


def _run(app):
    try:
        return app(prog_name="minigen", standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return UNHEARD
    except OSError as error:
        # of --help and --version; commands are `reported`. Some have no text, such as
        # that no shell was found whose completion could be shown
        complain(f"minigen: {error if str(error) else type(error).__name__}")
        return 2
    except Exception as error:
        if hasattr(error, "format_message"):
            return _misused(error)
        complain(*traceback.format_exc().rstrip().split("\n"))
        complain("minigen: this is a fault of minigen; please report it with the above")
        return 3
    finally:
        _close()


@contextmanager
def _heeding_signals(heard):
    """Turn signals into KeyboardInterrupt: every `finally` and `with` is then run.

    So the cursor is shown again, and unfinished files are removed. heard: a list; the
    number of a signal is appended to it.
    """

    def leave(number, frame):
        heard.append(number)
        # a second signal ends the process at once
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    before = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # under nohup a signal is ignored, and must stay so
        if number is None or signal.getsignal(number) in (signal.SIG_IGN, None):
            continue
        # only the main thread of Python may set a handler
        with suppress(ValueError):
            before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _misused(error):
    """Print a usage error of typer; return the exit status."""
    context, message = error.ctx, error.format_message()
    if context is None:
        complain(f"Error: {message}")
    elif message == context.get_help():
        # no command was given: the message is our own help
        say(*message.split("\n"), stream=sys.stderr)
    else:
        usage, path = context.get_usage(), context.command_path
        complain(*usage.split("\n"), f"Try '{path} --help' for help.", "")
        complain(f"Error: {printable(message)}")
    return error.exit_code


def _warn(message, category, filename, lineno, file=None, line=None):
    complain(f"minigen: warning: {printable(message)}")


def _calm():
    """End the escape sequence, colour and line that a signal may have interrupted."""
    for stream, is_error in ((sys.stdout, False), (sys.stderr, True)):
        if stream is not None and stream.isatty():
            typer.echo("\x18\x1b[0m\r\x1b[K", err=is_error, nl=False)


def _close():
    """Flush stdout while its errors can still be caught: a full disk, a closed pipe."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        # else Python would flush again at its end, and print an error
        sys.stdout = None


def new_app(about: str, completion: bool = False) -> typer.Typer:
    """Return a group of commands: plain help, plain tracebacks, -h beside --help.

    completion: offer to complete commands and options in the shell; asked of the
    outermost group only.
    """
    return typer.Typer(
        help=about,
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def say_text(text: str) -> None:
    """Print a text of several lines, in which names are already escaped."""
    say(*text.split("\n"))


def tell(text: str = "") -> None:
    """Show on the last line of a terminal what is being done; in a pipe do nothing."""
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{escaped(text)}", err=True, nl=False)


def show(picture: str) -> None:
    """Print a picture that `minigen.show.grid.text` made, colours and all."""
    typer.echo(picture)


def check_pipe() -> None:
    """Raise InputError if stdout is a terminal, which can show no file."""
    if sys.stdout.isatty():
        raise InputError(
            "a picture is not written to a terminal; end the command with > FILE, or "
            "with | and a program that reads it"
        )


def pour(content: bytes) -> None:
    """Write a file to stdout."""
    typer.echo(content, nl=False)


def has_colours() -> bool:
    """Say whether stdout is a terminal that can show a picture in colours."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return sys.stdout.isatty() and bool("\u2580".encode(encoding, "ignore"))


@contextmanager
def progress(total: int, doing: str, backend: str) -> Iterator[Callable[..., None]]:
    """Yield advance(n), which moves a bar on a terminal and does nothing in a pipe.

    While kernels are compiled the bar names them instead.
    """
    if not sys.stderr.isatty():
        yield lambda n=1: None
        return
    with _bar(doing, total, backend) as update:
        yield lambda n=1: update(advance=n)


@contextmanager
def counting(
    doing: str, what: str, backend: str
) -> Iterator[Callable[[int, int], None]]:
    """Yield tell(done, total) for a run of hours, and show how long it will take.

    On a terminal it moves a bar; elsewhere, as in a log, a line is printed each minute.
    what: is counted; what was done at the first call took no time.
    """
    if sys.stderr.isatty():
        with _bar(doing, None, backend, long=True) as update:
            yield lambda done, total: update(completed=done, total=total)
        return
    seen, ended = [], threading.Event()

    def tell(done, total):
        seen.append((done, total, time.monotonic()))
        # all that is needed: the first and the last
        del seen[1:-1]
        if len(seen) == 1 and done:
            complain(f"{done:,} of {total:,} {what} are there")

    def speak():
        while not ended.wait(MINUTE):
            if seen:
                complain(_how_far(seen[0], seen[-1], what))

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield tell
    finally:
        ended.set()
        speaker.join()


def _how_far(first, last, what):
    done, total, _ = last
    drawn, took = last[0] - first[0], last[2] - first[2]
    said = f"{done:,} of {total:,} {what}"
    if not drawn:
        return said
    left = remaining((total - done) * took / drawn)
    return f"{said}, {drawn / took:.3g} a second, {left} left"


@contextmanager
def _bar(doing, total, backend, long=False):
    """Yield update(...) of a bar; while kernels are compiled it names them."""
    from rich import progress as rich
    from rich.console import Console

    columns = [
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
    ]
    if long:
        columns.append(rich.TimeRemainingColumn(compact=True))
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with rich.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(doing, total=total)

        def name_kernel(name, count):
            text = f"compiling kernel {count} (first run only): {name}"
            bar.update(task, description=escaped(text))

        with compiling(name_kernel, backend):
            yield lambda **how: bar.update(task, description=doing, **how)


@contextmanager
def compiling(tell: Callable[[str, int], None], backend: str) -> Iterator[None]:
    """Call tell(name, count so far) each time Numba starts to compile our kernels."""
    if backend != "numba":
        yield
        return
    # target first: it names the cache folder before numba looks for one
    from minigen.target import numba

    names = []

    def hear(happening):
        if is_kernel(happening.data["dispatcher"]):
            names.append(kernel_name(happening.data["dispatcher"]))
            tell(names[-1], len(names))

    with numba.core.event.install_recorder("numba:compile") as recorder:
        recorder.on_start = hear
        yield


def is_kernel(dispatcher) -> bool:
    """Return whether it is one of our kernels, not a helper that kernels call."""
    ours = dispatcher.py_func.__module__.startswith("minigen.")
    options = dispatcher.targetoptions
    if "device" in options:
        # a CUDA function of either kind names all options
        return ours and not options["device"]
    return ours and not {"inline", "forceinline"} & {*options}


def kernel_name(dispatcher) -> str:
    """Return the name of a kernel as messages show it."""
    return dispatcher.py_func.__name__.lstrip("_")
