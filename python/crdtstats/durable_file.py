"""Small files that are whole or not there: written beside, synced, renamed, and the directory synced."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from crdtstats.errors import DataError

_PREFIX, _SUFFIX = ".", ".tmp"


def write(path: Path, data: bytes, *, before_rename: Callable[[int], None] | None = None) -> None:
    """Put ``data`` under ``path``, mode 0600; when it returns, power loss keeps it.

    The file is always a new one (another inode), so what hangs on its place notices. One writer at a time: the
    caller holds the directory's lock. ``before_rename`` gets the descriptor of the finished file.

    Raises ``OSError``.
    """
    beside = path.with_name(f"{_PREFIX}{path.name}{_SUFFIX}")
    beside.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(beside, flags, 0o600)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
            if before_rename is not None:
                before_rename(fd)
        finally:
            os.close(fd)
        os.rename(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def open_to_read(path: Path) -> int:
    """A descriptor of the regular file at ``path``.

    A symbolic link is refused: a copied directory would share its target with the original.

    Raises ``DataError`` for what is no regular file, ``OSError``.
    """
    if path.is_symlink():
        raise DataError(
            f"{path} is a symbolic link, and a data directory has to own its files: put the file itself there",
            path=str(path),
        )
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise DataError(f"{path} is not a regular file", path=str(path))
    return fd


def read_from(fd: int, path: Path, bytes_max: int) -> bytes:
    """All of an open file. Raises ``DataError`` when it is longer than ``bytes_max``, ``OSError``."""
    data = b""
    while len(data) <= bytes_max and (more := os.read(fd, bytes_max + 1 - len(data))):
        data += more
    if len(data) > bytes_max:
        raise DataError(
            f"{path} is longer than {bytes_max} bytes: it is damaged", path=str(path), limit=bytes_max
        )
    return data


def read(path: Path, bytes_max: int) -> bytes | None:
    """The bytes of the file at ``path``, ``None`` where there is none. Raises as the two above."""
    try:
        fd = open_to_read(path)
    except FileNotFoundError:
        return None
    try:
        return read_from(fd, path, bytes_max)
    finally:
        os.close(fd)


def is_leftover(name: str) -> bool:
    """Whether ``name`` is what a crash in the middle of ``write`` leaves."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def remove_leftovers(directory: Path) -> None:
    """Remove what crashes left in ``directory`` (part of a key may be in it)."""
    for name in os.listdir(directory):
        if is_leftover(name):
            (directory / name).unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make the names in ``path`` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
