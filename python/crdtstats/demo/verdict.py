"""Compares what the replicas read with each other and with the truth, and names the first difference."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from crdtstats.demo.truth import Truth


def first_difference(answers: Sequence[Path], truth: Truth) -> str | None:
    """In words, the first key (sorted) that a replica reads otherwise than the truth, if there is one.

    All replicas equal to the truth are equal to each other.

    Args:
        answers: For each replica, what ``read`` wrote: ``[key, get, total, get_aggregated_stat]`` a line, and
            beside it ``.items``: ``[key, value]`` a line.
        truth: What must be read.
    """
    found = [
        difference
        for number, path in enumerate(answers, 1)
        for difference in (_first_read(number, path, truth), _first_item(number, path, truth))
        if difference is not None
    ]
    return min(found)[1] if found else None


def _first_read(number: int, path: Path, truth: Truth) -> tuple[bytes, str] | None:
    answers = _lines(path)
    for key, (own, total) in truth.probes.items():
        asked, *values = next(answers, [None])
        if asked != key:
            return _difference(key, number, "gave no answer")
        expected = (own, total, max(total, 0))
        for call, value, right in zip(("get", "total", "get_aggregated_stat"), values, expected, strict=True):
            if value != right:
                return _difference(key, number, f"{call} gives {value}, git says {right}")
    return None


def _first_item(number: int, path: Path, truth: Truth) -> tuple[bytes, str] | None:
    items: dict[str, int] = dict(map(tuple, _lines(path.with_name(path.name + ".items"))))
    for key in sorted({*items, *truth.values}):
        if key not in truth.values:
            return _difference(key, number, f"items gives {items[key]}, nobody counted it")
        if key not in items:
            return _difference(key, number, f"items does not give it, git says {truth.values[key]}")
        if items[key] != truth.values[key]:
            return _difference(key, number, f"items gives {items[key]}, git says {truth.values[key]}")
    return None


def _difference(key: str, number: int, what: str) -> tuple[bytes, str]:
    return key.encode(), f"{key!r}: replica {number}: {what}"


def _lines(path: Path) -> Iterator[list[Any]]:
    with path.open(encoding="ascii") as file:
        for line in file:
            yield json.loads(line)
