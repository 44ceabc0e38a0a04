"""Facts about files and processes that Python lacks."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import shutil
import threading
import weakref
from pathlib import Path

import pytest

from crdtstats import _core
from crdtstats.errors import UnavailableError
from tests.directory.child import fork_in_c, fork_in_python, in_child

FORKS = pytest.mark.parametrize("fork", [fork_in_python, fork_in_c])


class Thing:
    pass


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def open_null() -> int:
    return _core.open_guarded(os.devnull, os.O_RDWR, 0)


@FORKS
def test_each_fork_moves_the_epoch_of_the_child_only(fork) -> None:
    before = _core.fork_epoch()
    assert in_child(_core.fork_epoch, fork) == before + 1
    assert in_child(lambda: in_child(_core.fork_epoch, fork), fork) == before + 2
    assert _core.fork_epoch() == before


@FORKS
def test_a_child_closes_guarded_descriptors_and_the_parent_keeps_them(fork) -> None:
    fd = open_null()
    try:
        assert in_child(lambda: (is_open(fd), _core.release_fd(fd)), fork) == (False, False)
        assert is_open(fd)
    finally:
        assert _core.close_guarded(fd)
    assert not is_open(fd)


@FORKS
def test_a_released_descriptor_is_inherited_as_usual(fork) -> None:
    fd = open_null()
    assert _core.release_fd(fd)
    try:
        assert in_child(lambda: is_open(fd), fork)
    finally:
        os.close(fd)
    assert not _core.close_guarded(fd)


@FORKS
def test_a_child_that_closes_a_guarded_lock_does_not_unlock_it(fork, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    fd = _core.open_guarded(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def can_lock() -> bool:
        other = os.open(path, os.O_RDWR)
        with contextlib.suppress(OSError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    assert not in_child(can_lock, fork)
    assert not can_lock()
    _core.close_guarded(fd)
    assert can_lock()


def test_guarded_files_are_closed_on_exec_and_made_with_the_given_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    fd = _core.open_guarded(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        assert not os.get_inheritable(fd)
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(FileExistsError):
            _core.open_guarded(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    finally:
        _core.close_guarded(fd)


def test_a_full_table_is_refused_and_nothing_is_lost() -> None:
    taken: list[int] = []

    def fill() -> None:
        for fd in range(100_000, 102_000):
            _core.guard_fd(fd)
            taken.append(fd)

    try:
        with pytest.raises(UnavailableError, match="guarded"):
            fill()
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(UnavailableError):
            open_null()
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        released = [_core.release_fd(fd) for fd in taken]
    assert taken
    assert all(released)
    with pytest.raises(ValueError, match="negative"):
        _core.guard_fd(-1)


def test_descriptors_opened_while_another_thread_forks_never_reach_the_child(tmp_path: Path) -> None:
    stop = threading.Event()
    opened: list[int] = []
    path = tmp_path / "file"

    def open_and_close() -> None:
        while not stop.is_set():
            opened.append(_core.open_guarded(path, os.O_RDWR | os.O_CREAT, 0o600))
            _core.close_guarded(opened[-1])

    def inherited() -> list[str]:
        return [name for name in os.listdir("/proc/self/fd") if _target(name) == str(path)]

    thread = threading.Thread(target=open_and_close)
    thread.start()
    try:
        for _ in range(20):
            assert in_child(inherited) == []
    finally:
        stop.set()
        thread.join(10)
    assert opened


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""


def test_a_place_is_kept_by_a_rename_and_not_by_a_copy(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("x")
    place = _core.file_place(first)
    assert place[0] in ("birth", "device")
    shutil.copy2(first, second)
    assert _core.file_place(second) != place
    first.rename(tmp_path / "moved")
    assert _core.file_place(tmp_path / "moved") == place
    with open(tmp_path / "moved") as file:
        assert _core.file_place(file.fileno()) == place


def test_the_place_of_a_link_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    assert _core.file_place(tmp_path / "link") != _core.file_place(tmp_path / "file")


def test_the_place_of_nothing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _core.file_place(tmp_path / "missing")
    for fd in (-1, 99_999):
        with pytest.raises(OSError, match="descriptor"):
            _core.file_place(fd)


def test_a_leaked_object_is_never_finalized() -> None:
    def leak_one() -> bool:
        thing = Thing()
        alive = weakref.ref(thing)
        _core.leak(thing)
        del thing
        gc.collect()
        return alive() is not None

    assert in_child(leak_one)


@FORKS
def test_parent_only_gives_its_reference_back_in_the_parent_and_never_in_a_child(fork) -> None:
    held = [_core.ParentOnly(Thing())]
    assert not held[0].inherited
    alive = weakref.ref(held[0].object)

    def drop() -> bool:
        inherited = held[0].inherited
        held.clear()
        gc.collect()
        return inherited and alive() is not None

    assert in_child(drop, fork)
    held.clear()
    gc.collect()
    assert alive() is None
