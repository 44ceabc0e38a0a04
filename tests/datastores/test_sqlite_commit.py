"""A commit that fails says nothing for sure: all of it may lie in SQLite's log, where a crash makes it true. Until that
is settled, its file of values stays as it is."""

from __future__ import annotations

import functools
import os
import sqlite3
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest

from crdtstats.datastores import SQLiteDatastore, sqlite
from crdtstats.errors import UnavailableError
from tests.datastores.sqlite_file import files, held, large, values_of


class AtCommit(sqlite3.Connection):
    """Fails at each commit with ``code``, and has then committed nothing."""

    code: ClassVar[int | None] = None

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if statement == "COMMIT" and self.code is not None:
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorcode, error.sqlite_errorname = self.code, "INJECTED"
            raise error
        return super().execute(statement, *arguments)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(AtCommit, "code", None)
    monkeypatch.setattr(sqlite.sqlite3, "connect", functools.partial(sqlite3.connect, factory=AtCommit))
    (tmp_path / "here").mkdir()
    return tmp_path / "here" / "blocks.sqlite"


def log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def after_a_crash(path: Path, name: str) -> list[tuple[str, bytes]]:
    """What would be there if the machine stopped now."""
    left = path.parent.with_name(name)
    # By another process: closing a file of its would take SQLite's locks from this one.
    subprocess.run(["cp", "-r", os.fspath(path.parent), os.fspath(left)], check=True, timeout=30)
    (left / f"{path.name}-shm").unlink()
    return held(left / path.name)


def test_a_file_whose_commit_failed_stays_until_another_commit_holds(path: Path) -> None:
    file = values_of(path) / "2"
    with SQLiteDatastore(path) as datastore:
        datastore.batch(large(1))
        AtCommit.code = sqlite3.SQLITE_IOERR_FSYNC
        for batch in (2, 3):  # the third would have the same number
            with pytest.raises(UnavailableError):
                datastore.batch(large(batch))
            assert file.read_bytes() == b"".join(value for _, value in large(2))
        AtCommit.code = None
        datastore.batch(large(3))
        assert not file.exists()
        assert len(files(path)) == 2
        assert list(datastore.query("/")) == [*large(1), *large(3)]


def test_a_file_for_whose_commit_there_was_no_room_goes_at_once(path: Path) -> None:
    with SQLiteDatastore(path) as datastore:
        datastore.batch(large(1))
        AtCommit.code = sqlite3.SQLITE_FULL
        with pytest.raises(UnavailableError):
            datastore.batch(large(2))
        assert files(path) == ["1"]
        AtCommit.code = None
        datastore.batch(large(2))
        assert list(datastore.query("/")) == [*large(1), *large(2)]


@pytest.mark.parametrize("then", ["nothing", "a batch", "a batch that fails", "another process"])
def test_a_failed_commit_that_a_crash_makes_true_is_whole(path: Path, tmp_path: Path, then: str) -> None:
    with SQLiteDatastore(path) as datastore:
        datastore.batch(large(1))
        subprocess.run(["cp", "-r", os.fspath(path.parent), os.fspath(tmp_path / "other")], check=True)
        datastore.batch(large(2))
        both = log(path).read_bytes()
    path = tmp_path / "other" / path.name
    with SQLiteDatastore(path) as datastore:
        AtCommit.code = sqlite3.SQLITE_IOERR_FSYNC
        with pytest.raises(UnavailableError):
            datastore.batch(large(2))
        # Now SQLite's log as it is when the last sync of a commit has failed.
        before = log(path).read_bytes()
        assert both.startswith(before)
        assert len(both) > len(before)
        with log(path).open("r+b") as file:
            file.write(both)
        assert list(datastore.query("/")) == large(1)
        AtCommit.code = None
        if then == "a batch":
            datastore.batch(large(3))
        elif then == "a batch that fails":
            AtCommit.code = sqlite3.SQLITE_IOERR_FSYNC
            with pytest.raises(UnavailableError):
                datastore.batch(large(3))
            AtCommit.code = None
        elif then == "another process":
            with SQLiteDatastore(path) as other:
                assert list(other.query("/")) == large(1)
        left = after_a_crash(path, "left")
        assert (
            left
            == large(1)
            + {
                "nothing": large(2),
                "a batch": large(3),
                "a batch that fails": large(2),
                "another process": [],
            }[then]
        )
