"""What only the SQLite datastore has: a file, its owner, its limits."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest

from crdtstats.datastores import SQLiteDatastore
from crdtstats.datastores.sqlite import FREE_PAGES_KEPT
from crdtstats.datastores.sqlite_schema import SCHEMA_VERSION
from crdtstats.errors import ClosedError, CrdtStatsError, DataError, UnavailableError
from tests.datastores.sqlite_file import raw


def test_everything_is_there_after_reopening(path: Path) -> None:
    entries = [(f"/n/{number}", bytes([number]) * number * 1000) for number in range(9)]
    with SQLiteDatastore(path) as datastore:
        datastore.batch(entries)
    with SQLiteDatastore(path) as datastore:
        assert list(datastore.query("/")) == entries


def test_a_closed_file_stands_alone(path: Path) -> None:
    with SQLiteDatastore(path) as datastore:
        datastore.put("/a", b"1")
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_forgotten_datastore_is_closed(path: Path) -> None:
    datastore = SQLiteDatastore(path)
    datastore.put("/a", b"1")
    del datastore
    gc.collect()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_file_is_synced_at_each_commit_and_can_shrink(path: Path) -> None:
    with SQLiteDatastore(path) as datastore:
        connection = datastore._connection
        assert connection is not None
        for pragma, value in (
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("auto_vacuum", 2),
            ("encoding", "UTF-8"),
        ):
            assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)


def test_an_empty_file_becomes_ours(path: Path) -> None:
    path.touch()
    with SQLiteDatastore(path) as datastore:
        datastore.put("/a", b"1")


def test_another_programs_file_is_refused_and_untouched(path: Path) -> None:
    with raw(path) as connection:
        connection.execute("CREATE TABLE entry (key, value)")
    before = path.read_bytes()
    with pytest.raises(DataError, match="another program"):
        SQLiteDatastore(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_newer_version_is_refused_by_number(path: Path) -> None:
    SQLiteDatastore(path).close()
    with raw(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(DataError, match=f"format {SCHEMA_VERSION + 1}") as caught:
        SQLiteDatastore(path)
    assert caught.value.version == SCHEMA_VERSION + 1


@pytest.mark.parametrize("content", [b"no database at all", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError):
        SQLiteDatastore(path)
    assert path.read_bytes() == content


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CrdtStatsError):
        SQLiteDatastore(tmp_path)


def test_a_damaged_file_is_a_data_error_and_never_wrong_bytes(path: Path) -> None:
    with SQLiteDatastore(path) as datastore:
        datastore.batch((f"/n/{number:04}", b"x" * 500) for number in range(1000))
    content = bytearray(path.read_bytes())
    content[8192 : len(content) - 8192] = b"\xa5" * (len(content) - 16384)
    path.write_bytes(content)
    with pytest.raises(DataError, match="restore"), SQLiteDatastore(path) as datastore:
        list(datastore.query("/"))


def test_a_missing_table_is_a_data_error(path: Path) -> None:
    SQLiteDatastore(path).close()
    with raw(path) as connection:
        connection.execute("DROP TABLE entry")
    with SQLiteDatastore(path) as datastore, pytest.raises(DataError):
        datastore.get("/a")


def test_a_busy_file_is_unavailable_and_comes_back(path: Path) -> None:
    with SQLiteDatastore(path, busy_timeout_s=0.05) as datastore, raw(path) as other:
        datastore.put("/a", b"1")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="locked"):
            datastore.batch([("/a", b"2")])
        assert datastore.get("/a") == b"1"
        other.execute("ROLLBACK")
        datastore.batch([("/a", b"2")])
        assert datastore.get("/a") == b"2"


def test_a_full_disk_is_unavailable_and_the_batch_did_not_happen(path: Path) -> None:
    with SQLiteDatastore(path) as datastore:
        connection = datastore._connection
        assert connection is not None
        datastore.put("/a", b"old")
        connection.execute("PRAGMA max_page_count = 50").fetchone()
        with pytest.raises(UnavailableError, match="full"):
            datastore.batch([("/a", b"new"), *((f"/n/{number}", b"x" * 8192) for number in range(100))])
        assert list(datastore.query("/")) == [("/a", b"old")]
        connection.execute("PRAGMA max_page_count = 100000").fetchone()
        datastore.batch([("/a", b"new")])
        assert datastore.get("/a") == b"new"


def test_a_failure_in_the_middle_of_a_batch_undoes_all_of_it(path: Path) -> None:
    with SQLiteDatastore(path) as datastore:
        datastore.batch([("/a", b"old"), ("/gone", b"still here")])
        with raw(path) as other:  # the third put fails inside SQLite, when two are done
            other.execute(
                "CREATE TRIGGER injected BEFORE INSERT ON entry WHEN new.key = '/third'"
                " BEGIN SELECT RAISE(ABORT, 'injected'); END"
            )
        with pytest.raises(DataError, match="injected"):
            datastore.batch([("/a", b"new"), ("/b", b"new"), ("/third", b"")], ["/gone"])
        assert list(datastore.query("/")) == [("/a", b"old"), ("/gone", b"still here")]
        with raw(path) as other:
            other.execute("DROP TRIGGER injected")
        datastore.batch([("/third", b"")])
        assert datastore.has("/third")


def test_deletes_give_space_back(path: Path) -> None:
    block = b"x" * (1 << 16)
    with SQLiteDatastore(path) as datastore:
        datastore.batch((f"/n/{number:03}", block) for number in range(200))
        for number in range(200):
            datastore.delete(f"/n/{number:03}")
        connection = datastore._connection
        assert connection is not None
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        assert free <= FREE_PAGES_KEPT
    assert path.stat().st_size < 6 << 20


def test_two_objects_on_one_new_file_agree(path: Path) -> None:
    opened: list[SQLiteDatastore] = []
    start = threading.Barrier(4)

    def open_it() -> None:
        start.wait(10)
        opened.append(SQLiteDatastore(path))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    opened[0].put("/a", b"1")
    assert [datastore.get("/a") for datastore in opened] == [b"1"] * 4
    for datastore in opened:
        datastore.close()


def test_closing_while_others_call_ends_in_closed_errors_only(path: Path) -> None:
    datastore = SQLiteDatastore(path)
    errors: list[BaseException] = []

    def call() -> None:
        try:
            for number in range(100_000):
                datastore.put(f"/n/{number % 10}", b"v")
                list(datastore.query("/"))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    threading.Event().wait(0.1)
    datastore.close()
    for thread in threads:
        thread.join(30)
    assert [type(error) for error in errors] == [ClosedError] * 3


def test_an_abandoned_datastore_is_closed_and_its_connection_never(path: Path) -> None:
    datastore = SQLiteDatastore(path)
    datastore.put("/a", b"1")
    connection = datastore._connection
    assert connection is not None
    datastore.abandon()
    datastore.abandon()
    with pytest.raises(ClosedError):
        datastore.get("/a")
    del datastore
    gc.collect()
    assert connection.execute("SELECT count(*) FROM entry").fetchone() == (1,)
    connection.close()
