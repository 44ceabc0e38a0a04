"""One lab for all: what several rows share is built once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crdtstats.bench.lab import Lab


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(full=request.config.getoption("--full")) as lab:
        yield lab


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="also the rows with 10 million keys")
