from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import crdtstats
from crdtstats.store import CRDTStatsStore


@pytest.fixture
def stats(tmp_path: Path) -> Iterator[CRDTStatsStore]:
    with crdtstats.open(tmp_path / "stats.d") as store:
        yield store
