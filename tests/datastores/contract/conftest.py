"""The adapters that the contract holds for: add one here, and every test of this directory runs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crdtstats.datastores import open_datastore
from crdtstats.protocols import Datastore
from tests.datastores.faulty import FaultyDatastore

ADAPTERS: dict[str, Callable[[Path], Datastore]] = {
    "memory": lambda _: open_datastore("memory:"),
    "sqlite": lambda directory: open_datastore(f"sqlite:///{directory}/contract.sqlite"),
    "faulty": lambda _: FaultyDatastore(),
}


@pytest.fixture(params=ADAPTERS)
def datastore(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Datastore]:
    datastore = ADAPTERS[request.param](tmp_path)
    yield datastore
    datastore.close()
