"""A store for tests of the driver: counts into a log, and sees what its siblings have flushed.

It survives ``kill -9`` as the real one does (one write a batch, the cursor in it), and takes its time to
flush. ``CRDTSTATS_FAKE_FAULT`` makes it wrong on purpose.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FLUSH_S = 0.05


class FakeStore:
    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._log = os.open(directory / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._fault = os.environ.get("CRDTSTATS_FAKE_FAULT", "")
        self._seen: object = None
        self._sums: Counter[str] = Counter()

    def cursor(self, name: str) -> int | None:
        position = None
        for line in (self._directory / "log").read_text().splitlines():
            position = json.loads(line)[0]
        if self._fault == "behind" and position:
            position -= 1
        return position

    def update(self, keys: list[str], amounts: list[int], cursor: tuple[str, int]) -> None:
        rows = list(zip(keys, amounts, strict=True))
        if self._fault == "twice" and cursor[1] > 20:
            rows += rows
        if self._fault == "dies":
            os._exit(9)
        os.write(self._log, json.dumps([cursor[1], rows]).encode() + b"\n")

    def flush(self) -> None:
        size = os.fstat(self._log).st_size
        if self._fault == "mute":
            return
        time.sleep(FLUSH_S)
        (self._directory / "flushed.new").write_text(str(size))
        os.replace(self._directory / "flushed.new", self._directory / "flushed")

    def items(self, prefix: str) -> Iterator[tuple[str, int]]:
        assert prefix == ""
        return iter(sorted(self._all().items()))

    def get(self, key: str) -> int:
        return self._all()[key]

    def total(self, prefix: str) -> int:
        return sum(
            value for key, value in self._all().items() if key == prefix or key.startswith(prefix + "/")
        )

    def get_aggregated_stat(self, prefix: str) -> int:
        return max(0, self.total(prefix))

    def children(self, prefix: str) -> dict[str, int]:
        names = {key.split("/")[1] for key in self._all() if key.startswith(prefix + "/")}
        return {name: self.total(f"{prefix}/{name}") for name in sorted(names)}

    def top(self, prefix: str, count: int) -> list[tuple[str, int]]:
        rows = [row for row in self._all().items() if row[0].startswith(prefix + "/")]
        return sorted(rows, key=lambda row: (-row[1], row[0]))[:count]

    def status(self) -> dict[str, Any]:
        return {"blocks": 1}

    def close(self) -> None:
        os.close(self._log)

    def _all(self) -> Counter[str]:
        logs = []
        for sibling in sorted(self._directory.parent.glob("replica-*/log")):
            end = sibling.stat().st_size
            if sibling.parent != self._directory:
                flushed = sibling.parent / "flushed"
                end = int(flushed.read_text()) if flushed.exists() else 0
            logs.append((sibling, end))
        if logs != self._seen:
            self._seen, self._sums = logs, Counter()
            for log, end in logs:
                for line in log.read_bytes()[:end].splitlines():
                    for key, amount in json.loads(line)[1]:
                        self._sums[key] += amount
        return self._sums


def open_fake(directory: Path, network: str, peers: list[str]) -> tuple[FakeStore, Callable[[], list[str]]]:
    return FakeStore(directory), lambda: [str(directory)]
