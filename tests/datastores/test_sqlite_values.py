"""Values of large batches, in files beside SQLite's: whole or not there, found again, and their space given back."""

from __future__ import annotations

import errno
import os
import random
import stat
from pathlib import Path
from typing import Any

import pytest

from crdtstats import durable_file
from crdtstats.datastores import SQLiteDatastore, sqlite_values
from crdtstats.datastores.sqlite_schema import APPLICATION_ID, SCHEMA
from crdtstats.datastores.sqlite_values import APART_BYTES_MIN, LARGE_BYTES_MIN, ValueFiles
from crdtstats.errors import DataError, UnavailableError
from tests.datastores.sqlite_file import COUNT, SIZE, files, filled, held, large, on_disk, raw, values_of
from tests.datastores.test_sqlite_processes import until_killed


def test_a_large_batch_is_one_file_and_reads_as_any_other(path: Path) -> None:
    puts = [*large(1), ("/n/small", b"x"), ("/n/empty", b"")]
    filled(path, puts)
    assert files(path) == ["1"]
    assert path.stat().st_size < SIZE
    with SQLiteDatastore(path) as datastore:
        for key, value in puts:
            assert datastore.get(key) == value
            assert datastore.get_size(key) == len(value)
            assert datastore.has(key)
        assert list(datastore.query("/n")) == sorted(puts)
        assert list(datastore.query("/n", keys_only=True)) == [(key, b"") for key, _ in sorted(puts)]


@pytest.mark.parametrize(
    ("puts", "made"),
    [
        (large(1, COUNT, SIZE - 1), []),
        (large(1, COUNT, SIZE), ["1"]),
        (large(1, 2 * COUNT * SIZE // LARGE_BYTES_MIN, LARGE_BYTES_MIN - 1), []),
        (large(1, 1, 4 << 20), ["1"]),
        ([], []),
    ],
)
def test_small_batches_and_small_values_stay_in_the_one_file(
    path: Path, puts: list[tuple[str, bytes]], made: list[str]
) -> None:
    filled(path, puts)
    assert files(path) == made
    assert held(path) == sorted(puts)


def test_who_may_read_the_one_file_may_read_the_other(path: Path) -> None:
    path.touch()
    path.chmod(0o640)
    made = filled(path, large(1))
    (name,) = files(path)
    assert stat.S_IMODE((made / name).stat().st_mode) & 0o077 == 0o040
    assert stat.S_IMODE(made.stat().st_mode) & 0o077 == 0o050


def test_the_name_of_the_directory_is_durable_before_a_file_is_in_it_whoever_made_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    made = values_of(path)
    filled(path)
    made.mkdir()  # by a process that ended before it synced
    sync_directory = durable_file.sync_directory
    monkeypatch.setattr(
        durable_file, "sync_directory", lambda path: (synced.append(path), sync_directory(path))
    )
    filled(path, large(1), large(2))
    assert synced == [path.parent, made, made]


def test_a_directory_that_cannot_be_listed_keeps_nobody_from_what_can_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    filled(path, [("/a", b""), *large(1)])
    monkeypatch.setattr(sqlite_values.os, "listdir", refused)
    with SQLiteDatastore(path) as datastore:
        assert datastore.get("/a") == b""
    assert "denied" in caplog.text


def test_of_one_key_the_last_value_counts_wherever_it_lies(path: Path) -> None:
    first, second = large(1), large(2)
    key = first[0][0]
    with SQLiteDatastore(path) as datastore:
        datastore.batch(first)
        datastore.put(key, b"small")
        assert (datastore.get(key), datastore.get_size(key)) == (b"small", 5)
        datastore.batch([(key, value) for _, value in second])
        assert datastore.get(key) == second[-1][1]
        assert dict(datastore.query("/")) == {**dict(first), key: second[-1][1]}


def test_space_comes_back_value_by_value_and_a_file_goes_with_its_last(path: Path) -> None:
    puts = large(1)
    with SQLiteDatastore(path) as datastore:
        datastore.batch(puts)
        datastore.batch(large(2))
        full = on_disk(path)
        datastore.delete(puts[0][0])
        assert full - on_disk(path) in range(SIZE - 8192, SIZE + 1)
        datastore.batch([(puts[1][0], b"replaced"), *large(3)], [puts[2][0]])
        assert dict(datastore.query("/n/1")) == {puts[1][0]: b"replaced", puts[3][0]: puts[3][1]}
        assert files(path) == ["1", "2", "3"]
        datastore.delete(puts[3][0])
        assert files(path) == ["2", "3"]
        datastore.batch([], [key for key, _ in (*large(2), *large(3))])
        assert files(path) == []
        with raw(path) as connection:
            for table in ("file", "gone"):
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        datastore.batch(large(4))
        assert files(path) == ["4"], "a number is never used again"


def test_what_a_crash_left_is_given_back_by_a_later_batch(path: Path) -> None:
    with SQLiteDatastore(path) as datastore:
        datastore.batch(large(1))
        with raw(path) as other:  # deleted and committed, and no more
            other.execute("DELETE FROM entry")
        assert files(path) == ["1"]
        datastore.put("/a", b"")
        assert files(path) == []


def refuse(monkeypatch: pytest.MonkeyPatch, code: int, calls: int) -> None:
    """The file system refuses after so many calls."""
    left = iter(range(calls))
    write = os.write

    def refusing(fd: int, data: Any) -> int:
        if next(left, None) is None:
            raise OSError(code, os.strerror(code))
        return write(fd, data[: len(data) // 2 + 1])

    monkeypatch.setattr(sqlite_values.os, "write", refusing)


@pytest.mark.parametrize("calls", [0, 1, 30])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_is_unavailable_and_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int, calls: int
) -> None:
    with SQLiteDatastore(path) as datastore:
        datastore.batch(large(1))
        with monkeypatch.context() as patched:
            refuse(patched, code, calls)
            with pytest.raises(UnavailableError, match="full" if code == errno.ENOSPC else "error"):
                datastore.batch([("/a", b"new"), *large(2)], ["/n/1/0"])
        assert files(path) == ["1"]
        assert list(datastore.query("/")) == large(1)
        datastore.batch(large(2))
        assert dict(datastore.query("/")) == dict([*large(1), *large(2)])


def test_a_failure_after_the_file_was_written_removes_it(path: Path) -> None:
    with SQLiteDatastore(path) as datastore, raw(path) as other:
        other.execute(
            "CREATE TRIGGER injected BEFORE INSERT ON entry WHEN new.key = '/third'"
            " BEGIN SELECT RAISE(ABORT, 'injected'); END"
        )
        with pytest.raises(DataError, match="injected"):
            datastore.batch([*large(1), ("/third", b"")])
        assert files(path) == []
        assert list(datastore.query("/")) == []


def test_files_that_no_row_names_go_at_open_and_those_of_a_running_batch_stay(path: Path) -> None:
    made = filled(path, large(1))
    (made / "2").write_bytes(b"of a batch that a crash ended")
    (made / "kept.txt").write_bytes(b"not ours")
    with raw(path) as other:
        other.execute("BEGIN IMMEDIATE")  # as another process in the middle of a batch
        with SQLiteDatastore(path, busy_timeout_s=0.05) as datastore:
            assert list(datastore.query("/")) == large(1)
        assert files(path) == ["1", "2", "kept.txt"]
        other.execute("ROLLBACK")
    with SQLiteDatastore(path) as datastore:
        assert files(path) == ["1", "kept.txt"]
        (made / "2").write_bytes(b"x" * 3 * APART_BYTES_MIN)
        datastore.batch(large(2))
        assert list(datastore.query("/n/2")) == large(2)


@pytest.mark.parametrize(("damage", "left"), [("missing", 0), ("cut", COUNT // 2), ("cut", COUNT - 1)])
def test_a_file_that_is_not_whole_is_a_data_error_that_names_the_key_and_never_wrong_bytes(
    path: Path, damage: str, left: int
) -> None:
    puts = large(1)
    file = filled(path, [("/a", b"before"), *puts, ("/z", b"after")]) / "1"
    if damage == "missing":
        file.unlink()
    else:
        os.truncate(file, (left + 1) * SIZE - 1)
    with SQLiteDatastore(path) as datastore:
        assert datastore.get("/z") == b"after"
        for key, value in puts[:left]:
            assert datastore.get(key) == value
        for key, _ in puts[left:]:
            with pytest.raises(DataError, match=f"1 is {damage}") as caught:
                datastore.get(key)
            assert caught.value.key == key
        found: list[tuple[str, bytes]] = []
        with pytest.raises(DataError) as caught:
            found.extend(datastore.query("/"))  # keeps what came before
        assert caught.value.key == puts[left][0]
        assert found == [("/a", b"before"), *puts[:left]]
        assert len(list(datastore.query("/", keys_only=True))) == len(puts) + 2
        datastore.batch(puts[left:])
        assert list(datastore.query("/n")) == puts
        datastore.batch([], [key for key, _ in puts])
        assert files(path) == []


def test_a_file_that_cannot_be_read_is_not_damage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = filled(path, large(1)) / "1"
    with SQLiteDatastore(path) as datastore:
        with monkeypatch.context() as patched:
            patched.setattr(durable_file.os, "open", refused)
            with pytest.raises(UnavailableError, match="denied"):
                datastore.get("/n/1/0")
        assert list(datastore.query("/")) == large(1)
    aside = file.rename(path.with_name("aside"))
    for put_there in (file.mkdir, lambda: file.symlink_to(aside)):
        put_there()
        with SQLiteDatastore(path) as datastore, pytest.raises(DataError) as caught:
            datastore.get("/n/1/0")
        assert "key" not in caught.value.attributes
        file.unlink() if file.is_symlink() else file.rmdir()
    aside.rename(file)
    assert held(path) == large(1)


def refused(*_: object, **__: object) -> int:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize("instead", ["deleted", "small", "large"])
def test_what_another_process_deletes_in_the_middle_of_a_read_is_never_zeros(
    path: Path, monkeypatch: pytest.MonkeyPatch, instead: str
) -> None:
    key = large(1)[0][0]
    now = {"deleted": [], "small": [(key, b"small")], "large": [(key, large(2)[0][1]), *large(3)]}[instead]
    read = ValueFiles.read
    with SQLiteDatastore(path) as datastore, SQLiteDatastore(path) as other:

        def late(files: ValueFiles, file: int, at: int, size: int) -> bytes | None:
            monkeypatch.setattr(ValueFiles, "read", read)
            other.batch(now, [] if now else [key])
            found = read(files, file, at, size)
            assert found != large(1)[0][1], "the space was not given back: this tests nothing"
            return found

        for everything in (False, True):
            other.batch(large(1))
            monkeypatch.setattr(ValueFiles, "read", late)
            if everything:
                assert dict(datastore.query("/n/1")).get(key) == (now[0][1] if now else None)
            elif now:
                assert datastore.get(key) == now[0][1]
            else:
                with pytest.raises(KeyError):
                    datastore.get(key)


def test_a_file_of_the_first_version_goes_on(path: Path) -> None:
    with raw(path) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute(SCHEMA)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.executemany("INSERT INTO entry VALUES (?, ?)", large(1))
    with SQLiteDatastore(path) as datastore:
        assert list(datastore.query("/")) == large(1)
        assert files(path) == []
        datastore.batch(large(2), ["/n/1/0"])
    with SQLiteDatastore(path) as datastore:
        assert dict(datastore.query("/")) == dict([*large(1)[1:], *large(2)])
        assert files(path) == ["1"]


WRITER = f"""
import random, sys
from crdtstats.datastores import SQLiteDatastore
path, first = sys.argv[1], int(sys.argv[2])
datastore = SQLiteDatastore(path)
print("ready", flush=True)
for number in range(first, first + 100_000):
    value = bytes([number % 256]) * {SIZE}
    datastore.batch([(f"/batch/{{number:06}}/{{part}}", value) for part in range({COUNT})],
                    [f"/batch/{{number - 4:06}}/{{part}}" for part in range({COUNT})])
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_whole_batches_and_no_file_without_rows(path: Path) -> None:
    seed = 21
    chance = random.Random(seed)
    first = 1
    for turn in range(6):
        promised = until_killed(WRITER, path, first, chance, lines_max=12, pause_s_max=0.02)
        with SQLiteDatastore(path) as datastore:
            found = dict(datastore.query("/batch"))
            last = max(int(key.split("/")[2]) for key in found)
            assert promised <= last, f"seed {seed}, turn {turn}"
            numbers = range(max(1, last - 3), last + 1)
            assert found == {
                f"/batch/{number:06}/{part}": bytes([number % 256]) * SIZE
                for number in numbers
                for part in range(COUNT)
            }, f"seed {seed}, turn {turn}"
            datastore.put("/a", b"")  # gives back what the killed one had deleted and not given back
            assert len(files(path)) == len(numbers), f"seed {seed}, turn {turn}"
        first = last + 1
