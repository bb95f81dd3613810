"""How every command speaks: results to stdout, progress and errors to stderr."""

from __future__ import annotations

import functools
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import typer

from minigen.errors import MinigenError
from minigen.words import complain, escaped, printable, say, say_json

# all that commands print goes through these
__all__ = ["complain", "say", "say_json"]

UNHEARD = 141
"""Exit status if nobody reads on, as of `| head`: what a shell gives for SIGPIPE."""


def reported(command: Callable) -> Callable:
    """Print what went wrong as one message, and leave with status 2.

    Where the reader of a pipe has gone, leave without a word.
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
    """Run the command line and return its exit status; nothing raw is printed.

    What typer says of a wrong usage, what libraries warn of and what Python says of an
    error that nobody expected may hold names from anywhere, too.
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
        # of --help and --version; commands are `reported`
        complain(f"minigen: {error}")
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
    """Let signals unwind what runs: the cursor comes back, unfinished files go.

    heard: the list that the number of a signal is put in.
    """

    def leave(number, frame):
        heard.append(number)
        # a second one ends it at once
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    before = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # nohup has them ignored, and that is to stay
        if number is None or signal.getsignal(number) in (signal.SIG_IGN, None):
            continue
        # only the first thread of Python may
        with suppress(ValueError):
            before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _misused(error):
    """Print what typer says of a wrong usage; return the exit status."""
    context, message = error.ctx, error.format_message()
    if context is None:
        complain(f"Error: {message}")
    elif message == context.get_help():
        # a group of commands without one: all of it is our own
        say(*message.split("\n"), stream=sys.stderr)
    else:
        usage, path = context.get_usage(), context.command_path
        complain(*usage.split("\n"), f"Try '{path} --help' for help.", "")
        complain(f"Error: {printable(message)}")
    return error.exit_code


def _warn(message, category, filename, lineno, file=None, line=None):
    complain(f"minigen: warning: {printable(message)}")


def _calm():
    """End what a signal has cut short on a terminal: an escape, a colour, a line."""
    for stream, is_error in ((sys.stdout, False), (sys.stderr, True)):
        if stream is not None and stream.isatty():
            typer.echo("\x18\x1b[0m\r\x1b[K", err=is_error, nl=False)


def _close():
    """Flush stdout while its errors can still be caught: a full disk, a closed pipe."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        # else Python would try again, and complain, as it ends
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
    """Print a text of several lines, in which foreign names are already printable."""
    say(*text.split("\n"))


def tell(text: str = "") -> None:
    """Overwrite the last line of a terminal with what is being done; not in a pipe."""
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{escaped(text)}", err=True, nl=False)


def show(picture: str) -> None:
    """Print a picture that `minigen.show.grid.text` made, colours and all."""
    typer.echo(picture)


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
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
    )
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(doing, total=total)

        def name_kernel(name, count):
            text = f"compiling kernel {count} (first run only): {name}"
            bar.update(task, description=escaped(text))

        with compiling(name_kernel, backend):
            yield lambda n=1: bar.update(task, advance=n, description=doing)


@contextmanager
def compiling(tell: Callable[[str, int], None], backend: str) -> Iterator[None]:
    """Call tell(kernel, how many so far) as Numba starts to compile one of ours."""
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
    """Say whether it compiles a kernel of ours, not a helper that goes into kernels."""
    ours = dispatcher.py_func.__module__.startswith("minigen.")
    options = dispatcher.targetoptions
    if "device" in options:
        # a CUDA function of either kind names all options
        return ours and not options["device"]
    return ours and not {"inline", "forceinline"} & {*options}


def kernel_name(dispatcher) -> str:
    """Return the name a kernel is spoken of by."""
    return dispatcher.py_func.__name__.lstrip("_")
