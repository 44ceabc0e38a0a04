from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdtstats.datastores.clean import below, clean
from crdtstats.errors import UsageError

VECTORS: dict[str, str] = json.loads((Path(__file__).parents[1] / "vectors" / "keys.json").read_text())


@pytest.mark.parametrize(("given_key", "cleaned"), VECTORS.items())
def test_keys_are_cleaned_as_go_cleans_them(given_key: str, cleaned: str) -> None:
    assert clean(given_key) == cleaned


@given(st.lists(st.sampled_from(["/", ".", "..", "a", "é", "0", "...", "//"])).map("".join))
def test_a_clean_key_is_clean(key: str) -> None:
    cleaned = clean(key)
    assert clean(cleaned) == cleaned
    assert cleaned.startswith("/")
    if cleaned != "/":
        assert not {"", ".", ".."} & set(cleaned[1:].split("/"))


@given(st.lists(st.text("ab/0!.", max_size=6)), st.text("ab/0!.", max_size=4))
def test_below_is_by_whole_components(keys: list[str], prefix: str) -> None:
    first, last = below(prefix)
    parts = [part for part in clean(prefix).split("/") if part]
    for key in map(clean, keys):
        components = [part for part in key.split("/") if part]
        strictly_below = len(components) > len(parts) and components[: len(parts)] == parts
        assert (first < key < last) == strictly_below


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(UsageError, match="surrogate"):
        clean("/a\ud800")
