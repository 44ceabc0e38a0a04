"""``kill -9`` at any moment: what was acknowledged is found, once."""

from __future__ import annotations

from pathlib import Path

from tests.store.counting_child import CLOSING, COUNTING
from tests.store.kill_chain import chains

COUNTING_S = 0.08
"""At most so long a child counts: its first flush by itself comes after 0.05 s."""
GROWING_S = 0.02
OPENING_S = 0.25
"""From the start of the interpreter to well into the counting."""
CLOSING_S = 0.03


def test_a_kill_while_counting_singly_loses_nothing(tmp_path: Path) -> None:
    for chain in chains(tmp_path, "single"):
        chain.kill_while(COUNTING, COUNTING_S)
        chain.look()


def test_a_kill_while_counting_batches_splits_none_from_its_cursor(tmp_path: Path) -> None:
    for chain in chains(tmp_path, "batch"):
        chain.kill_while(COUNTING, COUNTING_S)
        chain.look()


def test_a_kill_in_a_flush_loses_nothing(tmp_path: Path) -> None:
    for chain in chains(tmp_path, "flush"):
        chain.kill_while(COUNTING, COUNTING_S)
        chain.look()


def test_a_kill_in_an_open_that_recovers_loses_nothing(tmp_path: Path) -> None:
    for chain in chains(tmp_path, "open"):
        chain.kill_while(COUNTING, COUNTING_S)
        chain.kill_while(0, OPENING_S)
        chain.look()


def test_a_kill_in_a_close_loses_nothing(tmp_path: Path) -> None:
    for chain in chains(tmp_path, "close"):
        chain.kill_while(CLOSING, CLOSING_S)
        chain.look()


def test_a_kill_while_the_journal_grows_loses_nothing(tmp_path: Path) -> None:
    for chain in chains(tmp_path, "growing"):
        chain.kill_while(COUNTING, GROWING_S)
        chain.look()
