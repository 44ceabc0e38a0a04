"""Keys and amounts to draw from: few enough to meet again, odd enough to hurt."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from tests.model.dicts import AMOUNT_MAX

# Before and behind "/" in the order of bytes; one letter in two forms; one that sorts otherwise in UTF-16.
PARTS = ["a", "b", "ab", "a-", "a.", "a0", "A", "...", "é", "e\u0301", "a b", "\uffff", "🂡", "\0", "%2F"]
AT_THE_LIMITS = [
    "k" * 896,
    "é" * 448,
    "/".join("d" * 64),
    "/".join(["d"] * 63 + ["k" * 770]),
    "/".join(["d"] * 63),
]
CLEAN_KEYS = st.one_of(
    st.lists(st.sampled_from(PARTS[:4]), min_size=1, max_size=3).map("/".join),
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("/".join),
    st.sampled_from(AT_THE_LIMITS),
)
FORMS = [
    "{}",
    "{}",
    "{}",
    "/{}",
    "{}/",
    "//{}//",
    "./{}",
    "{}/.",
    "x/../{}",
    "../{}",
    "{}/y/..",
    "/" * 1000 + "{}",
]
KEYS = st.builds(lambda key, form: form.format(key), CLEAN_KEYS, st.sampled_from(FORMS))
"""Keys that can be counted on, in any spelling."""
PREFIXES = st.one_of(st.sampled_from(["", "/", ".", "a/..", "absent", "a/absent"]), KEYS)

# Few small ones, so that keys tie.
AMOUNTS = st.one_of(
    st.integers(-2, 2), st.sampled_from([AMOUNT_MAX, -AMOUNT_MAX, 2**62, -(2**62), 2**32, -(2**32)])
)

BAD_KEYS = [
    "",
    "/",
    "..",
    "a/..",
    "k" * 897,
    "é" * 448 + "k",
    "/".join("d" * 65),
    "a/\ud800",
    b"a",
    5,
    None,
    ("a",),
]
BAD_AMOUNTS = [True, False, 1.0, "1", b"1", 2**63, -(2**63), 2**64, -(2**70), [1]]


def fresh(key: str) -> str:
    """An equal key in an object of its own."""
    return key.encode().decode()


class Named(str):
    """A subclass of str is a key too."""

    __slots__ = ()


OBJECT_FORMS: st.SearchStrategy[Callable[[str], str] | None] = st.sampled_from([None, fresh, Named])
"""Ways to name a key; None: by the object that named it before, which the store may know by its address."""
