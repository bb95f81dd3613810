"""The one place where files are written: each of them whole, or not at all.

A file is written beside its place, under a name that nobody can foresee, is brought to
the disk, and takes its place only then. The name says who writes, so that what a
killed writer leaves behind is removed by the next one.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import platform
import re
import secrets
import shlex
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from minigen.errors import InputError

PART = re.compile(r"\.minigen-([0-9a-f]{8})-([0-9]+)-[0-9a-f]{16}\.part")
"""The name of an unfinished file: on which machine, and by which process."""

LOCK = ".minigen-lock"
"""The file in a folder that bears the lock of whoever writes there."""

WEEK = 7 * 24 * 3600
"""Seconds after which an unfinished file that nobody touched is nobody's."""


def write_file(path: str | Path, content: bytes, sync: bool = True) -> Path:
    """Put a file of that content in the place of `path`; all as for `replace_file`."""
    with replace_file(path, sync) as file:
        file.write(content)
    return Path(path)


@contextmanager
def replace_file(path: str | Path, sync: bool = True) -> Iterator[BinaryIO]:
    """Yield a file to write to; at the end of the block it takes the place of `path`.

    sync: wait until the disk has it. Without, a file that was written a moment before
    the power went may be empty; what ends the process alone changes nothing.

    An error in the block leaves everything as it was. An old file gives its mode, owner
    and group to the new one; behind a symbolic link, it is the file that the link leads
    to which is replaced. Raises InputError where `check_writable` would, and where the
    disk is full.
    """
    target, old = _find_target(Path(path))
    part = _name_part(target.parent)
    try:
        number = _open_part(part, stat.S_IMODE(old.st_mode) & 0o777 if old else 0o666)
        with os.fdopen(number, "wb") as file:
            if old:
                _take_over(part, number, old)
            yield file
            file.flush()
            if sync:
                _sync(number)
        os.replace(part, target)
        if sync:
            _sync_folder(target.parent)
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename not in (None, str(part)):
            # of another file, which the block has read
            raise
        raise _refusal(path, error) from None
    finally:
        with suppress(OSError):
            os.unlink(part)


def check_writable(path: str | Path, suffix: str | None = None) -> None:
    """Raise InputError unless a file can be written at `path`; changes nothing.

    suffix: such as ".png", which its name must end in. Called before the work whose
    result is to be written. A file is really made and removed: modes do not tell all.
    """
    path = Path(path)
    if suffix and path.suffix.lower() != suffix:
        raise InputError(f"{path} should end in {suffix}, the format that is written")
    target, _ = _find_target(path)
    _try(path, target.parent)


def check_folder(path: str | Path) -> None:
    """Raise InputError unless files can be written in `path`, which may be missing."""
    path = Path(path)
    folder = path if os.path.lexists(path) else path.parent
    _demand_folder(folder)
    _try(path, folder)


def make_folder(path: str | Path, mode: int = 0o777) -> Path:
    """Make a folder, and those above it, unless it is there; or raise InputError.

    mode: of the folder, if it is new, less what umask takes.
    """
    try:
        os.makedirs(path, mode, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from None
    return Path(path)


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Let no other process into a block like this for the same folder; or InputError.

    The system forgets the lock with the process, however that ends. The file that bears
    it is removed at the end of the block, or by whoever has the lock next. Unfinished
    files in the folder are removed first: nobody else writes there.
    """
    path = Path(folder) / LOCK
    number = _open_locked(path)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if PART.fullmatch(entry.name):
                    with suppress(OSError):
                        os.unlink(entry.path)
        yield
    finally:
        # first the name, then the lock: whoever waits for this file sees it is gone
        with suppress(OSError):
            os.unlink(path)
        os.close(number)


def _open_locked(path):
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    while True:
        try:
            number = os.open(path, flags, 0o666)
        except (OSError, ValueError) as error:
            raise _refusal(path, error) from None
        try:
            _lock(number)
            if os.path.samestat(os.fstat(number), os.stat(path)):
                return number
        except FileNotFoundError:
            # whoever had it has just removed it
            pass
        except OSError as error:
            os.close(number)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise InputError(
                    f"another process is writing into {path.parent} at this moment; "
                    "wait until it has ended, or give another folder"
                ) from None
            raise InputError(
                f"{path.parent} cannot be locked, so two runs could write into it: "
                f"{error.strerror}; give a folder on another disk"
            ) from None
        os.close(number)


def _lock(number):
    # each system has one of these
    try:
        import fcntl
    except ModuleNotFoundError:
        import msvcrt

        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_mine(found: os.stat_result) -> bool:
    """Say whether what has that stat belongs to this user: on Windows all of it."""
    return not hasattr(os, "geteuid") or found.st_uid == os.geteuid()


def _find_target(path):
    # the place behind symbolic links, and what stands in it: its stat, or None
    try:
        old = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        old = None
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from None
    if old and stat.S_ISDIR(old.st_mode):
        raise InputError(f"{path} is a folder; give the name of a file in it")
    if old and not old.st_mode & 0o222:
        raise InputError(
            f"{path} is there, and nobody may write to it; give another path, or allow "
            f"it first: chmod u+w {shlex.quote(str(path))}"
        )
    target = _follow(path)
    _demand_folder(target.parent)
    # /dev/stdout and its like may lead to a file that has no place
    if old and not (stat.S_ISREG(old.st_mode) and os.path.exists(target)):
        raise InputError(
            f"{path} is a device, a pipe or another special file, which cannot be "
            "replaced; give the path of a plain file"
        )
    return Path(os.path.realpath(target.parent)) / target.name, old


def _follow(path):
    # links lead to where they point, but for those a stranger left in a shared folder
    for folder in reversed(path.absolute().parents):
        _refuse_planted(folder)
    while os.path.islink(path):
        _refuse_planted(path)
        path = path.parent / os.readlink(path)
    return path


def _refuse_planted(path):
    if not (hasattr(os, "geteuid") and os.path.islink(path)):
        return
    link, folder = os.lstat(path), os.stat(path.parent)
    shared = folder.st_mode & stat.S_IWOTH
    if shared and link.st_uid not in (os.geteuid(), folder.st_uid):
        raise InputError(
            f"{path} is a symbolic link that another user made in a folder all may "
            "write to; remove it, or give another path"
        )


def _demand_folder(folder):
    if os.path.isdir(folder):
        return
    if os.path.lexists(folder):
        raise InputError(f"{folder} is not a folder")
    raise InputError(
        f"the folder {folder} does not exist; make it first: "
        f"mkdir -p {shlex.quote(str(folder))}"
    )


def _try(path, folder):
    part = _name_part(folder)
    try:
        os.close(_open_part(part, 0o600))
        os.unlink(part)
    except OSError as error:
        raise _refusal(path, error) from None


def _refusal(path, error):
    reason = getattr(error, "strerror", None) or error
    return InputError(
        f"{path} cannot be written: {reason}; give a path in a folder that exists, has "
        "room, and that you may write to"
    )


def _name_part(folder):
    _sweep(folder)
    return folder / f".minigen-{_home()}-{os.getpid()}-{secrets.token_hex(8)}.part"


def _open_part(part, mode):
    # it must be new, and no link; what Windows lacks it does not need, and the reverse
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    for name in ("O_NOFOLLOW", "O_BINARY"):
        flags |= getattr(os, name, 0)
    return os.open(part, flags, mode)


def _take_over(part, number, old):
    mode, new = stat.S_IMODE(old.st_mode) & 0o777, os.fstat(number)
    owners = (old.st_uid, old.st_gid), (-1, old.st_gid)
    same = (new.st_uid, new.st_gid) == owners[0]
    if not same and not any(_chown(number, *owner) for owner in owners):
        # the rights were another group's
        mode &= ~0o070
    if hasattr(os, "fchmod"):
        os.fchmod(number, mode)
    else:
        os.chmod(part, mode)


def _chown(number, user, group):
    try:
        os.fchown(number, user, group)
    except (AttributeError, OSError):
        return False
    return True


def _sync(number):
    try:
        os.fsync(number)
    except OSError as error:
        # some file systems have nothing to say to this
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _sync_folder(folder):
    # a folder cannot be opened on Windows, and need not be
    if hasattr(os, "O_DIRECTORY"):
        with suppress(OSError):
            number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(number)
            finally:
                os.close(number)


@functools.cache
def _sweep(folder):
    # once a process: remove what writers that are gone have left in a folder
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = PART.fullmatch(entry.name)
            with suppress(OSError):
                if name and _is_left(entry.stat(follow_symlinks=False), *name.groups()):
                    os.unlink(entry.path)


def _is_left(found, home, number):
    if not is_mine(found) or not stat.S_ISREG(found.st_mode):
        return False
    if time.time() - found.st_mtime > WEEK:
        return True
    return home == _home() and _is_gone(int(number))


def _is_gone(process):
    # on Windows the signal 0 is no question: it ends the process
    if not hasattr(os, "geteuid"):
        return False
    try:
        os.kill(process, 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, ProcessLookupError)
    return False


def _home():
    # a container may have the name of its host, and numbers of processes of its own
    name = platform.node()
    with suppress(OSError):
        name += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(name.encode()).hexdigest()[:8]
