"""What every datastore's batch promises: all or nothing, from any thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from crdtstats.errors import UsageError
from crdtstats.protocols import Datastore


def test_a_batch_puts_and_deletes(datastore: Datastore) -> None:
    datastore.batch([("/a", b"1"), ("/b", b"2")])
    datastore.batch([("/b", b"3"), ("/c", b"4")], ["/a", "/missing"])
    assert list(datastore.query("/")) == [("/b", b"3"), ("/c", b"4")]


def test_an_empty_batch_is_no_error(datastore: Datastore) -> None:
    datastore.batch([])
    datastore.batch([], [])


def test_the_last_put_of_a_key_stands_and_deletes_come_last(datastore: Datastore) -> None:
    datastore.batch([("/a", b"1"), ("a/", b"2"), ("/b", b"1")], ["/b"])
    assert list(datastore.query("/")) == [("/a", b"2")]


def test_a_batch_whose_source_fails_changes_nothing(datastore: Datastore) -> None:
    datastore.put("/old", b"old")

    def source() -> Iterator[tuple[str, bytes]]:
        yield "/old", b"new"
        yield "/new", b"new"
        raise OSError("the source broke")

    with pytest.raises(OSError, match="the source broke"):
        datastore.batch(source(), ["/old"])
    assert list(datastore.query("/")) == [("/old", b"old")]


def test_a_batch_with_one_bad_entry_changes_nothing(datastore: Datastore) -> None:
    datastore.put("/old", b"old")
    with pytest.raises(UsageError):
        datastore.batch([("/old", b"new"), ("/bad", "text")], ["/old"])  # type: ignore[list-item]
    with pytest.raises(UsageError):
        datastore.batch([("/old", b"new")], ["/old", "\ud800"])
    assert list(datastore.query("/")) == [("/old", b"old")]


def test_a_source_may_read_the_datastore_itself(datastore: Datastore) -> None:
    datastore.batch([("/a/1", b"1"), ("/a/2", b"2")])
    datastore.batch((("/b" + key, value) for key, value in datastore.query("/a")), ["/a/1"])
    assert list(datastore.query("/")) == [("/a/2", b"2"), ("/b/a/1", b"1"), ("/b/a/2", b"2")]


def test_threads_see_whole_batches(datastore: Datastore) -> None:
    """Each batch writes one number under four keys: a page of a query never shows two."""
    names = [f"/n/{name}" for name in "abcd"]
    errors: list[object] = []
    datastore.batch([(name, b"start") for name in names])

    def write(thread: int) -> None:
        try:
            for turn in range(40):
                value = f"{thread}:{turn}".encode()
                datastore.batch([(name, value) for name in names] + [(f"/own/{thread}/{turn}", value)])
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        values = {value for _, value in datastore.query("/n")}
        if len(values) != 1:
            errors.append(values)
            break
    for writer in writers:
        writer.join()
    assert not errors
    assert len(list(datastore.query("/own", keys_only=True))) == 160
