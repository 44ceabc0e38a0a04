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
        answer = next(answers, None)
        if answer is None or answer[0] != key:
            return _difference(key, number, "gave no answer")
        for call, value, expected in zip(
            ("get", "total", "get_aggregated_stat"), answer[1:], (own, total, max(total, 0)), strict=True
        ):
            if value != expected:
                return _difference(key, number, f"{call} gives {value}, git says {expected}")
    return None


def _first_item(number: int, path: Path, truth: Truth) -> tuple[bytes, str] | None:
    items: dict[str, int] = dict(_lines(path.with_name(path.name + ".items")))
    for key in sorted({*items, *truth.values}):
        if key not in truth.values:
            return _difference(key, number, f"items gives {items[key]}, nobody counted it")
        if items.get(key) != truth.values[key]:
            return _difference(key, number, f"items gives {items.get(key)}, git says {truth.values[key]}")
    return None


def _difference(key: str, number: int, what: str) -> tuple[bytes, str]:
    return key.encode(), f"{key!r}: replica {number}: {what}"


def _lines(path: Path) -> Iterator[tuple[Any, ...]]:
    with path.open(encoding="ascii") as file:
        for line in file:
            yield tuple(json.loads(line))
