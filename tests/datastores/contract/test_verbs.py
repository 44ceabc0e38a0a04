"""What every datastore does: get, has, get_size, put, delete, sync, close."""

from __future__ import annotations

import pytest

from crdtstats.errors import ClosedError, UsageError
from crdtstats.protocols import Datastore

UNICODE = ["/é", "/日本/語", "/😀/￿", "/a b", "/a\tb", "/a:b", "/%2F", "/a\\b", "/a\0b", "/..."]


def test_it_is_a_datastore(datastore: Datastore) -> None:
    assert isinstance(datastore, Datastore)


def test_put_is_read_back_and_replaced(datastore: Datastore) -> None:
    datastore.put("/a/b", b"one")
    assert datastore.get("/a/b") == b"one"
    datastore.put("/a/b", b"two, longer")
    assert datastore.get("/a/b") == b"two, longer"
    assert datastore.get_size("/a/b") == 11
    assert datastore.has("/a/b")


def test_a_missing_key_is_a_key_error(datastore: Datastore) -> None:
    datastore.put("/a/b", b"")
    for missing in ("/a", "/a/b/c", "/b", "/"):
        with pytest.raises(KeyError):
            datastore.get(missing)
        with pytest.raises(KeyError):
            datastore.get_size(missing)
        assert not datastore.has(missing)
        datastore.delete(missing)
    assert datastore.get("/a/b") == b""


def test_delete_removes_exactly_one_key(datastore: Datastore) -> None:
    datastore.batch([("/a", b"1"), ("/a/b", b"2"), ("/ab", b"3")])
    datastore.delete("/a")
    assert list(datastore.query("/")) == [("/a/b", b"2"), ("/ab", b"3")]


def test_keys_are_cleaned(datastore: Datastore) -> None:
    datastore.put("a//b/./c/../", b"v")
    assert datastore.get("/a/b") == b"v"
    assert datastore.has("a/b/")
    assert datastore.get_size("//a/b") == 1
    datastore.delete("../a/b")
    assert list(datastore.query("/")) == []


@pytest.mark.parametrize("key", UNICODE)
def test_any_text_is_a_key(datastore: Datastore, key: str) -> None:
    datastore.put(key, key.encode())
    assert datastore.get(key) == key.encode()
    assert list(datastore.query("/")) == [(key, key.encode())]


def test_the_empty_value_is_a_value(datastore: Datastore) -> None:
    datastore.put("/empty", b"")
    assert datastore.has("/empty")
    assert datastore.get("/empty") == b""
    assert datastore.get_size("/empty") == 0


@pytest.mark.parametrize("size", [1, 4095, 4096, 512 << 10, 4 << 20])
def test_values_of_all_sizes_are_kept(datastore: Datastore, size: int) -> None:
    value = bytes(range(256)) * (size // 256 + 1)
    datastore.put("/big", value[:size])
    assert datastore.get_size("/big") == size
    assert datastore.get("/big") == value[:size]
    assert list(datastore.query("/", keys_only=True)) == [("/big", b"")]


def test_a_mutable_value_is_copied(datastore: Datastore) -> None:
    value = bytearray(b"before")
    datastore.put("/a", value)
    value[:] = b"after!"
    got = datastore.get("/a")
    assert got == b"before"
    assert type(got) is bytes


@pytest.mark.parametrize(
    ("key", "value"), [("/", b""), ("..", b""), ("/\udc80", b""), (b"/a", b""), ("/a", 3)]
)
def test_what_cannot_be_stored_is_refused(datastore: Datastore, key: str, value: bytes) -> None:
    with pytest.raises(UsageError):
        datastore.put(key, value)
    with pytest.raises(UsageError):
        datastore.batch([("/fine", b""), (key, value)])
    assert list(datastore.query("/")) == []


def test_sync_returns(datastore: Datastore) -> None:
    datastore.put("/a", b"1")
    datastore.sync()
    datastore.sync("/a")


def test_a_closed_datastore_refuses_every_call(datastore: Datastore) -> None:
    datastore.put("/a", b"1")
    half_read = datastore.query("/")
    datastore.close()
    calls = [
        lambda: datastore.get("/a"),
        lambda: datastore.has("/a"),
        lambda: datastore.get_size("/a"),
        lambda: datastore.put("/a", b""),
        lambda: datastore.delete("/a"),
        lambda: datastore.query("/"),
        lambda: datastore.batch([("/a", b"")]),
        lambda: datastore.sync(),
        lambda: next(half_read),
    ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()
    datastore.close()
