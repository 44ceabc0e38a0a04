"""The test doubles do what they say."""

from __future__ import annotations

import pytest

from crdtstats.errors import DataError, UnavailableError
from tests.datastores.faulty import FaultyDatastore, NoBatch


def test_it_fails_until_healed_and_changes_nothing() -> None:
    datastore = FaultyDatastore()
    datastore.fail("put", "batch", error=DataError("broken"))
    with pytest.raises(DataError, match="broken"):
        datastore.put("/a", b"1")
    with pytest.raises(DataError, match="broken"):
        datastore.batch([("/a", b"1")])
    assert not datastore.has("/a")
    datastore.heal()
    datastore.put("/a", b"1")
    assert datastore.calls == {"put": 2, "batch": 1, "has": 1}


def test_only_the_nth_call_fails() -> None:
    datastore = FaultyDatastore()
    datastore.put("/0", b"")
    datastore.fail_nth("put", 2)
    datastore.put("/1", b"")
    with pytest.raises(UnavailableError):
        datastore.put("/2", b"")
    datastore.put("/3", b"")
    assert [key for key, _ in datastore.query("/")] == ["/0", "/1", "/3"]


def test_it_may_do_it_and_then_fail() -> None:
    datastore = FaultyDatastore()
    datastore.fail_nth("batch", after=True)
    with pytest.raises(UnavailableError):
        datastore.batch([("/a", b"1")])
    assert datastore.get("/a") == b"1"


def test_without_a_batch_only_what_was_synced_survives() -> None:
    datastore = NoBatch()
    assert not hasattr(datastore, "batch")
    datastore.put("/blocks/1", b"b")
    datastore.put("/head", b"h")
    datastore.sync("/blocks")
    assert list(datastore.crash().query("/")) == [("/blocks/1", b"b")]
    datastore.sync()
    datastore.delete("/head")
    assert datastore.crash().get("/head") == b"h"
    datastore.sync("/head")
    assert not datastore.crash().has("/head")
    assert datastore.log[2] == ("sync", "/blocks")
