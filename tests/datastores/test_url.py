from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crdtstats.datastores import MemoryDatastore, SQLiteDatastore, open_datastore
from crdtstats.errors import UsageError
from tests.datastores.faulty import NoBatch


def test_memory_is_a_fresh_memory_datastore() -> None:
    assert isinstance(open_datastore("memory:"), MemoryDatastore)


def test_four_slashes_are_absolute_and_three_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for url in ("sqlite:///sub/a.sqlite", f"sqlite:///{tmp_path}/sub/a.sqlite"):
        with open_datastore(url) as datastore:
            assert isinstance(datastore, SQLiteDatastore)
            assert datastore.path == tmp_path / "sub" / "a.sqlite"


def test_a_relative_path_is_bound_when_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_datastore("sqlite:///a.sqlite") as datastore:
        os.chdir("/")
        datastore.put("/a", b"1")
    assert (tmp_path / "a.sqlite").exists()


def test_percent_escapes_are_decoded(tmp_path: Path) -> None:
    with open_datastore(f"sqlite:///{tmp_path}/what%3F %25.sqlite"):
        assert (tmp_path / "what? %.sqlite").exists()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "sqlite:",
        "sqlite://x",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a?b=c",
        "redis:///a",
    ],
)
def test_another_url_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(UsageError, match="memory:"):
        open_datastore(url)


def test_a_missing_directory_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="missing"):
        open_datastore(f"sqlite:///{tmp_path}/none/a.sqlite")


def test_an_object_with_the_verbs_is_taken_as_it_is() -> None:
    for datastore in (MemoryDatastore(), NoBatch()):
        assert open_datastore(datastore) is datastore  # type: ignore[arg-type]


def test_another_object_is_refused() -> None:
    with pytest.raises(UsageError, match="has no get, has, get_size"):
        open_datastore(3)  # type: ignore[arg-type]


def test_importing_the_package_does_not_import_sqlite() -> None:
    code = "import sys, crdtstats.datastores; sys.exit('sqlite3' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment)
