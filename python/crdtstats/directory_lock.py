"""The lock of a data directory: one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path

from crdtstats import _core
from crdtstats.errors import DataError, UnavailableError

LOCK_TRIES_MAX = 10
"""The directory was replaced between opening and locking; somebody who does that ten times has other troubles."""
PID_BYTES_MAX = 20
DYING_S_MAX = 1.0
"""A holder that was just killed may have forked: its child lets go as soon as it runs. On a busy machine that
takes some milliseconds."""
DYING_POLL_S = 0.01


class DirectoryLock:
    """Holds ``flock`` on a file that is never removed, with the holder's process id in it.

    ``flock`` and not fcntl locks: there, closing any other descriptor of the file frees the lock. A forked
    child closes the descriptor and never unlocks (``_core.open_guarded``); the lock belongs to the parent.

    Raises:
        UnavailableError: another holder (named), or the file system has no locks.
        DataError: the lock file is not a regular file.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._fd = -1
        self._epoch = _core.fork_epoch()
        for _ in range(LOCK_TRIES_MAX):
            self._take(path)
            with contextlib.suppress(FileNotFoundError):
                here, held = os.stat(path, follow_symlinks=False), os.fstat(self._fd)
                if (here.st_dev, here.st_ino) == (held.st_dev, held.st_ino):
                    os.ftruncate(self._fd, 0)
                    os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
                    return
            self.release()
        raise UnavailableError(f"{path} is replaced again and again while it is being locked", path=str(path))

    def _take(self, path: Path) -> None:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise DataError(
                f"{path} has to be a regular file: remove it while nobody uses it", path=str(path)
            )
        self._fd = _core.open_guarded(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        deadline = time.monotonic() + DYING_S_MAX
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                holder = _pid_in(self._fd)
                if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
                    self._close()
                    raise UnavailableError(
                        f"{path.parent}: its file system cannot lock ({error.strerror}); choose another one",
                        path=str(path.parent),
                    ) from error
            if holder is None or not _is_dead(holder) or time.monotonic() > deadline:
                self._close()
                raise _in_use(path.parent, holder)
            time.sleep(DYING_POLL_S)

    @property
    def fd(self) -> int:
        """The descriptor; -1 once released."""
        return self._fd

    @property
    def inherited(self) -> bool:
        """Whether this process got the object through ``fork()``: then it holds nothing."""
        return self._epoch != _core.fork_epoch()

    def release(self) -> None:
        """Let the next one in. Idempotent; in a forked child nothing happens."""
        if self._fd < 0 or self.inherited:
            return
        # Unlocked first: a child that is forked between the next two steps holds the file, but no lock.
        with contextlib.suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        _core.close_guarded(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.release()


def _pid_in(fd: int) -> int | None:
    """The holder's process id; ``None`` in the moment before it has written it."""
    try:
        return int(os.pread(fd, PID_BYTES_MAX, 0))
    except (ValueError, OSError):
        return None


def _is_dead(pid: int) -> bool:
    """Gone, or a zombie. A process of another namespace looks gone too: then a busy lock costs one wait."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return os.path.exists("/proc/self/stat")
    except (OSError, IndexError):
        return False


def _in_use(directory: Path, holder: int | None) -> UnavailableError:
    who = "another process" if holder is None else f"process {holder}"
    if holder == os.getpid():
        who += " (this one)"
    return UnavailableError(
        f"{directory} is in use by {who}: a data directory is used by one process at a time, close it there first",
        path=str(directory),
        pid=holder,
    )
