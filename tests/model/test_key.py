"""``stats.key``: any names become one key each, and two different lists of names never the same one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

import crdtstats
from tests.model.dicts import clean

NASTY = ["", ".", "..", "...", "/", "a/b", "a", "%", "%2F", "%2f", "%25", "%252F", "a%", "b", "\0", "é"]
NAMES = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=4),
    st.binary(max_size=4),
    st.sampled_from([b"\xff", b"%FF", b"..", b"\xc3", b"a\xc3/b", b"a"]),
)
PARTS = st.lists(NAMES, min_size=1, max_size=4)


def as_bytes(parts: list[str | bytes]) -> list[bytes]:
    return [part.encode() if isinstance(part, str) else part for part in parts]


@given(one=PARTS, other=PARTS)
@settings(max_examples=300, deadline=None, print_blob=True)
def test_each_list_of_names_has_a_key_of_its_own(one: list[str | bytes], other: list[str | bytes]) -> None:
    key, key_of_other = crdtstats.CRDTStatsStore.key(*one), crdtstats.CRDTStatsStore.key(*other)
    assert clean(key) == key
    assert key.count("/") == len(one) - 1
    assert (key == key_of_other) == (as_bytes(one) == as_bytes(other))
