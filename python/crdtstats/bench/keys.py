"""The keys that are counted: 25 bytes each, a thousand prefixes."""

from __future__ import annotations

import random

PREFIXES = 1_000
HOT, MILLION, TEN_MILLION = 10_000, 1_000_000, 10_000_000
SEED = 5
"""Each run works in the same order."""


def key(number: int) -> str:
    """One key, 25 bytes."""
    return f"site/{number % PREFIXES:04d}/views-{number:09d}"


def keys(count: int, first: int = 0) -> list[str]:
    """``count`` keys, from number ``first`` on."""
    return [key(number) for number in range(first, first + count)]


def in_random_order(keys: list[str]) -> list[str]:
    """The same strings in an order that no cache foresees."""
    order = keys.copy()
    random.Random(SEED).shuffle(order)
    return order


def fresh(keys: list[str]) -> list[str]:
    """Equal strings that nobody has hashed yet."""
    return [f"{key} "[:-1] for key in keys]
