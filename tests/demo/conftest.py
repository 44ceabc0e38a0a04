"""The made repository: one for the session, and copies that a test may change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.demo.made_repository import Git, build


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "end_to_end: the demo with real stores over real libp2p (seconds each)"
    )


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Git:
    return build(tmp_path_factory.mktemp("history") / "repo")


@pytest.fixture
def repo(built: Git, tmp_path: Path) -> Git:
    shutil.copytree(built.path, tmp_path / "repo", symlinks=True)
    return built.at(tmp_path / "repo")
