"""What every datastore's query gives."""

from __future__ import annotations

from crdtstats.protocols import Datastore


def keys(datastore: Datastore, prefix: str) -> list[str]:
    return [key for key, _ in datastore.query(prefix, keys_only=True)]


def test_a_query_gives_what_lies_strictly_below_by_whole_components(datastore: Datastore) -> None:
    datastore.batch(
        (key, b"v") for key in ("/a", "/a/b", "/a/b/c", "/a!", "/a-b", "/a0", "/ab", "/ab/c", "/b")
    )
    assert keys(datastore, "/a") == ["/a/b", "/a/b/c"]
    assert keys(datastore, "/a/b") == ["/a/b/c"]
    assert keys(datastore, "/ab") == ["/ab/c"]
    assert keys(datastore, "/a/b/c") == []
    assert keys(datastore, "/c") == []
    assert keys(datastore, "a//") == ["/a/b", "/a/b/c"]


def test_the_root_gives_everything(datastore: Datastore) -> None:
    everything = ["/\x01", "/0", "/a", "/é", "/😀"]
    datastore.batch((key, b"") for key in everything)
    assert keys(datastore, "/") == everything
    assert keys(datastore, "") == everything


def test_a_query_is_sorted_by_key_bytes(datastore: Datastore) -> None:
    names = ["/\0", "/ ", "/.x", "/A", "/a", "/a/b", "/a0", "/é", "/\ud7ff", "/￿", "/😀"]
    datastore.batch((key, b"") for key in reversed(names))
    assert keys(datastore, "/") == sorted(names, key=str.encode)


def test_wildcards_are_ordinary_characters(datastore: Datastore) -> None:
    datastore.batch((key, b"") for key in ("/a%/x", "/a_/x", "/ab/x", "/a*/x", "/[ab]/x"))
    for prefix in ("/a%", "/a_", "/a*", "/[ab]"):
        assert keys(datastore, prefix) == [prefix + "/x"]


def test_values_come_with_the_keys(datastore: Datastore) -> None:
    entries = [(f"/n/{number:04}", str(number).encode()) for number in range(1000)]
    datastore.batch(entries)
    assert list(datastore.query("/n")) == entries
    assert list(datastore.query("/n", keys_only=True)) == [(key, b"") for key, _ in entries]


def test_large_values_are_streamed(datastore: Datastore) -> None:
    entries = [(f"/n/{number}", bytes([number]) * (700 << 10)) for number in range(5)]
    datastore.batch(entries)
    assert list(datastore.query("/")) == entries


def test_others_may_write_while_a_query_is_read(datastore: Datastore) -> None:
    datastore.batch((f"/n/{number:04}", b"old") for number in range(0, 2000, 2))
    seen: list[str] = []
    for key, value in datastore.query("/"):
        seen.append(key)
        if key == "/n/0000":
            datastore.batch([("/n/1999", b"new"), ("/a/before", b"new")], ["/n/1998"])
        assert value == (b"new" if key == "/n/1999" else b"old")
    assert seen == sorted(set(seen))
    assert len(seen) == 1000
    assert "/n/1999" in seen
    assert "/n/1998" not in seen
    assert "/a/before" not in seen


def test_two_queries_do_not_disturb_each_other(datastore: Datastore) -> None:
    datastore.batch((f"/{number:03}", b"") for number in range(600))
    pairs = list(zip(datastore.query("/"), datastore.query("/"), strict=True))
    assert len(pairs) == 600
    assert all(one == other for one, other in pairs)


def test_an_abandoned_query_holds_nothing(datastore: Datastore) -> None:
    datastore.batch((f"/{number:03}", b"") for number in range(600))
    reader = datastore.query("/")
    next(reader)
    datastore.put("/x", b"written meanwhile")
    del reader
    assert datastore.has("/x")
