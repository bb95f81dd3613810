"""Where compiled kernels are kept from one run to the next.

Numba has a cache of its own, but it does not notice that a helper in another file has
changed, gives up where it cannot write, and runs what lies in a folder of another user.
So kernels are kept here instead: in a folder that is named after a hash of all our
sources and belongs to the user alone, a file for each kernel and types of arguments. A
file begins with the digest of its content, and the content with the file's own name. A
kernel whose file is missing, damaged, or of another version or name is compiled again.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import re
import shutil
import stat
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

from minigen.errors import InputError
from minigen.words import complain
from minigen.writing import is_mine, make_folder, write_file

FOLDER = re.compile(r"kernels-[0-9a-f]{12}")
"""The name of a folder of kernels: it ends in the hash of their sources."""

ROOMS = ("cpu", "gpu", "ops")
"""Folders of the package that hold kernels, and what kernels call."""

MONTH = 30 * 24 * 3600
"""Seconds after which a folder that no process has used is removed."""

DIGEST = hashlib.sha256().digest_size


@functools.cache
def source_hash() -> str:
    """Return a hash (twelve hex digits) of all sources that kernels are compiled from.

    Specifications are left out: they only say what kernels are tested against.
    """
    digest = hashlib.sha256()
    root = Path(__file__).parent
    paths = [path for room in ROOMS for path in root.glob(f"{room}/**/*.py")]
    paths = [path for path in paths if path.name != "spec.py"]
    for path in sorted([*root.glob("*.py"), *paths]):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Location:
    """The folder of compiled kernels.

    folder: None if no folder can be used; then kernels are compiled at every start.
    wanted: the folder that should be used; reason: why it is not, "" if it is.
    """

    folder: Path | None
    wanted: Path
    reason: str = ""


def wanted_folder() -> Path:
    """Return the folder of compiled kernels of exactly these sources.

    It lies in MINIGEN_CACHE, else in the user's cache folder. If the home folder is not
    known, the path begins with "~", and it cannot be used.
    """
    base = os.environ.get("MINIGEN_CACHE")
    if not base:
        home = os.environ.get("XDG_CACHE_HOME", "")
        # a relative one is to be ignored, its specification says
        home = home if os.path.isabs(home) else "~/.cache"
        base = os.path.join(home, "minigen")
    return Path(_expand(base)) / f"kernels-{source_hash()}"


def _expand(path):
    # an absolute path, or one that begins with "~" as before
    if not path.startswith("~"):
        return os.path.abspath(path)
    own = path[1:2] in ("", "/", os.sep)
    # an empty HOME would be taken for the root folder
    if own and os.environ.get("HOME") == "":
        return path
    found = os.path.expanduser(path)
    return os.path.normpath(found) if os.path.isabs(found) else path


def folders() -> list[Path]:
    """Return the wanted folder, and a temporary one to use if that cannot be used."""
    wanted = wanted_folder()
    user = f"-{os.geteuid()}" if hasattr(os, "geteuid") else ""
    try:
        base = Path(tempfile.gettempdir()) / f"minigen-cache{user}"
    except OSError:
        # a machine on which nothing can be written
        return [wanted]
    return [wanted, base / wanted.name]


def find_location() -> Location:
    """Find a folder to keep kernels in, or make it; nothing is printed."""
    wanted, *others = folders()
    reason = _open(wanted)
    if not reason:
        _tidy(wanted)
        return Location(wanted, wanted)
    for folder in others:
        # it lies where every user may write, so the one above it is looked at too
        if not (_open(folder.parent) or _open(folder)):
            _tidy(folder)
            return Location(folder, wanted, reason)
    return Location(None, wanted, reason)


@functools.cache
def location() -> Location:
    """Return where this process keeps its kernels; print it, if it is not as wanted."""
    found = find_location()
    if found.reason:
        kept = f"are kept in {found.folder}" if found.folder else "are not kept"
        _tell(
            f"{found.reason}, so compiled kernels {kept}; set MINIGEN_CACHE to a "
            "folder of your own"
        )
    return found


def _open(folder):
    # make a missing folder; return why the folder cannot be used, or ""
    if not folder.is_absolute():
        return f"the home folder in {folder} is not known"
    try:
        if not os.path.lexists(folder):
            make_folder(folder, 0o700)
        found = os.lstat(folder)
    except (InputError, OSError) as error:
        return str(error).partition(";")[0]
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder} is not a folder"
    if not is_mine(found):
        return f"{folder} belongs to another user"
    if hasattr(os, "geteuid"):
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"{folder} can be written by other users"
        # rights of others are taken away, none are given
        if found.st_mode & 0o077:
            with suppress(OSError):
                os.chmod(folder, found.st_mode & 0o700)
    return ""


def kept_in(base: Path) -> list[Path]:
    """Return the folders of kernels in a folder, also those of other sources."""
    with suppress(OSError):
        return [
            path
            for path in sorted(base.iterdir())
            for found in (os.lstat(path),)
            if FOLDER.fullmatch(path.name) and stat.S_ISDIR(found.st_mode)
            if is_mine(found)
        ]
    return []


def _tidy(folder):
    # a process that loses its folder finds no kernels there, and makes it again
    with suppress(OSError):
        os.utime(folder)
        for other in kept_in(folder.parent):
            if other != folder and time.time() - other.stat().st_mtime > MONTH:
                shutil.rmtree(other, ignore_errors=True)


@functools.cache
def _tell(text):
    complain(f"minigen: {text}")


def keep(dispatcher, target: str = "cpu"):
    """Give a dispatcher of Numba a cache of ours, and return it.

    target: "cpu" or "cuda". A function gets none if the hash of our sources does not
    cover all it depends on: if its source is no file of this package, or if it is a
    closure.
    """
    function = getattr(dispatcher, "py_func", None)
    if function is not None and function.__closure__ is None:
        source = Path(os.path.abspath(function.__code__.co_filename))
        if Path(os.path.abspath(__file__)).parent in source.parents:
            dispatcher._cache = Kept(function, source, target)
    return dispatcher


class Kept:
    """A cache, with the methods that Numba calls, for the kernels of one function."""

    def __init__(self, function, source, target):
        self.function, self.source, self.target = function, source, target
        self.enabled = True

    @property
    def cache_path(self):
        return location().folder

    def flush(self):
        """Keep nothing more: Numba calls this before it compiles all kernels again."""
        self.enabled = False

    def load_overload(self, signature, context):
        """Return what was compiled for a signature, or None."""
        from numba.core.target_extension import target_override

        try:
            with target_override(self.target):
                _initialize(self.target, context)
                path = self._path(signature, context.codegen())
                folder, known, kind, state = pickle.loads(_read(path))
                if (folder, known) != (path.parts[-2:], signature):
                    return None
                if isinstance(state, dict):
                    return kind._rebuild(**state)
                return kind._rebuild(context, *state)
        except Exception:
            # there is no such file, or it is not valid: it will be written again
            return None

    def save_overload(self, signature, compiled):
        """Keep what was compiled for a signature."""
        from numba.core.serialize import dumps

        try:
            path = self._path(signature, compiled.codegen)
            if not _can_be_kept(compiled):
                return
            on_cpu = self.target == "cpu"
            state = compiled._reduce() if on_cpu else compiled._reduce_states()
            content = dumps((path.parts[-2:], signature, type(compiled), state))
            make_folder(path.parent, 0o700)
            # an unreadable file may have another owner, whom the new file would keep
            with suppress(OSError):
                path.unlink()
            write_file(path, hashlib.sha256(content).digest() + content)
        except LookupError:
            return
        except Exception as error:
            # a kernel that cannot be kept runs all the same
            reason = str(error).rpartition(" cannot be written: ")[2].partition(";")[0]
            _tell(f"compiled kernels cannot be kept in {location().folder}: {reason}")

    def _path(self, signature, codegen):
        # LookupError where nothing is kept
        folder = location().folder
        if folder is None or not self.enabled:
            raise LookupError("kernels are not kept")
        name = f"{self.function.__module__}.{self.function.__qualname__}"
        about = (
            name, self.function.__code__.co_firstlineno, self.source.read_bytes(),
            self.target, _versions(self.target), codegen.magic_tuple(), signature,
        )  # fmt: skip
        digest = hashlib.sha256(repr(about).encode()).hexdigest()[:24]
        short = re.sub("[^A-Za-z0-9_.]", "", name.removeprefix("minigen."))
        return folder / f"{short[-100:]}-{digest}.nbc"


def kept_text(function, about, make) -> str:
    """Return the text that `make()` gives for a CUDA kernel, from a file if it is kept.

    about: what else than the kernel it depends on. As with compiled kernels, nothing is
    kept of a function whose source is no file of this package, nor of a closure.
    """
    kept = keep(SimpleNamespace(py_func=function, _cache=None), "cuda")._cache
    magic = SimpleNamespace(magic_tuple=lambda: ("text", about))
    try:
        path = kept._path((), magic).with_suffix(".ptx")
    except (AttributeError, LookupError):
        return make()
    with suppress(Exception):
        return _read(path).decode()
    text = make()
    content = text.encode()
    with suppress(Exception):
        make_folder(path.parent, 0o700)
        write_file(path, hashlib.sha256(content).digest() + content)
    return text


def _initialize(target, context):
    """Make ready what compiled kernels call, and not what only a compiler needs.

    On the CPU that is Numba's runtime; all else that `refresh` imports, and what it
    registers, takes longer than to load all kernels of a model.
    """
    if target != "cpu":
        context.refresh()
        return
    from numba.core.runtime import rtsys

    rtsys.initialize(context)


def _read(path):
    with open(path, "rb") as file:
        if not is_mine(os.fstat(file.fileno())):
            raise PermissionError(f"{path} belongs to another user")
        digest, content = file.read(DIGEST), file.read()
    if hashlib.sha256(content).digest() != digest:
        raise ValueError(f"{path} is damaged")
    return content


@functools.cache
def _versions(target):
    # of all programs that generate code, and the settings that change it
    import llvmlite
    import numba

    config = numba.core.config
    settings = config.OPT, config.BOUNDSCHECK, config.DEBUGINFO_DEFAULT
    made = (numba.__version__, llvmlite.__version__, sys.version, repr(settings))
    return made if target == "cpu" else (*made, metadata.version("numba-cuda"))


def _can_be_kept(compiled):
    # not if the code holds an address of this process, or depends on a launch
    if getattr(compiled, "launch_config_sensitive", False):
        return False
    if any(not loop.can_cache for loop in getattr(compiled, "lifted", ())):
        return False
    library = getattr(compiled, "library", None)
    return not getattr(library, "has_dynamic_globals", False)
