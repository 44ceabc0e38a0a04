"""What a flush has built goes to the datastore where it lies, and as ``bytes`` to those that are promised them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

import crdtstats
from crdtstats.datastores.memory import MemoryDatastore
from crdtstats.datastores.sqlite import SQLiteDatastore
from crdtstats.effects import Block
from crdtstats.storage import Storage

SEEN: list[tuple[str, object]] = []


class Below(SQLiteDatastore):
    """A class of a user's, below the default one."""

    def batch(self, puts: Iterable[tuple[str, bytes]], deletes: Iterable[str] = ()) -> None:
        puts = list(puts)
        SEEN.extend(puts)
        super().batch(puts, deletes)


class BelowMemory(MemoryDatastore):
    def batch(self, puts: Iterable[tuple[str, bytes]], deletes: Iterable[str] = ()) -> None:
        puts = list(puts)
        SEEN.extend(puts)
        super().batch(puts, deletes)


@pytest.mark.parametrize("kind", [Below, BelowMemory])
def test_datastores_of_others_get_bytes(tmp_path: Path, kind: type[Below | BelowMemory]) -> None:
    SEEN.clear()
    datastore = Below(tmp_path / "blocks.sqlite") if kind is Below else BelowMemory()
    with crdtstats.open(tmp_path / "store", datastore=datastore) as stats:
        stats.increment("a", 5)
        stats.flush()
    blocks = [value for key, value in SEEN if key.startswith("/blocks/")]
    assert blocks
    assert {type(value) for value in blocks} == {bytes}
    datastore.close()


def test_the_default_datastore_gets_them_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bytes | Block]] = []
    batch = SQLiteDatastore.batch

    def recorded(
        self: SQLiteDatastore, puts: Iterable[tuple[str, bytes]], deletes: Iterable[str] = ()
    ) -> None:
        puts = list(puts)
        seen.extend(puts)
        batch(self, puts, deletes)

    monkeypatch.setattr(SQLiteDatastore, "batch", recorded)
    with crdtstats.open(tmp_path / "store") as stats:
        stats.increment("a", 5)
        stats.update(
            [f"k/{n}" for n in range(30_000)]
        )  # some blocks, so that they go into a file of their own
        stats.flush()
    blocks = {key: value for key, value in seen if key.startswith("/blocks/")}
    assert len(blocks) > 4
    with SQLiteDatastore(tmp_path / "store" / "blocks.sqlite") as datastore:
        stored = dict(datastore.query("/blocks"))
    for key, block in blocks.items():
        assert isinstance(block, Block)
        assert stored[key] == bytes(block) == memoryview(block).tobytes()
        assert len(block) == len(stored[key])
    with crdtstats.open(tmp_path / "store") as stats:
        assert stats.total() == 30_005


def test_a_block_is_read_only_and_outlives_its_store(tmp_path: Path) -> None:
    seen: list[Block] = []

    put_flush = Storage.put_flush

    def kept(self: Storage, author: str, blocks: list[tuple[bytes, Block]], cursors: dict[str, int]) -> None:
        seen.extend(block for _, block in blocks)
        put_flush(self, author, blocks, cursors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storage, "put_flush", kept)
        with crdtstats.open(tmp_path / "store") as stats:
            stats.increment("a")
            stats.flush()
    view = memoryview(seen[0])
    assert view.readonly
    assert view.format == "B"
    with pytest.raises((TypeError, BufferError)):
        view[0] = 0
    assert len(view) == len(seen[0]) > 100
    with pytest.raises(TypeError):
        Block()  # pyright: ignore[reportCallIssue] - made by flushes alone
